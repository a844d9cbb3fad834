"""What params.yaml may say: one frozen model a section, no defaults, choices as closed tagged unions.

No default lives here, so that the file shows everything that changes a result and `dvc params diff` misses nothing.
Types are plain (no Path, no Enum): what is checked is what stands in the file. Validators look at nothing outside it.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from actrec.metric_names import MULTI_LABEL_METRICS
from actrec.outputs import label_head, output_and_metric
from actrec.params.data import CsvReader, Data, Demo
from actrec.params.media import Features, Frames, Mels
from actrec.params.model import Model
from actrec.params.neck import Pcan
from actrec.params.section import Count, Name, Section
from actrec.params.skeletons import Skeletons
from actrec.params.training import Compute, Evaluate, Train

# Without effect on an svm, and what to set so that nothing is asked for in vain. How steps are taken (lr, epochs,
# optimizer, schedule, clip_norm, early_stopping) every recipe has to say: of an svm it may be anything.
_OFF_FOR_SVM = {
    "train.devices": 1,
    "train.mixup_alpha": 0,
    "train.label_smoothing": 0,
    "train.sampler": "shuffled",
    "train.soft_recall": None,
    "train.precision": "fp32",
    "compute.compile": False,
}


class Params(Section):
    """The whole of params.yaml."""

    recipe: Name = Field(
        description="The recipe that this file was made from: a name for people, which changes no result."
    )
    seed: Count = Field(
        description="Decides all that is random in a model, its training and its evaluation: first weights, random "
        "views, the order of clips, dropout. data.split.seed and demo.seed are others."
    )
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
        self._check_svm()
        self._check_loss()
        self._check_pairs()
        return self

    def _check_labels(self) -> None:
        output, metric = output_and_metric(self.train.select_on)
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
        if head in multi_label and metric not in MULTI_LABEL_METRICS:
            raise ValueError(
                f"train.select_on is {head}.{metric}, but clips may have several {head} classes: choose one of "
                f"{', '.join(MULTI_LABEL_METRICS)}"
            )
        if self.data.is_shared_out and not self.data.split.test_frac and "test" in self.evaluate.splits:
            raise ValueError("data.split.test_frac is 0, so there will be no test split: set evaluate.splits: [val]")

    def _check_modalities(self) -> None:
        backbones = self.model.backbones.used
        if not backbones:
            raise ValueError("model.backbones is empty: it needs rgb, audio, pose or geometry")
        for modality, (section, enabled) in {
            "rgb": ("frames", self.frames.enabled),
            "audio": ("mels", self.mels.enabled),
            "pose": ("skeletons", self.skeletons.enabled),
        }.items():
            if modality in backbones and not enabled:
                raise ValueError(f"model.backbones.{modality} needs {section}.enabled: true")
        if self.data.media not in ("video", "image") and "rgb" in backbones:
            raise ValueError("model.backbones.rgb needs pictures: set data.media: video or image")
        for section, augment in (("train", self.train.augment), ("features", self.features.augment)):
            if missing := sorted(set(backbones) - set(augment.used) - {"geometry"}):
                raise ValueError(f"{section}.augment lacks {missing}: each modality of model.backbones needs its own")
        if self.evaluate.contributions and len(backbones) < 2:
            raise ValueError("evaluate.contributions compares modalities; model.backbones has one. Set it to false")
        asked = self.evaluate.submission
        if asked and (unknown := sorted(set(asked.outputs) - set(self.model.outputs))):
            raise ValueError(f"evaluate.submission asks for {unknown}; the model has {', '.join(self.model.outputs)}")
        if self.evaluate.worst_clips and "pose" not in backbones and not self.data.shows_pairs:
            raise ValueError(
                "evaluate.worst_clips draws skeletons or the boxes of pairs; model.backbones has no pose, and data no "
                "pairs: set it to 0"
            )
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
        if self.evaluate.contributions and neck.kind in ("relation", "concat"):
            raise ValueError(f"evaluate.contributions leaves modalities out, which {neck.kind} cannot: set it to false")
        if neck.kind == "concat" and (odd := [m for m in backbones if not self._gives_known_tokens(m)]):
            raise ValueError(
                f"model.neck: concat puts a known number of tokens side by side; model.backbones.{odd[0]} does not "
                "have one: take rgb of kind resnet or hog, and geometry"
            )
        for name, head in self.model.heads.items():
            weights = None if head.kind == "svm" else head.loss_weight
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

    def _gives_known_tokens(self, modality: str) -> bool:
        kind = self.model.backbones.used[modality].kind
        return (modality == "rgb" and kind in ("resnet", "hog")) or modality == "geometry"

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
        if self.features.enabled and (views.clips > 1 or views.flip or views.scales != [1]):
            raise ValueError(
                "evaluate.views of cached features are what was cached: set clips: 1, flip: false, scales: [1]"
            )
        if views.scales != [1] and (kind := getattr(rgb, "kind", "")) in ("videomae", "mvit_v2_s"):
            raise ValueError(f"evaluate.views.scales: {kind} takes pictures of one size. Set it to [1]")
        if self.frames.region == "persons" and not (self.frames.enabled and self.skeletons.enabled):
            raise ValueError("frames.region: persons needs skeletons.enabled: true; or set it to whole")
        if not rgb or not pose:
            return
        if rgb.crop_frac != 1:
            raise ValueError("pictures and skeletons are cropped alike: set model.backbones.rgb.crop_frac to 1")
        if self.frames.region != "persons":
            raise ValueError("pictures and skeletons are cropped alike: set frames.region: persons")
        if frames.clips_per_video > 1:
            raise ValueError(
                "a skeleton is shown beside one clip of pictures: set frames.clips_per_video: 1, got "
                f"{frames.clips_per_video} (evaluate.views.clips shows several, of backbones with input_frames)"
            )
        self._check_alike()

    def _check_alike(self) -> None:
        """Refuse random views that move pictures and leave the skeletons beside them where they are."""
        for section, augment in (("train", self.train.augment), ("features", self.features.augment)):
            if augment.rgb and augment.rgb.randaugment:
                raise ValueError(
                    f"{section}.augment.rgb.randaugment moves pictures, and the skeletons beside them stay: set it to "
                    "null"
                )
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

    def _check_svm(self) -> None:
        heads = self.model.heads
        fitted = [name for name, head in heads.items() if head.kind == "svm"]
        if not fitted:
            if self.model.backbones.rgb and self.model.backbones.rgb.kind == "hog" and not self.features.enabled:
                raise ValueError("model.backbones.rgb: hog is computed once a picture: set features.enabled: true")
            return
        if len(fitted) < len(heads):
            raise ValueError(f"model.heads: {fitted} are fitted at once, the others step by step: take svm for all")
        if not self.features.enabled or self.model.neck.kind not in ("mean", "concat"):
            raise ValueError(
                "model.heads: svm is fitted to cached features: set features.enabled: true and model.neck: {kind: "
                "mean}, or concat"
            )
        reader = self.data.reader
        if isinstance(reader, CsvReader) and (several := sorted(set(fitted) & set(reader.multi_label))):
            raise ValueError(f"model.heads.{several[0]}: svm takes clips of one class; these may have several")
        said = self.model_dump(mode="json", include={"train", "compute"})
        got = {f"{part}.{key}": value for part, settings in said.items() for key, value in settings.items()}
        if asked := [name for name, off in _OFF_FOR_SVM.items() if got[name] != off]:
            helps = {"train.sampler", "train.soft_recall"} & set(asked) and self.train.class_weights == "none"
            raise ValueError(
                f"model.heads: svm takes no steps and has no use for {_listed(asked, got)}: set "
                f"{_listed(asked, _OFF_FOR_SVM)}"
                + (", and train.class_weights: balanced for rare classes to count as much" if helps else "")
            )

    def _check_loss(self) -> None:
        neck = self.model.neck
        if self.train.mixup_alpha and neck.kind == "late" and neck.pcan:
            raise ValueError(
                "train.mixup_alpha mixes classes, and model.neck.pcan learns from single ones: set it to 0"
            )
        reader, train = self.data.reader, self.train
        several = isinstance(reader, CsvReader) and set(reader.multi_label) & set(self.model.heads)
        if isinstance(train.class_weights, dict) and (len(self.model.heads) > 1 or several):
            raise ValueError(
                "train.class_weights: a weight a class is for a model with one head: take balanced or none"
            )
        if train.sampler == "balanced" and (len(self.model.heads) > 1 or several):
            raise ValueError("train.sampler: balanced is for a model with one head of one class a clip: take shuffled")
        if train.soft_recall and (several or train.devices > 1):
            raise ValueError(
                "train.soft_recall looks at the classes of a whole batch, of one class a clip: set it to null, or "
                "train.devices: 1 and heads without multi_label"
            )

    def _check_pairs(self) -> None:
        backbones, neck, frames, shows_pairs = self.model.backbones, self.model.neck, self.frames, self.data.shows_pairs
        if shows_pairs and self.data.media not in ("image", "video"):
            raise ValueError("data.reader gives pairs of people in pictures: set data.media: image, or video")
        if frames.enabled and shows_pairs != (frames.region == "boxes"):
            raise ValueError("frames.region: boxes is what clips of pairs need, and no others: set it so, or to whole")
        if frames.region == "boxes" and (frames.clip_frames, frames.clips_per_video, frames.resize) not in (
            (2, 1, "stretch"),
            (2, 1, "pad"),
        ):
            raise ValueError(
                "frames.region: boxes gives a crop for each of two people: set clip_frames: 2, clips_per_video: 1, and "
                "resize: stretch or pad"
            )
        if shows_pairs and self.evaluate.grad_cam:
            raise ValueError("evaluate.grad_cam is drawn over whole pictures, and pairs are crops: set it to null")
        if backbones.geometry and not shows_pairs:
            raise ValueError("model.backbones.geometry is how two people stand: data.reader must give pairs (people)")
        if (neck.kind == "relation" or backbones.geometry) and set(backbones.used) - {"rgb", "geometry"}:
            raise ValueError("model.backbones: of pairs there are rgb and geometry alone")
        if neck.kind != "relation":
            if backbones.geometry and neck.kind not in ("concat", "mean"):
                raise ValueError("model.backbones.geometry needs model.neck of kind relation or concat")
            return
        if not shows_pairs:
            raise ValueError("model.neck: relation is about pairs: data.reader must give them (people)")
        rgb = backbones.rgb
        if rgb and not (rgb.kind == "hog" or (rgb.kind == "resnet" and rgb.temporal == "mean")):
            raise ValueError("model.neck: relation looks at each person alone: take rgb of kind resnet, temporal: mean")


def _listed(names: Iterable[str], values: Mapping[str, Any]) -> str:
    """Return settings as params.yaml has them."""
    return ", ".join(f"{name}: {json.dumps(values[name])}" for name in names).replace('"', "")
