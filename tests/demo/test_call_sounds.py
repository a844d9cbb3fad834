"""The voice tells the species."""

from itertools import pairwise

import numpy as np
import pytest

from actrec.demo.sound import SAMPLE_RATE_HZ, VOICES, draw_call

THREE_SEMITONES = 2**0.25


def loudest_hz(call: np.ndarray) -> float:
    return float(np.fft.rfftfreq(len(call), 1 / SAMPLE_RATE_HZ)[np.abs(np.fft.rfft(call)).argmax()])


@pytest.mark.parametrize("species", VOICES)
def test_the_loudest_pitch_is_the_voices_own(species: str) -> None:
    voice = VOICES[species]
    low, high = sorted((voice.start_hz, voice.end_hz))
    slack = THREE_SEMITONES * (1 + voice.trill_frac)
    for seed in range(10):
        call = draw_call(np.random.default_rng(seed), species, 1.6)
        assert low / slack * 0.99 < loudest_hz(call) < high * slack * 1.01


def test_no_pitch_is_that_of_two_species() -> None:
    ranges = sorted(
        (min(v.start_hz, v.end_hz) / THREE_SEMITONES, max(v.start_hz, v.end_hz) * THREE_SEMITONES)
        for v in VOICES.values()
    )
    assert all(lower[1] < upper[0] for lower, upper in pairwise(ranges))


def test_calls_differ_from_clip_to_clip_and_stay_in_range() -> None:
    one, other = (draw_call(np.random.default_rng(seed), "hare", 0.5) for seed in (1, 2))
    assert one.shape == other.shape == (8000,)
    assert one.dtype == np.float32
    assert np.abs(one).max() <= 1
    assert np.abs(one).max() > 0.3
    assert abs(loudest_hz(one) - loudest_hz(other)) > 10
