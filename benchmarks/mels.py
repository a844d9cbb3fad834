"""A clip's spectrogram as the mels stage makes it, against librosa.load and melspectrogram: one process each.

Ours hashes each file besides, as the stage does. What the stage adds (the pool, the store, links) is that of frames.
"""

import shutil
import tempfile
from pathlib import Path

from actrec.console import say
from benchmarks import sounds
from benchmarks.processes import python
from benchmarks.table import Row
from benchmarks.turns import take_turns

_FILES = 4
_GOAL = 3.0
# librosa multiplies by its filters with all processors: that is no faster, and on a busy machine twice as slow in all.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def measure(*, quick: bool) -> list[Row]:
    rounds, repeats = (1, 1) if quick else (7, 8)
    kinds = sounds.KINDS
    if shutil.which("ffmpeg") is None:
        say("mels: no ffmpeg program here, without which librosa cannot read videos: that row is left out")
        kinds = tuple(kind for kind in kinds if not kind.is_video)
    return [_compare(kind, rounds, repeats) for kind in kinds]


def _compare(kind: sounds.Kind, rounds: int, repeats: int) -> Row:
    files = [str(sounds.recording(kind, seed)) for seed in range(_FILES)]

    def run(side: str) -> float:
        with tempfile.TemporaryDirectory() as folder:
            command = ("-m", "benchmarks.mel_loop", side, str(repeats), *files)
            return float(python(*command, folder=Path(folder), environment=_ONE_THREAD).output)

    turns = take_turns(rounds, ours=lambda: run("ours"), librosa=lambda: run("librosa"))
    ours, anchor = (f"{turns.median(side) * 1e3:.1f} ms a clip" for side in ("ours", "librosa"))
    return Row(f"mels / librosa ({kind.name})", ours, anchor, turns.ratio("librosa", "ours"), at_least=_GOAL)
