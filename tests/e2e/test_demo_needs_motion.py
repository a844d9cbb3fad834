"""The demo's classes are told apart by motion alone: one frame says nothing, sixteen say nearly everything.

The test split has 48 clips of 4 equally frequent classes, and no choice is made on it. Who guesses gets 12 right, and
23 or more in 1 run of 2,000 (P(X >= 23) = 0.0005, X binomial with n = 48, p = 1/4): a single frame must stay below.
Sixteen frames must get 36, which guesses do in 1 of 10^12, and which one who is right 9 times of 10 misses in 1 of
1,500 (P(X < 36) = 0.0007 for p = 0.9). Measured: 10 and 47.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT, RunStages, make_params

# The demo's own recipe, smaller in time and space, with more subjects kept for the test.
SMALLER: dict[str, Any] = {
    "demo": {"subjects": 15, "clip_s": 0.8, "size_px": 64},
    "data": {"split": {"train_frac": 0.5, "val_frac": 0.1, "test_frac": 0.4}},
    "compute": {"device": "cpu", "threads": 1},
    "model": {"backbones": {"rgb": {"width": 12, "input_px": 40}}},
    "evaluate": {"splits": ["test"], "bootstrap_samples": 0},
}


@pytest.fixture
def correct(tmp_path: Path, run_stages: RunStages):
    """Return a function that runs all stages with so many frames a clip and says how many test clips it gets right."""

    def run(clip_frames: int, epochs: int) -> tuple[int, int]:
        changes = {"frames": {"clip_frames": clip_frames, "size_px": 48}, "train": {"epochs": epochs}}
        make_params(ROOT / "recipes/demo.yaml", tmp_path / "params.yaml", SMALLER, changes)
        run_stages(tmp_path, store=tmp_path / "store")
        scores = json.loads((tmp_path / "results/metrics.json").read_text(encoding="utf-8"))["test"]["action"]
        return round(scores["top1"] * scores["num_clips"]), scores["num_clips"]

    return run


def test_the_demo_cannot_be_learned_from_single_frames(correct) -> None:
    moving, num_clips = correct(clip_frames=16, epochs=12)
    assert num_clips == 48
    assert moving >= 36
    # More epochs: it is not for want of training.
    still, _ = correct(clip_frames=1, epochs=24)
    assert still < 23
