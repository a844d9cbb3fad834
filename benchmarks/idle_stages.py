"""The processor time of stages that make nothing: `check`, and those off by the recipe; and whether torch stays out."""

import tempfile
from pathlib import Path
from statistics import median

from ruamel.yaml import YAML

from benchmarks.processes import ROOT, python
from benchmarks.table import Row

_GOAL_CPU_S = 0.6
_SWITCHED_OFF = ("demo", "frames", "mels", "features")
# As `python -m pipeline.STAGE` does it. The demo does without some of them; the others are told so behind their backs.
_RUN = """
import sys
from actrec.console import run
from pipeline import {stage} as stage
p = stage.load("params.yaml")
section = p.{stage}.model_copy(update={{"enabled": False}})
stage.load = lambda path: p.model_copy(update={{"{stage}": section}})
run(stage.main)
"""
_CHECK = "\nfrom actrec.console import run; from pipeline import check; run(check.main)"
_SAY_TORCH = "\nimport atexit, sys; atexit.register(lambda: print('torch' in sys.modules))"


def measure(*, quick: bool) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        recipe = YAML(typ="safe", pure=True).load(ROOT / "recipes" / "demo.yaml")
        YAML(typ="safe", pure=True).dump(recipe, Path(folder) / "params.yaml")
        programs = {f"{stage}, nothing to do": _RUN.format(stage=stage) for stage in _SWITCHED_OFF}
        programs["check, after an edit"] = _CHECK
        return [_row(Path(folder), name, code, rounds=1 if quick else 7) for name, code in programs.items()]


def _row(folder: Path, name: str, code: str, rounds: int) -> Row:
    imports_torch = python("-c", _SAY_TORCH + code, folder=folder).output.strip()
    cpu_s = median(python("-c", code, folder=folder).cpu_s for _ in range(rounds))
    ours = f"{cpu_s:.2f} CPU s, torch {'imported' if imports_torch == 'True' else 'not imported'}"
    return Row(f"{name} / the goal", ours, f"{_GOAL_CPU_S} CPU s", cpu_s / _GOAL_CPU_S, at_most=1.0)
