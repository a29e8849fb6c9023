"""Every error that Lagvis raises on purpose, each with the exit code of the command that it ends.

The text of an error names what was found, what was expected and what to do.
"""


class LagvisError(Exception):
    """Base of all errors of Lagvis."""

    exit_code = 1


class OutputError(LagvisError):
    """Result that cannot be written to stdout."""


class UsageError(LagvisError):
    """Invalid option or argument."""

    exit_code = 2


class RecipeError(UsageError):
    """Invalid recipe: an unknown key, a wrong type or a value out of range."""


class DeviceUsageError(UsageError):
    """Unknown device, backend or dtype, or two that exclude each other."""


class ExportError(UsageError):
    """Export format that cannot hold this network, or whose library is missing."""


class DataError(LagvisError):
    """Data file or folder that cannot be used."""

    exit_code = 3


class LabelNotFoundError(DataError):
    """Table whose label column is not known; the user has to name it."""


class DeviceError(LagvisError):
    """Device or array library that cannot compute; `reason` says why, `remedy` how to fix it."""

    exit_code = 4

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}. To fix it: {remedy}.")
        self.reason = reason
        self.remedy = remedy

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        """Return how a pickle makes the error again, which pools of processes send to their parent."""
        return type(self), (self.reason, self.remedy)


class DeviceMemoryError(DeviceError):
    """Device without the memory for a first small computation."""

    exit_code = 5


class OutOfMemoryError(LagvisError):
    """Run that needs more memory than is available."""

    exit_code = 5


class NotFiniteError(LagvisError):
    """Loss or parameters that are NaN or infinite."""

    exit_code = 6


class CheckpointError(LagvisError):
    """Checkpoint or run folder that cannot be read or written."""

    exit_code = 7


class DrawingError(LagvisError):
    """Pictures that cannot be drawn because matplotlib cannot be imported."""
