import hashlib

import pytest
import torch
from torch.nn import functional
from torchvision.models import get_model

from actrec.errors import UserError
from actrec.models.resnet_frames import ResNetFrames
from actrec.models.resnet_mel import ResNetMel, standardised
from actrec.training.checkpoint import save_tensors

NONE = {"kind": "none"}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_mels(*shape, seed=0):
    """Return spectrograms in dB such as recordings have: from about -90 to -10."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 80 - 90


def file_weights(path):
    return {"kind": "file", "path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


@pytest.fixture(scope="module")
def pictures():
    """Return torchvision's own network for RGB pictures, with 1000 classes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return get_model("resnet18").eval()


# --- size -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "published", "width"), [(18, 11_689_512, 512), (34, 21_797_672, 512), (50, 25_557_032, 2048)]
)
def test_the_published_parameters_but_for_the_classifier_and_two_input_channels(depth, published, width):
    with torch.device("meta"):
        network = ResNetMel(depth=depth, weights=NONE)
    assert network.width == width
    num_parameters = sum(parameter.numel() for parameter in network.parameters())
    assert num_parameters == published - (width * 1000 + 1000) - 2 * 64 * 7 * 7


@pytest.mark.parametrize(
    ("depth", "shape", "tokens"),
    [(18, (128, 313), (40, 512)), (50, (128, 313), (40, 2048)), (18, (64, 101), (8, 512)), (18, (32, 33), (2, 512))],
)
def test_tokens(depth, shape, tokens):
    with torch.device("meta"):
        network = ResNetMel(depth=depth, weights=NONE).eval()
        found = network(torch.zeros(2, *shape))
    assert found.shape == (2, *tokens)


def test_tokens_are_the_places_of_the_last_map_row_by_row(pictures, tmp_path):
    """Against torchvision: three channels of a third of the values are answered as their mean weights answer one."""
    torch.save(pictures.state_dict(), tmp_path / "rgb.pt")
    network = ResNetMel(depth=18, weights=file_weights(tmp_path / "rgb.pt")).eval()
    mels = make_mels(2, 64, 96)
    maps = {}
    hook = pictures.layer4.register_forward_hook(lambda _, __, output: maps.update(last=output))
    with torch.inference_mode():
        pictures(standardised(mels).unsqueeze(1).expand(-1, 3, -1, -1) / 3)
        found = network(mels)
    hook.remove()
    assert found.shape == (2, 6, 512) and maps["last"].shape == (2, 512, 2, 3)
    for row in range(2):
        for column in range(3):
            assert torch.allclose(found[:, 3 * row + column], maps["last"][:, :, row, column], atol=1e-4)


# --- standardising ----------------------------------------------------------------------------------------------------


def test_standardising_by_hand():
    # 80 dB below the maximum of -10 is -90: -200 becomes that. Mean (-10 - 90 - 30 - 70) / 4 = -50, variance
    # (40^2 + 40^2 + 20^2 + 20^2) / 4 = 1000.
    found = standardised(torch.tensor([[[-10.0, -200.0], [-30.0, -70.0]]]))
    expected = torch.tensor([[[40.0, -40.0], [20.0, -20.0]]]) / 1000**0.5
    assert torch.allclose(found, expected)


def test_neither_gain_nor_neighbours_matter():
    mels = make_mels(3, 32, 40)
    assert torch.allclose(standardised(mels + 17), standardised(mels), atol=1e-5)
    assert torch.allclose(standardised(mels)[1:2], standardised(mels[1:2]))


def test_silence_is_next_to_nothing_and_finite():
    silence = torch.full((1, 32, 40), -100.0)
    assert standardised(silence).abs().max() < 1e-3
    faint = silence + 0.02 * torch.rand(1, 32, 40, generator=torch.Generator().manual_seed(0))
    assert standardised(faint).abs().max() < 0.02
    with torch.inference_mode():
        assert ResNetMel(depth=18, weights=NONE).eval()(torch.zeros(1, 32, 40)).isfinite().all()


# --- weights ----------------------------------------------------------------------------------------------------------


def test_the_first_layer_is_the_mean_over_channels_and_the_rest_as_published(pictures, tmp_path):
    torch.save(pictures.state_dict(), tmp_path / "rgb.pt")
    weights = file_weights(tmp_path / "rgb.pt")
    network = ResNetMel(depth=18, weights=weights)
    state, published = network.network.state_dict(), pictures.state_dict()
    first = published["conv1.weight"]
    assert torch.allclose(state["conv1.weight"][:, 0], (first[:, 0] + first[:, 1] + first[:, 2]) / 3, atol=1e-7)
    assert all(torch.equal(value, published[name]) for name, value in state.items() if name != "conv1.weight")
    assert network.weights_sha256 == weights["sha256"]
    assert network.bare_weights == NONE


def test_a_file_with_one_channel_fits_as_well(tmp_path):
    source = ResNetMel(depth=18, weights=NONE)
    torch.save(source.network.state_dict(), tmp_path / "mel.pt")
    loaded = ResNetMel(depth=18, weights=file_weights(tmp_path / "mel.pt"))
    assert torch.equal(loaded.network.conv1.weight, source.network.conv1.weight)


def test_of_a_checkpoint_of_actrec_the_audio_backbone_is_taken(tmp_path):
    audio, rgb = (
        ResNetMel(depth=18, weights=NONE),
        ResNetFrames(depth=18, temporal="mean", clip_frames=2, input_px=112, weights=NONE),
    )
    state = {
        **{f"backbones.audio.{name}": value for name, value in audio.state_dict().items()},
        **{f"backbones.rgb.{name}": value for name, value in rgb.state_dict().items()},
        "heads.0.1.bias": torch.zeros(2),
    }
    save_tensors(tmp_path / "best.pt", {"format": 1, "about": {}, "state_dict": state})
    weights = file_weights(tmp_path / "best.pt")
    for original, loaded in (
        (audio, ResNetMel(depth=18, weights=weights)),
        (rgb, ResNetFrames(depth=18, temporal="mean", clip_frames=2, input_px=112, weights=weights)),
    ):
        assert all(torch.equal(value, original.state_dict()[name]) for name, value in loaded.state_dict().items())


def test_another_depth_is_refused(pictures, tmp_path):
    torch.save(pictures.state_dict(), tmp_path / "rgb.pt")
    with pytest.raises(UserError, match="weights of another network"):
        ResNetMel(depth=34, weights=file_weights(tmp_path / "rgb.pt"))
    torch.save({"fc.weight": torch.zeros(1)}, tmp_path / "nothing.pt")
    with pytest.raises(UserError, match=r"missing \(bn1\.bias"):
        ResNetMel(depth=18, weights=file_weights(tmp_path / "nothing.pt"))


def test_random_weights_are_scaled_for_one_channel():
    """He et al. 2015 for ReLU, outputs: variance 2 / (64 * 7 * 7)."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weight = ResNetMel(depth=18, weights=NONE).network.conv1.weight
    assert weight.std().item() == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.05)


# --- computing --------------------------------------------------------------------------------------------------------


def test_channels_last_gives_the_same_tokens():
    network = ResNetMel(depth=18, weights=NONE).eval()
    mels = make_mels(1, 32, 64)
    with torch.inference_mode():
        expected = network(mels)
        network.use_channels_last()
        assert torch.allclose(network(mels), expected, atol=1e-4)
    assert network.network.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_it_learns():
    network = ResNetMel(depth=18, weights=NONE).train()
    loss = functional.mse_loss(network(make_mels(2, 32, 64)).mean(dim=1), torch.ones(2, 512))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert network.network.conv1.weight.grad.abs().max() > 0
