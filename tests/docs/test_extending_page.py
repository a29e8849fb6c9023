"""The changes that docs/extending.md shows apply to this source, and the tests that it names pass with them."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.cli.commands import environment
from tests.docs.pages import ROOT, blocks_of

PAGE = ROOT / "docs" / "extending.md"
NOT_COPIED = (".*", "site", "runs", "build", "results", "*.egg-info", "__pycache__", "docs", "mnist")


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """Return a copy of the repository to which all changes of the page are applied."""
    if not shutil.which("git"):
        pytest.skip("git, which applies the changes, is not installed")
    folder = tmp_path_factory.mktemp("extending") / "lagvis"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_COPIED))
    (folder / "data" / "mnist").symlink_to(ROOT / "data" / "mnist")
    for block in blocks_of(PAGE):
        if block.language == "diff":
            done = run(folder, "git", "apply", "-C1", "-", input=block.text)
            assert done.returncode == 0, f"docs/extending.md:{block.line}: {done.stderr}"
    return folder


def run(folder, *command, **options):
    variables = environment(GIT_CEILING_DIRECTORIES=str(folder.parent), PYTHONPATH=str(folder), OMP_NUM_THREADS="1")
    return subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=200, **options
    )


@pytest.mark.slow
def test_extending_page_changes_pass_the_tests_that_it_names(changed):
    named = re.findall(r"`scripts/test (\S+)\s+-k (\w+)`", PAGE.read_text(encoding="utf-8"))
    assert len(named) == 5
    files, words = zip(*named, strict=True)
    chosen = f"({' or '.join(words)}) and not jax"  # which compiles for seconds
    options = ("-q", "-n", "0", "-p", "no:randomly", "-p", "no:cacheprovider")
    done = run(changed, sys.executable, "-m", "pytest", *options, *files, "tests/test_extending.py", "-k", chosen)
    assert done.returncode == 0, done.stdout[-5000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 20  # more, where more array libraries are installed


@pytest.mark.slow
def test_extending_page_changes_work_on_the_command_line(changed):
    flags = ("--recipe", "jump", "--optimizer", "adagrad", "--activation", "sine", "--steps", "2")
    done = run(changed, sys.executable, "compare.py", *flags, "--backends", "array_api_strict")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "array_api_strict" in done.stdout
    assert "second_moment.0.W" in done.stdout
