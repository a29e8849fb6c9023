"""notebooks/lagvis.ipynb: it is executed from top to bottom, and its outputs are those of its cells."""

import importlib.util
import json
import shutil
import subprocess
from types import SimpleNamespace

import pytest

from tests.conftest import skip_or_fail
from tests.notebooks.execution import NOTEBOOK, execute, source_digest

MAX_BYTES = 500_000


def read_notebook():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def text_of(output, kind):
    """Return the content of an output of a media type; files keep it as a list of lines."""
    content = output.get("data", {}).get(kind, "")
    return "".join(content)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Return the notebook with the outputs of a kernel, and its folder."""
    try:
        import ipykernel  # noqa: F401
        import nbclient  # noqa: F401
        import nbformat
    except ImportError as error:
        skip_or_fail("notebook", f"nbclient executes the notebook in ipykernel: {error}")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    execute(notebook, folder)
    return notebook, folder


@pytest.mark.slow
def test_notebook_executes_and_shows_progress_result_report_and_page(executed):
    notebook, folder = executed
    outputs = [output for cell in code_cells(notebook) for output in cell["outputs"]]
    assert not [
        output["text"] for output in outputs if output["output_type"] == "stream" and output["name"] == "stderr"
    ]
    shown = "".join(text_of(output, "text/html") for output in outputs)
    for part in ("epoch 10/10", "100%&ensp;in", '<div class="lagvis-result">', "To do it again"):
        assert part in shown, part
    assert shown.count("<iframe") == 2
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    assert "The backends agree." in "".join(output.get("text", "") for output in outputs)
    assert {path.name for path in folder.iterdir()} == {"digits.safetensors", "digits.html"}


def test_notebook_outputs_are_those_of_its_cells():
    notebook = read_notebook()
    for cell in code_cells(notebook):
        cell["source"] = "".join(cell["source"])
    assert notebook["metadata"]["lagvis"]["executed"] == source_digest(notebook), "run scripts/make-notebook"
    assert [cell["execution_count"] for cell in code_cells(notebook)] == [*range(1, len(code_cells(notebook)) + 1)]


def test_notebook_keeps_no_page_and_is_small():
    assert "<iframe" not in NOTEBOOK.read_text(encoding="utf-8")
    assert NOTEBOOK.stat().st_size < MAX_BYTES


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Return a function that runs the first cell where Lagvis is missing, and returns what pip is asked to install."""
    code = "".join(code_cells(read_notebook())[0]["source"])
    assert code.count('%pip install --quiet "{source}" scikit-learn') == 1
    code = code.replace('%pip install --quiet "{source}" scikit-learn', "pip(source)")
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(driver=None, packages=()):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: name in packages or None)
        monkeypatch.setattr(shutil, "which", lambda name: driver and f"/usr/bin/{name}")
        monkeypatch.setattr(subprocess, "run", lambda *args, **options: SimpleNamespace(stdout=driver))
        asked = []
        exec(code, {"pip": asked.append})
        return asked

    return run


def test_install_cell_where_lagvis_is_installs_nothing(install):
    assert install(packages=("lagvis",)) == []


def test_install_cell_without_a_source_says_what_to_upload(install):
    with pytest.raises(SystemExit, match="Upload the wheel of Lagvis"):
        install()


def test_install_cell_takes_the_repository_or_a_wheel(install, tmp_path):
    (tmp_path / "lagvis").mkdir()
    (tmp_path / "lagvis" / "__init__.py").touch()
    assert install() == [str(tmp_path)]
    wheel = tmp_path / "notebooks" / "lagvis-0.1.0-py3-none-any.whl"
    wheel.touch()
    assert install() == [str(wheel)]


@pytest.mark.parametrize(
    ("driver", "packages", "extra"),
    [
        ("580.65.06\n", (), "[cuda13]"),
        ("535.104.05\n", (), "[cuda12]"),
        ("535.104.05\n", ("cupy",), ""),
        ("NVIDIA-SMI has failed\n", (), ""),
    ],
)
def test_install_cell_on_a_gpu_takes_the_cupy_of_its_driver(install, tmp_path, driver, packages, extra):
    (tmp_path / "lagvis").mkdir()
    (tmp_path / "lagvis" / "__init__.py").touch()
    assert install(driver, packages) == [f"{tmp_path}{extra}"]
