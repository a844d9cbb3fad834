"""What a modality adds, measured on models whose answers are known."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from actrec.explain import analysis
from actrec.explain.analysis import _Only, class_frequencies
from actrec.report.contributions import contributions_plot
from actrec.training.labels import NO_LABEL


class Hears:
    """Says what the sound is; of pictures it knows nothing."""

    def eval(self) -> None: ...

    def decide(self, tokens: dict[str, torch.Tensor], present: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        assert torch.stack(list(present.values())).any(dim=0).all()  # nobody is asked about nothing
        return {"voice": torch.where(present["audio"][:, None], tokens["audio"][:, 0], torch.zeros(2))}

    def to_probs(self, head: str, logits: torch.Tensor) -> torch.Tensor:
        return logits.softmax(dim=1)


def batch() -> dict[str, Any]:
    loud = torch.tensor([[[9.0, 0.0]], [[0.0, 9.0]], [[9.0, 0.0]]])
    present = {"rgb": torch.tensor([True, True, False]), "audio": torch.tensor([True, False, True])}
    return {"tokens": {"rgb": torch.full((3, 1, 2), torch.nan), "audio": loud}, "present": present}


def answers(*modalities: str) -> list[list[float]]:
    prior = {"voice": torch.tensor([0.2, 0.8])}
    return _Only(Hears(), frozenset(modalities), prior)(batch())["voice"].tolist()


def test_a_clip_without_the_modalities_in_question_is_answered_by_class_frequencies():
    sure, even, frequent = [0.99988, 0.00012], [0.5, 0.5], [0.2, 0.8]
    for shown, expected in (
        (("rgb", "audio"), [sure, even, sure]),
        (("audio",), [sure, frequent, sure]),
        (("rgb",), [even, even, frequent]),
        ((), [frequent] * 3),
    ):
        for said, wanted in zip(answers(*shown), expected, strict=True):
            assert said == pytest.approx(wanted, abs=1e-5)


def test_class_frequencies_are_those_of_labelled_clips():
    labels = {
        "one": torch.tensor([0, 2, 2, NO_LABEL, 1]),
        "many": torch.tensor([[1.0, 0.0], [1.0, 1.0], [NO_LABEL, NO_LABEL], [0.0, 0.0], [1.0, 0.0]]),
    }
    found = class_frequencies(labels, {"one": 4, "many": 2})
    assert found["one"].tolist() == [0.25, 0.25, 0.5, 0.0]
    assert found["many"].tolist() == [0.75, 0.25]


def test_the_plot_is_a_picture():
    found = {"species $x": {"rgb": {"shapley": 0.1, "drop_one": -0.05}, "audio": {"shapley": 0.6, "drop_one": 0.5}}}
    assert contributions_plot(found, split="test").startswith(b"\x89PNG")
    assert contributions_plot(found, split="test") == contributions_plot(found, split="test")


def test_grad_cam_is_of_the_last_split_and_the_first_view(monkeypatch):
    asked: dict[str, int] = {"clips": 4, "worst_classes": 2, "clips_per_class": 3}
    found: list[Any] = []

    def record(*args: Any, **settings: Any) -> dict[str, bytes]:
        found.append((args, settings))
        return {"grad_cam.png": b"picture"}

    monkeypatch.setattr(analysis, "cam_pictures", record)
    none = {"contributions": False, "attention_clips": 0, "worst_clips": 0, "batch_size": 2, "fabric": "the fabric"}
    where: dict[str, Any] = {"root": "data", "splits": ["val", "test"], "views": ["first", "second"], **none}
    given: list[Any] = ["model", "about", "inputs", "scores"]
    assert analysis.analyse(*given, **where, grad_cam=None) == ({}, {}) and not found
    assert analysis.analyse(*given, **where, grad_cam=asked) == ({}, {"grad_cam.png": b"picture"})
    assert found == [((*given, "test", "first"), {**asked, "fabric": "the fabric"})]


def test_attention_is_of_so_many_clips_of_the_last_split(monkeypatch):
    def picture(*args: Any, **settings: Any) -> Any:
        return args, settings

    monkeypatch.setattr(analysis, "attention_picture", picture)
    none = {"contributions": False, "worst_clips": 0, "grad_cam": None, "batch_size": 2, "fabric": "the fabric"}
    where: dict[str, Any] = {"root": "data", "splits": ["val", "test"], "views": [], **none}
    given: list[Any] = ["model", "about", "inputs", []]
    _, pictures = analysis.analyse(*given, **where, attention_clips=3)
    assert pictures == {"attention.png": (("model", "about", "inputs", "test"), {"clips": 3, "fabric": "the fabric"})}
    assert analysis.analyse(*given, **where, attention_clips=0) == ({}, {})


def test_mistakes_are_of_the_last_split(monkeypatch):
    manifest = SimpleNamespace(of_split=lambda split: [f"clips of {split}"])
    inputs: Any = SimpleNamespace(manifest=manifest, folders="the folders")
    monkeypatch.setattr(analysis, "mistake_pictures", lambda *args, limit: {"skeletons.png": (*args, limit)})
    monkeypatch.setattr(analysis, "pair_pictures", lambda *args, limit: {"mistakes.png": (*args, limit)})
    own, other = (SimpleNamespace(split=split) for split in ("test", "val"))
    where: dict[str, Any] = {"root": "data", "splits": ["val", "test"], "views": [], "batch_size": 2, "fabric": ""}
    none: dict[str, Any] = {"contributions": False, "attention_clips": 0, "grad_cam": None}
    given: list[Any] = ["model", "about", inputs, [own, other]]
    _, pictures = analysis.analyse(*given, **where, **none, worst_clips=3)
    clips: Any = ["clips of test"]
    assert pictures == {
        "skeletons.png": ([own], clips, "the folders", 3),
        "mistakes.png": ([own], clips, "data", 3),
    }


def test_its_library_is_loaded_only_where_it_is_asked_for():
    program = "import sys, actrec.explain.analysis; print({'pytorch_grad_cam', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
