"""Two kinds of file: a trained model that anybody can use, and the state from which a killed run goes on."""

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from actrec.errors import UserError, not_here
from actrec.media.clip import ClipSpec
from actrec.media.sound import SoundSpec
from actrec.models.recogniser import Recogniser, build
from actrec.models.weights import why_refused
from actrec.pose.layouts import LAYOUTS
from actrec.store.files import write_atomic

_FORMAT = 4


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model with all that using it takes: its own description, class names, and how clips are cut for it.

    `model` is the section of params.yaml with weights that need not be looked up. `clip_spec` and `sound_spec` are None
    of what the model neither sees nor hears; `layout` is that of skeletons, "" without any, and `parents` the coarse
    class of each fine one where PCAN is told. `typical_s` is the median duration of the training clips: long videos are
    looked at in windows of it.
    """

    model: dict[str, Any]
    classes: dict[str, tuple[str, ...]]
    multi_label: tuple[str, ...]
    clip_spec: ClipSpec | None
    sound_spec: SoundSpec | None
    layout: str
    parents: tuple[int, ...]
    typical_s: float
    weights_sha256: dict[str, str]
    channels_last: bool
    seed: int
    epoch: int

    def rebuild(self, state: Mapping[str, torch.Tensor]) -> Recogniser:
        """Return the trained model; no weights are looked up."""
        model = build(
            self.model,
            classes=self.classes,
            multi_label=self.multi_label,
            clip_frames=self.clip_spec.clip_frames if self.clip_spec else 0,
            layout=LAYOUTS[self.layout] if self.layout else None,
            parents=self.parents,
            channels_last=self.channels_last,
            seed=self.seed,
        )
        model.load_state_dict(state)
        return model.eval()


def save_model(path: Path, about: Checkpoint, state: Mapping[str, torch.Tensor]) -> None:
    """Write a checkpoint of plain types; the same model gives the same bytes."""
    content = {"format": _FORMAT, "about": _plain(asdict(about)), "state_dict": _on_cpu(dict(state))}
    save_tensors(path, content)


def load_model(path: Path) -> tuple[Recogniser, Checkpoint]:
    """Return the model in a checkpoint, in evaluation mode, and what is known about it.

    Raises:
        UserError: if there is none, or it is not one of actrec's.
    """
    if not path.is_file():
        raise UserError(f"{path}: no checkpoint here. Train one: dvc repro.{not_here()}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']}, this version reads {_FORMAT}")
        about = content["about"]
        checkpoint = Checkpoint(
            **{
                **about,
                "classes": {head: tuple(names) for head, names in about["classes"].items()},
                "multi_label": tuple(about["multi_label"]),
                "parents": tuple(about["parents"]),
                "clip_spec": about["clip_spec"] and ClipSpec(**about["clip_spec"]),
                "sound_spec": about["sound_spec"] and SoundSpec(**about["sound_spec"]),
            }
        )
        return checkpoint.rebuild(content["state_dict"]), checkpoint
    except Exception as error:
        raise UserError(
            f"{path}: not a checkpoint of this version of actrec ({why_refused(error)}). Train one: dvc repro"
        ) from None


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomic(path, buffer.getvalue())


def _on_cpu(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        # A copy of its own: what is saved of a view is the whole storage below it.
        return value.detach().cpu().clone(memory_format=torch.contiguous_format)
    return {key: _on_cpu(part) for key, part in value.items()} if isinstance(value, dict) else value


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(part) for key, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
        case _:
            return value
