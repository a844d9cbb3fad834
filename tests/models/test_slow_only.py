import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from actrec.models.slow_only import SlowOnly

NONE = {"kind": "none"}


def slow_only(**settings):
    return SlowOnly(**{"blocks": (3, 4, 6, 3), "width": 64, "token_grid": None, "weights": NONE, **settings})


def make_clips(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8))


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture(scope="module")
def resnet():
    """Return torchvision's ResNet of bottlenecks, one or two a stage, with batch norms that do something."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ResNet(Bottleneck, [1, 2, 1, 1], num_classes=1).eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, std=0.1)
                nn.init.uniform_(module.running_var, 0.5, 2.0)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.1)
    return network


def test_parameters_are_torchvision_s_and_those_of_two_more_frames_in_the_last_stages():
    with torch.device("meta"):
        network = slow_only()
    resnet50 = 25_557_032 - (2048 * 1000 + 1000)
    in_stage_3 = 2 * (512 + 5 * 1024) * 256
    in_stage_4 = 2 * (1024 + 2 * 2048) * 512
    assert count(network) == resnet50 + in_stage_3 + in_stage_4 == 31_634_496


def test_shapes_are_the_published_ones():
    seen = {}
    with torch.device("meta"):
        network = slow_only().eval()
        for name, layer in network.network.named_children():
            layer.register_forward_hook(lambda _, __, maps, name=name: seen.update({name: tuple(maps.shape[1:])}))
        tokens = network(torch.zeros((2, 8, 224, 224, 3), dtype=torch.uint8))
    assert seen == {
        "conv1": (64, 8, 112, 112),
        "maxpool": (64, 8, 56, 56),
        "layer1": (256, 8, 56, 56),
        "layer2": (512, 8, 28, 28),
        "layer3": (1024, 8, 14, 14),
        "layer4": (2048, 8, 7, 7),
    }
    assert tokens.shape == (2, 49, 2048) and network.width == 2048


def test_without_time_it_is_torchvision_s_resnet_on_each_frame(resnet):
    """Kernels over time whose outer frames weigh nothing are those of pictures."""
    network = slow_only(blocks=(1, 2, 1, 1)).eval()
    theirs = dict(resnet.state_dict())
    state = {}
    for name, value in network.network.state_dict().items():
        # layer1.0.conv1.bn.bias is layer1.0.bn1.bias there; layer1.0.downsample.conv.weight is ….downsample.0.weight
        source = name.replace("downsample.conv", "downsample.0").replace("downsample.bn", "downsample.1")
        for number in "123":
            source = source.replace(f"conv{number}.bn", f"bn{number}").replace(f"conv{number}.conv", f"conv{number}")
        picture = theirs.pop(source)
        state[name] = picture if picture.dim() < 4 else torch.zeros_like(value)
        if picture.dim() == 4:
            state[name][:, :, value.shape[2] // 2] = picture
    assert set(theirs) == {"fc.weight", "fc.bias"}
    network.network.load_state_dict(state)
    resnet.fc = nn.Identity()
    clips = make_clips(2, 2, 48, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        tokens = network(clips)
        frames = ((clips / 255 - mean) / std).flatten(0, 1).permute(0, 3, 1, 2)
        expected = resnet(frames).view(2, 2, 2048).mean(dim=1)
    assert tokens.shape == (2, 4, 2048)
    assert torch.allclose(tokens.mean(dim=1), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_only_the_last_two_stages_see_other_frames():
    network = slow_only(blocks=(1, 1, 1, 1), width=4).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.ones_(module.weight)
    clips = make_clips(1, 5, 32, 32)
    other = clips.clone()
    other[0, 2] = 255 - other[0, 2]
    maps, changed = network.to_model_layout(clips), network.to_model_layout(other)
    frames = {}
    with torch.inference_mode():
        for name, layer in network.network.named_children():
            maps, changed = layer(maps), layer(changed)
            frames[name] = ((maps - changed).abs().amax(dim=(0, 1, 3, 4)) > 0).tolist()
    alone, all_of_them = [False, False, True, False, False], [True] * 5
    assert frames == {
        "conv1": alone,
        "maxpool": alone,
        "layer1": alone,
        "layer2": alone,
        "layer3": [False, True, True, True, False],
        "layer4": all_of_them,
    }


def test_a_detour_does_nothing_at_first():
    """He et al.: the last batch norm of each block starts with zeros, the others with ones; no biases."""
    network = slow_only(blocks=(1, 2, 1, 1), width=4)
    norms = {name: m for name, m in network.network.named_modules() if isinstance(m, nn.BatchNorm3d)}
    assert {name for name, norm in norms.items() if not norm.weight.any()} == {n for n in norms if "conv3" in n}
    assert all(torch.equal(n.weight, torch.ones_like(n.weight)) for name, n in norms.items() if "conv3" not in name)
    assert all(module.bias is None for module in network.modules() if isinstance(module, nn.Conv3d))


def test_weights_are_spread_by_fan_out():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        conv = slow_only(width=16).network.layer3[1].conv2.conv.weight  # 64 from 64, 1x3x3
    assert float(conv.detach().std()) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert abs(float(conv.detach().mean())) < 0.001


def test_other_numbers_of_stages_are_refused():
    with pytest.raises(ValueError, match="zip"):
        slow_only(blocks=(1, 1, 1), width=4)
