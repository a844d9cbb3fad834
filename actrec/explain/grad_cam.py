"""What in a model's clips speaks for the classes, drawn: of clips drawn at random, and of mistakes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from lightning_fabric import Fabric

from actrec.console import progress, say
from actrec.explain.class_heat import class_heat, picture_backbone
from actrec.explain.mistakes import first_clips
from actrec.explain.rollout import on_frames
from actrec.metrics.classification import Scores, predicted_classes
from actrec.metrics.mistakes import worst_mistakes
from actrec.metrics.summary import AnyScores
from actrec.models.backbone import Backbone
from actrec.models.recogniser import Recogniser
from actrec.outputs import file_name, modality_of
from actrec.report.cams import Heated, mistake_grid, said_grid
from actrec.report.strips import shown_frames
from actrec.training.checkpoint import Checkpoint
from actrec.training.data import Inputs
from actrec.training.predict import to_device
from actrec.training.randomness import generator
from actrec.training.views import PlainViews


def cam_pictures(
    model: Recogniser,
    about: Checkpoint,
    inputs: Inputs,
    scores: Sequence[AnyScores],
    split: str,
    view: PlainViews,
    *,
    clips: int,
    worst_classes: int,
    clips_per_class: int,
    fabric: Fabric,
) -> dict[str, bytes]:
    """Return PNG files by name: grad_cam.png of clips drawn at random, grad_cam_worst.png of mistakes.

    A model of several outputs that its pictures have a part in has two for each, as grad_cam_rgb_action.png and
    grad_cam_worst_rgb_action.png; without a neck these are the outputs of the pictures' stream. Where clips may have
    several classes the heat is of the likeliest one, and there is no picture of mistakes, for none is taken for
    another. What cannot be drawn is told in a line, and has no file.

    Args:
        model: In evaluation mode.
        about: What its checkpoint says of it.
        inputs: The clips themselves are looked at, also where features are cached.
        scores: What the model says of them.
        split: Which of them.
        view: What is shown of a clip: one view of this scale, neither several nor mirrored.
        clips: How many are drawn at random, by the model's seed, of those with a label; 0 for none.
        worst_classes: Of so many classes with the lowest recall mistakes are drawn; 0 for none.
        clips_per_class: How many of each at most, the surest first.
        fabric: The device.
    """
    backbone = picture_backbone(model)
    if backbone is None or backbone.cam_layer is None:
        return _nothing((backbone or Backbone).no_cam)
    said = {own.head: own for own in scores if own.split == split}
    outputs = [output for output in model.outputs if modality_of(output) in ("", "rgb")]
    eye = _Eye(model, about, inputs, split, view, backbone, fabric)
    time, *places = eye.grid(outputs[0])
    if places == [1, 1]:
        return _nothing(f"{eye.layer} has one place for the whole picture. Set model.backbones.rgb.input_px higher")
    at = f"Grad-CAM at {eye.layer}, {places[0]} x {places[1]} places{f' x {time} in time' if time > 1 else ''}"
    drawn: dict[str, bytes] = {}
    for output in outputs:
        own, ending = said[output], f"_{file_name(output)}.png" if len(outputs) > 1 else ".png"
        about_it = f"{split} · {output} · {at}"
        if clips:
            rng = generator(about.seed, "grad_cam", split)
            rows = np.sort(rng.choice(len(own.labels), min(clips, len(own.labels)), replace=False)).tolist()
            seen = eye.look(own, rows, own.probs[rows].argmax(axis=1)[:, None])
            drawn[f"grad_cam{ending}"] = said_grid(seen, own, rows, subtitle=about_it)
        if worst_classes and (rows := _mistakes(own, classes=worst_classes, per_class=clips_per_class)):
            assert isinstance(own, Scores)
            seen = eye.look(own, rows, np.stack([predicted_classes(own)[rows], own.labels[rows]], axis=1))
            drawn[f"grad_cam_worst{ending}"] = mistake_grid(seen, own, rows, subtitle=about_it)
    return drawn


def _nothing(reason: str) -> dict[str, bytes]:
    say(f"evaluate.grad_cam: nothing to draw: {reason}")
    return {}


def _mistakes(scores: AnyScores, *, classes: int, per_class: int) -> list[int]:
    if not isinstance(scores, Scores):
        say(f"evaluate.grad_cam: no mistakes of {scores.head} to draw: its clips may have several classes")
        return []
    rows = worst_mistakes(scores, classes=classes, per_class=per_class)
    if not rows:
        say(f"evaluate.grad_cam: no mistakes of {scores.head} in {scores.split} to draw")
    return rows


class _Eye:
    """A model that is shown clips of a split, one plain view of each."""

    def __init__(
        self,
        model: Recogniser,
        about: Checkpoint,
        inputs: Inputs,
        split: str,
        view: PlainViews,
        backbone: Backbone,
        fabric: Fabric,
    ) -> None:
        live, shown = Inputs(inputs.manifest, inputs.folders), replace(view, clips=1, flip=False)
        self._source = live.source(split, backbones=about.model["backbones"], augment={}, seed=about.seed, views=shown)
        self._clip_ids = first_clips(self._source.clips)
        self._rows = {clip.clip_id: row for row, clip in enumerate(self._source.clips)}
        self._model, self._device = model.to(fabric.device), fabric.device
        self.layer = next(name for name, module in backbone.named_modules() if module is backbone.cam_layer)

    def grid(self, output: str) -> tuple[int, ...]:
        """Return how many places the maps have in time, height and width."""
        return tuple(class_heat(self._model, self._batch(0), output=output, classes=[0]).shape[1:])

    def look(self, scores: AnyScores, rows: Sequence[int], classes: np.ndarray) -> list[Heated]:
        """Return the clips of some rows of scores, each with the heat of its own classes (n, k)."""
        shown = zip((self._clip_ids[scores.clip_ids[row]] for row in rows), classes.tolist(), strict=True)
        return [
            self._heated(self._batch(self._rows[clip_id]), scores.head, own)
            for clip_id, own in progress(shown, len(rows), "grad_cam")
        ]

    def _batch(self, row: int) -> dict[str, Any]:
        batch = self._source.plain_batch(np.array([row]))
        first = {modality: batch[modality][:1] for modality in self._model.modalities}
        return to_device({**first, "present": {m: there[:1] for m, there in batch["present"].items()}}, self._device)

    def _heated(self, batch: dict[str, Any], output: str, classes: list[int]) -> Heated:
        heat = class_heat(self._model, batch, output=output, classes=classes)
        pictures = batch["rgb"]
        _, clip_frames, size_px = pictures.shape[:3]
        frames = shown_frames(clip_frames)
        on_all = on_frames(heat, clip_frames=clip_frames, size_px=size_px)
        return Heated(pictures[0].cpu().numpy()[frames], on_all.numpy()[:, frames])
