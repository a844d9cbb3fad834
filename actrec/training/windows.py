"""Predictions for any video: short ones as a whole, long ones in windows as long as the training clips."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from actrec.console import progress
from actrec.media.clip import HEAVY_IMPORTS, ClipSpec, read_clip
from actrec.media.probe import probe
from actrec.models.recogniser import Recogniser
from actrec.store.workers import run_each
from actrec.training.checkpoint import Checkpoint
from actrec.training.predict import to_device
from actrec.training.views import plain_view

_TIMEOUT_S = 300.0
_WHOLE_UP_TO = 1.5
_TOP = 3


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of a video, or of [start_s, end_s) of it; or `status` why it says nothing.

    `label` and `prob` are the likeliest class; `top3` is `class:prob` of the three likeliest.
    """

    video: str
    start_s: float | None
    end_s: float | None
    head: str
    label: str
    prob: float | None
    top3: str
    status: str


@dataclass(frozen=True, slots=True)
class _Window:
    path: Path
    spec: ClipSpec
    input_px: int
    start_s: float | None
    end_s: float | None


def predict_videos(
    paths: Sequence[Path],
    model: Recogniser,
    about: Checkpoint,
    *,
    window_s: float | None,
    device: torch.device,
    workers: int,
) -> Iterator[Prediction]:
    """Yield predictions in the order of paths and windows; a bad file yields one row that says what is wrong.

    Args:
        paths: Videos.
        model: In evaluation mode, on `device`.
        about: What the checkpoint says of the model.
        window_s: Length of the windows; None: that of the training clips, for videos 1.5 times as long and longer.
        device: Where the model is.
        workers: Decoding processes.
    """
    found: dict[Path, list[Prediction]] = {path: [] for path in paths}
    windows = []
    for outcome in run_each(probe, paths, timeout_s=_TIMEOUT_S, workers=workers, preload=("av",)):
        if outcome.result is None:
            found[outcome.item].append(_failed(outcome.item, outcome.reason, outcome.message))
        else:
            input_px = about.model["backbones"]["rgb"]["input_px"]
            spans = split_windows(outcome.result.duration_s, window_s, about.typical_s)
            windows += [_Window(outcome.item, about.clip_spec, input_px, *span) for span in spans]
    outcomes = run_each(
        _read, sorted(windows, key=_order), timeout_s=_TIMEOUT_S, workers=workers, preload=HEAVY_IMPORTS
    )
    for outcome in progress(outcomes, len(windows), "predict", "windows"):
        window = outcome.item
        if outcome.result is None:
            found[window.path].append(
                _failed(window.path, outcome.reason, outcome.message, window.start_s, window.end_s)
            )
        else:
            found[window.path] += _predict(outcome.result, window, model, about, device)
    for path in paths:
        yield from sorted(found[path], key=lambda row: (row.start_s or 0.0, row.head))


def split_windows(
    duration_s: float, window_s: float | None, typical_s: float
) -> list[tuple[float | None, float | None]]:
    """Return [start, end) of each window: equal ones, one after the other, the last ending with the video.

    (None, None) is the whole video: of unknown duration, or not much longer than a window.
    """
    length = window_s or typical_s
    if not duration_s or not length or duration_s < (length * _WHOLE_UP_TO if window_s is None else length):
        return [(None, None)]
    count = math.ceil(duration_s / length - 1e-6)
    starts = [min(i * length, duration_s - length) for i in range(count)]
    return [(round(start, 3), round(start + length, 3)) for start in starts]


def _order(window: _Window) -> tuple[Path, float]:
    return window.path, window.start_s or 0.0


def _read(window: _Window) -> Any:
    """Run in a worker: return the window's plain views as an array, uint8 (views, T, S, S, 3)."""
    torch.set_num_threads(1)
    clip = read_clip(window.path, probe(window.path), window.spec, start_s=window.start_s, end_s=window.end_s)
    return plain_view(clip, input_px=window.input_px).numpy()


@torch.inference_mode()
def _predict(
    views: Any, window: _Window, model: Recogniser, about: Checkpoint, device: torch.device
) -> list[Prediction]:
    logits = model(to_device({"rgb": torch.from_numpy(views)}, device))
    return [
        _row(window, head, values.softmax(dim=1).mean(dim=0), about.classes[head]) for head, values in logits.items()
    ]


def _row(window: _Window, head: str, probs: torch.Tensor, classes: Sequence[str]) -> Prediction:
    top = probs.topk(min(_TOP, len(classes)))
    ranked = [(classes[int(i)], prob) for i, prob in zip(top.indices.tolist(), top.values.tolist(), strict=True)]
    top3 = "|".join(f"{name}:{prob:.4f}" for name, prob in ranked)
    label, prob = ranked[0]
    return Prediction(str(window.path), window.start_s, window.end_s, head, label, round(prob, 4), top3, "ok")


def _failed(
    path: Path, reason: str, message: str, start_s: float | None = None, end_s: float | None = None
) -> Prediction:
    return Prediction(str(path), start_s, end_s, "", "", None, "", f"{reason}: {message}")
