"""Features are the numbers that training would compute live, whatever else is computed with them and when."""

import numpy as np
import pytest
import torch
from tiny_runs import BACKBONE, SPEC, make_folder, make_manifest, make_model

from actrec.errors import UserError
from actrec.media.clip import ClipSpec
from actrec.store import cas
from actrec.store.cas import Store
from actrec.store.features import CachedFeatures, feature_identity
from actrec.training import extract
from actrec.training.data import Inputs
from actrec.training.device import launch
from actrec.training.extract import Views, cache_features

AUGMENT = {"min_area_frac": 0.5, "flip_prob": 0.5, "color_jitter": 0.1}


def identity_of(*, views=1, sha256="f" * 64, seed=0, **features):
    return feature_identity(
        backbones={"rgb": BACKBONE},
        weights_sha256={"rgb": sha256},
        clip_spec={name: getattr(SPEC, name) for name in SPEC.__slots__},
        features={"views": views, "augment": AUGMENT, "precision": "fp32", "batch_size": 3, **features},
        compute={"device": "cpu", "threads": 1, "channels_last": True},
        seed=seed,
    )


@pytest.fixture
def cache(tmp_path):
    """Return a function that runs the extraction over the clips of a manifest."""

    def run(
        name="features.h5", *, manifest=None, views=1, store="store", precision="fp32", model=None, spec=SPEC, **other
    ):
        manifest = manifest or make_manifest()
        inputs = Inputs(manifest, make_folder(tmp_path / f"frames {spec.clips_per_video}", manifest, spec=spec))
        cache_features(
            tmp_path / name,
            model or make_model(frozen=True),
            inputs,
            identity=identity_of(views=views, precision=precision, **other),
            views=views,
            augment=AUGMENT,
            precision=precision,
            batch_size=3,
            input_px=16,
            seed=other.get("seed", 0),
            fabric=launch(device="cpu", threads=1, precision=precision),
            store=Store(tmp_path / store),
        )
        return tmp_path / name

    return run


@pytest.fixture
def computed(monkeypatch):
    """Return the list of the ids of computed clips."""
    found = []
    real = extract._compute

    def spying(model, clip_ids, *rest):
        for clip_id, tokens in real(model, clip_ids, *rest):
            found.append(clip_id)
            yield clip_id, tokens

    monkeypatch.setattr(extract, "_compute", spying)
    return found


def live_tokens(model, views):
    with torch.inference_mode():
        return model.eval().tokens({"rgb": views})["rgb"].numpy()


def test_cached_tokens_are_live_tokens(cache, tmp_path):
    """Bit by bit, in batches of the same shape: another one may change the last bits of any of its members."""
    manifest, model = make_manifest(), make_model(frozen=True)
    features = CachedFeatures(cache(views=3), None)
    folder = make_folder(tmp_path / "frames 1", manifest)
    plain, random = (Views(n, 16, AUGMENT, 0) for n in (0, 2))
    for clip in manifest.clips:
        found = features.plain("rgb", [clip.clip_id])[0]
        expected = live_tokens(model, plain.of(clip.clip_id, folder[clip.clip_id]).expand(3, -1, -1, -1, -1))
        assert np.array_equal(found[0], expected[0])
        augmented = features.augmented("rgb", [clip.clip_id])[0]
        if clip.split == "train":
            expected = live_tokens(model, random.of(clip.clip_id, folder[clip.clip_id]))
            assert np.array_equal(augmented, expected)
            assert not np.array_equal(augmented[0], augmented[1]) and not np.array_equal(augmented[0], found[0])
        else:
            assert len(augmented) == 0
    assert found.shape == (1, 2, 16) and found.dtype == np.float32


def test_several_clips_of_a_video_and_several_views(cache, tmp_path):
    spec = ClipSpec(4, 2, None, 20, "crop")
    features = CachedFeatures(cache(views=3, spec=spec), None)
    folder, model = make_folder(tmp_path / "frames 2", make_manifest(), spec=spec), make_model(frozen=True)
    assert features.plain("rgb", ["val01"]).shape == (1, 2, 2, 16)
    assert features.augmented("rgb", ["train01"]).shape == (1, 4, 2, 16)
    expected = live_tokens(model, Views(2, 16, AUGMENT, 0).of("train01", folder["train01"]))
    assert np.array_equal(features.augmented("rgb", ["train01"])[0], expected)


def test_features_do_not_depend_on_the_other_clips(cache):
    few, all_of_them = make_manifest(train=2, val=1, test=1), make_manifest()
    one = CachedFeatures(cache("few.h5", manifest=few, store="one", views=2), None)
    other = CachedFeatures(cache("all.h5", manifest=all_of_them, store="other", views=2), None)
    ids = [clip.clip_id for clip in few.clips]
    assert np.array_equal(one.plain("rgb", ids), other.plain("rgb", ids))
    assert np.array_equal(one.augmented("rgb", ids[1:3]), other.augmented("rgb", ids[1:3]))


def test_the_same_clips_give_the_same_bytes(cache):
    first = cache("1.h5", store="one", views=2)
    assert cache("2.h5", store="other", views=2).read_bytes() == first.read_bytes()
    assert cache("3.h5", store="other", views=2).read_bytes() == first.read_bytes()


def test_a_killed_extraction_goes_on(cache, computed, monkeypatch):
    undisturbed = cache("1.h5", store="one", views=2).read_bytes()
    computed.clear()
    real, count = cas.Store.put, 0

    def dying(*args, **facts):
        nonlocal count
        count += 1
        if count == 8:
            raise KeyboardInterrupt
        return real(*args, **facts)

    with monkeypatch.context() as patch:
        patch.setattr(cas.Store, "put", dying)
        with pytest.raises(KeyboardInterrupt):
            cache("2.h5", store="other", views=2)
    before = len(computed)
    assert cache("2.h5", store="other", views=2).read_bytes() == undisturbed
    # 18 plain and 10 random; the eighth was computed, but not kept.
    assert (before, len(computed)) == (8, 8 + 18 + 10 - 7)


def test_one_clip_more_is_one_computation_more(cache, computed):
    cache(manifest=make_manifest(val=4))
    computed.clear()
    cache()
    assert computed == ["val04"]
    computed.clear()
    cache(manifest=make_manifest(val=2))
    assert computed == []


@pytest.mark.parametrize(("sha256", "expected"), [("f" * 64, 10), ("", 10)])
def test_plain_views_stay_when_random_ones_join_them(cache, computed, sha256, expected):
    cache(views=1, sha256=sha256)
    computed.clear()
    cache(views=2, sha256=sha256)
    assert len(computed) == expected and {clip_id[:5] for clip_id in computed} == {"train"}


def test_a_seed_counts_where_something_is_random(cache, computed):
    cache(views=2, seed=0)
    computed.clear()
    cache(views=2, seed=1)
    assert len(computed) == 10  # the random views
    computed.clear()
    cache(views=1, seed=0, sha256="")
    cache(views=1, seed=1, sha256="")
    assert len(computed) == 36  # the weights are random


def test_other_bytes_are_computed_anew(cache, computed, monkeypatch):
    cache()
    computed.clear()
    manifest = make_manifest()
    real = extract._digests
    monkeypatch.setattr(extract, "_digests", lambda clip, *a: ["other"] if clip.clip_id == "test01" else real(clip, *a))
    cache(manifest=manifest)
    assert computed == ["test01"]


def test_bf16_is_kept_in_two_bytes(cache):
    features = CachedFeatures(cache("half.h5", precision="bf16"), None)
    assert features._plain["rgb"].dtype == np.float16
    exact = CachedFeatures(cache("whole.h5", store="other"), None)
    ids = [clip.clip_id for clip in make_manifest().clips]
    half, whole = (f.plain("rgb", ids) for f in (features, exact))
    assert half.dtype == np.float32
    assert not np.array_equal(half, whole) and np.allclose(half, whole, atol=0.05)


def test_features_that_are_no_numbers_stop_the_run(cache):
    model = make_model(frozen=True)
    with torch.no_grad():
        list(model.backbones.parameters())[-1].fill_(1e5)
    assert np.isfinite(CachedFeatures(cache(model=model), None).plain("rgb", ["val00"])).all()
    with pytest.raises(UserError, match=r"its features are no numbers in float16\. Set features\.precision: fp32"):
        cache(model=model, precision="bf16")
