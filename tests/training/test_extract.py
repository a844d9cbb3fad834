"""Features are the numbers that training would compute live, whatever else is computed with them and when."""

from collections import defaultdict
from dataclasses import asdict

import numpy as np
import pytest
import torch
from tiny_runs import (
    AUGMENT,
    BACKBONE,
    EAR,
    SILENT,
    SOUND_SPEC,
    SPEC,
    interrupted_after,
    make_both_model,
    make_inputs,
    make_manifest,
    make_model,
)

from actrec.errors import UserError
from actrec.media.clip import ClipSpec
from actrec.store.cas import Store
from actrec.store.features import CachedFeatures, feature_identity
from actrec.training import extract
from actrec.training.device import launch
from actrec.training.extract import Views, cache_features
from actrec.training.modalities import open_modalities
from actrec.training.views import plain_view


def identity_of(*, views=1, sha256="f" * 64, seed=0, sound=False, sound_sha256="e" * 64, crop_frac=1.0, **features):
    return feature_identity(
        backbones={"rgb": {**BACKBONE, "crop_frac": crop_frac}, **({"audio": EAR} if sound else {})},
        weights_sha256={"rgb": sha256, "audio": sound_sha256},
        specs={"rgb": asdict(SPEC), "audio": asdict(SOUND_SPEC)},
        features={"views": views, "augment": AUGMENT, "precision": "fp32", "batch_size": 3, **features},
        compute={"device": "cpu", "threads": 1, "channels_last": True},
        seed=seed,
    )


@pytest.fixture
def cache(tmp_path):
    """Return a function that runs the extraction over the clips of a manifest."""

    def run(
        name="features.h5",
        *,
        manifest=None,
        views=1,
        store="store",
        precision="fp32",
        model=None,
        spec=SPEC,
        sound=False,
        digests=None,
        augment=AUGMENT,
        crop_frac=1.0,
        **other,
    ):
        inputs = make_inputs(tmp_path, manifest or make_manifest(), sound=sound, spec=spec)
        for modality, changed in (digests or {}).items():
            inputs.folders[modality].digests.update(changed)
        cache_features(
            tmp_path / name,
            model or (make_both_model if sound else make_model)(frozen=True),
            inputs,
            identity=identity_of(
                views=views, precision=precision, sound=sound, augment=augment, crop_frac=crop_frac, **other
            ),
            views=views,
            augment=augment,
            precision=precision,
            batch_size=3,
            backbones={"rgb": {"input_px": 16, "crop_frac": crop_frac}},
            seed=other.get("seed", 0),
            fabric=launch(device="cpu", threads=1, precision=precision),
            store=Store(tmp_path / store),
        )
        return tmp_path / name

    return run


@pytest.fixture
def computed(monkeypatch):
    """Return the ids of computed clips, a modality."""
    found = defaultdict(list)
    real = extract._compute

    def spying(model, clip_ids, views, *rest):
        for some, tokens in real(model, clip_ids, views, *rest):
            found[views.modality] += some
            yield some, tokens

    monkeypatch.setattr(extract, "_compute", spying)
    return found


def readers_of(inputs):
    return open_modalities(inputs.folders, backbones={"rgb": {"input_px": 16, "crop_frac": 1.0}}, augment=AUGMENT)


def live_tokens(model, views):
    with torch.inference_mode():
        return model.eval().tokens({"rgb": views})["rgb"].numpy()


def test_cached_tokens_are_live_tokens(cache, tmp_path):
    """Bit by bit, in batches of the same shape: another one may change the last bits of any of its members."""
    manifest, model = make_manifest(), make_model(frozen=True)
    features = CachedFeatures(cache(views=3), None)
    rgb = readers_of(make_inputs(tmp_path, manifest))["rgb"]
    plain, random = (Views("rgb", rgb, n, 0) for n in (0, 2))
    for clip in manifest.clips:
        found = features.plain("rgb", [clip.clip_id])[0]
        expected = live_tokens(model, plain.of(clip.clip_id).expand(3, -1, -1, -1, -1))
        assert np.array_equal(found[0], expected[0])
        augmented = features.augmented("rgb", [clip.clip_id])[0]
        if clip.split == "train":
            expected = live_tokens(model, random.of(clip.clip_id))
            assert np.array_equal(augmented, expected)
            assert not np.array_equal(augmented[0], augmented[1]) and not np.array_equal(augmented[0], found[0])
        else:
            assert len(augmented) == 0
    assert found.shape == (1, 2, 16) and found.dtype == np.float32


def test_features_of_another_middle_are_other_features(cache, computed, tmp_path):
    """Those of random views are cut out of all of the picture."""
    whole = CachedFeatures(cache("whole.h5", views=2), None)
    computed.clear()
    middle = CachedFeatures(cache("middle.h5", views=2, crop_frac=0.5), None)
    assert computed["rgb"][:18] == [clip.clip_id for clip in make_manifest().clips]
    stored = make_inputs(tmp_path, make_manifest()).folders["rgb"]["val01"]
    for features, crop_frac in ((whole, 1.0), (middle, 0.5)):
        shown = plain_view(stored, input_px=16, crop_frac=crop_frac).expand(3, -1, -1, -1, -1)
        assert np.array_equal(features.plain("rgb", ["val01"])[0, 0], live_tokens(make_model(frozen=True), shown)[0])
    assert np.array_equal(whole.augmented("rgb", ["train01"]), middle.augmented("rgb", ["train01"]))
    with pytest.raises(UserError, match=r"features of something else: rgb\.backbone\.crop_frac is 0\.5, wanted 1\.0\."):
        CachedFeatures(tmp_path / "middle.h5", identity_of(views=2))


def test_several_clips_of_a_video_and_several_views(cache, tmp_path):
    spec = ClipSpec(4, 2, None, 20, "crop")
    features = CachedFeatures(cache(views=3, spec=spec), None)
    rgb, model = readers_of(make_inputs(tmp_path, make_manifest(), spec=spec))["rgb"], make_model(frozen=True)
    assert features.plain("rgb", ["val01"]).shape == (1, 2, 2, 16)
    assert features.augmented("rgb", ["train01"]).shape == (1, 4, 2, 16)
    expected = live_tokens(model, Views("rgb", rgb, 2, 0).of("train01"))
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


def test_a_killed_extraction_goes_on(cache, computed):
    undisturbed = cache("1.h5", store="one", views=2).read_bytes()
    computed.clear()
    with interrupted_after(3):
        cache("2.h5", store="other", views=2)
    computed.clear()
    assert cache("2.h5", store="other", views=2).read_bytes() == undisturbed
    assert len(computed["rgb"]) == 18 + 10 - 9  # plain and random; three batches of three were kept


def test_what_a_power_failure_left_torn_is_computed_anew(cache, computed, tmp_path):
    """As many bytes, but others, where the disk had not got them yet."""
    first = cache("1.h5").read_bytes()
    entries = [path for path, _, _ in Store(tmp_path / "store").entries()]
    entries[0].chmod(0o644)
    entries[0].write_bytes(bytes(entries[0].stat().st_size))
    computed.clear()
    assert cache("2.h5").read_bytes() == first
    assert len(computed["rgb"]) == 3  # a batch


def test_one_clip_more_is_one_computation_more(cache, computed):
    cache(manifest=make_manifest(val=4))
    computed.clear()
    cache()
    assert computed["rgb"] == ["val04"]
    computed.clear()
    cache(manifest=make_manifest(val=2))
    assert computed["rgb"] == []


@pytest.mark.parametrize(("sha256", "expected"), [("f" * 64, 10), ("", 10)])
def test_plain_views_stay_when_random_ones_join_them(cache, computed, sha256, expected):
    cache(views=1, sha256=sha256)
    computed.clear()
    cache(views=2, sha256=sha256)
    assert len(computed["rgb"]) == expected and {clip_id[:5] for clip_id in computed["rgb"]} == {"train"}


def test_a_seed_counts_where_something_is_random(cache, computed):
    cache(views=2, seed=0)
    computed.clear()
    cache(views=2, seed=1)
    assert len(computed["rgb"]) == 10  # the random views
    computed.clear()
    cache(views=1, seed=0, sha256="")
    cache(views=1, seed=1, sha256="")
    assert len(computed["rgb"]) == 36  # the weights are random


def test_other_bytes_are_computed_anew(cache, computed):
    cache()
    computed.clear()
    cache(digests={"rgb": {"test01": "other"}})
    assert computed["rgb"] == ["test01"]


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_features_are_computed_in_the_precision_asked_for(cache, monkeypatch, precision):
    seen, real = [], extract._compute
    monkeypatch.setattr(extract, "_compute", lambda *a: seen.append(torch.is_autocast_enabled("cpu")) or real(*a))
    cache("made.h5", precision=precision)
    assert set(seen) == {precision == "bf16"}


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


# --- pictures and sound -----------------------------------------------------------------------------------------------

HEARD = [clip.clip_id for clip in make_manifest().clips if clip.clip_id not in SILENT]


def test_cached_tokens_of_both_are_live_tokens(cache, tmp_path):
    """Bit by bit, in batches of the same shape as the extraction's."""
    manifest, model = make_manifest(), make_both_model(frozen=True).eval()
    cached = make_inputs(tmp_path, manifest, sound=True).with_features(cache(views=3, sound=True), None)
    live = make_inputs(tmp_path, manifest, sound=True)
    for split in ("train", "val", "test"):
        view = {"backbones": {"rgb": {"input_px": 16, "crop_frac": 1.0}}, "augment": AUGMENT, "seed": 0}
        stored, fresh = cached.source(split, **view), live.source(split, **view)
        for row in range(len(stored)):
            found, shown = (source.plain_batch(np.array([row] * 3)) for source in (stored, fresh))
            with torch.inference_mode():
                expected = model.tokens(shown)
            for modality in ("rgb", "audio"):
                assert torch.equal(found["present"][modality], shown["present"][modality])
                if shown["present"][modality][0]:
                    assert torch.equal(found["tokens"][modality], expected[modality])
                else:
                    assert stored.clips[row].clip_id in SILENT and not found["tokens"][modality].any()
    assert found["tokens"]["rgb"].shape == (3, 2, 16) and found["tokens"]["audio"].shape == (3, 9, 6)


def test_cached_random_views_of_the_sound_are_those_that_are_drawn(cache, tmp_path):
    features = CachedFeatures(cache(views=3, sound=True), None)
    model = make_both_model(frozen=True).eval()
    audio = Views("audio", readers_of(make_inputs(tmp_path, make_manifest(), sound=True))["audio"], 2, 0)
    with torch.inference_mode():
        expected = model.tokens_of("audio", audio.of("train01")).numpy()
    found = features.augmented("audio", ["train01"])[0]
    assert found.shape == (2, 9, 6) and np.array_equal(found, expected) and not np.array_equal(found[0], found[1])
    assert not features.augmented("audio", ["train02"]).any()


def test_who_has_sound_is_in_the_file_and_the_others_are_zeros(cache):
    features = CachedFeatures(cache(views=2, sound=True), None)
    ids = [clip.clip_id for clip in make_manifest().clips]
    assert features.modalities == ["audio", "rgb"] and features.present("rgb", ids).all()
    assert features.present("audio", ids).tolist() == [clip_id in HEARD for clip_id in ids]
    assert not features.plain("audio", list(SILENT)).any()
    assert (
        features.plain("audio", HEARD).any(axis=(1, 2, 3)).all()
        and features.plain("rgb", ids).any(axis=(1, 2, 3)).all()
    )


def test_only_what_is_there_is_computed(cache, computed):
    cache(sound=True)
    assert len(computed["rgb"]) == 18 and computed["audio"] == HEARD


def test_other_sound_settings_compute_no_pictures_again(cache, computed):
    cache(sound=True, views=2)
    computed.clear()
    cache(sound=True, views=2, sound_sha256="d" * 64)
    train = [clip_id for clip_id in HEARD if clip_id.startswith("train")]
    assert computed["rgb"] == [] and computed["audio"] == [*HEARD, *train]
    computed.clear()
    cache(sound=True, views=2, sound_sha256="d" * 64, augment={**AUGMENT, "audio": {**AUGMENT["audio"], "roll": False}})
    assert computed["rgb"] == [] and computed["audio"] == train
    computed.clear()
    cache(sound=True, views=2, sound_sha256="d" * 64, sha256="b" * 64)
    assert len(computed["rgb"]) == 28 and computed["audio"] == []


def test_sound_that_joins_computes_no_pictures_again(cache, computed):
    cache()
    computed.clear()
    cache(sound=True)
    assert computed["rgb"] == [] and computed["audio"] == HEARD


def test_sound_that_changes_is_computed_anew_alone(cache, computed):
    cache(sound=True)
    computed.clear()
    cache(sound=True, digests={"audio": {"val02": "other"}})
    assert (computed["rgb"], computed["audio"]) == ([], ["val02"])


def test_no_sound_anywhere_is_told(cache):
    with pytest.raises(UserError, match=r"no clip has audio: take it out of model\.backbones.*sound\.csv"):
        cache(sound=True, manifest=make_manifest(train=0, val=0, test=1))


def test_features_of_sound_do_not_depend_on_the_other_clips(cache):
    few = make_manifest(train=2, val=1, test=2)
    one = CachedFeatures(cache("few.h5", manifest=few, store="one", views=2, sound=True), None)
    other = CachedFeatures(cache("all.h5", store="other", views=2, sound=True), None)
    ids = [clip.clip_id for clip in few.clips]
    assert np.array_equal(one.plain("audio", ids), other.plain("audio", ids))
    train = ["train00", "train01"]
    assert np.array_equal(one.augmented("audio", train), other.augmented("audio", train))
