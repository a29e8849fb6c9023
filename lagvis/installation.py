"""Whether this Python can run Lagvis: its version, and the packages that Lagvis needs.

Standard library only, in words that Python 3.7 and newer can read, because it is imported before anything else.
"""

from __future__ import annotations

import os
import shlex
import sys

MIN_PYTHON = (3, 11)
CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DISTRIBUTIONS = {"PIL": "pillow"}  # packages whose name for pip is not that of the import


def environment_of_checkout() -> str | None:
    """Return the Python of the environment `.venv` in the checkout, as the README makes it; None if this is it."""
    folder = os.path.join(CHECKOUT, ".venv")
    found = [os.path.join(folder, "bin", "python"), os.path.join(folder, "Scripts", "python.exe")]
    there = os.path.realpath(folder) != os.path.realpath(sys.prefix)
    return next((path for path in found if there and os.path.exists(path)), None)


def check_python() -> None:
    """End the process with one line and exit code 1 if this Python is too old to read the other modules."""
    if sys.version_info >= MIN_PYTHON:
        return
    needed, found = (".".join(map(str, version)) for version in (MIN_PYTHON, sys.version_info[:3]))
    python = environment_of_checkout()
    newer = shlex.quote(python) if python else "a newer one, for example python3.12"
    if sys.stderr is not None:  # closed by the shell
        sys.stderr.write(
            f"error: Lagvis needs Python {needed} or newer, and {sys.executable} is {found}. To fix it: use {newer}.\n"
        )
    sys.exit(1)


def missing_package(error: ImportError) -> tuple[str, str] | None:
    """Return why a package cannot be imported and how to install it, as clauses; None for a module of Lagvis."""
    package = (error.name or "").partition(".")[0]
    if package == "lagvis":
        return None
    distribution = DISTRIBUTIONS.get(package, package.replace("_", "-"))
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, ModuleNotFoundError) and error.name == package:
        reason = f"the package {distribution} is not installed for {sys.executable}"
    else:
        found = lines[0] if lines else repr(error)
        reason = f"{distribution or 'a package'} cannot be imported by {sys.executable} ({found})"
    return reason, remedy(distribution)


def missing_package_sentence(error: ImportError) -> str | None:
    """Return `missing_package` as a sentence."""
    found = missing_package(error)
    return None if found is None else f"{found[0]}. To fix it: {found[1]}."


def remedy(distribution: str) -> str:
    """Return how to get a package that Lagvis needs."""
    executable, python = shlex.quote(sys.executable), environment_of_checkout()
    if os.path.exists(os.path.join(CHECKOUT, "pyproject.toml")):
        command = f"{executable} -m pip install -e {shlex.quote(CHECKOUT)}"
    else:
        command = f"{executable} -m pip install {distribution or 'lagvis'}"
    return f"use {shlex.quote(python)}, or {command}" if python else command
