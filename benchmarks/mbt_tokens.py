"""Twenty epochs of the recipe `wildlife-frozen` on cached tokens, beside the same with both backbones in the loop.

Both at the recipe's full size (VideoMAE base over 16 x 224 x 224, ResNet-18 over 128 bands), from random weights, on
clips of the demo. One epoch with the backbones in the loop is run and counted twenty times: all would take hours.
"""

import csv
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.processes import ROOT, python
from benchmarks.table import Row

_BASE = {"kind": "none", "width": 768, "layers": 12, "attention_heads": 12, "patch_px": 16, "tubelet_frames": 2}
_SMALL = {"kind": "none", "width": 48, "layers": 1, "attention_heads": 2, "patch_px": 16, "tubelet_frames": 2}


def measure(*, quick: bool) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder, epochs = Path(name), 2 if quick else 20
        _write(folder, quick=quick, epochs=epochs, cached=True)
        for stage in ("demo", "ingest", "skeletons", "frames", "mels"):
            _run(folder, stage)
        once_s = _run(folder, "features")
        _run(folder, "train")
        on_cached_s = sum(_epochs_s(folder))
        _write(folder, quick=quick, epochs=1, cached=False)
        _run(folder, "features")
        _run(folder, "train")
        (live_s,) = _epochs_s(folder)
    ours, anchor = once_s + on_cached_s, live_s * epochs
    shown = f"{_minutes(ours)} ({_minutes(once_s)} once)", f"{_minutes(anchor)} (one epoch, {epochs} times)"
    return [Row(f"MBT, {epochs} epochs on cached tokens / end to end", *shown, anchor / ours, at_least=10.0)]


def _write(folder: Path, *, quick: bool, epochs: int, cached: bool) -> None:
    yaml = YAML(typ="safe", pure=True)
    params: dict[str, Any] = yaml.load(ROOT / "recipes" / "wildlife-frozen.yaml")
    demo = yaml.load(ROOT / "recipes" / "wildlife-demo.yaml")
    params["data"], params["demo"] = demo["data"], {**demo["demo"], "subjects": 6, "takes": 1, "size_px": 256}
    backbones = params["model"]["backbones"]
    backbones["rgb"]["weights"], backbones["audio"]["weights"] = _SMALL if quick else _BASE, {"kind": "none"}
    for backbone in backbones.values():
        backbone["frozen"] = cached
    params["features"]["enabled"], params["train"]["epochs"] = cached, epochs
    yaml.dump(params, folder / "params.yaml")


def _run(folder: Path, stage: str) -> float:
    return python("-m", f"pipeline.{stage}", folder=folder, environment={"ACTREC_CACHE": "off"}).wall_s


def _epochs_s(folder: Path) -> list[float]:
    with (folder / "results/history.csv").open(newline="") as file:
        return [float(row["epoch_s"]) for row in csv.DictReader(file)]


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"
