from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from noise_clips import CLASSES, Stored, manifest

from actrec.explain import analysis
from actrec.explain.rollout import attention_heat, on_frames, rollout
from actrec.models.recogniser import MeanNeck, Recogniser
from actrec.models.videomae import VideoMae
from actrec.training.data import Inputs

TINY = {"kind": "none", "width": 24, "layers": 3, "attention_heads": 3, "patch_px": 16, "tubelet_frames": 2}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_attentions(layers=3, batch=2, heads=3, tokens=6):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, heads, tokens, tokens, generator=generator).mul(2).softmax(-1) for _ in range(layers)]


def make_backbone(**settings):
    """Return one whose attention is far from even."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = VideoMae(weights=TINY, clip_frames=4, input_px=48, token_grid=None, **settings).eval()
        with torch.no_grad():
            for parameter in backbone.parameters():
                torch.nn.init.normal_(parameter, std=0.3)
    return backbone


def make_clips(count=2):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 4, 48, 48, 3), dtype=np.uint8))


# --- the matrices -----------------------------------------------------------------------------------------------------


def test_two_tokens_and_two_layers_by_hand():
    # Heads [[1, 0], [1, 0]] and [[0, 1], [1, 0]] have the mean [[.5, .5], [1, 0]]; half of it and half of the identity
    # is A = [[.75, .25], [.5, .5]]. The second layer is the identity for both heads, and so is its mixture.
    first = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]]])
    second = torch.eye(2).expand(1, 2, 2, 2)
    assert torch.allclose(rollout([first, second]), torch.tensor([[0.625, 0.375]]))
    # With [[0, 1], [0, 1]] as the second it is B = [[.5, .5], [0, 1]], and B A = [[.625, .375], [.5, .5]].
    second = torch.tensor([[0.0, 1.0], [0.0, 1.0]]).expand(1, 2, 2, 2)
    assert torch.allclose(rollout([first, second]), torch.tensor([[0.5625, 0.4375]]))
    # The other way round it is another product: A B = [[.375, .625], [.25, .75]].
    assert torch.allclose(rollout([second, first]), torch.tensor([[0.3125, 0.6875]]))


def test_the_mean_row_of_the_whole_product():
    attentions = make_attentions()
    for sample in range(2):
        product = np.eye(6)
        for layer in attentions:
            mixed = 0.5 * layer[sample].double().mean(dim=0).numpy() + 0.5 * np.eye(6)
            product = (mixed / mixed.sum(axis=1, keepdims=True)) @ product
        assert rollout(attentions)[sample].numpy() == pytest.approx(product.mean(axis=0), abs=1e-6)


def test_shares_sum_to_one_also_of_half_precision():
    found = rollout([layer.bfloat16() for layer in make_attentions()])
    assert found.dtype == torch.float32
    assert torch.allclose(found.sum(dim=1), torch.ones(2), atol=1e-5)


# --- of a model -------------------------------------------------------------------------------------------------------


def test_heat_is_the_roll_out_in_the_order_of_time_height_and_width():
    backbone, clips = make_backbone(), make_clips()
    found = attention_heat(backbone, clips)
    assert found.shape == (2, 2, 3, 3) and found.dtype == torch.float32
    flow = rollout(backbone.attentions(clips))
    for sample in range(2):
        assert found[sample].min() == 0 and found[sample].max() == 1
        low, high = flow[sample].min(), flow[sample].max()
        for time, row, column in ((0, 0, 0), (0, 1, 2), (1, 0, 1), (1, 2, 2)):
            expected = (flow[sample, 9 * time + 3 * row + column] - low) / (high - low)
            assert torch.isclose(found[sample, time, row, column], expected, atol=1e-5)


def test_heat_is_where_the_attention_goes(monkeypatch):
    backbone = make_backbone()
    everyone_looks_at = torch.zeros(1, 3, 18, 18)
    everyone_looks_at[..., 9 + 3 * 2 + 1] = 1.0
    monkeypatch.setattr(backbone, "attentions", lambda clips: [everyone_looks_at] * 2)
    found = attention_heat(backbone, make_clips(1))
    assert found[0, 1, 2, 1] == 1 and found.sum() == 1


def test_an_even_look_has_no_hot_place(monkeypatch):
    backbone = make_backbone()
    monkeypatch.setattr(backbone, "attentions", lambda clips: [torch.full((1, 3, 18, 18), 1 / 18)])
    assert attention_heat(backbone, make_clips(1)).max() < 0.01


def test_on_frames_each_place_lies_over_its_pixels():
    heat = torch.zeros(1, 2, 3, 3)
    heat[0, 1, 0, 2] = 1.0
    found = on_frames(heat, clip_frames=4, size_px=48)
    assert found.shape == (1, 4, 48, 48)
    assert found.min() >= 0 and found.max() <= 1
    time, row, column = np.unravel_index(int(found[0].argmax()), (4, 48, 48))
    assert time in (2, 3) and row < 16 and column >= 32
    assert found[0, 0].max() < found[0, 3].max()
    even = on_frames(torch.full((1, 2, 3, 3), 0.25), clip_frames=4, size_px=48)
    assert torch.allclose(even, torch.full((1, 4, 48, 48), 0.25))


# --- of a split -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("clips", "rows"), [(2, [0, 4]), (4, [0, 1, 3, 4])])
def test_so_many_clips_of_a_split_are_drawn_spread_over_it(monkeypatch, clips, rows):
    drawn: list[Any] = []
    monkeypatch.setattr(analysis, "attention_grid", lambda *given: drawn.append(given) or b"picture")
    five = manifest(5)
    stored = Stored([clip.clip_id for clip in five.clips], frames=4, size_px=48)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Recogniser({"rgb": make_backbone()}, MeanNeck(24), {"bird": torch.nn.Linear(24, 3)}).eval()
    backbones = {"rgb": {"input_px": 48, "crop_frac": 1.0}}
    about: Any = SimpleNamespace(model={"backbones": backbones}, classes={"bird": CLASSES}, seed=0)
    fabric: Any = SimpleNamespace(device=torch.device("cpu"))
    inputs = Inputs(five, {"rgb": stored})
    assert analysis.attention_picture(model, about, inputs, "test", clips=clips, fabric=fabric) == b"picture"
    ((frames, heat, titles),) = drawn
    assert np.array_equal(frames, [stored[f"clip{row}"][0].numpy() for row in rows])
    assert heat.shape == (clips, 4, 48, 48)
    assert [title.partition(" · ")[0] for title in titles] == [f"true: {CLASSES[row % 3]}" for row in rows]
