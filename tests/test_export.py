"""A trained svm as a file for scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from skops import io

from actrec.errors import UserError
from actrec.export import export_svm
from actrec.media.clip import ClipSpec
from actrec.models.recogniser import build
from actrec.training.checkpoint import Checkpoint, load_model, save_model

BACKBONE = {
    **{"kind": "hog", "orientations": 4, "cell_px": 8, "block_cells": 1},
    **{"weights": {"kind": "none"}, "frozen": True, "input_px": 16, "crop_frac": 1.0},
}
WIDTH = 2 * 2 * 4
CLASSES = {"kind": ("a", "b, c", "é"), "age": ("old", "young")}


@pytest.fixture
def checkpoint(tmp_path):
    """Return a function that writes a checkpoint with heads of a kind, whose numbers are all different."""

    def write(head) -> Path:
        about = Checkpoint(
            model={"backbones": {"rgb": BACKBONE}, "neck": {"kind": "mean"}, "heads": dict.fromkeys(CLASSES, head)},
            classes=CLASSES,
            multi_label=(),
            clip_spec=ClipSpec(clip_frames=1, clips_per_video=1, frame_stride=None, size_px=16, resize="crop"),
            sound_spec=None,
            layout="",
            parents=(),
            typical_s=0.0,
            weights_sha256={"rgb": ""},
            channels_last=False,
            seed=0,
            epoch=1,
        )
        model = build(about.model, classes=CLASSES, multi_label=(), clip_frames=1, channels_last=False, seed=0)
        rng = np.random.default_rng(0)
        state = {name: torch.from_numpy(rng.uniform(0.5, 2, value.shape)) for name, value in model.state_dict().items()}
        for name in ("coef", "intercept"):  # of two classes one's margin is the opposite of the other's
            if f"heads.1.{name}" in state:
                state[f"heads.1.{name}"][0] = -state[f"heads.1.{name}"][1]
        model.load_state_dict(state)
        save_model(tmp_path / "best.pt", about, model.state_dict())
        return tmp_path / "best.pt"

    return write


SVM = {"kind": "svm", "c": [1.0]}


def test_the_decision_function_is_the_model_s_logits_times_the_temperature(tmp_path, checkpoint):
    path = checkpoint(SVM)
    assert export_svm(path, tmp_path / "deep/svm.skops") == ("kind", "age")
    pipelines = io.load(tmp_path / "deep/svm.skops")
    model, _ = load_model(path)
    features = np.random.default_rng(1).normal(size=(5, WIDTH))
    batch = {"rgb": torch.from_numpy(features).float()[:, None], "present": {"rgb": torch.ones(5, dtype=torch.bool)}}
    logits = model(batch)
    for (name, pipeline), head in zip(pipelines.items(), model.heads, strict=True):
        margins = (logits[name] * head.temperature).numpy()
        assert head.temperature != 1
        expected = margins[:, 1] if len(CLASSES[name]) == 2 else margins
        np.testing.assert_allclose(pipeline.decision_function(features), expected, rtol=1e-4, atol=1e-4)
        assert pipeline.predict(features).tolist() == [CLASSES[name][i] for i in logits[name].argmax(dim=1)]


def test_the_file_holds_no_type_that_has_to_be_trusted(tmp_path, checkpoint):
    export_svm(checkpoint(SVM), tmp_path / "svm.skops")
    assert io.get_untrusted_types(file=tmp_path / "svm.skops") == []
    pipeline = io.load(tmp_path / "svm.skops")["kind"]
    assert [(name, type(step).__name__) for name, step in pipeline.steps] == [
        ("scale", "StandardScaler"),
        ("svm", "LinearSVC"),
    ]
    assert pipeline[0].n_features_in_ == WIDTH and pipeline[1].classes_.tolist() == list(CLASSES["kind"])


def test_another_head_is_refused(tmp_path, checkpoint):
    path = checkpoint({"kind": "linear", "dropout": 0.0, "loss_weight": 1.0})
    with pytest.raises(UserError, match=r"best\.pt: its heads are linear, .*model\.heads\.<head>\.kind: svm"):
        export_svm(path, tmp_path / "svm.skops")
    assert not (tmp_path / "svm.skops").exists()


def test_no_model(tmp_path):
    with pytest.raises(UserError, match=r"gone\.pt: no checkpoint here"):
        export_svm(tmp_path / "gone.pt", tmp_path / "svm.skops")
