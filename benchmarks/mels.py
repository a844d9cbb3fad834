"""Spectrograms against librosa.load and melspectrogram in one process: as the mels stage makes them with its two
workers, its store and its links; and what makes one of them, alone in one process, which hashes each file besides.
"""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from actrec.console import say
from benchmarks import sounds
from benchmarks.processes import python
from benchmarks.table import Row
from benchmarks.turns import take_turns

_FILES = 4
_GOAL = 3.0
# How many clips each side takes: the stage starts its workers for a data set, not for 200 clips.
_FULL = {"stage": 1000, "ours": 100, "librosa": 100}
_QUICK = dict.fromkeys(_FULL, 1)
# librosa multiplies by its filters with all processors: that is no faster, and on a busy machine twice as slow in all.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def measure(*, quick: bool) -> list[Row]:
    rounds, clips = (1, _QUICK) if quick else (3, _FULL)
    kinds = sounds.KINDS
    if shutil.which("ffmpeg") is None:
        say("mels: no ffmpeg program here, without which librosa cannot read videos: that row is left out")
        kinds = tuple(kind for kind in kinds if not kind.is_video)
    files = {kind.name: [str(sounds.recording(kind, seed)) for seed in range(_FILES)] for kind in kinds}
    files = {"as many of each of these": [name for names in files.values() for name in names], **files}
    return [row for name, names in files.items() for row in _compare(name, names, rounds, clips)]


def _compare(name: str, files: list[str], rounds: int, clips: Mapping[str, int]) -> list[Row]:
    # None is removed before all are measured: for minutes ext4 looks past each file that was when it makes a new one.
    with tempfile.TemporaryDirectory() as together:

        def run(side: str) -> float:
            repeats = max(clips[side] // len(files), 1)
            command = ("-m", "benchmarks.mel_loop", side, str(repeats), *files)
            return float(python(*command, folder=Path(tempfile.mkdtemp(dir=together)), environment=_ONE_THREAD).output)

        turns = take_turns(rounds, stage=lambda: run("stage"), ours=lambda: run("ours"), librosa=lambda: run("librosa"))
    ms = {side: f"{turns.median(side) * 1e3:.1f} ms a clip" for side in turns.values}
    of_stage, of_one = (turns.ratio("librosa", side) for side in ("stage", "ours"))
    return [
        Row(f"mels, 2 workers / librosa ({name})", ms["stage"], ms["librosa"], of_stage, at_least=_GOAL),
        Row(f"mels, one process / librosa ({name})", ms["ours"], ms["librosa"], of_one),
    ]
