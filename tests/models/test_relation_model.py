"""The whole model of two people: its size by hand, and what swapping their crops does to what it says."""

import pytest
import torch

from actrec.errors import UserError
from actrec.models.recogniser import build

CLASSES = {"relation": ("walking", "standing", "sitting")}
RESNET = {
    "kind": "resnet",
    "depth": 18,
    "temporal": "mean",
    "weights": {"kind": "none"},
    "frozen": False,
    "input_px": 112,
}
RGB = {**RESNET, "input_px": 32}
SHIFT = {**RGB, "temporal": "shift"}
SMALL = {"kind": "small3d", "width": 4, "weights": {"kind": "none"}, "frozen": False, "input_px": 32}
HOG = {"kind": "hog", "orientations": 9, "cell_px": 8, "block_cells": 2, "weights": {"kind": "none"}, "frozen": True}
GEOMETRY = {"kind": "spatial", "weights": {"kind": "none"}, "frozen": True}
NECK = {"kind": "relation", "visual_dim": 256, "hidden": [512, 256, 128], "fusion": "concat", "dropout": 0.3}
CONCAT = {"kind": "concat"}
HEADS = {"relation": {"kind": "linear", "dropout": 0.15, "loss_weight": 1.0}}
BOTH = {"rgb": RGB, "geometry": GEOMETRY}
# torchvision's 11,689,512 without its classifier, 512 * 1000 + 1000.
RESNET_18 = 11_176_512


def make(backbones=BOTH, neck=NECK, **changes):
    spec = {"backbones": backbones, "neck": {**neck, **changes}, "heads": HEADS}
    return build(spec, classes=CLASSES, multi_label=(), clip_frames=2, channels_last=False, seed=0).eval()


def pairs(count=3, px=32):
    generator = torch.Generator().manual_seed(0)
    rgb = torch.randint(0, 256, (count, 2, px, px, 3), dtype=torch.uint8, generator=generator)
    there = torch.ones(count, dtype=torch.bool)
    return {
        "rgb": rgb,
        "geometry": torch.rand(count, 1, 8, generator=generator),
        "present": {"rgb": there, "geometry": there},
    }


@torch.inference_mode()
def said(model, batch):
    return model(batch)["relation"]


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_parameters_as_counted_by_hand():
    # The neck, see test_relation.py: 428,288 and the fusion's 640 * 512 + 512; the head 128 * 3 + 3.
    assert parameters(make()) == RESNET_18 + 756_480 + 387
    assert parameters(make(fusion="bilinear")) == RESNET_18 + 756_480 + 33_554_944 + 387
    assert parameters(make({"geometry": GEOMETRY})) == 1_152 + (128 * 512 + 512) + 131_328 + 32_896 + 387
    # Side by side 2 * 512 + 8 numbers, and nothing to learn but the head.
    assert parameters(make(neck=CONCAT)) == RESNET_18 + 1_032 * 3 + 3


@pytest.mark.parametrize(
    ("neck", "is_equal"),
    [
        ({**NECK, "fusion": "concat"}, False),
        ({**NECK, "fusion": "bilinear"}, False),
        ({**NECK, "fusion": "add"}, True),
        ({**NECK, "fusion": "symmetric"}, True),
        (CONCAT, False),
        ({"kind": "mean"}, True),
    ],
)
def test_swapping_the_two_crops(neck, is_equal):
    model = make({"rgb": RGB} if neck["kind"] == "mean" else BOTH, neck)
    batch = pairs()
    swapped = {**batch, "rgb": batch["rgb"].flip(1)}
    one, other = said(model, batch), said(model, swapped)
    assert one.shape == (3, 3)
    assert torch.allclose(one, other, atol=1e-5, rtol=1e-4) == is_equal


@pytest.mark.parametrize("neck", [NECK, CONCAT])
def test_crops_and_geometry_both_have_a_say(neck):
    model, batch = make(neck=neck), pairs()
    before = said(model, batch)
    nearer = {**batch, "geometry": batch["geometry"] + 1}
    others = {**batch, "rgb": 255 - batch["rgb"]}
    assert all((said(model, changed) - before).abs().max() > 1e-3 for changed in (nearer, others))


@pytest.mark.parametrize("backbones", [{"rgb": RGB}, {"geometry": GEOMETRY}])
@pytest.mark.parametrize("neck", [NECK, CONCAT])
def test_either_alone(backbones, neck):
    model, batch = make(backbones, neck), pairs()
    (own,) = backbones
    assert model.modalities == (own,)
    assert torch.equal(said(model, {own: batch[own], "present": batch["present"]}), said(model, batch))


def test_a_person_is_seen_alike_beside_anybody():
    model, crops = make({"rgb": RGB}), pairs()["rgb"]
    with torch.inference_mode():
        together = model.tokens_of("rgb", crops)
        alone = model.tokens_of("rgb", crops[:, 1:])
    assert together.shape == (3, 2, 512)
    torch.testing.assert_close(together[:, 1:], alone)


def test_geometry_is_passed_on():
    model, batch = make(), pairs()
    assert torch.equal(model.tokens(batch)["geometry"], batch["geometry"])
    assert model.frozen == {"geometry"} and model.weights_sha256["geometry"] == ""


def test_side_by_side_by_hand():
    """In the order of the backbones, whichever way they are handed over."""
    neck = make(neck=CONCAT).neck
    assert neck.width == 2 * 512 + 8
    tokens = {"geometry": torch.full((1, 1, 8), 3.0), "rgb": torch.stack([torch.ones(512), torch.zeros(512)])[None]}
    row = neck(tokens, {})[0]
    assert row.tolist() == [1.0] * 512 + [0.0] * 512 + [3.0] * 8
    # 3 x 3 blocks of 2 x 2 cells with 9 bins, of two people.
    assert make({"rgb": {**HOG, "input_px": 32}}, CONCAT).neck.width == 2 * 3 * 3 * 4 * 9


def test_frames_that_are_seen_together_can_stand_side_by_side():
    model = make({"rgb": SHIFT}, CONCAT)
    assert said(model, pairs()).shape == (3, 3)


def test_unknown_numbers_of_tokens_cannot_stand_side_by_side():
    with pytest.raises(UserError, match=r"model\.neck: concat puts a token a frame side by side, and rgb has others"):
        make({"rgb": SMALL}, CONCAT)


def test_the_head_and_the_neck_drop_out_in_training_alone():
    model, batch = make().train(), pairs()
    model.freeze("rgb", "geometry")
    one, other = model(batch)["relation"], model(batch)["relation"]
    assert not torch.equal(one, other)
    model.eval()
    assert torch.equal(said(model, batch), said(model, batch))
