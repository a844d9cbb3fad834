"""The frames stage after one clip has joined many, against its first run over them.

Both are timed from when everything is imported, and have two workers. The median of three clips that join one by one.
"""

import tempfile
from pathlib import Path

from benchmarks import clips, project
from benchmarks.processes import Usage, python
from benchmarks.table import Row
from benchmarks.turns import take_turns


def measure(*, quick: bool) -> list[Row]:
    num_clips, frames, rounds = (8, 30, 1) if quick else (2000, 300, 3)
    sources = [clips.film(seed=seed, gop_frames=12, frames=frames, width_px=340, height_px=256) for seed in range(4)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project.write_params(folder, clip_frames=16, size_px=112)
        first = _run(folder, sources, num_clips)
        more = iter([_run(folder, sources, num_clips + 1 + number) for number in range(rounds)])
        turns = take_turns(rounds, more=lambda: float(next(more).output))
    first_s, more_s = float(first.output), turns.median("more")
    return [
        Row(
            f"frames, 1 clip more / the first {num_clips}",
            f"{more_s:.2f} s",
            f"{first_s:.1f} s",
            more_s / first_s,
            at_most=1 / 200,
        )
    ]


def _run(folder: Path, sources: list[Path], num_clips: int) -> Usage:
    settings = {"ACTREC_CACHE": str(folder / "store"), "ACTREC_WORKERS": "2"}
    project.write_clips(folder, sources, range(num_clips))
    python("-m", "pipeline.ingest", folder=folder, environment=settings)
    return python("-m", "benchmarks.timed_frames", folder=folder, environment=settings)
