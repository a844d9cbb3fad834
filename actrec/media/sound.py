"""A clip's sound as a log-Mel spectrogram: decode, average the channels, resample, cut; and its file format.

librosa and its kin are imported inside the functions: the mels stage itself, when all is in the store, does without.
"""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from actrec.errors import BadItem
from actrec.media.track import Part, read_track
from actrec.media.unchanged import check_unchanged

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

# What takes long to import.
HEAVY_IMPORTS = (
    "av",
    "soxr",
    "scipy.fft",
    "scipy.sparse",
    "librosa.core.audio",
    "librosa.core.spectrum",
    "librosa.filters",
)
# What decides on values besides our code.
TOOLS = ("librosa", "numpy", "scipy", "soxr", "av")

# -100 dBFS. The smallest step of 16-bit sound is -90: what is softer is the rounding of a decoder.
SILENCE = 1e-5
_FRAMES_AT_A_TIME = 64


@dataclass(frozen=True, slots=True)
class SoundSpec:
    """How the sound of every clip of a data set becomes a spectrogram: it travels with features and checkpoints.

    Sound longer than `duration_s` is cut, from the start or out of the middle; shorter sound is repeated from its
    beginning, or followed by silence.
    """

    sample_rate_hz: int
    n_fft: int
    hop_samples: int
    n_mels: int
    f_min_hz: float
    f_max_hz: float
    duration_s: float
    pad: Literal["repeat", "silence"]
    crop: Literal["start", "middle"]

    @property
    def num_samples(self) -> int:
        """How many samples a spectrogram is made of."""
        return max(round(self.duration_s * self.sample_rate_hz), 1)

    @property
    def shape(self) -> tuple[int, int]:
        """The (n_mels, steps) of a spectrogram."""
        return self.n_mels, 1 + (self.num_samples - self.n_fft % 2) // self.hop_samples


def read_log_mel(
    path: Path, spec: SoundSpec, *, start_s: float | None = None, end_s: float | None = None
) -> np.ndarray | None:
    """Return the clip's sound, float32 (n_mels, steps) in dB, `spec.shape`, or None if it is silent.

    Silent means that no sample of the cut, resampled and averaged sound is above -100 dBFS.

    Args:
        path: A file that `probe` has accepted: the video itself, or a sound file beside it.
        spec: See there.
        start_s: The clip is the part in [start_s, end_s), see `track.Part`.
        end_s: None means to the end.

    Raises:
        BadItem: too_short, for less than one hop; or as `read_track`.
    """
    sound = read_sound(path, spec, start_s=start_s, end_s=end_s)
    if np.abs(sound).max() <= SILENCE:
        return None
    return log_mel(fit(sound, spec), spec)


def read_sound(path: Path, spec: SoundSpec, *, start_s: float | None = None, end_s: float | None = None) -> np.ndarray:
    """Return the clip's sound, float32 (n,) at `sample_rate_hz`; n is at most `num_samples`. See `read_log_mel`."""
    sound = read_track(path, Part(spec.sample_rate_hz, spec.num_samples, spec.crop, start_s, end_s))
    if len(sound) < spec.hop_samples:
        length_s = len(sound) / spec.sample_rate_hz
        raise BadItem("too_short", f"{length_s:.3f} s of sound, less than a hop of {spec.hop_samples} samples")
    return sound


def fit(sound: np.ndarray, spec: SoundSpec) -> np.ndarray:
    """Return sound (n,) at its full length of `num_samples`: repeated from its beginning, or followed by zeros."""
    if spec.pad == "repeat":
        return np.resize(sound, spec.num_samples)
    return np.pad(sound, (0, spec.num_samples - len(sound)))


def log_mel(sound: np.ndarray, spec: SoundSpec) -> np.ndarray:
    """Return the log-Mel spectrogram of sound (n,), float32 (n_mels, steps) in dB of power, at least -100.

    Equal to librosa.power_to_db(librosa.feature.melspectrogram(...), top_db=None), with its defaults: Hann window,
    zeros beyond both ends, Slaney's scale and norm, 0 dB at a power of 1. It takes half the time: the filters are kept,
    and as a sparse matrix, which also makes the order of the sums, so each bit, independent of the number of threads.

    Source: M. Slaney, Auditory Toolbox, 1998 (the scale); the defaults of librosa 0.11.
    """
    import librosa
    from scipy.fft import rfft

    filters, window = _mel_filters(spec), _hann(spec.n_fft)
    padded = np.pad(sound, spec.n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, spec.n_fft)[:: spec.hop_samples]
    mel = np.empty((spec.n_mels, len(frames)), np.float32)
    for start in range(0, len(frames), _FRAMES_AT_A_TIME):
        spectrum: Any = rfft(frames[start : start + _FRAMES_AT_A_TIME] * window, axis=1)
        mel[:, start : start + _FRAMES_AT_A_TIME] = filters @ (spectrum.real**2 + spectrum.imag**2).T
    return librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None)


@cache
def _mel_filters(spec: SoundSpec) -> csr_matrix:
    from librosa import filters
    from scipy.sparse import csr_matrix

    mel = filters.mel(
        sr=spec.sample_rate_hz, n_fft=spec.n_fft, n_mels=spec.n_mels, fmin=spec.f_min_hz, fmax=spec.f_max_hz
    )
    return csr_matrix(mel)


@cache
def _hann(length: int) -> np.ndarray:
    from scipy.signal import get_window

    return np.asarray(get_window("hann", length, fftbins=True), np.float32)


@dataclass(frozen=True, slots=True)
class SoundTask:
    """What a worker needs to make one clip's spectrogram."""

    path: Path
    sha256: str
    spec: SoundSpec
    start_s: float | None
    end_s: float | None


def make_mel_file(task: SoundTask) -> bytes:
    """Return the bytes of the clip's `.npy` file, float32 (n_mels, steps); none if the clip is silent.

    Raises:
        UserError: if the file is not the one that `ingest` saw.
        BadItem: see `read_log_mel`.
    """
    _keep_freed_memory()
    check_unchanged(task.path, task.sha256)
    mel = read_log_mel(task.path, task.spec, start_s=task.start_s, end_s=task.end_s)
    return b"" if mel is None else _npy(mel)


@cache
def _keep_freed_memory() -> None:
    """Let the process keep memory that it frees. glibc gives blocks back that are larger than any it has seen freed.

    So one is freed that is larger than all that come: it saves a thousand page faults a clip, some 2 of 14 ms.
    """
    np.empty(1 << 24, np.uint8)


def pack_mel_files(members: dict[str, Path]) -> bytes:
    """Return the bytes of a shard: an `.npy` file (clips, n_mels, steps), in the order of the clips' ids."""
    return _npy(np.stack([np.load(path) for _, path in sorted(members.items())]))


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


class MelFolder:
    """The spectrograms that the mels stage wrote, by clip id; a file a clip or sharded, read lazily.

    `absent` says of each clip that has none why: no_track, silent, or the reason why its sound was set aside.
    """

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        self._folder = folder
        self._is_sharded = index["sharded"]
        self._files = {clip_id: clip["file"] for clip_id, clip in index["clips"].items()}
        self._rows: dict[str, int] = {}
        self._shards: dict[str, np.ndarray] = {}
        if self._is_sharded:
            sizes: Counter[str] = Counter()
            for clip_id, name in sorted(self._files.items()):
                self._rows[clip_id] = sizes[name]
                sizes[name] += 1
        self.spec = SoundSpec(**index["spec"])
        self.digests: dict[str, str] = {clip_id: clip["sha256"] for clip_id, clip in index["clips"].items()}
        self.absent: dict[str, str] = index["absent"]

    def __getitem__(self, clip_id: str) -> np.ndarray:
        """Return the clip's log-Mel spectrogram, float32 (n_mels, steps) in dB."""
        name = self._files[clip_id]
        if not self._is_sharded:
            return np.load(self._folder / name, allow_pickle=False)
        if name not in self._shards:
            self._shards[name] = np.load(self._folder / name, mmap_mode="r", allow_pickle=False)
        return np.array(self._shards[name][self._rows[clip_id]])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_shards": {}}  # loader workers open shards themselves
