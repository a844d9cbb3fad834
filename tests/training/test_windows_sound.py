"""Predictions for files whose sound cannot be used: a model that also sees goes on, one of ears alone says why."""

from dataclasses import replace

import pytest
import torch
from tiny_runs import ABOUT, EAR, HEAD, SOUND_SPEC, make_both_model

from actrec.models.recogniser import build
from actrec.training.windows import predict_files

BOTH = replace(
    ABOUT,
    model={**ABOUT.model, "backbones": {**ABOUT.model["backbones"], "audio": EAR}},
    sound_spec=SOUND_SPEC,
)
EARS = replace(BOTH, model={**BOTH.model, "backbones": {"audio": EAR}}, clip_spec=None)
SPOILT = {
    "junk": (b"no sound at all " * 100, "not_media"),
    "cut": (b"RIFF1234WAVE", "unreadable"),
}


def predicted(path, model, about):
    (row,) = predict_files([path], model.eval(), about, window_s=None, device=torch.device("cpu"), workers=1)
    return row


def ears():
    spec = {"backbones": {"audio": EAR}, "neck": {"kind": "mean"}, "heads": {"action": HEAD}}
    return build(spec, classes=ABOUT.classes, multi_label=(), clip_frames=0, channels_last=True, seed=0)


@pytest.mark.parametrize("kind", SPOILT)
def test_a_spoilt_file_beside_a_silent_video_costs_the_sound_alone(tmp_path, make_clip, kind):
    content, reason = SPOILT[kind]
    path = make_clip(tmp_path / "a.mp4", 9, num_frames=8)
    silent = predicted(path, make_both_model(), BOTH)
    assert silent.status == "ok"
    (tmp_path / "a.wav").write_bytes(content)
    assert predicted(path, make_both_model(), BOTH) == silent
    assert predicted(path, ears(), EARS).status.startswith(f"{reason}: ")


def test_so_does_a_track_of_its_own_that_cannot_be_used(tmp_path, make_clip):
    path = make_clip(tmp_path / "a.mp4", 9, num_frames=8, with_audio=True)
    assert predicted(path, make_both_model(), BOTH).status == "ok"
    hop = replace(SOUND_SPEC, hop_samples=10**6)  # more than there is
    assert predicted(path, make_both_model(), replace(BOTH, sound_spec=hop)).status == "ok"
    assert predicted(path, ears(), replace(EARS, sound_spec=hop)).status.startswith("too_short: ")
