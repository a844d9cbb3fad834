"""Predictions for any file: images and short videos as a whole, long ones in windows as long as the training clips."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import compress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from actrec.console import progress
from actrec.data.sounds import sound_beside, sounds_in
from actrec.errors import BadItem, UserError
from actrec.media import clip as pictures
from actrec.media import sound as sounds
from actrec.media.clip import read_clip
from actrec.media.facts import MediaFacts
from actrec.media.probe import probe
from actrec.media.sound import read_log_mel
from actrec.metrics.answers import listed, ranking
from actrec.metrics.classification import TOP_K, top_classes
from actrec.metrics.fusion import mean_in_ratio
from actrec.metrics.multi_label import said_classes
from actrec.models.recogniser import Recogniser
from actrec.outputs import fused_output, label_head, modality_of, stream_output
from actrec.store.workers import run_each
from actrec.training.checkpoint import Checkpoint
from actrec.training.modalities import plain_pictures
from actrec.training.predict import to_device
from actrec.training.views import PLAIN

_TIMEOUT_S = 300.0
_WHOLE_UP_TO = 1.5


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of a file, or of [start_s, end_s) of it; or `status` why it says nothing.

    What `predicted`, `prob` and `top5` are is as in results/predictions.csv: the likeliest class, of a head that finds
    several all of 0.5 and more; the highest probability; `class:prob|…` of the likeliest.
    """

    path: str
    start_s: float | None
    end_s: float | None
    head: str
    predicted: str
    prob: float | None
    top5: str
    status: str


@dataclass(frozen=True, slots=True)
class _Window:
    path: Path
    facts: MediaFacts
    sound: Path | None
    about: Checkpoint
    start_s: float | None
    end_s: float | None


def trained_on(about: Checkpoint) -> Literal["videos", "images", "sounds"]:
    """Return what kind of files the model was trained on; images are clips of one frame that take no time."""
    if not about.clip_spec:
        return "sounds"
    return "images" if about.clip_spec.clip_frames == 1 and not about.typical_s else "videos"


def predict_files(
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
        paths: Videos, images or sounds, as the model was trained on.
        model: In evaluation mode, on `device`.
        about: What the checkpoint says of the model.
        window_s: Length of the windows; None: that of the training clips, for videos 1.5 times as long and longer.
        device: Where the model is.
        workers: Decoding processes.

    Raises:
        UserError: if the model was shown skeletons, or pictures cut out around them; if it was trained on images and
            all files are others, or the other way round.
    """
    if about.layout or (about.clip_spec and about.clip_spec.region != "whole"):
        raise UserError(
            "this model is shown skeletons, or pictures cut out around them, and a video alone has none. Make the "
            "videos and their skeletons a data set (data.skeletons), and run dvc repro evaluate"
        )
    found: dict[Path, list[Prediction]] = {path: [] for path in paths}
    windows, wrong, sounds_of = [], [], cache(sounds_in)
    for outcome in run_each(probe, paths, timeout_s=_TIMEOUT_S, workers=workers, preload=("av",)):
        if outcome.result is None:
            found[outcome.item].append(_failed(outcome.item, outcome.reason, outcome.message))
        elif outcome.result.is_still != (trained_on(about) == "images"):
            wrong.append(_of_another_kind(outcome.item, outcome.result, about))
            found[outcome.item].append(wrong[-1])
        else:
            facts, path = outcome.result, outcome.item
            sound = path if facts.has_audio or not about.sound_spec else sound_beside(path, sounds_of(path.parent))
            spans = split_windows(facts.duration_s, window_s, about.typical_s)
            windows += [_Window(path, facts, sound, about, *span) for span in spans]
    if wrong and len(wrong) == len(paths):
        (first, *_) = sorted(wrong, key=lambda row: row.path)
        raise UserError(f"{first.path}: {first.status}. Name another model, one of its kind: --checkpoint FILE")
    outcomes = run_each(
        _read, sorted(windows, key=_order), timeout_s=_TIMEOUT_S, workers=workers, preload=_imports(about)
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


def _imports(about: Checkpoint) -> tuple[str, ...]:
    return pictures.HEAVY_IMPORTS if not about.sound_spec else (*pictures.HEAVY_IMPORTS, *sounds.HEAVY_IMPORTS)


def _order(window: _Window) -> tuple[Path, float]:
    return window.path, window.start_s or 0.0


def _read(window: _Window) -> dict[str, np.ndarray]:
    """Run in a worker: return the window's plain views (views, …) a modality.

    Without the sound if it has none that can be used, and the model also sees.

    Raises:
        BadItem: from the decoders; no_audio, if the model looks at nothing but sound.
    """
    torch.set_num_threads(1)
    about, views = window.about, {}
    span: dict[str, Any] = {"start_s": window.start_s, "end_s": window.end_s}
    if about.clip_spec:
        clip = read_clip(window.path, window.facts, about.clip_spec, **span)
        views["rgb"] = plain_pictures(clip, about.model["backbones"]["rgb"], PLAIN).numpy()
    if about.sound_spec and window.sound:
        try:
            log_mel = read_log_mel(window.sound, about.sound_spec, **span)
        except BadItem:
            if not views:
                raise
            log_mel = None  # as in training: the pictures are left
        if log_mel is not None:
            views["audio"] = log_mel[None]
    if not views:
        raise BadItem("no_audio", "no sound track, or a silent one, and the model was trained on sound alone")
    return views


@torch.inference_mode()
def _predict(
    views: dict[str, np.ndarray], window: _Window, model: Recogniser, about: Checkpoint, device: torch.device
) -> list[Prediction]:
    count = max(len(values) for values in views.values())
    batch: dict[str, Any] = {m: torch.from_numpy(v).expand(count, *v.shape[1:]) for m, v in views.items()}
    batch["present"] = {m: torch.full((count,), m in views) for m in model.modalities}
    if "audio" in model.modalities and "audio" not in views:
        assert about.sound_spec is not None, "a model that listens has a spec"
        batch["audio"] = torch.zeros((count, *about.sound_spec.shape))
    logits = model(to_device(batch, device))
    probs = {
        output: model.to_probs(output, values).mean(dim=0).cpu().numpy()
        for output, values in logits.items()
        if modality_of(output) in ("", *views)
    }
    return [_row(window, output, values) for output, values in {**_fused(probs, model, views), **probs}.items()]


def _fused(probs: Mapping[str, np.ndarray], model: Recogniser, seen: Collection[str]) -> dict[str, np.ndarray]:
    """Return what all modalities say together, in each ratio that gives weight to one that was seen."""
    found = {}
    for ratio in model.ratios:
        shares = {m: share for m, share in zip(model.modalities, ratio, strict=True) if m in seen}
        if any(shares.values()):
            for head in dict.fromkeys(map(label_head, probs)):
                own = np.stack([probs[stream_output(m, head)] for m in shares])
                mean = mean_in_ratio(own[:, None], np.array([*shares.values()])[:, None])
                found[fused_output(model.modalities, ratio, head)] = mean[0]
    return found


def _row(window: _Window, output: str, probs: npt.NDArray[np.float32]) -> Prediction:
    head = label_head(output)
    names = window.about.classes[head]
    best = top_classes(probs, TOP_K).tolist()
    several = head in window.about.multi_label
    predicted = listed(compress(names, said_classes(probs))) if several else names[best[0]]
    top5 = ranking((names[k], float(probs[k])) for k in best)
    prob = round(float(probs[best[0]]), 4)
    return Prediction(str(window.path), window.start_s, window.end_s, output, predicted, prob, top5, "ok")


def _of_another_kind(path: Path, facts: MediaFacts, about: Checkpoint) -> Prediction:
    reason = "no_video" if facts.is_still else "no_image"
    message = f"a {facts.kind} ({facts.container}), and this model was trained on {trained_on(about)}"
    return _failed(path, reason, message)


def _failed(
    path: Path, reason: str, message: str, start_s: float | None = None, end_s: float | None = None
) -> Prediction:
    return Prediction(str(path), start_s, end_s, "", "", None, "", f"{reason}: {message}")
