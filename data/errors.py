"""The one error of this room."""


class DataError(Exception):
    """A file or folder that is not what it should be; the text says what was found, expected, and what to do."""

    exit_code = 3
