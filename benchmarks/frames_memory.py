"""The memory of the frames stage, all its processes together, with many clips against few.

The tensors of all clips (0.2 MB each) would show, were they kept: as 1.7. Samples scatter by 5 %.
"""

import tempfile
from pathlib import Path

from benchmarks import clips, project
from benchmarks.processes import python
from benchmarks.table import Row
from benchmarks.turns import take_turns


def measure(*, quick: bool) -> list[Row]:
    few, many, rounds = (5, 50, 1) if quick else (200, 2000, 3)
    source = clips.film(seed=0, gop_frames=12, frames=16, width_px=64, height_px=64)
    with tempfile.TemporaryDirectory() as folder:
        few_mb, many_mb = (_peak_of(Path(folder) / str(count), source, count) for count in (few, many))
        turns = take_turns(rounds, few=few_mb, many=many_mb)
    ours, anchor = (f"{turns.median(side):.0f} MB" for side in ("many", "few"))
    return [Row(f"frames, memory: {many} / {few} clips", ours, anchor, turns.ratio("many", "few"), at_most=1.1)]


def _peak_of(folder: Path, source: Path, count: int):
    store = folder / "store"
    folder.mkdir()
    project.write_params(folder, clip_frames=16, size_px=64)
    project.write_clips(folder, [source], range(count))
    settings = {"ACTREC_CACHE": str(store), "ACTREC_WORKERS": "2"}
    python("-m", "pipeline.ingest", folder=folder, environment=settings)

    def peak_mb() -> float:
        project.forget_results(folder, store)
        return python("-m", "pipeline.frames", folder=folder, environment=settings, with_memory=True).peak_mb

    return peak_mb
