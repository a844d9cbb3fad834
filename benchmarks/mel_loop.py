"""Run in a child: spectrograms of files, by our way or by librosa's, timed from when everything is imported and warm.

`python -m benchmarks.mel_loop ours|librosa REPEATS FILE …`; prints the seconds a file.
"""

import hashlib
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np

from actrec.media.sound import SoundSpec, SoundTask, make_mel_file

SPEC = SoundSpec(16000, 2048, 512, 128, 0.0, 8000.0, 10.0, "repeat", "start")
OUT = Path("out.npy")


def main(side: str, repeats: int, files: list[Path]) -> None:
    warnings.simplefilter("ignore")  # librosa calls its way of reading videos deprecated, each time
    tasks = [SoundTask(path, hashlib.sha256(path.read_bytes()).hexdigest(), SPEC, None, None) for path in files]
    make: Callable[[SoundTask], None] = {"ours": ours, "librosa": by_librosa}[side]
    make(tasks[0])
    started = time.perf_counter()
    for task in tasks * repeats:
        make(task)
    print((time.perf_counter() - started) / (len(tasks) * repeats))


def ours(task: SoundTask) -> None:
    OUT.write_bytes(make_mel_file(task))


def by_librosa(task: SoundTask) -> None:
    sound, rate_hz = librosa.load(task.path, sr=SPEC.sample_rate_hz)
    sound = np.resize(sound[: SPEC.num_samples], SPEC.num_samples)
    mel = librosa.feature.melspectrogram(
        y=sound, sr=rate_hz, n_fft=SPEC.n_fft, hop_length=SPEC.hop_samples, n_mels=SPEC.n_mels, fmax=SPEC.f_max_hz
    )
    np.save(OUT, librosa.power_to_db(mel, top_db=None))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
