"""Helpers of the tests of media."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MakeSound = Callable[..., Path]
_BLOCK = 1024


def _write_sound(path: Path, samples: np.ndarray, rate_hz: int, *, codec: str = "pcm_f32le") -> Path:
    """Write `samples`, float32 (1, 2 or 8 channels, n) in [-1, 1], to the container that the suffix names."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    layout = {1: "mono", 2: "stereo", 8: "7.1"}[len(samples)]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate_hz, layout=layout)
        stream.codec_context.thread_count = 1
        resampler = av.AudioResampler(stream.codec_context.format, layout, rate_hz)
        for start in range(0, samples.shape[1], _BLOCK):
            packed = np.ascontiguousarray(samples[:, start : start + _BLOCK].T, np.float32).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate_hz, start, Fraction(1, rate_hz)
            for converted in resampler.resample(frame):
                container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def make_sound() -> MakeSound:
    """Return a function that writes a sound file: make_sound(path, samples, rate_hz, codec="pcm_f32le") -> path."""
    return _write_sound


MakeFilm = Callable[..., Path]


def _write_film(
    path: Path,
    sound: np.ndarray,
    rate_hz: int,
    *,
    codec: str = "aac",
    film_starts_s: float = 0.0,
    sound_starts_s: float = 0.0,
) -> Path:
    """Write `sound`, float32 (1 or 2 channels, n), beside ten grey pictures a second; either may begin late."""
    import av

    layout = {1: "mono", 2: "stereo"}[len(sound)]
    with av.open(str(path), "w") as container:
        film: Any = container.add_stream("libx264", rate=10, options={"threads": "1"})
        film.width, film.height, film.pix_fmt = 16, 16, "yuv420p"
        film.codec_context.time_base = Fraction(1, 1000)
        track: Any = container.add_stream(codec, rate=rate_hz, layout=layout)
        resampler = av.AudioResampler(track.codec_context.format, layout, rate_hz)
        for number in range(10 * sound.shape[1] // rate_hz):
            picture = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 128, np.uint8), format="rgb24")
            picture.pts, picture.time_base = round(1000 * film_starts_s) + 100 * number, Fraction(1, 1000)
            container.mux(film.encode(picture))
        container.mux(film.encode(None))
        for start in range(0, sound.shape[1], _BLOCK):
            block = np.ascontiguousarray(sound[:, start : start + _BLOCK], np.float32)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
            frame.pts = start + round(sound_starts_s * rate_hz)
            for converted in resampler.resample(frame):
                container.mux(track.encode(converted))
        container.mux(track.encode(None))
    return path


@pytest.fixture
def make_film() -> MakeFilm:
    """Return a function that writes a video with sound: make_film(path, samples, rate_hz, codec="aac", …) -> path."""
    return _write_film
