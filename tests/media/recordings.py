"""Sounds to test with, and what they should become."""

from pathlib import Path

import numpy as np
import pytest

from actrec.errors import BadItem
from actrec.media.sound import SoundSpec, read_log_mel

SHARED = Path(__file__).resolve().parents[3] / "shared/data"
SPEC = SoundSpec(16000, 2048, 512, 128, 0.0, 8000.0, 10.0, "repeat", "middle")
SMALL = SoundSpec(8000, 256, 128, 20, 0.0, 4000.0, 0.5, "silence", "start")


def chirp(length_s, rate_hz, channels=1, seed=0):
    """Return noise under a rising tone, float32 (channels, n); no two of its seconds, nor its channels, are alike."""
    t = np.arange(round(length_s * rate_hz)) / rate_hz
    noise = np.random.default_rng(seed).standard_normal((channels, len(t)))
    tones = [np.sin(2 * np.pi * (200 + 40 * t + 150 * channel) * t) for channel in range(channels)]
    return (0.05 * noise * (1 + np.sin(t)) + 0.3 * np.array(tones)).clip(-1, 1).astype(np.float32)


def mel_of(path, spec, **part):
    mel = read_log_mel(path, spec, **part)
    assert mel is not None
    return mel


def reason_of(path, spec=SMALL, **part):
    with pytest.raises(BadItem) as caught:
        read_log_mel(path, spec, **part)
    assert str(path.parent) not in caught.value.message
    return caught.value.reason


def librosa_mel(path, spec):
    """Return what librosa alone makes of a file: load it whole, cut or pad, melspectrogram."""
    import librosa

    sound, _ = librosa.load(path, sr=spec.sample_rate_hz)
    length = round(spec.duration_s * spec.sample_rate_hz)
    skipped = max(len(sound) - length, 0) // 2 if spec.crop == "middle" else 0
    sound = sound[skipped : skipped + length]
    missing = length - len(sound)
    sound = np.pad(sound, (0, missing), mode="wrap" if spec.pad == "repeat" else "constant")
    mel = librosa.feature.melspectrogram(
        y=sound,
        sr=spec.sample_rate_hz,
        n_fft=spec.n_fft,
        hop_length=spec.hop_samples,
        n_mels=spec.n_mels,
        fmin=spec.f_min_hz,
        fmax=spec.f_max_hz,
    )
    return librosa.power_to_db(mel, top_db=None)


def read_whole(sound, rate_hz):
    """Return the sound at 16 kHz by the other order: each channel resampled, and then their mean."""
    import librosa

    return librosa.resample(sound, orig_sr=rate_hz, target_sr=16000).mean(axis=0)
