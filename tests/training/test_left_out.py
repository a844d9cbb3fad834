"""Clips that lack what the model looks at: they are left out, that is said, and what may not be lost is named."""

from dataclasses import asdict
from pathlib import Path

import pytest
from tiny_runs import SILENT, make_folder, make_manifest, make_mels

from actrec.data.manifest import Manifest, dump
from actrec.errors import UserError
from actrec.store.tree import write_index
from actrec.training.data import Inputs, open_inputs

OF_C = {"train02": "no_track", "train05": "no_track", "train08": "not_media"}


def written(folder: Path, absent: dict[str, str]) -> Manifest:
    """Leave what the stages leave: pictures of all clips, and the sound of all but these."""
    manifest = make_manifest()
    pictures, sounds = make_folder(folder / "frames", manifest), make_mels(folder / "mels", manifest)
    for name, made, missing in (("frames", pictures, {}), ("mels", sounds, absent)):
        clips = {i: {"file": i, "sha256": "0"} for i in (c.clip_id for c in manifest.clips) if i not in missing}
        index = {"enabled": True, "sharded": False, "spec": asdict(made.spec), "clips": clips, "absent": missing}
        write_index(folder / name, index)
    (folder / "manifest.csv").write_text(dump(manifest))
    return manifest


def opened(folder: Path, *modalities: str) -> Inputs:
    stages = {stage: folder / stage for stage in ("frames", "mels", "skeletons")}
    return open_inputs(folder / "manifest.csv", **stages, modalities=modalities)


def test_how_many_and_why_is_said_in_a_line(tmp_path, capsys):
    written(tmp_path, {**dict.fromkeys(SILENT, "no_track"), "train06": "silent"})
    assert len(opened(tmp_path, "audio").manifest.clips) == 13
    said = "left out 5 of 18 clips, without what the model looks at (no_track 4, silent 1)\n"
    assert capsys.readouterr().err == f"{tmp_path}: {said}"


def test_a_model_that_also_sees_leaves_out_nothing_and_says_nothing(tmp_path, capsys):
    manifest = written(tmp_path, OF_C)
    assert opened(tmp_path, "rgb", "audio").manifest == opened(tmp_path, "rgb").manifest == manifest
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("absent", "said"),
    [
        (OF_C, r"left out 3 of 18 clips, .* \(no_track 2, not_media 1\), so no usable train clip is left of action c"),
        (
            {f"val{i:02}": "silent" for i in range(5)} | {f"test{i:02}": "no_track" for i in range(3)},
            r"left out 8 of 18 clips, .* \(no_track 3, silent 5\), so no clip of the val split and the test split is ",
        ),
    ],
)
def test_a_class_of_train_and_a_split_are_not_lost_in_silence(tmp_path, absent, said):
    written(tmp_path, absent)
    with pytest.raises(UserError, match=rf"{said}.*sound\.csv there name them\..*model\.backbones"):
        opened(tmp_path, "audio")
