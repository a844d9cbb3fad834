import pytest
import torch
from torch import nn

from actrec.models.conv3d import shifted
from actrec.models.x3d import SqueezeExcite, X3d, X3dBlock

NONE = {"kind": "none"}
# Width, inner width, that of squeeze-and-excitation, blocks: table 3 of the paper.
STAGES = [(24, 54, 8, 3), (48, 108, 8, 5), (96, 216, 16, 11), (192, 432, 32, 7)]


def x3d(**settings):
    return X3d(**{"shortcut_norm": False, "token_grid": None, "weights": NONE, **settings})


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def stage(inputs, width, inner, narrow, blocks):
    """Parameters: 1x1x1, 3x3x3 depthwise, 1x1x1, their norms; every other block excites; a shortcut in the first."""
    found = inputs * width + (2 * width if inputs != width else 0)
    for block in range(blocks):
        found += (inputs if block == 0 else width) * inner + 27 * inner + inner * width + 2 * (2 * inner + width)
        found += 0 if block % 2 else 2 * inner * narrow + narrow + inner
    return found


def test_parameters_by_hand():
    with torch.device("meta"):
        network = x3d()
    stem = 3 * 24 * 9 + 24 * 5 + 2 * 24
    stages = [stage(inputs, *sizes) for inputs, sizes in zip((24, 24, 48, 96), STAGES, strict=True)]
    projection = 192 * 432 + 2 * 432 + 432 * 2048
    classifier = 2048 * 400 + 400
    assert stem + sum(stages) + projection + classifier == 3_794_274
    assert count(network) == 3_794_274 - classifier
    parts = dict(network.network.named_children())
    assert [count(parts[f"layer{n}"]) for n in (1, 2, 3, 4)] == stages
    with torch.device("meta"):
        assert count(x3d(shortcut_norm=True)) == count(network) + 48


@pytest.mark.parametrize(("frames", "size", "last"), [(13, 160, 5), (16, 224, 7)])
def test_shapes_are_the_published_ones(frames, size, last):
    """X3D-S and X3D-M."""
    seen = {}
    with torch.device("meta"):
        network = x3d().eval()
        for name, layer in network.network.named_children():
            layer.register_forward_hook(lambda _, __, maps, name=name: seen.update({name: tuple(maps.shape[1:])}))
        tokens = network(torch.zeros((2, frames, size, size, 3), dtype=torch.uint8))
    assert seen["conv1_t"] == (24, frames, size // 2, size // 2)
    for number, (width, *_) in enumerate(STAGES):
        assert seen[f"layer{number + 1}"] == (width, frames, size // 2 ** (number + 2), size // 2 ** (number + 2))
    assert seen["conv5"] == (432, frames, last, last)
    assert tokens.shape == (2, last * last, 2048) and network.width == 2048


def test_pixels_are_scaled_as_published():
    network = x3d()
    assert network.mean.flatten().tolist() == pytest.approx([0.45] * 3)
    assert network.std.flatten().tolist() == pytest.approx([0.225] * 3)


@pytest.mark.parametrize(("channels", "narrow"), [(54, 8), (108, 8), (216, 16), (432, 32), (18, 8)])
def test_the_narrow_layer_is_a_multiple_of_eight(channels, narrow):
    assert SqueezeExcite(channels).fc1.out_channels == narrow


def test_squeeze_and_excite_by_hand():
    part = SqueezeExcite(2)
    for layer in (part.fc1, part.fc2):
        nn.init.zeros_(layer.weight)
    nn.init.constant_(part.fc1.weight[0, 0], 0.5)  # the first narrow one: half the first channel's mean
    nn.init.constant_(part.fc2.weight[1, 0], 2.0)  # the second factor: twice that
    maps = torch.arange(16).float().view(1, 2, 2, 2, 2)  # the first channel's mean is 3.5
    with torch.inference_mode():
        found = part(maps)
    assert torch.allclose(found[:, 0], maps[:, 0] * 0.5)
    assert torch.allclose(found[:, 1], maps[:, 1] * torch.tensor(3.5).sigmoid())


def test_a_block_starts_as_its_shortcut():
    maps = torch.randn(2, 8, 3, 4, 4)
    block = X3dBlock(8, 8, frames_kernel=3, stride=1, excites=True, shift_fraction=4, shortcut_norm=True)
    with torch.inference_mode():
        assert torch.equal(block(maps), maps.relu())
    assert block.downsample is None
    wider = X3dBlock(8, 8, frames_kernel=3, stride=2, excites=False, shift_fraction=None, shortcut_norm=False)
    with torch.inference_mode():
        assert torch.allclose(wider(maps), wider.downsample[0](maps).relu())
    assert len(wider.downsample) == 1


def test_the_shift_by_hand():
    """Of 8 channels and a quarter each way: two show the next frame, two the last one, four their own; ends are 0."""
    maps = (torch.arange(1, 4)[None, :] + torch.arange(8)[:, None] * 10).float().view(1, 8, 3, 1, 1)
    found = shifted(maps, 4)[0, :, :, 0, 0]
    assert found[:4].tolist() == [[2, 3, 0], [12, 13, 0], [0, 21, 22], [0, 31, 32]]
    assert torch.equal(found[4:], maps[0, 4:, :, 0, 0])
    assert torch.equal(shifted(maps, 16), maps)  # too few channels


def test_the_shortcut_is_not_shifted():
    maps = torch.randn(1, 8, 3, 4, 4)
    block = X3dBlock(8, 8, frames_kernel=1, stride=1, excites=False, shift_fraction=4, shortcut_norm=True).eval()
    nn.init.ones_(block.conv3.bn.weight)
    with torch.inference_mode():
        detour = block.conv3(nn.functional.silu(block.conv2(block.conv1(shifted(maps, 4)))))
        assert torch.allclose(block(maps), (maps + detour).relu(), atol=1e-6)
