"""Recordings that cost a decoder about what real ones do: a few tones that glide, calls, and noise under them."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import clips

_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file: a video with an AAC track, or what soundfile writes under this suffix."""

    name: str
    suffix: str
    rate_hz: int
    length_s: int

    @property
    def is_video(self) -> bool:
        """Whether there are pictures."""
        return self.suffix == ".mp4"


KINDS = (
    Kind("AAC in a video, 48 kHz stereo, 10 s", ".mp4", 48000, 10),
    Kind("WAV, 44.1 kHz stereo, 40 s", ".wav", 44100, 40),
    Kind("WAV, 44.1 kHz stereo, 10 s", ".wav", 44100, 10),
    Kind("Ogg Vorbis, 44.1 kHz stereo, 10 s", ".ogg", 44100, 10),
    Kind("MP3, 44.1 kHz stereo, 10 s", ".mp3", 44100, 10),
    Kind("FLAC, 44.1 kHz stereo, 10 s", ".flac", 44100, 10),
)


def recording(kind: Kind, seed: int) -> Path:
    """Return a file of this kind, made on the first call and kept in clips.CACHE."""
    path = clips.CACHE / f"sound-{kind.rate_hz}-{kind.length_s}s-{seed}{kind.suffix}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"partial-{path.name}")
        samples = _samples(kind, seed)
        if kind.is_video:
            _write_video(partial, samples, kind, seed)
        else:
            _write_sound(partial, samples, kind.rate_hz)
        partial.rename(path)
    return path


def _samples(kind: Kind, seed: int) -> np.ndarray:
    """Return float32 (2, n) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    t = np.arange(kind.length_s * kind.rate_hz) / kind.rate_hz
    sound = 0.02 * rng.standard_normal((2, len(t)))
    for _ in range(6):
        pitch_hz, glide_hz, pace_hz = rng.uniform(150, 4000), rng.uniform(-100, 100), rng.uniform(0.2, 2)
        call = np.sin(2 * np.pi * (pitch_hz + glide_hz * np.sin(t)) * t) * np.maximum(
            np.sin(2 * np.pi * pace_hz * t), 0
        )
        sound += 0.1 * rng.uniform(0.2, 1, (2, 1)) * call
    return sound.clip(-1, 1).astype(np.float32)


def _write_sound(path: Path, samples: np.ndarray, rate_hz: int) -> None:
    import soundfile

    with soundfile.SoundFile(path, "w", rate_hz, len(samples)) as file:
        for start in range(0, samples.shape[1], _BLOCK):
            file.write(samples[:, start : start + _BLOCK].T)


def _write_video(path: Path, samples: np.ndarray, kind: Kind, seed: int) -> None:
    import av

    source = clips.film(seed=seed, gop_frames=250, frames=30 * kind.length_s, width_px=340, height_px=256)
    with av.open(str(source)) as film, av.open(str(path), "w") as container:
        pictures = container.add_stream_from_template(film.streams.video[0])
        track: Any = container.add_stream("aac", rate=kind.rate_hz, layout="stereo")
        for packet in film.demux(film.streams.video[0]):
            if packet.dts is not None:
                packet.stream = pictures
                container.mux(packet)
        for start in range(0, samples.shape[1], _BLOCK):
            block = np.ascontiguousarray(samples[:, start : start + _BLOCK])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = kind.rate_hz, start, Fraction(1, kind.rate_hz)
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
