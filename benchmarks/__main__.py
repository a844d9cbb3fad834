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
    "mels",
    "frames_memory",
    "heatmaps",
    "pose_step",
    "one_more_clip",
    "noop_repro",
    "head_training",
    "images_loop",
    "hog",
    "cached_features",
    "mbt_tokens",
)
# Scores, not speed, and of dozens of trainings: measured when it is named.
ON_REQUEST = ("fusion",)
_KNOWN = MEASURES + ON_REQUEST


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(_KNOWN)}; none: all but the last.")] = None,
    quick: Annotated[
        bool, typer.Option(help="Small and few runs: shows that it works, its figures mean little.")
    ] = False,
) -> None:
    """Measure ours against its anchor, in turns, and print ratios beside the goals."""
    chosen = names or MEASURES
    if unknown := sorted(set(chosen) - set(_KNOWN)):
        raise UserError(f"no such measure: {', '.join(unknown)}. Known: {', '.join(_KNOWN)}")
    rows = []
    for name in chosen:
        say(f"{name} …")
        measured = import_module(f"benchmarks.{name}").measure(quick=quick)
        say(render(measured))  # at once, for the next may take long, or fail
        rows += measured
    print(render(rows))


if __name__ == "__main__":
    run(main)
