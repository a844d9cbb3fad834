"""`python -m benchmarks [NAME …] [--quick]`: measure, and print a table."""

from importlib import import_module
from typing import Annotated

import typer

from actrec.console import run, say
from actrec.errors import UserError
from benchmarks.table import render

MEASURES = (
    "idle_stages",
    "frames_speed",
    "frames_memory",
    "mels",
    "heatmaps",
    "pose_step",
    "one_more_clip",
    "noop_repro",
    "head_training",
    "images_loop",
    "hog",
    "cached_features",
    "mbt_tokens",
    "fusion",
)


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(MEASURES)}; none means all.")] = None,
    quick: Annotated[
        bool, typer.Option(help="Small and few runs: shows that it works, its figures mean little.")
    ] = False,
) -> None:
    """Measure ours against its anchor, in turns, and print ratios beside the goals."""
    chosen = names or MEASURES
    if unknown := sorted(set(chosen) - set(MEASURES)):
        raise UserError(f"no such measure: {', '.join(unknown)}. Known: {', '.join(MEASURES)}")
    rows = []
    for name in chosen:
        say(f"{name} …")
        measured = import_module(f"benchmarks.{name}").measure(quick=quick)
        say(render(measured))  # at once, for the next may take long, or fail
        rows += measured
    print(render(rows))


if __name__ == "__main__":
    run(main)
