"""Wheels for a machine without a network: which packages, where they lie, and how they become importable."""

import importlib.util
import tomllib
import zipfile
from pathlib import Path

from gpu_check.processes import ROOT

FOLDER = ROOT / ".whl"
# Needed by every command and by the tests, and absent where only the array libraries and the usual tools are installed
PACKAGES = ("array-api-compat", "tomli-w")


class MissingPackageError(Exception):
    """A package is not installed and has no usable wheel; the text is the sentence for the user."""


def requirements() -> list[str]:
    """Return the packages with the versions that pyproject.toml allows, such as "tomli-w>=1.0"."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [next(text for text in project["dependencies"] if text.startswith(name)) for name in PACKAGES]


def missing() -> list[str]:
    """Return the packages that cannot be imported."""
    return [name for name in PACKAGES if importlib.util.find_spec(name.replace("-", "_")) is None]


def unpack_missing(target: Path, folder: Path = FOLDER) -> list[str]:
    """Unpack the wheels of the missing packages into `target`; return the names of the wheels.

    Only wheels of pure Python can be unpacked like this; others are not considered. Raise MissingPackageError if a
    package has no wheel, or one that cannot be unpacked.
    """
    used = []
    for name in missing():
        found = sorted(folder.glob(f"{name.replace('-', '_')}-*-none-any.whl"))
        if not found:
            raise MissingPackageError(
                f"{name} is not installed and has no wheel in {folder}; run scripts/gpu-wheels on a machine with a "
                f"network and take the folder along, or install {name}."
            )
        try:
            with zipfile.ZipFile(found[-1]) as wheel:
                wheel.extractall(target)
        except (OSError, zipfile.BadZipFile) as error:
            raise MissingPackageError(
                f"{found[-1]} cannot be unpacked ({error}); run scripts/gpu-wheels again on a machine with a network, "
                f"or install {name}."
            ) from None
        used.append(found[-1].name)
    return used
