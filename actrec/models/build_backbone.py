"""Which backbone a section of params.yaml describes: what there is to choose from, by modality."""

from collections.abc import Mapping
from typing import Any

from actrec.models.backbone import Backbone, RgbBackbone
from actrec.models.hog import Hog
from actrec.models.pose_conv3d import PoseConv3d
from actrec.models.resnet_frames import ResNetFrames
from actrec.models.resnet_mel import ResNetMel
from actrec.models.slow_only import SlowOnly
from actrec.models.small3d import Small3d
from actrec.models.spatial import Spatial
from actrec.models.video_net import VideoNet
from actrec.models.videomae import VideoMae
from actrec.models.weights import load_weights
from actrec.models.x3d import X3d
from actrec.models.x_shift import XShiftPose, XShiftRgb
from actrec.pose.layouts import Layout


def build_backbone(
    modality: str, spec: Mapping[str, Any], *, clip_frames: int, layout: Layout | None = None
) -> Backbone:
    """Return the backbone that `model.backbones.<modality>` describes.

    Args:
        modality: rgb, audio, pose or geometry.
        spec: The section as a plain dict.
        clip_frames: T of pictures.
        layout: Of skeletons.

    Raises:
        UserError: if its weights cannot be had, or do not fit.
    """
    match modality:
        case "rgb":
            return _of_pictures(spec, clip_frames)
        case "audio":
            return ResNetMel(**_only(spec, "depth", "weights"))
        case "pose":
            return _of_heatmaps(spec, layout)
        case "geometry":
            return Spatial()
        case _:
            raise ValueError(f"unknown modality {modality}")


def _of_pictures(spec: Mapping[str, Any], clip_frames: int) -> Backbone:
    match spec["kind"]:
        case "small3d":
            return _started(Small3d(**_only(spec, "width")), spec)
        case "hog":
            return Hog(**_only(spec, "orientations", "cell_px", "block_cells", "input_px"))
        case "resnet":
            return ResNetFrames(**_only(spec, "depth", "temporal", "input_px", "weights"), clip_frames=clip_frames)
        case "slow_only":
            return SlowOnly(**_only(spec, "blocks", "width", "token_grid", "weights"))
        case "x3d":
            return X3d(**_only(spec, "shortcut_norm", "token_grid", "weights"))
        case "x_shift":
            return XShiftRgb(**_only(spec, "blocks", "widths", "token_grid", "weights"))
        case "videomae":
            return VideoMae(**_only(spec, "input_px", "token_grid", "weights"), clip_frames=clip_frames)
        case _:
            return VideoNet(**_only(spec, "kind", "input_px", "weights"), clip_frames=clip_frames)


def _of_heatmaps(spec: Mapping[str, Any], layout: Layout | None) -> PoseConv3d | XShiftPose:
    assert layout is not None, "a model that is shown skeletons knows their layout"
    joints, limbs = len(layout.joints), len(layout.limbs)
    channels = {"joints": joints, "limbs": limbs, "both": joints + limbs}[spec["heatmaps"]["of"]]
    if spec["kind"] == "x_shift":
        return XShiftPose(**_only(spec, "blocks", "widths", "token_grid", "weights"), channels=channels)
    own = _only(spec, "blocks", "width", "temporal_stride", "token_grid", "weights")
    return PoseConv3d(**own, channels=channels)


def _started(backbone: RgbBackbone, spec: Mapping[str, Any]) -> RgbBackbone:
    """Return a network of our own with the weights of an earlier run, if any are asked for."""
    backbone.weights_sha256 = load_weights(backbone, spec["weights"], architecture=spec["kind"], drop=())
    return backbone


def _only(spec: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: spec[name] for name in names}
