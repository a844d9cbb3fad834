"""The voices of the demo's species. A voice tells the species and says nothing about the action."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class Voice:
    """A note that glides from one pitch to another and comes back every `period_s`."""

    period_s: float
    note_s: float
    start_hz: float
    end_hz: float
    trill_hz: float
    trill_frac: float
    overtones: tuple[float, ...]


VOICES = {
    "fox": Voice(0.32, 0.14, 1100, 560, 0.0, 0.0, (1.0, 0.7, 0.5, 0.3)),
    "hare": Voice(0.50, 0.40, 2600, 2900, 24.0, 0.08, (1.0,)),
    "owl": Voice(0.70, 0.50, 360, 320, 5.0, 0.02, (1.0, 0.1)),
}


def draw_call(rng: np.random.Generator, species: str, duration_s: float) -> NDArray[np.float32]:
    """Return a call of the species over some noise, (samples,) in [-1, 1] at `SAMPLE_RATE_HZ`.

    Args:
        rng: Decides pitch (up to three semitones off), onset, loudness and noise.
        species: A key of `VOICES`.
        duration_s: How long.
    """
    voice = VOICES[species]
    time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    since_note_s = (time_s + rng.uniform(0, voice.period_s)) % voice.period_s
    progress = np.minimum(since_note_s / voice.note_s, 1)
    trill = 1 + voice.trill_frac * np.sin(2 * np.pi * voice.trill_hz * time_s)
    pitch = 2 ** (rng.uniform(-3, 3) / 12)
    frequency_hz = pitch * trill * (voice.start_hz + (voice.end_hz - voice.start_hz) * progress)
    phase = 2 * np.pi * np.cumsum(frequency_hz) / SAMPLE_RATE_HZ
    tone = sum(share * np.sin(phase * (order + 1)) for order, share in enumerate(voice.overtones))
    note = tone * np.sin(np.pi * progress) ** 2 / sum(voice.overtones)
    noise = rng.normal(0, rng.uniform(0.005, 0.02), len(time_s))
    return np.clip(rng.uniform(0.4, 0.8) * note + noise, -1, 1).astype(np.float32)
