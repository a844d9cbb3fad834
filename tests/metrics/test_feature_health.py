"""Zeros and dead units, counted by hand."""

import numpy as np
import pytest

from actrec.metrics.features import feature_health


def test_counts_by_hand():
    # Two clips of two tokens: unit 0 is always 0, unit 1 always 5, unit 3 moves; one token is nothing but zeros but for
    # unit 1, another has two zeros.
    features = np.array([[[0, 5, 1, 2], [0, 5, 0, 0]], [[0, 5, 3, 1], [0, 5, 0, 4]]], np.float32)
    found = feature_health(features)
    assert found.zero_frac == pytest.approx(7 / 16)
    assert (found.zero_vectors, found.dead_units, found.units) == (0, 2, 4)
    assert "2 of 4 units never move" in found.warning("rgb")


def test_what_is_sound_says_nothing():
    rng = np.random.default_rng(0)
    found = feature_health(np.maximum(rng.normal(1, 1, (50, 1, 64)), 0))
    assert 0 < found.zero_frac < 0.3
    assert found.warning("rgb") == ""


def test_vectors_of_zeros_are_told():
    features = np.ones((4, 1, 3)) * np.arange(1, 5)[:, None, None]
    features[2] = 0
    found = feature_health(features)
    assert found.zero_vectors == 1
    assert "rgb: vectors that are all zeros: 1 (expected none). Look" in found.warning("rgb")


def test_one_token_shows_nothing_of_what_moves():
    assert feature_health(np.ones((1, 1, 3))).dead_units == 0
