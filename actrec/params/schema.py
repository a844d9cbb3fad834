"""What params.yaml may say: one frozen model a section, no defaults, choices as closed tagged unions.

No default lives here, so that the file shows everything that changes a result and `dvc params diff` misses nothing.
Types are plain (no Path, no Enum): what is checked is what stands in the file. Validators look at nothing outside it.
"""

from typing import Self

from pydantic import model_validator

from actrec.outputs import label_head
from actrec.params.data import CsvReader, Data, Demo
from actrec.params.media import Features, Frames, Mels
from actrec.params.model import Model, Pcan
from actrec.params.section import Count, Name, Section
from actrec.params.skeletons import Skeletons
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
    skeletons: Skeletons
    features: Features
    compute: Compute
    model: Model
    train: Train
    evaluate: Evaluate

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        self._check_labels()
        self._check_modalities()
        self._check_neck()
        self._check_views()
        self._check_frozen()
        return self

    def _check_labels(self) -> None:
        output, _, metric = self.train.select_on.rpartition(".")
        if output not in self.model.outputs:
            raise ValueError(
                f"train.select_on names the head '{output}'; the model has {', '.join(self.model.outputs)}"
            )
        head = label_head(output)
        reader, labelled = self.data.reader, set(self.data.heads)
        if missing := sorted(set(self.model.heads) - labelled):
            raise ValueError(f"model.heads has {missing} that data does not label; it labels {sorted(labelled)}")
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
            raise ValueError("model.backbones is empty: it needs rgb, audio or pose")
        for modality, (section, enabled) in {
            "rgb": ("frames", self.frames.enabled),
            "audio": ("mels", self.mels.enabled),
            "pose": ("skeletons", self.skeletons.enabled),
        }.items():
            if modality in backbones and not enabled:
                raise ValueError(f"model.backbones.{modality} needs {section}.enabled: true")
        if self.data.media != "video" and "rgb" in backbones:
            raise ValueError("model.backbones.rgb needs pictures: set data.media: video")
        for section, augment in (("train", self.train.augment), ("features", self.features.augment)):
            if missing := sorted(set(backbones) - set(augment.used)):
                raise ValueError(f"{section}.augment lacks {missing}: each modality of model.backbones needs its own")
        if self.evaluate.contributions and len(backbones) < 2:
            raise ValueError("evaluate.contributions compares modalities; model.backbones has one. Set it to false")
        asked = self.evaluate.submission
        if asked and (unknown := sorted(set(asked.outputs) - set(self.model.outputs))):
            raise ValueError(f"evaluate.submission asks for {unknown}; the model has {', '.join(self.model.outputs)}")
        if self.evaluate.worst_clips and "pose" not in backbones:
            raise ValueError("evaluate.worst_clips draws skeletons, and model.backbones has no pose: set it to 0")
        if self.skeletons.enabled and self.data.skeletons is None:
            raise ValueError("skeletons.enabled needs data.skeletons: say where they are, or set it to false")
        rgb = self.model.backbones.rgb
        if self.evaluate.attention_clips and (rgb is None or rgb.kind != "videomae"):
            raise ValueError("evaluate.attention_clips draws the attention of videomae alone: set it to 0")

    def _check_neck(self) -> None:
        backbones, neck = self.model.backbones.used, self.model.neck
        if neck.kind == "mean" and len(backbones) > 1:
            raise ValueError(
                f"model.neck: mean takes one modality, model.backbones has {sorted(backbones)}. Take mbt or late"
            )
        for name, head in self.model.heads.items():
            weights = head.loss_weight
            if isinstance(weights, dict) and (neck.kind != "late" or set(weights) != set(backbones)):
                raise ValueError(
                    f"model.heads.{name}.loss_weight is a number a modality, which neck late alone has heads for: "
                    f"give one number, or one for each of {sorted(backbones)}"
                )
        if neck.kind != "late":
            return
        if wrong := [ratio for ratio in neck.ratios if len(ratio) != len(backbones) or not sum(ratio)]:
            raise ValueError(
                f"model.neck.ratios has {wrong}: expected a number for each of {list(backbones)}, not all 0"
            )
        if self.evaluate.contributions:
            raise ValueError("evaluate.contributions asks the neck; model.neck is late. Set it to false")
        kinds = tuple(getattr(backbones.get(modality), "kind", None) for modality in ("rgb", "pose"))
        takes = {"rgbpose_conv3d": ("slow_only", "pose_conv3d"), "pose_guided": ("x_shift", "x_shift")}
        wanted = takes.get(neck.laterals.kind, kinds)
        if kinds != wanted:
            raise ValueError(
                f"model.neck.laterals: {neck.laterals.kind} joins rgb {wanted[0]} and pose {wanted[1]}, got {kinds[0]} "
                f"and {kinds[1]}"
            )
        if neck.pcan:
            self._check_pcan(neck.pcan)

    def _check_pcan(self, pcan: Pcan) -> None:
        reader, levels = self.data.reader, {pcan.fine, pcan.coarse}
        if unknown := sorted(levels - set(self.model.heads)):
            raise ValueError(f"model.neck.pcan names the heads {unknown}; model.heads has {sorted(self.model.heads)}")
        if isinstance(reader, CsvReader) and (several := sorted(levels & set(reader.multi_label))):
            raise ValueError(
                f"model.neck.pcan takes heads of one class a clip; clips may have several {several[0]} ones"
            )
        streams = self.model.backbones.used
        if pcan.rectification and (missing := [name for name in streams if name not in pcan.rectification_weights]):
            raise ValueError(f"model.neck.pcan.rectification_weights lacks {missing}: it needs {list(streams)}")

    def _check_views(self) -> None:
        backbones = self.model.backbones.used
        rgb, pose = backbones.get("rgb"), backbones.get("pose")
        chosen, frames = getattr(rgb, "input_frames", 0), self.frames
        if chosen and (frames.clips_per_video > 1 or frames.clip_frames < chosen):
            raise ValueError(
                f"model.backbones.rgb.input_frames is {chosen}, chosen of those that are stored: set "
                f"frames.clips_per_video: 1 and frames.clip_frames to at least that, got {frames.clips_per_video} and "
                f"{frames.clip_frames}"
            )
        fixed = [m for m, b in backbones.items() if not getattr(b, "input_frames", None)]
        views = self.evaluate.views
        if views.clips > 1 and fixed:
            raise ValueError(
                f"evaluate.views.clips is {views.clips}, but model.backbones.{fixed[0]} has no input_frames to choose: "
                "set it to 1 (frames.clips_per_video stores several)"
            )
        if self.features.enabled and (views.clips > 1 or views.flip or views.scale != 1):
            raise ValueError(
                "evaluate.views of cached features are what was cached: set clips: 1, flip: false, scale: 1"
            )
        if views.scale != 1 and (kind := getattr(rgb, "kind", "")) in ("videomae", "mvit_v2_s"):
            raise ValueError(f"evaluate.views.scale: {kind} takes pictures of one size. Set it to 1")
        if self.frames.region == "persons" and not (self.frames.enabled and self.skeletons.enabled):
            raise ValueError("frames.region: persons needs skeletons.enabled: true; or set it to whole")
        if not rgb or not pose:
            return
        if self.frames.region != "persons":
            raise ValueError("pictures and skeletons are cropped alike: set frames.region: persons")
        if frames.clips_per_video > 1:
            raise ValueError(
                "a skeleton is shown beside one clip of pictures: set frames.clips_per_video: 1, got "
                f"{frames.clips_per_video} (evaluate.views.clips shows several, of backbones with input_frames)"
            )
        for section, augment in (("train", self.train.augment), ("features", self.features.augment)):
            own = [(part.min_area_frac, part.flip_prob) for part in (augment.rgb, augment.pose) if part]
            if len(set(own)) > 1:
                raise ValueError(
                    f"{section}.augment: pictures and skeletons are cropped alike, so rgb and pose need the same "
                    f"min_area_frac and flip_prob, got {own[0]} and {own[1]}"
                )

    def _check_frozen(self) -> None:
        frozen = {modality for modality, backbone in self.model.backbones.used.items() if backbone.frozen}
        free = sorted(set(self.model.backbones.used) - frozen)
        if self.features.enabled and free:
            raise ValueError(
                f"features.enabled caches frozen backbones: set model.backbones.{free[0]}.frozen: true as well"
            )
        if self.train.freeze.epochs and not free:
            raise ValueError("train.freeze.epochs is for backbones that thaw; all of model.backbones are frozen")
        neck = self.model.neck
        if neck.kind == "late" and neck.laterals.kind != "none" and frozen & {"rgb", "pose"}:
            raise ValueError(
                "model.neck.laterals: streams that see each other learn together and cannot be cached one by one. Set "
                "model.backbones.rgb.frozen and pose.frozen to false, or laterals: {kind: none}"
            )
