"""The plan of the house, held by reading the source: who imports whom, and what the mathematics may not say."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("backends", "data", "network", "report", "training")
DOORS = ("train", "evaluate", "export", "predict", "compare", "cli", "guard", "opening")
BELOW_ALL = ("startup",)  # what a door and a room may import, because it knows of neither
ARRAY_LIBRARIES = {"cupy", "cupy_backends", "torch", "jax", "jaxlib", "array_api_compat", "array_api_strict", "dpnp"}
HEAVY = {"cupy", "torch", "jax", "matplotlib"}  # matplotlib is for pictures alone
# What a room may import of the others; doors may import anything.
ALLOWED = {
    "network": set(),
    "data": set(),
    "backends": set(),
    "training": {"network", "data", "backends"},
    "report": {"training.events"},
}


def sources(room):
    return sorted((ROOT / room).rglob("*.py"))


def imports(path):
    """Every module that a file imports, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction"
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def room_of(module):
    return module.split(".")[0]


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room):
    for path in sources(room):
        for module, line in imports(path):
            other = room_of(module)
            if other in DOORS:
                pytest.fail(f"{path}:{line} imports the door {other}")
            if other in ROOMS and other != room:
                allowed = any(module == a or module.startswith(a + ".") for a in ALLOWED[room])
                assert allowed or module in {room_of(a) for a in ALLOWED[room]}, f"{path}:{line} imports {module}"


@pytest.mark.parametrize("module", BELOW_ALL)
def test_what_is_imported_first_imports_the_standard_library_alone(module):
    named = {room_of(name) for name, _ in imports(ROOT / f"{module}.py")}
    assert named <= set(sys.stdlib_module_names), named


@pytest.mark.parametrize("where", ["network", "data", "training", "report", *DOORS])
def test_no_array_library_is_imported_outside_backends(where):
    files = [ROOT / f"{where}.py"] if where in DOORS else sources(where)
    assert files
    for path in files:
        named = {(room_of(module), line) for module, line in imports(path) if room_of(module) in ARRAY_LIBRARIES}
        assert not named, f"{path}: {named}"


def test_the_mathematics_draws_with_numpy_on_the_host_and_takes_xp_for_everything_else():
    importing = {path.name for path in sources("network") if "numpy" in {module for module, _ in imports(path)}}
    assert importing == {"initializers.py"}


def test_the_mathematics_never_assigns_into_an_array():
    for path in sources("network"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            targets = []
            if isinstance(node, ast.Assign | ast.Delete):
                targets = node.targets
            elif isinstance(node, ast.AugAssign | ast.AnnAssign):
                targets = [node.target]
            for target in targets:
                inside = [n for n in ast.walk(target) if isinstance(n, ast.Subscript)]
                into_dict = all(isinstance(n.slice, ast.Constant) and isinstance(n.slice.value, str) for n in inside)
                assert into_dict, f"{path}:{node.lineno} assigns into a subscript"


def test_rooms_and_doors_are_all_in_the_package():
    import tomllib

    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert set(tools["packages"]) == set(ROOMS)
    top = {path.stem for path in ROOT.glob("*.py")}
    assert top == set(tools["py-modules"]) == {*DOORS, *BELOW_ALL}


def test_files_are_read_in_one_sitting():
    for room in ("network", "backends"):
        for path in sources(room):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 170, path
    for door in DOORS:
        assert len((ROOT / f"{door}.py").read_text(encoding="utf-8").splitlines()) <= 150, door


@pytest.mark.parametrize("arguments", [["--device", "cpu", "--no-plots"], ["--help"], ["--device", "cpu", "--dry-run"]])
def test_training_on_the_cpu_imports_no_heavy_library(tmp_path, arguments):
    code = (
        "import runpy, sys\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print('HEAVY', sorted({HEAVY} & set(sys.modules)), file=sys.stderr)\n"
    )
    more = [] if "--help" in arguments else ["-e", "1", "--hidden", "none", "-o", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, *more],
        check=False,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.rstrip().endswith("HEAVY []")


def test_every_promise_names_a_test_that_exists():
    lines = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8").splitlines()
    named = [match.groups() for line in lines if (match := re.search(r"\[(test_\w+)\]\(\.\./([\w/.]+)\)", line))]
    assert len(named) > 40
    for name, path in named:
        functions = ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        assert any(isinstance(node, ast.FunctionDef) and node.name == name for node in functions), f"{path}: {name}"
