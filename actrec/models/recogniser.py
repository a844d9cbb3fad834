"""The whole model: a backbone a modality, a neck, and a head for each kind of label."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from actrec.errors import UserError
from actrec.models.backbone import JointBackbone
from actrec.models.build_backbone import build_backbone
from actrec.models.mbt import Mbt
from actrec.models.pcan import NO_LABEL, Pcan
from actrec.models.relation import RelationNeck
from actrec.models.rgbpose_conv3d import RgbPoseConv3d
from actrec.models.svm_head import SvmHead
from actrec.models.x_shift import PoseGuided
from actrec.outputs import label_head, modality_of, stream_output
from actrec.pose.layouts import Layout

Batch = Mapping[str, Any]
# The name of a joint backbone among the backbones.
JOINT = "rgbpose"
_JOINED = frozenset({"rgb", "pose"})


class Recogniser(nn.Module):
    """`{modality: batch}` to `{output: logits}`; what outputs are called is said in `actrec.outputs`.

    Backbones named in `frozen` are fixed in every respect: no gradients, and evaluation mode, so that the statistics of
    batch norm do not move and dropout does nothing, whatever `train()` says. Heads named in `multi_label` may find
    several classes in a clip.

    Args:
        backbones: A backbone a modality; or a `JointBackbone`, under any name, for those that it sees.
        neck: What makes one representation (B, width) of all modalities; None: each has heads of its own, which say
            nothing (logits 0, from which nothing is learnt) of a clip that lacks the modality.
        heads: By the name of the output.
        multi_label: The heads whose clips may have several classes.
        ratios: Without a neck, in which ratios the modalities' probabilities are averaged, see `metrics.fusion`.
        pcan: Adds to the loss, and to what the fine heads say in prediction.
        levels: The fine and the coarse head that it is for.
    """

    def __init__(
        self,
        backbones: Mapping[str, nn.Module],
        neck: nn.Module | None,
        heads: Mapping[str, nn.Module],
        multi_label: Collection[str] = (),
        ratios: Sequence[Sequence[float]] = (),
        pcan: Pcan | None = None,
        levels: tuple[str, str] = ("", ""),
    ) -> None:
        super().__init__()
        self.multi_label, self.ratios = frozenset(multi_label), ratios
        self.pcan, self._levels = pcan, levels
        self.backbones, self.neck = nn.ModuleDict(backbones), neck
        # Not a ModuleDict: that refuses names such as `type`, which a label may well have.
        self.outputs, self.heads = tuple(heads), nn.ModuleList(heads.values())
        self.frozen: frozenset[str] = frozenset()

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the model looks at; without a neck in the order of params.yaml, which the ratios have."""
        own = tuple(dict.fromkeys(map(modality_of, self.outputs)))
        return own if self.neck is None else tuple(self._own_backbones())

    def _own_backbones(self) -> dict[str, Any]:
        """Return the backbone of each modality, also of those inside a joint one."""
        own: dict[str, Any] = {}
        for name, part in self.backbones.items():
            own |= part.parts if isinstance(part, JointBackbone) else {name: part}
        return own

    def freeze(self, *names: str) -> None:
        """Fix exactly these backbones; free the others."""
        self.frozen = frozenset(names)
        for name, backbone in self.backbones.items():
            backbone.requires_grad_(name not in self.frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Recogniser":
        """Set training mode, but for frozen backbones."""
        super().train(mode)
        for name in self.frozen:
            self.backbones[name].eval()
        return self

    @property
    def weights_sha256(self) -> dict[str, str]:
        """The sha256 of the file each backbone started from, "" for random weights."""
        return {modality: backbone.weights_sha256 for modality, backbone in self._own_backbones().items()}

    @property
    def bare_weights(self) -> dict[str, dict[str, Any]]:
        """The `weights` of each backbone that build the same network without looking anything up."""
        return {modality: backbone.bare_weights for modality, backbone in self._own_backbones().items()}

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return logits (B, classes) an output.

        Args:
            batch: The modalities themselves, or `tokens` {modality: (B, N, D)} that were cached; and `present`
                {modality: bool (B,)}: where it is False, what stands for the modality is not looked at. Of modalities
                that clips of a training batch lack, `rows` {modality: int64 (n,)} are those that have them.
        """
        return self.decide(self._tokens_in(batch), batch["present"])

    def learn(self, batch: Batch) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Return the logits of a training batch, and what is to be added to the loss besides that of the heads."""
        tokens = self._tokens_in(batch)
        logits = self.decide(tokens, batch["present"])
        if self.pcan is None:
            return logits, {}
        penalties = {}
        for modality, own in tokens.items():
            fine, coarse = (logits[stream_output(modality, level)] for level in self._levels)
            labels = (batch["labels"][level].where(batch["present"][modality], NO_LABEL) for level in self._levels)
            penalties |= self.pcan.penalties(modality, own, fine, coarse, *labels)
        return logits, penalties

    def decide(
        self, tokens: Mapping[str, torch.Tensor], present: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return logits (B, classes) an output, of tokens: neck and heads alone."""
        if self.neck is not None:
            return self._said({"": self.neck(tokens, present)})
        logits = self._said({modality: own.float().mean(dim=1) for modality, own in tokens.items()})
        if self.pcan is not None and not self.training:
            for modality, own in tokens.items():
                fine = stream_output(modality, self._levels[0])
                logits[fine] = self.pcan.rectify(modality, own, logits[fine])
        return {name: values.where(present[modality_of(name)][:, None], 0.0) for name, values in logits.items()}

    def _said(self, seen: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: head(seen[modality_of(name)]) for name, head in zip(self.outputs, self.heads, strict=True)}

    def to_probs(self, output: str, logits: torch.Tensor) -> torch.Tensor:
        """Return probabilities (B, classes), float32: of one class among all, or of each class by itself."""
        is_multi_label = label_head(output) in self.multi_label
        return logits.float().sigmoid() if is_multi_label else logits.float().softmax(dim=1)

    def tokens(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return tokens (B, N, D) a modality: what the `features` stage caches, and training computes live."""
        found = {}
        for name, part in self.backbones.items():
            if isinstance(part, JointBackbone):
                with torch.set_grad_enabled(torch.is_grad_enabled() and name not in self.frozen):
                    found |= part({modality: batch[modality] for modality in part.parts})
            else:
                found[name] = self._tokens_of_present(name, part, batch)
        return found

    def _tokens_of_present(self, modality: str, backbone: nn.Module, batch: Batch) -> torch.Tensor:
        """Return tokens (B, N, D) of one modality; they mean nothing of clips that lack it.

        While batch norm learns, it is shown no stand-in: its statistics, and so the tokens of the others, would be of
        both. Of less than two clips there are none: those so far hold then.
        """
        clips, rows = batch[modality], batch.get("rows", {}).get(modality)
        if rows is None or not backbone.training:
            return self.tokens_of(modality, clips)
        if len(rows) < 2:
            backbone.eval()
            tokens = self.tokens_of(modality, clips)
            backbone.train()
            return tokens
        own = self.tokens_of(modality, clips[rows])
        return own.new_zeros(len(clips), *own.shape[1:]).index_copy(0, rows, own)

    def tokens_of(self, modality: str, batch: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D) of one modality that has a backbone to itself."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and modality not in self.frozen):
            return self.backbones[modality](batch)

    def _tokens_in(self, batch: Batch) -> Mapping[str, torch.Tensor]:
        return batch["tokens"] if "tokens" in batch else self.tokens(batch)


class MeanNeck(nn.Module):
    """The mean over the tokens of the one modality: (B, N, D) to (B, D), where width is D."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, tokens: Mapping[str, torch.Tensor], present: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return (B, D). A clip without its only modality is in no batch."""
        (only,) = tokens.values()
        # Of one token the mean is itself; to compute it costs as much as a linear head does.
        return only.float().squeeze(1) if only.shape[1] == 1 else only.float().mean(dim=1)


class ConcatNeck(nn.Module):
    """All tokens of all modalities side by side: (B, N, D) of each to (B, width).

    Args:
        sizes: N * D of each modality, in the order in which they stand.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self._modalities, self.width = tuple(sizes), sum(sizes.values())

    def forward(self, tokens: Mapping[str, torch.Tensor], present: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return (B, width). `present` is not looked at: no clip is without."""
        return torch.cat([tokens[modality].float().flatten(1) for modality in self._modalities], dim=1)


def build(
    spec: Mapping[str, Any],
    *,
    classes: Mapping[str, Sequence[str]],
    multi_label: Collection[str],
    clip_frames: int,
    channels_last: bool,
    seed: int,
    layout: Layout | None = None,
    parents: Sequence[int] = (),
) -> Recogniser:
    """Return a fresh model; the same seed gives the same weights.

    Args:
        spec: The section `model` of params.yaml, as a plain dict.
        classes: The class names of each head.
        multi_label: The heads whose clips may have several of them.
        clip_frames: T of the clips that are stored for it; of no matter without pictures.
        layout: Of the skeletons; None without any.
        parents: Of PCAN, the coarse class of each fine one; of no matter without it.
        channels_last: See `Backbone.use_channels_last`.
        seed: Of random weights.

    Raises:
        UserError: if published or local weights cannot be had or do not fit, or the neck cannot take a backbone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = {"clip_frames": clip_frames, "layout": layout}
        backbones: dict[str, Any] = {m: build_backbone(m, b, **sizes) for m, b in spec["backbones"].items()}
        widths = {modality: backbone.width for modality, backbone in backbones.items()}
        neck = _neck(spec["neck"], widths, _num_tokens(spec["backbones"], clip_frames))
        in_widths = widths if neck is None else {"": neck.width}
        heads = {
            output: _head(head, width, len(classes[name]))
            for stream, width in in_widths.items()
            for name, head in spec["heads"].items()
            for output in [stream_output(stream, name) if stream else name]
        }
        pcan, levels = _pcan(spec["neck"].get("pcan"), widths, parents, classes)
        parts = _joined(spec["neck"], backbones)
    if channels_last:
        for part in parts.values():
            part.use_channels_last()
    model = Recogniser(parts, neck, heads, multi_label, spec["neck"].get("ratios", ()), pcan, levels)
    is_frozen = {m for m, backbone in spec["backbones"].items() if backbone["frozen"]}
    model.freeze(*(name for name in parts if is_frozen & (_JOINED if name == JOINT else {name})))
    return model


def _joined(neck: Mapping[str, Any], backbones: Mapping[str, Any]) -> dict[str, Any]:
    """Return the backbones, with a joint one for those of which one sees the layers of the other."""
    others = {modality: backbone for modality, backbone in backbones.items() if modality not in _JOINED}
    match neck:
        case {"laterals": {"kind": "rgbpose_conv3d"} as laterals}:
            own = {name: value for name, value in laterals.items() if name != "kind"}
            return {JOINT: RgbPoseConv3d(backbones["rgb"], backbones["pose"], **own), **others}
        case {"laterals": {"kind": "pose_guided"}}:
            return {JOINT: PoseGuided(backbones["rgb"], backbones["pose"]), **others}
        case _:
            return dict(backbones)


def _num_tokens(specs: Mapping[str, Mapping[str, Any]], clip_frames: int) -> dict[str, int]:
    """Return how many tokens a clip has of each modality; those of whom its size does not tell are left out."""
    found = {}
    for modality, spec in specs.items():
        match spec:
            case {"kind": "hog"} | {"kind": "resnet", "temporal": _}:
                found[modality] = clip_frames
            case {"kind": "spatial"}:
                found[modality] = 1
    return found


def _neck(
    spec: Mapping[str, Any], widths: Mapping[str, int], num_tokens: Mapping[str, int]
) -> MeanNeck | ConcatNeck | RelationNeck | Mbt | None:
    match spec:
        case {"kind": "late"}:
            return None
        case {"kind": "mean"}:
            (width,) = widths.values()
            return MeanNeck(width)
        case {"kind": "concat"}:
            if unknown := sorted(set(widths) - set(num_tokens)):
                raise UserError(
                    f"model.neck: concat puts a token a frame side by side, and {unknown[0]} has others. Take "
                    "model.backbones.rgb of kind resnet or hog, geometry beside it, or another neck"
                )
            return ConcatNeck({modality: num_tokens[modality] * width for modality, width in widths.items()})
        case {"kind": "relation", **settings}:
            return RelationNeck(widths=widths, **settings)
        case {"kind": "mbt", **settings}:
            return Mbt(widths=widths, **settings)
        case _:
            raise ValueError(f"unknown neck {spec}")


def _pcan(
    spec: Mapping[str, Any] | None,
    widths: Mapping[str, int],
    parents: Sequence[int],
    classes: Mapping[str, Sequence[str]],
) -> tuple[Pcan | None, tuple[str, str]]:
    if spec is None:
        return None, ("", "")
    settings = {name: value for name, value in spec.items() if name not in ("fine", "coarse")}
    pcan = Pcan(widths=widths, parents=parents, num_coarse=len(classes[spec["coarse"]]), **settings)
    return pcan, (spec["fine"], spec["coarse"])


def _head(spec: Mapping[str, Any], width: int, num_classes: int) -> nn.Module:
    match spec:
        case {"kind": "linear", "dropout": dropout}:
            return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, num_classes))
        case {"kind": "mlp", "hidden": hidden, "dropout": dropout}:
            first, second = nn.Linear(width, hidden), nn.Linear(hidden, num_classes)
            return nn.Sequential(nn.Dropout(dropout), first, nn.ReLU(), nn.Dropout(dropout), second)
        case {"kind": "svm"}:
            return SvmHead(width, num_classes)
        case _:
            raise ValueError(f"unknown head {spec}")
