"""What params.yaml may say: one frozen model a section, no defaults, choices as closed tagged unions.

No default lives here, so that the file shows everything that changes a result and `dvc params diff` misses nothing.
Types are plain (no Path, no Enum): what is checked is what stands in the file. Validators look at nothing outside it.
"""

from typing import Self

from pydantic import model_validator

from actrec.params.data import CsvReader, Data, Demo
from actrec.params.media import Features, Frames, Mels
from actrec.params.model import Model
from actrec.params.section import Count, Name, Section
from actrec.params.training import Compute, Evaluate, Train

_MULTI_LABEL_METRICS = ("map_macro", "f1_macro", "f1_weighted", "loss")


class Params(Section):
    """The whole of params.yaml."""

    recipe: Name
    seed: Count
    data: Data
    demo: Demo
    frames: Frames
    mels: Mels
    features: Features
    compute: Compute
    model: Model
    train: Train
    evaluate: Evaluate

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        self._check_labels()
        self._check_modalities()
        self._check_frozen()
        return self

    def _check_labels(self) -> None:
        head, metric = self.train.select_on.split(".")
        if head not in self.model.heads:
            raise ValueError(f"train.select_on names the head '{head}'; model.heads has {sorted(self.model.heads)}")
        reader = self.data.reader
        labelled = set(reader.heads) if isinstance(reader, CsvReader) else {reader.head}
        if missing := sorted(set(self.model.heads) - labelled):
            raise ValueError(f"model.heads has {missing} that data.reader does not label; it labels {sorted(labelled)}")
        multi_label = set(reader.multi_label) if isinstance(reader, CsvReader) else set()
        if unknown := sorted(multi_label - labelled):
            raise ValueError(f"data.reader.multi_label has {unknown}; data.reader.heads has {sorted(labelled)}")
        if head in multi_label and metric not in _MULTI_LABEL_METRICS:
            raise ValueError(
                f"train.select_on is {head}.{metric}, but clips may have several {head} classes: choose one of "
                f"{', '.join(_MULTI_LABEL_METRICS)}"
            )

    def _check_modalities(self) -> None:
        backbones = self.model.backbones.used
        if not backbones:
            raise ValueError("model.backbones is empty: it needs rgb or audio")
        for modality, (section, enabled) in {
            "rgb": ("frames", self.frames.enabled),
            "audio": ("mels", self.mels.enabled),
        }.items():
            if modality in backbones and not enabled:
                raise ValueError(f"model.backbones.{modality} needs {section}.enabled: true")
        if self.data.media == "sound" and "rgb" in backbones:
            raise ValueError("model.backbones.rgb needs pictures: set data.media: video")
        if self.model.neck.kind == "mean" and len(backbones) > 1:
            raise ValueError(f"model.neck: mean takes one modality, model.backbones has {sorted(backbones)}. Take mbt")
        for section, augment in (("train", self.train.augment), ("features", self.features.augment)):
            if missing := sorted(set(backbones) - set(augment.used)):
                raise ValueError(f"{section}.augment lacks {missing}: each modality of model.backbones needs its own")
        if self.evaluate.contributions and len(backbones) < 2:
            raise ValueError("evaluate.contributions compares modalities; model.backbones has one. Set it to false")
        rgb = self.model.backbones.rgb
        if self.evaluate.attention_clips and (rgb is None or rgb.kind != "videomae"):
            raise ValueError("evaluate.attention_clips draws the attention of videomae alone: set it to 0")

    def _check_frozen(self) -> None:
        frozen = {modality for modality, backbone in self.model.backbones.used.items() if backbone.frozen}
        free = sorted(set(self.model.backbones.used) - frozen)
        if self.features.enabled and free:
            raise ValueError(
                f"features.enabled caches frozen backbones: set model.backbones.{free[0]}.frozen: true as well"
            )
        if self.train.freeze.epochs and not free:
            raise ValueError("train.freeze.epochs is for backbones that thaw; all of model.backbones are frozen")
