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
# How often each side takes the files: the stage starts its workers for a data set, not for 200 clips.
_FULL = {"stage": 250, "ours": 25, "librosa": 25}
_QUICK = dict.fromkeys(_FULL, 1)
# librosa multiplies by its filters with all processors: that is no faster, and on a busy machine twice as slow in all.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def measure(*, quick: bool) -> list[Row]:
    rounds, repeats = (1, _QUICK) if quick else (5, _FULL)
    kinds = sounds.KINDS
    if shutil.which("ffmpeg") is None:
        say("mels: no ffmpeg program here, without which librosa cannot read videos: that row is left out")
        kinds = tuple(kind for kind in kinds if not kind.is_video)
    return [row for kind in kinds for row in _compare(kind, rounds, repeats)]


def _compare(kind: sounds.Kind, rounds: int, repeats: Mapping[str, int]) -> list[Row]:
    files = [str(sounds.recording(kind, seed)) for seed in range(_FILES)]

    def run(side: str) -> float:
        with tempfile.TemporaryDirectory() as folder:
            command = ("-m", "benchmarks.mel_loop", side, str(repeats[side]), *files)
            return float(python(*command, folder=Path(folder), environment=_ONE_THREAD).output)

    turns = take_turns(rounds, stage=lambda: run("stage"), ours=lambda: run("ours"), librosa=lambda: run("librosa"))
    ms = {side: f"{turns.median(side) * 1e3:.1f} ms a clip" for side in turns.values}
    of_stage, of_one = (turns.ratio("librosa", side) for side in ("stage", "ours"))
    return [
        Row(f"mels, 2 workers / librosa ({kind.name})", ms["stage"], ms["librosa"], of_stage, at_least=_GOAL),
        Row(f"mels, one process / librosa ({kind.name})", ms["ours"], ms["librosa"], of_one),
    ]
