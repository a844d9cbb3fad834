"""Run in a child: spectrograms of files, by our way or by librosa's, timed from when everything is imported and warm.

`python -m benchmarks.mel_loop ours|librosa|stage REPEATS FILE …`; prints the seconds a file. `stage` has the workers
and the store of the mels stage, and two processes; every file counts as another one each time.
"""

import hashlib
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np

from actrec.media.sound import HEAVY_IMPORTS, SoundSpec, SoundTask, make_mel_file, pack_mel_files
from actrec.store.cas import Store
from actrec.store.tree import Job, Maker, build

SPEC = SoundSpec(16000, 2048, 512, 128, 0.0, 8000.0, 10.0, "repeat", "start")
OUT = Path("out.npy")


def main(side: str, repeats: int, files: list[Path]) -> None:
    warnings.simplefilter("ignore")  # librosa calls its way of reading videos deprecated, each time
    tasks = [SoundTask(path, hashlib.sha256(path.read_bytes()).hexdigest(), SPEC, None, None) for path in files]
    makers: dict[str, Callable[[list[SoundTask]], None]] = {"ours": ours, "librosa": by_librosa, "stage": stage}
    makers[side](tasks)
    started = time.perf_counter()
    makers[side](tasks * repeats)
    print((time.perf_counter() - started) / (len(tasks) * repeats))


def ours(tasks: list[SoundTask]) -> None:
    for task in tasks:
        OUT.write_bytes(make_mel_file(task))


def stage(tasks: list[SoundTask]) -> None:
    maker = Maker("mels", ".npy", make_mel_file, pack_mel_files, "", 60.0, HEAVY_IMPORTS)
    names = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(len(tasks))]
    jobs = [Job(name, name, task) for name, task in zip(names, tasks, strict=True)]
    build(Path("mels"), jobs, maker, about={}, store=Store(Path(tempfile.mkdtemp(dir=Path.cwd()))), workers=2)


def by_librosa(tasks: list[SoundTask]) -> None:
    for task in tasks:
        sound, rate_hz = librosa.load(task.path, sr=SPEC.sample_rate_hz)
        sound = np.resize(sound[: SPEC.num_samples], SPEC.num_samples)
        mel = librosa.feature.melspectrogram(
            y=sound, sr=rate_hz, n_fft=SPEC.n_fft, hop_length=SPEC.hop_samples, n_mels=SPEC.n_mels, fmax=SPEC.f_max_hz
        )
        np.save(OUT, librosa.power_to_db(mel, top_db=None))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
