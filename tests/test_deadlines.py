"""What `timeout_s` of a section says is the deadline that the stage's workers get."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ruamel.yaml import YAML

from actrec import paths
from actrec.data import manifest
from actrec.data.manifest import Clip, Manifest
from actrec.media.facts import MediaFacts
from pipeline import frames, mels, skeletons

REPO = Path(__file__).resolve().parents[1]
DEADLINES = {"frames": 7.5, "mels": 8.5, "skeletons": 9.5}
FILM = MediaFacts("mp4", "h264", "yuv420p", 96, 54, 0, 25.0, 3, 0.12, "aac", 16000, 1)


class Asked(Exception):
    """Workers have been asked for, with this deadline."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in a folder with a clip that has pictures, sound and a skeleton, and a deadline of its own for each."""
    params = YAML(typ="safe", pure=True).load((REPO / "recipes/wildlife-demo.yaml").read_text(encoding="utf-8"))
    params["data"]["skeletons"] = {"kind": "npz", "path": "skeletons", "layout": "coco17"}
    params["skeletons"]["enabled"] = True
    for section, deadline_s in DEADLINES.items():
        params[section]["timeout_s"] = deadline_s
    with (tmp_path / paths.PARAMS).open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(params, file)
    sound: dict[str, Any] = {"sound_path": "a.mp4", "sound_sha256": "0" * 64}
    skeleton: dict[str, Any] = {"skeleton_path": "a.npz", "skeleton_name": "a", "skeleton_sha256": "1" * 64}
    clip = Clip("a", "a.mp4", "train", "", {"action": "b"}, None, None, "0" * 64, 1, FILM, **sound, **skeleton)
    table = tmp_path / paths.manifest(params["data"]["name"])
    table.parent.mkdir(parents=True)
    table.write_text(manifest.dump(Manifest((clip,), ("action",))), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTREC_CACHE", str(tmp_path / "store"))


@pytest.mark.parametrize(("stage", "asker"), [(frames, "tree"), (mels, "tree"), (skeletons, "skeletons")])
@pytest.mark.usefixtures("project")
def test_the_deadline_is_the_section_s(stage: ModuleType, asker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_each(work: Any, items: Any, *, timeout_s: float, **_: Any) -> None:
        raise Asked(timeout_s)

    monkeypatch.setattr(f"actrec.store.{asker}.run_each", run_each)
    with pytest.raises(Asked) as caught:
        stage.main(paths.PARAMS)
    assert caught.value.args == (DEADLINES[stage.__name__.rpartition(".")[2]],)
