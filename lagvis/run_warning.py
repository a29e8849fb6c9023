"""A warning about a run or an evaluation, for people and for programs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class RunWarning:
    """A fact that makes a result look better, or mean less, than it seems.

    check    name of the check that found it, in snake case: "shared_rows"
    message  one sentence for the user
    figures  the numbers and names of the message, ready for JSON
    """

    check: str
    message: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the warning as an object of `"warnings"` in a result."""
        return {"check": self.check, "message": self.message, "figures": dict(self.figures)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "RunWarning":
        """Return the warning that `as_json` was made of."""
        return cls(value["check"], value["message"], value["figures"])


def is_warning(value: Any) -> bool:
    """Return whether a value that was read from a file has the form that `RunWarning.as_json` gives it."""
    types = {"check": str, "message": str, "figures": dict}
    return isinstance(value, dict) and all(isinstance(value.get(key), kind) for key, kind in types.items())
