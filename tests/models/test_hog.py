"""Descriptors by hand and by scikit-image; the backbone that they pass."""

import math

import numpy as np
import pytest
import torch
from skimage.feature import hog

from actrec.models.build_backbone import build_backbone
from actrec.models.hog import Hog, descriptors
from actrec.models.recogniser import build

USUAL = {"orientations": 9, "cell_px": 8, "block_cells": 2}
SPEC = {"kind": "hog", **USUAL, "weights": {"kind": "none"}, "frozen": True, "input_px": 64}
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def edge(*, axis: int, bright: int = 255) -> torch.Tensor:
    """Return a grey picture (16, 16, 3), dark in the first half along an axis."""
    picture = torch.zeros(16, 16, 3, dtype=torch.uint8)
    picture.narrow(axis, 8, 8).fill_(bright)
    return picture


@pytest.mark.parametrize(("axis", "energetic"), [(1, 0), (0, 4)])
def test_an_edge_is_in_one_orientation_alone(axis, energetic):
    """A vertical edge has horizontal gradients, 0°; a horizontal one 90°, which is in the fifth bin of 20°.

    Each of the four cells of the one block has 8 pixels of gradient 1 beside the edge, (8 / 64) of its pixels. Length 1
    makes of four equal values 1/2 each; cut off at 0.2 and made of length 1 again, they are what they were.
    """
    found = descriptors(edge(axis=axis), **USUAL).reshape(4, 9)
    expected = torch.zeros(4, 9)
    expected[:, energetic] = 0.5
    assert torch.allclose(found, expected, atol=1e-6)


def test_bright_light_and_dim_light_are_alike_and_so_are_opposite_edges():
    bright, dim = (descriptors(edge(axis=1, bright=value), **USUAL) for value in (250, 25))
    assert torch.allclose(bright, dim, atol=1e-5)
    assert torch.allclose(bright, descriptors(255 - edge(axis=1), **USUAL), atol=1e-5)


def test_what_is_large_is_cut_off_before_the_second_normalisation():
    """Steps of 100 and of 10 in cells of 4: lengths 10 and 1, twice each in a block, 10 / sqrt(202) = 0.7036; 0.0704.

    Cut off: 0.2 and 0.0704. By their length, sqrt(2 (0.04 + 0.00495)) = 0.2998: 0.667 and 0.2347.
    """
    picture = torch.zeros(8, 8, 3, dtype=torch.uint8)
    picture[:, 2:5], picture[:, 5:] = 100, 110
    found = descriptors(picture, orientations=4, cell_px=4, block_cells=2).reshape(2, 2, 4)
    assert torch.allclose(found[..., 0], torch.tensor([[0.66704, 0.23467]] * 2), atol=1e-4)
    assert not found[..., 1:].any()


def test_no_edges_are_zeros():
    assert not descriptors(torch.full((3, 16, 16, 3), 200, dtype=torch.uint8), **USUAL).any()


def test_a_picture_s_luma_is_looked_at():
    """Of ITU-R BT.601: full red is as bright as a grey of 0.299 x 255 = 76, but for rounding to whole greys."""
    red = torch.zeros(16, 16, 3, dtype=torch.uint8)
    red[8:, :, 0], red[:, 8:, 1] = 255, 130
    grey = (red.numpy() @ LUMA).round().astype(np.uint8)[..., None].repeat(3, axis=-1)
    assert torch.allclose(descriptors(red, **USUAL), descriptors(torch.from_numpy(grey), **USUAL), atol=2e-3)


@pytest.mark.parametrize("orientations", [2, 7, 9, 12])
@pytest.mark.parametrize(("cell_px", "block_cells"), [(8, 2), (6, 3), (5, 1), (2, 4)])
@pytest.mark.parametrize("kind", ["noise", "few greys", "ramp"])
def test_values_are_those_of_scikit_image(orientations, cell_px, block_cells, kind):
    rng = np.random.default_rng(orientations * cell_px)
    shape = (33, 40, 3)  # of no whole number of cells
    pixels = {
        "noise": rng.integers(0, 256, shape),
        "few greys": rng.integers(0, 3, (33, 40, 1)).repeat(3, axis=2) * 100,
        "ramp": np.broadcast_to(6 * np.arange(40)[None, :, None], shape),
    }[kind].astype(np.uint8)
    grey = (pixels.astype(np.float32) * LUMA).sum(axis=2) / np.float32(255)
    cells = {"pixels_per_cell": (cell_px, cell_px), "cells_per_block": (block_cells, block_cells)}
    expected = hog(grey, orientations=orientations, block_norm="L2-Hys", **cells)
    how = {"orientations": orientations, "cell_px": cell_px, "block_cells": block_cells}
    found = descriptors(torch.from_numpy(pixels), **how).numpy()
    assert found.dtype == np.float32 and found.shape == expected.shape
    # Greys that differ in their last bit have gradients of 1e-8: where nothing else is, they count.
    assert np.abs(found - expected).max() < (2e-6 if kind == "noise" else 2e-3)


def test_each_picture_of_many_is_described_as_if_alone():
    pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 16, 24, 3), np.uint8))
    found = descriptors(pictures, **USUAL)
    assert found.shape == (2, 3, 2 * 4 * 9)
    for place in np.ndindex(2, 3):
        assert torch.equal(found[place], descriptors(pictures[place], **USUAL))


@pytest.mark.parametrize(("input_px", "width"), [(64, 1764), (128, 8100), (16, 36), (23, 36)])
def test_the_width_is_the_length_of_a_descriptor(input_px, width):
    """7 x 7 blocks of 2 x 2 cells of 9 orientations for 64 px, 15 x 15 for 128."""
    assert Hog(**USUAL, input_px=input_px).width == width
    assert descriptors(torch.zeros(1, input_px, input_px, 3, dtype=torch.uint8), **USUAL).shape == (1, width)


def test_the_backbone_passes_descriptors_on():
    backbone = build_backbone("rgb", SPEC, clip_frames=1)
    tokens = torch.rand(3, 2, backbone.width)
    assert torch.equal(backbone(tokens), tokens)
    assert not list(backbone.parameters()) and not backbone.state_dict()
    assert backbone.bare_weights == {"kind": "none"} and backbone.cam_layer is None and "hog" in backbone.no_cam


def test_features_of_another_release_are_other_features():
    assert Hog(**USUAL, input_px=64).weights_sha256 == f"numpy {np.__version__}"


def test_an_svm_head_by_hand():
    """((x - mean) / scale) . coef + intercept, by the temperature; frames are averaged before."""
    head = {"kind": "svm", "c": [1.0]}
    spec = {
        "backbones": {"rgb": {**SPEC, "orientations": 2, "block_cells": 1, "input_px": 8, "cell_px": 8}},
        "neck": {"kind": "mean"},
        "heads": {"kind": head},
    }
    model = build(spec, classes={"kind": "abc"}, multi_label=(), clip_frames=2, channels_last=True, seed=0).eval()
    batch = {"rgb": torch.tensor([[[3.0, 1.0], [5.0, 1.0]]]), "present": {"rgb": torch.tensor([True])}}
    assert model(batch)["kind"].tolist() == [[0.0, 0.0, 0.0]]
    state = {"mean": [2.0, 0.0], "scale": [4.0, 1.0], "coef": [[1.0, 0.0], [0.0, 1.0], [2.0, -1.0]]}
    state |= {"intercept": [0.0, 1.0, 0.5], "temperature": 0.5}
    model.heads[0].load_state_dict({name: torch.tensor(values) for name, values in state.items()})
    # x = (4, 1): standardised (0.5, 1).
    assert model(batch)["kind"].tolist() == [[1.0, 4.0, 1.0]]
    probs = model.to_probs("kind", model(batch)["kind"])
    assert probs[0, 1].item() == pytest.approx(1 / (1 + 2 * math.exp(-3)))
    assert not [name for name, _ in model.named_parameters()]
