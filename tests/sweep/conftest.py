import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a folder that has recipes, the stages, and a workspace with results of its own."""
    shutil.copytree(REPO / "recipes", tmp_path / "recipes")
    shutil.copy2(REPO / "dvc.yaml", tmp_path / "dvc.yaml")
    for folder in ("sweeps", "results", "models", "actrec/media"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "actrec/media/clip.py").write_text("CLIP = 1\n")
    edited = (REPO / "recipes/linear-probe.yaml").read_text(encoding="utf-8").replace("seed: 0", "seed: 5", 1)
    (tmp_path / "params.yaml").write_text(edited, encoding="utf-8")
    (tmp_path / "dvc.lock").write_text("mine")
    (tmp_path / "models/best.pt").write_text("mine")
    (tmp_path / "results/metrics.json").write_text('{"mine": 1}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTREC_CACHE", str(tmp_path / "store"))
    return tmp_path


@pytest.fixture
def write_sweep(project: Path) -> Callable[..., Path]:
    """Return a function that writes sweeps/NAME.yaml: write_sweep("grid: …", name="lr")."""

    def write(text: str, name: str = "lr") -> Path:
        path = project / f"sweeps/{name}.yaml"
        path.write_text(text, encoding="utf-8")
        return path.relative_to(project)

    return write
