"""How pairs stand, as a modality: the numbers by hand, where they come from, and what they depend on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pairs_of_people import GEOMETRY, PICTURE, PICTURES, make_pair, make_pair_inputs, make_pairs
from tiny_runs import make_clip, make_inputs, make_manifest

from actrec.data.manifest import Manifest, dump
from actrec.data.people import People
from actrec.training.data import open_inputs
from actrec.training.modalities import open_modalities
from actrec.training.pair_geometry import PairGeometry

# A is 20 x 60 around (20, 50), B 20 x 40 around (50, 50): dx 30, dy 0, of 200 x 100 pixels.
AB = [(30 - 20) / 200, 40 / 60, 30 / 200, 1, 800 / 1200, 30 / 2000**0.5, 0, 1]


def geometry_of(*clips):
    return PairGeometry(clips)


def test_the_numbers_by_hand():
    found = geometry_of(make_pair("1.png", "ab", "train")).plain("1.png#a+b")
    assert found.shape == (1, 1, 8) and found.dtype == torch.float32
    assert found[0, 0].tolist() == pytest.approx(AB)


def test_a_picture_that_was_turned_is_as_wide_as_it_is_shown():
    turned = replace(PICTURE, width_px=100, height_px=200, rotation_deg=90)
    clip = replace(make_pair("1.png", "ab", "train"), facts=turned)
    assert geometry_of(clip).plain(clip.clip_id)[0, 0].tolist() == pytest.approx(AB)


def test_random_views_are_the_plain_one_and_draw_nothing():
    reader, rng = geometry_of(make_pair("1.png", "ab", "train")), np.random.default_rng(0)
    before = rng.bit_generator.state
    for view in (None, 0):
        assert torch.equal(reader.random("1.png#a+b", rng, view)[None], reader.plain("1.png#a+b"))
    assert rng.bit_generator.state == before
    assert reader.absent().shape == reader.plain("1.png#a+b").shape and not reader.absent().any()
    assert reader.parts("1.png#a+b") == ("1.png#a+b",)


def test_digests_tell_what_is_said():
    one, same = make_pair("1.png", "ab", "train"), make_pair("2.png", "ab", "val")
    crowded, other = make_pair("3.png", "ab", "val", persons=7), make_pair("4.png", "ac", "val")
    digests = geometry_of(one, same, crowded, other).digests
    assert list(digests) == ["1.png#a+b", "2.png#a+b", "3.png#a+b", "4.png#a+c"]
    assert digests["1.png#a+b"] == digests["2.png#a+b"]
    assert len(set(digests.values())) == 3


def test_clips_that_are_not_about_two_have_none():
    crowd = replace(make_pair("1.png", "ab", "train"), people=People(((0.0, 0.0, 5.0, 5.0),), 1, wraps=False))
    assert geometry_of(crowd, make_clip("video", "train", {})).digests == {}


def test_geometry_alone_needs_no_other_stage(tmp_path):
    manifest = make_pairs(PICTURES)
    (tmp_path / "manifest.csv").write_text(dump(manifest), encoding="utf-8")
    nowhere = {name: tmp_path / "nothing" for name in ("frames", "mels", "skeletons")}
    inputs = open_inputs(tmp_path / "manifest.csv", **nowhere, modalities=["geometry"])
    assert inputs.manifest == manifest and inputs.clip_spec is None and inputs.specs == {"geometry": {}}
    batch = inputs.source("train", backbones={"geometry": GEOMETRY}, augment={}, seed=0).training_batch(
        np.array([0, 1]), 0
    )
    assert batch["geometry"].shape == (2, 1, 8) and batch["present"]["geometry"].all()
    assert batch["geometry"][0, 0].tolist() == pytest.approx(AB)


def test_a_box_that_moves_is_another_run(tmp_path):
    manifest = make_pairs(PICTURES)
    first, *others = manifest.clips
    assert first.people is not None
    (x, y, w, h), second = first.people.boxes
    moved = replace(first, people=replace(first.people, boxes=((x + 1, y, w, h), second)))
    one, other = (
        make_pair_inputs(tmp_path, m, "geometry").digest(["train"])
        for m in (manifest, Manifest((moved, *others), ("relation",)))
    )
    assert one != other


def test_pictures_are_read_beside_it(tmp_path):
    """Both crops at random, in one place of each, and mirrored together; the geometry as it is."""
    inputs = make_pair_inputs(tmp_path, make_pairs(PICTURES))
    augment = {"rgb": {"min_area_frac": 0.4, "flip_prob": 0.5, "color_jitter": 0.0, "randaugment": None}}
    backbones = {"rgb": {"input_px": 32, "crop_frac": 1.0}, "geometry": GEOMETRY}
    source = inputs.source("train", backbones=backbones, augment=augment, seed=0)
    rows = np.arange(4)
    batches = [source.training_batch(rows, epoch) for epoch in (0, 1)]
    assert batches[0]["rgb"].shape == (4, 2, 32, 32, 3)
    assert not torch.equal(batches[0]["rgb"], batches[1]["rgb"])
    assert torch.equal(batches[0]["geometry"], batches[1]["geometry"])
    # a+b, a+c, b+a, b+c: the first and the third show the same two, swapped.
    plain = source.plain_batch(rows)
    assert plain["views"] == 1 and torch.equal(plain["rgb"][0].flip(0), plain["rgb"][2])
    assert torch.equal(plain["geometry"][0], plain["geometry"][2])


def test_other_clips_are_whole_themselves(tmp_path):
    inputs = make_inputs(tmp_path, make_manifest(), sound=True)
    resnet = {"kind": "resnet", "temporal": "mean", "input_px": 16, "crop_frac": 1.0}
    readers = open_modalities(inputs.folders, backbones={"rgb": resnet}, augment={})
    assert {m: reader.parts("val00") for m, reader in readers.items()} == {"rgb": ("val00",), "audio": ("val00",)}
