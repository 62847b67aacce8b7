"""What holds of the project as a whole: what ships, what is loaded, who knows whom."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from xserve.core.manifest import Manifest

ROOT = Path(__file__).resolve().parent.parent
MODEL_LIBRARIES = {"torch", "transformers", "vllm", "xllamacpp", "llama_cpp", "sentence_transformers", "diffusers"}


@pytest.mark.parametrize(
    "module", ["xserve.cli.main", "xserve.daemon.main", "xserve.daemon.checking", "xserve.daemon.planning"]
)
def test_no_model_library_is_ever_loaded(module: str) -> None:
    """Neither the command line nor the daemon imports what an engine needs."""
    code = f"import sys, {module}; print(*(name.partition('.')[0] for name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not MODEL_LIBRARIES & set(loaded.stdout.split())


def test_the_import_contracts_hold() -> None:
    """Imports point one way, the core is pure."""
    checked = subprocess.run([Path(sys.executable).with_name("lint-imports")], capture_output=True, text=True, cwd=ROOT)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in ROOT.glob("engines/*/engine.yaml")))
def test_every_engine_is_a_folder_of_the_agreed_shape(folder: str) -> None:
    """A manifest that is valid, a main module, no package, and no import of xserve."""
    engine = ROOT / "engines" / folder
    manifest = Manifest.model_validate(yaml.safe_load((engine / "engine.yaml").read_text()))
    assert manifest.name == folder
    assert (engine / "__main__.py").exists()
    assert not (engine / "__init__.py").exists()
    for module in engine.glob("*.py"):
        assert "import xserve\n" not in module.read_text()
        assert "from xserve." not in module.read_text()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    out = tmp_path_factory.mktemp("wheel")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", out, ROOT], check=True)
    [built] = out.glob("*.whl")
    return built


def test_the_wheel_carries_the_engines_and_nothing_else_of_the_checkout(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "xserve/_engines/llama_cpp/engine.yaml" in names
    assert "xserve/_engines/_kit/xserve_engine/__init__.py" in names
    assert any(name.startswith("xserve/_models.d/") for name in names)
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"xserve"}
    assert not [name for name in names if "__pycache__" in name]
