"""What holds for every network over pictures, heat-maps, or both."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from actrec.models.pose_conv3d import PoseConv3d
from actrec.models.rgbpose_conv3d import RgbPoseConv3d
from actrec.models.slow_only import SlowOnly
from actrec.models.x3d import X3d
from actrec.models.x_shift import PoseGuided, XShiftPose, XShiftRgb

NONE = {"kind": "none"}
PLAIN = {"token_grid": None, "weights": NONE}


def slow_only(**settings):
    return SlowOnly(blocks=(1, 1, 1, 1), width=8, **{**PLAIN, **settings})


def pose_conv3d(**settings):
    return PoseConv3d(channels=17, blocks=(1, 1, 1), width=8, temporal_stride=1, **{**PLAIN, **settings})


def x_shift_rgb(**settings):
    return XShiftRgb(blocks=(1, 1, 1, 1), widths=(8, 16, 16, 32), **{**PLAIN, **settings})


def x_shift_pose(**settings):
    return XShiftPose(channels=17, blocks=(1, 1, 1), widths=(8, 16, 16), **{**PLAIN, **settings})


def rgbpose_conv3d(**settings):
    exchange = {"kernel": 5, "rgb_drop": 0.0, "pose_drop": 0.0, "weights": NONE}
    return RgbPoseConv3d(slow_only(**settings), pose_conv3d(**settings), interaction=True, **exchange)


def pose_guided(**settings):
    return PoseGuided(x_shift_rgb(**settings), x_shift_pose(**settings))


def x3d(**settings):
    return X3d(shortcut_norm=True, **{**PLAIN, **settings})


ALONE = {"rgb": [slow_only, x_shift_rgb, x3d], "pose": [pose_conv3d, x_shift_pose]}
JOINT = [rgbpose_conv3d, pose_guided]
EVERY = [*ALONE["rgb"], *ALONE["pose"], *JOINT]


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def built(build, seed=0, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build(**settings)


def trained(build, **settings):
    """Return a network in which every part, also what starts at zero, has an effect."""
    network = built(build, **settings)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
        for name, parameter in network.named_parameters():
            if name.startswith("interactions"):
                nn.init.normal_(parameter, std=0.1)
    return network


def batch_of(build, *, size=64):
    rng = np.random.default_rng(0)
    rgb = torch.from_numpy(rng.integers(0, 256, (2, 4, size, size, 3), dtype=np.uint8))
    pose = torch.from_numpy(rng.random((2, 17, 16, size // 4, size // 4), dtype=np.float32))
    return rgb if build in ALONE["rgb"] else pose if build in ALONE["pose"] else {"rgb": rgb, "pose": pose}


def tokens_of(network, batch):
    found = network(batch)
    return found if isinstance(found, dict) else {"": found}


def widths_of(network):
    return (
        {name: part.width for name, part in network.parts.items()} if hasattr(network, "parts") else {"": network.width}
    )


@pytest.mark.parametrize("build", EVERY)
def test_tokens_are_the_places_of_the_last_map(build):
    for grid, places in ((None, 4), ([1, 1], 1), ([2, 1], 2)):
        network = trained(build, token_grid=grid).eval()
        with torch.inference_mode():
            found = {name: tuple(part.shape) for name, part in tokens_of(network, batch_of(build)).items()}
        assert found == {name: (2, places, width) for name, width in widths_of(network).items()}


@pytest.mark.parametrize("build", [build for build in EVERY if build is not x3d])
def test_their_mean_is_the_mean_over_everything(build):
    """All but X3D, which makes more of each token."""
    network = trained(build).eval()
    pooled = copy.deepcopy(network)
    for part in (pooled, *(getattr(pooled, name, pooled) for name in ("rgb", "pose"))):
        part.token_grid = [1, 1]
    with torch.inference_mode():
        places, one = (tokens_of(each, batch_of(build)) for each in (network, pooled))
    for name, found in one.items():
        assert torch.allclose(places[name].mean(dim=1), found[:, 0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("build", EVERY)
def test_the_seed_decides_on_the_weights(build):
    first, same, other = (built(build, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("build", EVERY)
def test_channels_last_computes_the_same(build):
    network = trained(build).eval()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.inference_mode():
        plain = tokens_of(network, batch_of(build))
        network.use_channels_last()
        found = tokens_of(network, batch_of(build))
    # A convolution of two maps is not worth it.
    wide = [p for name, p in network.named_parameters() if p.dim() == 5 and not name.startswith("attention")]
    assert wide and all(p.is_contiguous(memory_format=torch.channels_last_3d) for p in wide)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    for name, expected in plain.items():
        assert torch.allclose(found[name], expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("build", EVERY)
def test_bf16_computes_nearly_the_same_and_learns(build):
    network, batch = trained(build).eval(), batch_of(build)
    with torch.inference_mode():
        expected = tokens_of(network, batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = tokens_of(network, batch)
    for name, part in found.items():
        assert float((part.float() - expected[name]).norm() / expected[name].norm()) < 0.05
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = tokens_of(network.train(), batch)
    sum(part.float().square().mean() for part in found.values()).backward()
    for parameter in network.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()


@pytest.mark.parametrize("build", EVERY)
def test_in_evaluation_nothing_moves_and_every_sample_is_for_itself(build):
    network = trained(build).eval()
    state = copy.deepcopy(network.state_dict())
    batch = batch_of(build)
    first = {name: own[:1] for name, own in batch.items()} if isinstance(batch, dict) else batch[:1]
    with torch.inference_mode():
        both, alone = tokens_of(network, batch), tokens_of(network, first)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    for name, part in alone.items():
        assert torch.allclose(part[0], both[name][0], rtol=1e-4, atol=1e-5 * float(part.abs().max()))


@pytest.mark.parametrize("build", EVERY)
def test_any_size_and_number_of_frames(build):
    """Test pictures are larger than those of training: 256 px after 224."""
    with torch.device("meta"):
        network = build().eval()
    batch = batch_of(build, size=96)
    batch = {n: own.to("meta") for n, own in batch.items()} if isinstance(batch, dict) else batch.to("meta")
    assert {part.shape[1] for part in tokens_of(network, batch).values()} == {9}
