"""Architecture, checked in the source: permitted imports of each package, and restrictions of the mathematics."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lagvis.backends.cuda import driver_is_missing

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("train", "evaluate", "predict", "export", "compare")
# From the commands down: a package imports from lower floors, and from its own floor only the packages named here.
FLOORS = (
    ("cli", "api"),
    ("report", "storage", "inference", "formats", "tracking"),
    ("training",),
    ("data", "backends", "network"),
    (
        "errors",
        "installation",
        "tree",
        "arrays",
        "arguments",
        "interchange",
        "run_warning",
        "strict_json",
        "option_text",
    ),  # modules of the folder lagvis/, which everything may import
)
SAME_FLOOR = {"report": {"inference", "storage"}, "storage": {"formats"}}
PACKAGES = tuple(name for floor in FLOORS[:-1] for name in floor)
ARRAY_LIBRARIES = {"cupy", "cupy_backends", "torch", "jax", "jaxlib", "array_api_compat", "array_api_strict", "dpnp"}
# matplotlib is imported only to draw, polars only for a table, sklearn and IPython only where the user works with them,
# and the parts of NumPy that it imports lazily (array_api_compat.numpy imports all of them) only where one is used.
HEAVY = {
    "cupy", "torch", "jax", "matplotlib", "tensorboard", "mlflow", "sklearn", "IPython", "pandas", "polars",
    "array_api_compat.numpy", "numpy.f2py", "numpy.ma", "numpy.testing", "unittest", "PIL",
}  # fmt: skip


def sources(package):
    return sorted(path for path in (ROOT / package).rglob("*.py") if path.name != "__main__.py")


def module_of(path):
    """Return the dotted module name: storage/resume.py -> storage.resume, storage/__init__.py -> storage."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path):
    """Return every module and name that a file imports, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def ours(path):
    """Return the imports of Lagvis in a file, as (package or module below `lagvis`, full name, line)."""
    for module, line in imports(path):
        root, _, rest = module.partition(".")
        if root == "lagvis" and rest and not rest.startswith("__"):
            yield rest.partition(".")[0], rest, line


def floor_of(name):
    return next(i for i, floor in enumerate(FLOORS) if name in floor)


def import_graph():
    """Return every module below `lagvis`, with the modules that it imports."""
    modules = {module_of(path): path for package in PACKAGES for path in sources(package)}
    graph = {}
    for module, path in modules.items():
        found = {rest for _, rest, _ in ours(path)}
        graph[module] = {name for name in found if name in modules} - {module}
    return graph


@pytest.mark.parametrize("package", PACKAGES)
def test_package_imports_only_floors_below(package):
    assert sources(package)
    for path in sources(package):
        for other, rest, line in ours(path):
            if other != package:
                below = floor_of(other) > floor_of(package) or other in SAME_FLOOR.get(package, ())
                assert below, f"{path}:{line} imports lagvis.{rest}"


def test_modules_import_each_other_without_a_circle():
    graph, done = import_graph(), set()

    def visit(module, trail):
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, [*trail, module])
            done.add(module)

    for module in graph:
        visit(module, [])
    assert len(done) > 80


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_imported_by_their_full_name(package):
    for path in sources(package):
        for module, line in imports(path):
            assert module.partition(".")[0] not in {*PACKAGES, *COMMANDS}, f"{path}:{line} imports {module}"


def test_startup_imports_the_standard_library_and_nothing_heavy():
    paths = [ROOT / "cli" / "startup.py", ROOT / "lagvis" / "installation.py"]
    found = {module for path in paths for module, _ in imports(path)}
    assert {name for name in found if name.partition(".")[0] != "lagvis"} <= set(sys.stdlib_module_names) | {
        "importlib.import_module", "__future__.annotations",
    }  # fmt: skip
    program = "import sys, lagvis; print({*sys.modules} & {'numpy', 'polars', 'matplotlib', 'lagvis.api'})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_library_imports_no_heavy_library():
    program = f"import sys, lagvis.api; print({{*sys.modules}} & {HEAVY})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("package", [package for package in PACKAGES if package != "backends"])
def test_array_libraries_are_imported_by_backends_alone(package):
    for path in sources(package):
        found = {(module, line) for module, line in imports(path) if module.partition(".")[0] in ARRAY_LIBRARIES}
        assert not found, f"{path}: {found}"


def test_network_imports_numpy_in_initializers_alone():
    importing = {path.name for path in sources("network") if "numpy" in {module for module, _ in imports(path)}}
    assert importing == {"initializers.py"}


def test_network_never_assigns_into_an_array():
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


def test_pyproject_packages_every_folder_with_python_files():
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {path.parent for package in PACKAGES for path in sources(package)}
    expected = {f"lagvis.{'.'.join(folder.relative_to(ROOT).parts)}": folder for folder in folders}
    expected |= {"lagvis": ROOT / "lagvis", "lagvis.recipes": ROOT / "recipes"}
    assert set(tools["packages"]) == set(expected)
    assert {name: ROOT / folder for name, folder in tools["package-dir"].items()} == expected


def test_root_holds_the_five_commands_and_no_other_module():
    assert {path.stem for path in ROOT.glob("*.py")} == set(COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--device", "cpu", "--no-plots"],
        ["--help"],
        pytest.param(["--dry-run"], marks=pytest.mark.skipif(not driver_is_missing(), reason="there is a driver")),
    ],
)
def test_training_on_the_cpu_imports_no_heavy_library(tmp_path, arguments):
    code = (
        "import runpy, sys\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print('HEAVY', sorted({HEAVY} & set(sys.modules)), file=sys.stderr)\n"
    )
    more = [] if "--help" in arguments else ["-e", "1", "--hidden", "none", "-o", str(tmp_path)]
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
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


def functions_in(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_guarantee_names_a_test_that_exists():
    lines = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8").splitlines()
    named = [found for line in lines for found in re.findall(r"\[(test_\w+)\]\(\.\./([\w/.]+)\)", line)]
    assert len(named) > 40
    functions = {path: functions_in(path) for path in {path for _, path in named}}
    for name, path in named:
        assert name in functions[path], f"{path}: {name}"


def warning_checks(path):
    """Yield the check of each RunWarning that a file makes: a string, a constant of the module or an entry of one."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "RunWarning":
            check = node.args[0]
            if isinstance(check, ast.Subscript):
                yield from (value.value for value in constants[check.value.id].values)
            else:
                yield (constants[check.id] if isinstance(check, ast.Name) else check).value


def test_every_check_is_in_the_table_of_silent_failures():
    text = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    table = text.split("## Silent failures")[1].split("\n## ")[0]
    documented = [
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line[1:].split("|")[0].partition(":")[0])
    ]
    checks = {name for package in PACKAGES for path in sources(package) for name in warning_checks(path)}
    assert sorted(documented) == sorted(checks)
    assert len(checks) >= 20
