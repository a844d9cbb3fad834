"""How much of cached features says nothing: counted by hand, told, and kept."""

from dataclasses import replace

import numpy as np
import pytest
from pairs_of_people import PICTURES, make_pair_inputs, make_pairs
from tiny_runs import SILENT, make_features, make_inputs, make_manifest

from actrec.store.features import CachedFeatures, write_features
from actrec.training.feature_report import health_numbers, health_of, say_health


def cached(folder, **values):
    """Return pairs with these features, (clips, 1, N, D) of a modality."""
    inputs = make_pair_inputs(folder, make_pairs(PICTURES))
    ids, identity = [clip.clip_id for clip in inputs.manifest.clips], {m: {} for m in values}
    none = {m: own[:0] for m, own in values.items()}
    present = {m: np.ones(len(ids), bool) for m in values}
    file = folder / "features.h5"
    write_features(
        file, identity=identity, clip_ids=ids, plain=values, present=present, augmented_ids=[], augmented=none
    )
    return replace(inputs, features=CachedFeatures(file, identity))


def looks():
    """Return tokens of 16 pairs with four units: the first is always 0, the second always 2, the others move."""
    values = np.random.default_rng(0).uniform(1, 2, (16, 1, 2, 4)).astype(np.float32)
    values[..., 0], values[..., 1] = 0, 2
    return values


GEOMETRY = np.zeros((16, 1, 1, 8), np.float32)


def test_counts_by_hand_without_the_geometry(tmp_path):
    inputs = cached(tmp_path, rgb=looks(), geometry=GEOMETRY)
    expected = {"zero_frac": 0.25, "zero_vectors": 0, "dead_units": 2, "units": 4}
    assert health_numbers(inputs) == {"features": {"rgb": expected}}


def test_it_is_told_with_a_warning(tmp_path, capsys):
    say_health(cached(tmp_path, rgb=looks()))
    captured = capsys.readouterr()
    lines = " ".join((captured.err + captured.out).split())
    assert "features: rgb: 25.0% of the values are 0, 2 of 4 units never move" in lines
    assert "WARNING: features of rgb: 2 of 4 units never move (expected at most 10%). Look at" in lines


def test_what_is_sound_is_told_without(tmp_path, capsys):
    say_health(cached(tmp_path, rgb=np.random.default_rng(0).uniform(1, 2, (16, 1, 2, 4)).astype(np.float32)))
    captured = capsys.readouterr()
    lines = " ".join((captured.err + captured.out).split())
    assert "features: rgb: 0.0% of the values are 0, 0 of 4 units never move" in lines and "WARNING" not in lines


def test_clips_that_lack_a_modality_do_not_count(tmp_path):
    """Their features are zeros, which say nothing of a backbone."""
    manifest = make_manifest()
    inputs = make_inputs(tmp_path, manifest, sound=True)
    features = make_features(tmp_path / "features.h5", manifest, sound=True)
    assert not features.plain("audio", list(SILENT)).any()
    found = health_of(replace(inputs, features=features))
    assert {m: (own.zero_frac, own.zero_vectors) for m, own in found.items()} == {"rgb": (0, 0), "audio": (0, 0)}


@pytest.mark.parametrize("say", [say_health, health_numbers])
def test_without_a_cache_there_is_nothing_to_say(tmp_path, say, capsys):
    assert not say(make_pair_inputs(tmp_path, make_pairs(PICTURES)))
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
