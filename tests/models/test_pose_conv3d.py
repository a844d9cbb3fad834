import pytest
import torch

from actrec.models.pose_conv3d import PoseConv3d

NONE = {"kind": "none"}


def pose_conv3d(**settings):
    published = {"channels": 17, "blocks": (4, 6, 3), "width": 32, "temporal_stride": 1, "token_grid": None}
    return PoseConv3d(**{**published, "weights": NONE, **settings})


def bottleneck(inputs, middle, *, frames, first):
    """Parameters: three convolutions, two numbers a channel for each norm, and the shortcut's of the first block."""
    detour = inputs * middle * frames + middle * middle * 9 + middle * 4 * middle
    norms = 2 * (middle + middle + 4 * middle)
    return detour + norms + (inputs * 4 * middle + 2 * 4 * middle if first else 0)


def stage(inputs, middle, blocks, *, frames):
    rest = (blocks - 1) * bottleneck(4 * middle, middle, frames=frames, first=False)
    return bottleneck(inputs, middle, frames=frames, first=True) + rest


@pytest.mark.parametrize(
    ("channels", "blocks", "width"), [(17, (4, 6, 3), 32), (28, (4, 6, 3), 32), (17, (1, 2, 3), 4), (17, (3, 1, 2), 6)]
)
def test_parameters_by_hand(channels, blocks, width):
    with torch.device("meta"):
        network = pose_conv3d(channels=channels, blocks=blocks, width=width)
    stem = channels * width * 49 + 2 * width
    first, second, third = blocks
    stages = stage(width, width, first, frames=1) + stage(4 * width, 2 * width, second, frames=3)
    stages += stage(8 * width, 4 * width, third, frames=3)
    found = sum(parameter.numel() for parameter in network.parameters())
    assert found == stem + stages and network.width == 16 * width
    if (channels, width) == (17, 32):
        assert found == 1_994_080  # published as 2.0 M


@pytest.mark.parametrize(("temporal_stride", "last_frames"), [(1, 48), (2, 24)])
def test_shapes_are_the_published_ones(temporal_stride, last_frames):
    seen = {}
    with torch.device("meta"):
        network = pose_conv3d(temporal_stride=temporal_stride).eval()
        for name, layer in network.network.named_children():
            layer.register_forward_hook(lambda _, __, maps, name=name: seen.update({name: tuple(maps.shape[1:])}))
        tokens = network(torch.zeros(2, 17, 48, 56, 56))
    assert seen == {
        "conv1": (32, 48, 56, 56),
        "maxpool": (32, 48, 56, 56),
        "layer1": (128, 48, 28, 28),
        "layer2": (256, 48, 14, 14),
        "layer3": (512, last_frames, 7, 7),
    }
    assert tokens.shape == (2, 49, 512) and network.width == 512


def test_only_the_last_two_stages_see_time():
    kernels = {
        name.split(".")[0]: module.kernel_size[0]
        for name, module in pose_conv3d(width=4).network.named_modules()
        if isinstance(module, torch.nn.Conv3d) and name.endswith(("conv1.conv", "conv1"))
    }
    assert kernels == {"conv1": 1, "layer1": 1, "layer2": 3, "layer3": 3}
