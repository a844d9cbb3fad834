"""Cached features of pairs: each person looked at once, and the numbers that training would compute live."""

from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
import torch
from pairs_of_people import (
    AUGMENT,
    CLASSES,
    GEOMETRY,
    HEAD,
    HOG,
    PICTURES,
    RELATION,
    RESNET,
    SPEC,
    make_pair_inputs,
    make_pairs,
)
from tiny_runs import interrupted_after

from actrec.models.recogniser import Recogniser, build
from actrec.store.cas import Store
from actrec.store.features import CachedFeatures, feature_identity
from actrec.training.device import launch
from actrec.training.extract import Views, cache_features
from actrec.training.modalities import open_modalities

SHIFT = {**RESNET, "temporal": "shift"}
SMALL = {"kind": "small3d", "width": 4, "weights": {"kind": "none"}, "frozen": True, "input_px": 32, "crop_frac": 1.0}


class Bench:
    """Features of pairs in a folder, and what was computed for them."""

    def __init__(self, folder, rgb=RESNET, *, manifest=None, neck=RELATION, **settings):
        self.folder, self.manifest = folder, manifest or make_pairs(PICTURES)
        self.backbones = {"rgb": rgb, "geometry": GEOMETRY}
        self.inputs = make_pair_inputs(folder, self.manifest)
        spec = {"backbones": self.backbones, "neck": neck, "heads": {"relation": HEAD}}
        sizes = {"clip_frames": 2, "channels_last": False, "seed": 0}
        self.model = build(spec, classes={"relation": CLASSES}, multi_label=(), **sizes).eval()
        self.features = {"views": 1, "augment": AUGMENT, "precision": "fp32", "batch_size": 4, **settings}
        self.identity = feature_identity(
            backbones=self.backbones,
            weights_sha256={"rgb": "f" * 64, "geometry": ""},
            specs={"rgb": asdict(SPEC), "geometry": {}},
            features=self.features,
            compute={"threads": 1},
            seed=0,
        )

    def cache(self):
        """Return the cached features."""
        cache_features(
            self.folder / "features.h5",
            self.model,
            self.inputs,
            identity=self.identity,
            **self.features,
            backbones=self.backbones,
            seed=0,
            fabric=launch(device="cpu", threads=1, precision=self.features["precision"]),
            store=Store(self.folder / "store"),
        )
        return CachedFeatures(self.folder / "features.h5", self.identity)

    def live(self, split):
        return self.inputs.source(split, backbones=self.backbones, augment=AUGMENT, seed=0)


@pytest.fixture
def embedded(monkeypatch):
    """Return the shape of each batch that a backbone is shown."""
    found, real = [], Recogniser.tokens_of
    monkeypatch.setattr(
        Recogniser, "tokens_of", lambda self, m, batch: (found.append(tuple(batch.shape)), real(self, m, batch))[1]
    )
    return found


def test_four_pairs_among_three_people_are_three_crops(tmp_path, embedded):
    bench = Bench(tmp_path, manifest=make_pairs({"1.png": "train"}), batch_size=3)
    assert len(bench.manifest.clips) == 4
    features = bench.cache()
    assert embedded == [(3, 1, 32, 32, 3)]
    assert features.plain("rgb", [clip.clip_id for clip in bench.manifest.clips]).shape == (4, 1, 2, 512)


def test_the_people_of_a_pair_are_its_own_in_its_order(tmp_path):
    features = Bench(tmp_path).cache()
    (ab, ac, ba, bc) = (features.plain("rgb", [f"1.png#{who}"])[0, 0] for who in ("a+b", "a+c", "b+a", "b+c"))
    assert np.array_equal(ab[0], ac[0]) and np.array_equal(ab[1], bc[0]) and np.array_equal(ac[1], bc[1])
    assert np.array_equal(ba, ab[::-1]) and not np.allclose(ab[0], ab[1])
    other = features.plain("rgb", ["2.png#a+b"])[0, 0]
    assert not np.allclose(other[0], ab[0])


@pytest.mark.parametrize("rgb", [RESNET, HOG], ids=["resnet", "hog"])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_cached_is_live(tmp_path, rgb, split):
    bench = Bench(tmp_path, rgb)
    bench.cache()
    stored = bench.inputs.with_features(bench.folder / "features.h5", bench.identity)
    cached = stored.source(split, backbones=bench.backbones, augment={}, seed=0)
    rows = np.arange(len(cached))
    found, shown = cached.plain_batch(rows), bench.live(split).plain_batch(rows)
    with torch.inference_mode():
        tokens = bench.model.tokens(shown)
        said, expected = bench.model(found)["relation"], bench.model(shown)["relation"]
    torch.testing.assert_close(found["tokens"]["rgb"], tokens["rgb"], rtol=1e-4, atol=1e-5)
    assert torch.equal(found["tokens"]["geometry"], tokens["geometry"])
    torch.testing.assert_close(said, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rgb", [SHIFT, SMALL], ids=["shift", "small3d"])
def test_who_sees_frames_together_is_shown_the_whole_clip(tmp_path, embedded, rgb):
    """Such a backbone is no use for relation: it stands under another neck."""
    bench = Bench(tmp_path, rgb, batch_size=4)
    features = bench.cache()
    assert embedded == [(4, 2, 32, 32, 3)] * 4  # 16 pairs
    shown = bench.live("val").plain_batch(np.arange(4))["rgb"]
    with torch.inference_mode():
        expected = bench.model.tokens_of("rgb", shown)
    found = features.plain("rgb", [clip.clip_id for clip in bench.manifest.of_split("val")])[:, 0]
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-5)


def test_one_pair_more_of_the_same_people_computes_nothing(tmp_path, embedded):
    Bench(tmp_path, manifest=make_pairs(PICTURES, whom=("ab", "bc"))).cache()
    assert len(embedded) == 3  # 12 crops
    Bench(tmp_path, manifest=make_pairs(PICTURES, whom=("ab", "ac", "bc", "cb"))).cache()
    assert len(embedded) == 3


def test_a_killed_extraction_goes_on(tmp_path, embedded):
    with interrupted_after(1):
        Bench(tmp_path).cache()
    embedded.clear()
    Bench(tmp_path).cache()
    assert len(embedded) == 2  # 12 - 4 crops, 4 at a time


# --- random views -----------------------------------------------------------------------------------------------------


def test_random_views_are_each_person_s_own(tmp_path):
    bench = Bench(tmp_path, views=3)
    features = bench.cache()
    reader = open_modalities(bench.inputs.folders, backbones=bench.backbones, augment=AUGMENT)["rgb"]
    views = Views("rgb", reader, 2, 0)
    a, b = (views.of(part) for part in reader.parts("1.png#a+b"))
    assert a.shape == (2, 1, 32, 32, 3)
    with torch.inference_mode():
        expected = torch.cat([bench.model.tokens_of("rgb", own) for own in (a, b)], dim=1)
    found = features.augmented("rgb", ["1.png#a+b", "1.png#b+a", "1.png#b+c"])
    assert found.shape == (3, 2, 2, 512)
    torch.testing.assert_close(torch.from_numpy(found[0]), expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(found[0, :, 0], found[1, :, 1]) and np.array_equal(found[0, :, 1], found[2, :, 0])
    assert not np.allclose(found[0, 0], found[0, 1])


def test_geometry_has_its_plain_view_in_any_case(tmp_path):
    bench = Bench(tmp_path, views=3, precision="bf16")
    features = bench.cache()
    train = [clip.clip_id for clip in bench.manifest.of_split("train")]
    assert features.augmented("geometry", train).shape == (8, 0, 1, 8)
    expected = torch.cat([bench.inputs.folders["geometry"].plain(clip_id) for clip_id in train])
    assert np.array_equal(features.plain("geometry", train)[:, 0], expected.numpy())  # not rounded as the others are
    stored = bench.inputs.with_features(bench.folder / "features.h5", bench.identity)
    source = stored.source("train", backbones=bench.backbones, augment={}, seed=0)
    batches = [source.training_batch(np.arange(8), epoch)["tokens"] for epoch in range(6)]
    assert all(torch.equal(batch["geometry"][:, 0], expected[:, 0]) for batch in batches)
    assert not all(torch.equal(one["rgb"], other["rgb"]) for one, other in pairwise(batches))
    shown = source.plain_batch(np.arange(2))["tokens"]
    assert shown["rgb"].shape == (2, 2, 512) and shown["geometry"].shape == (2, 1, 8)


def test_geometry_is_not_kept_in_the_store(tmp_path):
    Bench(tmp_path).cache()
    assert len(list(Store(tmp_path / "store").entries())) == 3  # the people, three in each of four pictures, in fours
