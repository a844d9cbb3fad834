"""The neck that fuses two people: sizes by hand, and what swapping them does."""

import pytest
import torch
from torch import nn

from actrec.models.relation import RelationNeck

HIDDEN = [512, 256, 128]
# By hand, of 512 wide tokens: look 512*256+256, person 2*(256*256+256), geometry 8*128+128, and the hidden layers
# after the first, 512*256+256 + 256*128+128.
SHARED = 131_328 + 131_584 + 1_152 + 131_328 + 32_896
# fused width + 128 of geometry, to 512; bilinear has 256*256*512+512 besides.
FIRST = {
    "concat": 640 * 512 + 512,
    "bilinear": 640 * 512 + 512 + 33_554_944,
    "add": 384 * 512 + 512,
    "symmetric": 896 * 512 + 512,
}


def neck(fusion, widths=None, hidden=HIDDEN, *, visual_dim=256, dropout=0.3):
    torch.manual_seed(0)
    widths = widths or {"rgb": 512, "geometry": 8}
    return RelationNeck(widths=widths, visual_dim=visual_dim, hidden=hidden, fusion=fusion, dropout=dropout).eval()


def pairs(count=5):
    torch.manual_seed(1)
    return {"rgb": torch.randn(count, 2, 512), "geometry": torch.rand(count, 1, 8)}


def swapped(tokens):
    return {**tokens, "rgb": tokens["rgb"].flip(1)}


@pytest.mark.parametrize("fusion", FIRST)
def test_parameters_as_counted_by_hand(fusion):
    assert sum(p.numel() for p in neck(fusion).parameters()) == SHARED + FIRST[fusion]


def test_other_sizes_as_counted_by_hand():
    model = neck("concat", {"rgb": 10, "geometry": 8}, [8, 5, 3], visual_dim=6)
    # Look 10*6+6, person 6*4+4 and 4*4+4, geometry 8*2+2; then 4 + 4 + 2 to 8, 8 to 5 and 5 to 3.
    assert sum(p.numel() for p in model.parameters()) == 66 + 28 + 20 + 18 + (10 * 8 + 8) + (8 * 5 + 5) + (5 * 3 + 3)
    assert model({"rgb": torch.zeros(2, 2, 10), "geometry": torch.zeros(2, 1, 8)}, {}).shape == (2, 3)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_dropout_is_that_of_all_layers_but_the_first_of_a_person(dropout):
    """That one always loses a fifth, as published; without people nothing does."""
    rates = [layer.p for layer in neck("concat", dropout=dropout).modules() if isinstance(layer, nn.Dropout)]
    assert rates == [0.2, dropout, dropout, dropout]
    model, tokens = neck("concat", {"geometry": 8}, dropout=dropout).train(), {"geometry": pairs()["geometry"]}
    assert torch.equal(model(tokens, {}), model(tokens, {})) == (dropout == 0)


@pytest.mark.parametrize(
    ("fusion", "is_equal"), [("concat", False), ("bilinear", False), ("add", True), ("symmetric", True)]
)
def test_swapping_the_two_people(fusion, is_equal):
    model, tokens = neck(fusion), pairs()
    one, other = model(tokens, {}), model(swapped(tokens), {})
    assert one.shape == (5, 128)
    assert torch.allclose(one, other, atol=1e-6) == is_equal


@pytest.mark.parametrize("fusion", FIRST)
def test_either_part_alone_and_each_has_a_say(fusion):
    tokens, model = pairs(), neck(fusion)
    moved = {**tokens, "geometry": tokens["geometry"] + 1}
    assert not torch.allclose(model(tokens, {}), model(moved, {}), atol=1e-4)
    looks = neck(fusion, {"rgb": 512})
    assert looks({"rgb": tokens["rgb"]}, {}).shape == (5, 128)
    geometry = neck(fusion, {"geometry": 8})
    assert geometry({"geometry": tokens["geometry"]}, {}).shape == (5, 128)
    assert sum(p.numel() for p in geometry.parameters()) == 1_152 + (128 * 512 + 512) + 131_328 + 32_896


def test_people_are_encoded_alike():
    model = neck("concat", {"rgb": 512}, [8, 4])
    person = torch.randn(1, 512)
    same = model.person(model.look(torch.stack([person, person], dim=1)))
    assert torch.equal(same[:, 0], same[:, 1])


def test_layers_begin_by_kaiming_fan_out():
    weight = neck("concat").relation[0].weight
    assert weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.02)  # fan out is 512
