"""Descriptors as features: made by several processes, of plain and of random views, and kept clip by clip."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from tiny_runs import SPEC, interrupted_after, make_inputs, make_manifest

from actrec.media.clip import ClipSpec
from actrec.models.build_backbone import build_backbone
from actrec.models.hog import descriptors
from actrec.models.recogniser import build
from actrec.store.cas import Store
from actrec.store.features import CachedFeatures, feature_identity
from actrec.training import extract
from actrec.training.device import launch
from actrec.training.extract import Views, cache_features
from actrec.training.modalities import open_modalities
from actrec.training.views import cut, plain_view, random_crop

CELLS = {"orientations": 9, "cell_px": 4, "block_cells": 2}
BACKBONE = {"kind": "hog", **CELLS, "weights": {"kind": "none"}, "frozen": True, "input_px": 16, "crop_frac": 1.0}
AUGMENT = {"rgb": {"min_area_frac": 0.6, "flip_prob": 0.5, "color_jitter": 0.0, "randaugment": None}}
SAME = {"min_area_frac": 1.0, "flip_prob": 0.0, "color_jitter": 0.0, "randaugment": None}


def readers(inputs, augment=AUGMENT, **cells):
    return open_modalities(inputs.folders, backbones={"rgb": {**BACKBONE, **cells}}, augment=augment)["rgb"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Return a function that runs the extraction."""
    monkeypatch.setenv("ACTREC_WORKERS", "1")

    def run(name="features.h5", *, store="store", views=2, seed=0, release=None, workers=None, spec=SPEC):
        if workers:
            monkeypatch.setenv("ACTREC_WORKERS", str(workers))
        inputs = make_inputs(tmp_path, make_manifest(), spec=spec)
        head = {"kind": "svm", "c": [1.0]}
        model_spec = {"backbones": {"rgb": BACKBONE}, "neck": {"kind": "mean"}, "heads": {"action": head}}
        sizes = {"clip_frames": spec.clip_frames, "channels_last": False, "seed": seed}
        model = build(model_spec, classes=inputs.manifest.classes, multi_label=(), **sizes)
        identity = feature_identity(
            backbones={"rgb": BACKBONE},
            weights_sha256={"rgb": release or model.weights_sha256["rgb"]},
            specs={"rgb": asdict(spec)},
            features={"views": views, "augment": AUGMENT, "precision": "fp32", "batch_size": 4},
            compute={"device": "cpu", "threads": 1},
            seed=seed,
        )
        cache_features(
            tmp_path / name,
            model,
            inputs,
            identity=identity,
            views=views,
            augment=AUGMENT,
            precision="fp32",
            batch_size=4,
            backbones={"rgb": BACKBONE},
            seed=seed,
            fabric=launch(device="cpu", threads=1, precision="fp32"),
            store=Store(tmp_path / store),
        )
        return tmp_path / name

    return run


@pytest.fixture
def computed(monkeypatch):
    """Return the ids of clips that were computed."""
    found, real = [], extract._compute

    def spying(*arguments):
        for some, tokens in real(*arguments):
            found.extend(some)
            yield some, tokens

    monkeypatch.setattr(extract, "_compute", spying)
    return found


@pytest.mark.parametrize(
    ("cells", "width"),
    [(CELLS, 3 * 3 * 4 * 9), ({"orientations": 5, "cell_px": 5, "block_cells": 3}, 1 * 1 * 9 * 5)],
    ids=str,
)
def test_views_are_the_descriptors_of_what_others_see(tmp_path, cells, width):
    inputs = make_inputs(tmp_path, make_manifest())
    reader, stored = readers(inputs, **cells), inputs.folders["rgb"]["train01"]
    plain = reader.plain("train01")
    assert plain.shape == reader.absent().shape == (1, SPEC.clip_frames, width) and not reader.absent().any()
    assert build_backbone("rgb", {**BACKBONE, **cells}, clip_frames=SPEC.clip_frames).width == width
    assert torch.equal(plain, descriptors(plain_view(stored, input_px=16, crop_frac=1.0), **cells))
    rng, again = (np.random.default_rng(5) for _ in range(2))
    again.spawn(1)
    crop = random_crop(again, 20, 20, min_area_frac=0.6, flip_prob=0.5)
    expected = descriptors(cut(stored[0], crop, 16), **cells)
    assert torch.equal(reader.random("train01", rng), expected) and not torch.equal(expected, plain[0])


def test_augmentation_is_that_of_pictures(tmp_path):
    """Without any, a random view is the plain one; a mirror image is described as such."""
    inputs = make_inputs(tmp_path, make_manifest(), spec=ClipSpec(1, 1, None, 16, "crop"))
    stored, rng = inputs.folders["rgb"]["train01"], np.random.default_rng(0)
    plain = readers(inputs, {"rgb": SAME})
    flipped = readers(inputs, {"rgb": {**SAME, "flip_prob": 1.0}})
    views = [descriptors(picture, **CELLS)[0] for picture in (stored, stored.flip(3))]
    assert any(torch.equal(plain.random("train01", np.random.default_rng(seed)), views[0]) for seed in range(20))
    found = [flipped.random("train01", np.random.default_rng(seed)) for seed in range(20)]
    assert any(torch.equal(each, views[1]) for each in found) and not any(torch.equal(each, views[0]) for each in found)
    assert not torch.equal(flipped.random("train01", rng), plain.plain("train01")[0])


def test_features_are_those_descriptors(cache, tmp_path):
    features, inputs = CachedFeatures(cache(views=3), None), make_inputs(tmp_path, make_manifest())
    reader = readers(inputs)
    for clip in inputs.manifest.clips:
        assert np.array_equal(features.plain("rgb", [clip.clip_id])[0], reader.plain(clip.clip_id).numpy())
    expected = Views("rgb", reader, 2, 0).of("train02").numpy()
    assert np.array_equal(features.augmented("rgb", ["train02"])[0], expected)


def test_any_number_of_workers_gives_the_same_bytes(cache):
    first = cache("1.h5", store="one", workers=1).read_bytes()
    assert cache("2.h5", store="two", workers=2).read_bytes() == first


def test_there_are_as_many_workers_as_asked_for(cache, monkeypatch):
    asked, real = [], extract.DataLoader
    monkeypatch.setattr(extract, "DataLoader", lambda *a, **k: asked.append(k["num_workers"]) or real(*a, **k))
    cache(workers=2)
    assert asked == [2, 2]  # of 18 plain views and 10 random ones, four at a time


def test_a_killed_extraction_ends_with_the_same_features(cache, computed):
    undisturbed = cache("1.h5", store="one", workers=2).read_bytes()
    computed.clear()
    with interrupted_after(3):
        cache("2.h5", store="other")
    computed.clear()
    assert cache("2.h5", store="other").read_bytes() == undisturbed
    assert len(computed) == 18 + 10 - 12  # plain and random; three batches of four were kept


def test_another_release_of_the_library_computes_anew_and_another_seed_only_random_views(cache, computed):
    cache()
    computed.clear()
    cache(release="numpy 1.0")
    assert len(computed) == 28
    computed.clear()
    cache(seed=1)
    assert len(computed) == 10
    computed.clear()
    cache(seed=1, views=1)
    assert computed == []
