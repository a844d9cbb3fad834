"""What the parameters of published checkpoints are called here.

The networks here use mmaction2's names as far as there are any. A name that stands in no table stays as it is, and
`fill` refuses it, unless it is the network's own: so checkpoints of actrec pass unchanged.
"""

from collections.abc import Mapping

from actrec.errors import UserError
from actrec.models.weights import Tensors

# How a published name begins, and what stands there in its stead here.
Prefixes = Mapping[str, str]

_MMACTION: Prefixes = {"backbone.": ""}

_RGBPOSE: Prefixes = {
    "backbone.rgb_path.layer2_lateral.": "to_rgb.0.",
    "backbone.rgb_path.layer3_lateral.": "to_rgb.1.",
    "backbone.pose_path.layer1_lateral.": "to_pose.0.",
    "backbone.pose_path.layer2_lateral.": "to_pose.1.",
    "backbone.rgb_path.": "rgb.network.",
    "backbone.pose_path.": "pose.network.",
}

_X3D_STAGES = (1, 2, 3, 4)
_X3D_MOST_BLOCKS = 11

_SLOWFAST_BLOCK: Prefixes = {
    "branch1.": "downsample.conv.",
    "branch1_bn.": "downsample.bn.",
    "branch2.a.": "conv1.conv.",
    "branch2.a_bn.": "conv1.bn.",
    "branch2.b.": "conv2.conv.",
    "branch2.b_bn.": "conv2.bn.",
    "branch2.se.": "se_module.",
    "branch2.c.": "conv3.conv.",
    "branch2.c_bn.": "conv3.bn.",
}
_PYTORCHVIDEO_BLOCK: Prefixes = {
    "branch1_conv.": "downsample.conv.",
    "branch1_norm.": "downsample.bn.",
    "branch2.conv_a.": "conv1.conv.",
    "branch2.norm_a.": "conv1.bn.",
    "branch2.conv_b.": "conv2.conv.",
    "branch2.norm_b.0.": "conv2.bn.",
    "branch2.norm_b.1.block.0.": "se_module.fc1.",
    "branch2.norm_b.1.block.2.": "se_module.fc2.",
    "branch2.conv_c.": "conv3.conv.",
    "branch2.norm_c.": "conv3.bn.",
}


def _in_blocks(published: str, first_stage: int, parts: Prefixes) -> Prefixes:
    return {
        published.format(stage=stage + first_stage - 1, block=block) + theirs: f"layer{stage}.{block}.{ours}"
        for stage in _X3D_STAGES
        for block in range(_X3D_MOST_BLOCKS)
        for theirs, ours in parts.items()
    }


_X3D: Prefixes = {
    # SlowFast
    "s1.pathway0_stem.conv_xy.": "conv1_s.conv.",
    "s1.pathway0_stem.conv.": "conv1_t.conv.",
    "s1.pathway0_stem.bn.": "conv1_t.bn.",
    **_in_blocks("s{stage}.pathway0_res{block}.", 2, _SLOWFAST_BLOCK),
    "head.conv_5.": "conv5.conv.",
    "head.conv_5_bn.": "conv5.bn.",
    "head.lin_5.": "fc1.",
    # pytorchvideo, where the stem's convolution over space is called conv_t, and the one over time conv_xy
    "blocks.0.conv.conv_t.": "conv1_s.conv.",
    "blocks.0.conv.conv_xy.": "conv1_t.conv.",
    "blocks.0.norm.": "conv1_t.bn.",
    **_in_blocks("blocks.{stage}.res_blocks.{block}.", 1, _PYTORCHVIDEO_BLOCK),
    "blocks.5.pool.pre_conv.": "conv5.conv.",
    "blocks.5.pool.pre_norm.": "conv5.bn.",
    "blocks.5.pool.post_conv.": "fc1.",
    # mmaction2
    "cls_head.fc1.": "fc1.",
    "backbone.": "",
}

# How the names of heads begin that are not loaded.
MMACTION_HEADS = ("cls_head.",)
X3D_CLASSIFIERS = ("head.projection.", "blocks.5.proj.", "cls_head.fc2.")


def from_mmaction(tensors: Tensors) -> Tensors:
    """Return the parameters of SlowOnly or PoseC3D, as mmaction2 and pyskl publish them, under the names used here.

    `backbone.layer1.0.conv1.conv.weight` is `layer1.0.conv1.conv.weight`; those of `MMACTION_HEADS` stay.

    Source: mmaction2's mmaction/models/backbones/resnet3d.py and pyskl's pyskl/models/cnns/resnet3d.py, whose layers
    are mmcv's ConvModule: `conv` and `bn`.
    """
    return _renamed(tensors, _MMACTION)


def from_mmaction_rgbpose(tensors: Tensors) -> Tensors:
    """Return the parameters of RGBPoseConv3D, as mmaction2 and pyskl publish them, under the names used here.

    `backbone.rgb_path.layer1.0.…` is `rgb.network.layer1.0.…`; `backbone.pose_path.layer1_lateral.bn.weight`, which
    leads from the pictures to the heat-maps, is `to_pose.0.bn.weight`; those of `MMACTION_HEADS` stay.

    Source: mmaction2's mmaction/models/backbones/rgbposeconv3d.py and resnet3d_slowfast.py; pyskl's are the same.
    """
    return _renamed(tensors, _RGBPOSE)


def from_x3d(tensors: Tensors) -> Tensors:
    """Return the parameters of X3D, as SlowFast, pytorchvideo and mmaction2 publish them, under the names used here.

    Those of `X3D_CLASSIFIERS` stay. The projection before the classifier, which is a convolution of one place but in
    mmaction2, becomes a linear layer.

    Source: SlowFast's slowfast/models/{stem,resnet,head}_helper.py; pytorchvideo's pytorchvideo/models/x3d.py, with
    fvcore's SqueezeExcitation; mmaction2's mmaction/models/backbones/x3d.py and heads/x3d_head.py.
    """
    found = _renamed(tensors, _X3D)
    projection = found.get("fc1.weight")
    if projection is not None and projection.shape[2:] == (1, 1, 1):
        found["fc1.weight"] = projection.flatten(1)
    return found


def _renamed(tensors: Tensors, prefixes: Prefixes) -> Tensors:
    renamed: Tensors = {}
    first: dict[str, str] = {}
    for published, tensor in tensors.items():
        theirs = next((prefix for prefix in prefixes if published.startswith(prefix)), "")
        name = prefixes.get(theirs, "") + published.removeprefix(theirs)
        if name in renamed:
            raise UserError(f"the checkpoint has {name} twice, as {first[name]} and as {published}: keep one of them")
        renamed[name], first[name] = tensor, published
    return renamed
