"""Several modalities together against each alone: no speed, but scores on the embedded demo, for three seeds.

What is compared is the mean over heads of the test split's mean_per_class_acc, itself the mean over seeds. In the
recipe wildlife-demo the behaviour is in the motion alone and the species mostly in the voice; in rgbpose-demo only the
pictures show what is carried, and only the skeletons show at each moment how arms turn: no modality can win by itself.
A modality alone is trained alone, in the same network without the other's part: of wildlife-demo with its transformer.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from ruamel.yaml import YAML

from benchmarks.processes import ROOT, python
from benchmarks.table import Row

_STAGES = ("ingest", "skeletons", "frames", "mels", "features", "train", "evaluate")
_NAMES = {"rgb": "pictures", "audio": "sound", "pose": "skeletons"}
Params = dict[str, Any]


def measure(*, quick: bool) -> list[Row]:
    seeds, epochs = ((0,), 1) if quick else ((0, 1, 2), None)
    with tempfile.TemporaryDirectory() as name:
        trial = {"folder": Path(name), "seeds": seeds, "epochs": epochs}
        return [
            *_compare("wildlife-demo", _wildlife(), ("rgb", "audio"), **trial),
            *_compare("rgbpose-demo", _recipe("rgbpose-demo"), ("rgb", "pose"), **trial),
            *_compare("rgbpose-demo with x_shift", _x_shift(), ("rgb", "pose"), **trial),
        ]


def _compare(
    what: str, params: Params, modalities: tuple[str, ...], *, folder: Path, seeds: tuple[int, ...], epochs: int | None
) -> list[Row]:
    def scores_of(*used: str) -> list[float]:
        return [_score(folder / what.partition(" ")[0], params, used, seed, epochs) for seed in seeds]

    together, alone = scores_of(*modalities), {modality: scores_of(modality) for modality in modalities}
    return [
        Row(
            f"{what}, both / {_NAMES[modality]} alone, {len(seeds)} seeds",
            _shown(together),
            _shown(own),
            mean(together) / max(mean(own), 1e-9),
            at_least=1.0,
        )
        for modality, own in alone.items()
    ]


def _shown(scores: list[float]) -> str:
    return f"{mean(scores):.3f} ({min(scores):.3f}-{max(scores):.3f})"


def _recipe(name: str) -> Params:
    return YAML(typ="safe", pure=True).load(ROOT / "recipes" / f"{name}.yaml")


def _wildlife() -> Params:
    params = _recipe("wildlife-demo")
    params["evaluate"] |= {"contributions": False, "attention_clips": 0}
    return params


def _x_shift() -> Params:
    """Return rgbpose-demo with the streams of X-ShiftNet and EPAM's attention, which want more epochs."""
    params = _recipe("rgbpose-demo")
    params["train"]["epochs"] = 120
    backbones = params["model"]["backbones"]
    for modality, blocks, widths in (("rgb", [1, 1, 1, 1], [16, 16, 32, 32]), ("pose", [1, 1, 1], [16, 16, 32])):
        kept = {name: value for name, value in backbones[modality].items() if name not in ("width", "temporal_stride")}
        backbones[modality] = {**kept, "kind": "x_shift", "blocks": blocks, "widths": widths}
    params["model"]["neck"]["laterals"] = {"kind": "pose_guided"}
    return params


def _score(folder: Path, params: Params, modalities: tuple[str, ...], seed: int, epochs: int | None) -> float:
    folder.mkdir(exist_ok=True)
    model, train = params["model"], params["train"]
    own = {
        **params,
        "seed": seed,
        "model": {**model, "backbones": {modality: model["backbones"][modality] for modality in modalities}},
        "train": {**train, "epochs": epochs or train["epochs"]},
    }
    output, _, metric = train["select_on"].rpartition(".")
    head = output.rpartition("/")[2]
    if len(modalities) == 1:
        if model["neck"]["kind"] == "late":  # of one stream alone there is nothing to join
            own["model"]["neck"] = {"kind": "mean"}
        # Of sound alone, what it is worth for both heads: the better epoch of neither is preferred.
        own["train"]["select_on"] = "species.loss" if modalities == ("audio",) else f"{head}.{metric}"
        own["evaluate"] = {**params["evaluate"], "worst_clips": 0}
    YAML(typ="safe", pure=True).dump(own, folder / "params.yaml")
    stages = _STAGES if (folder / "data/raw/demo").exists() else ("demo", *_STAGES)
    for stage in stages:
        python("-m", f"pipeline.{stage}", folder=folder, environment={"ACTREC_CACHE": str(folder / "store")})
    found: Mapping[str, Any] = json.loads((folder / "results/metrics.json").read_text(encoding="utf-8"))["test"]
    prefix = f"{output.rpartition('/')[0]}/" if "/" in output and len(modalities) > 1 else ""
    return mean(found[f"{prefix}{name}"]["mean_per_class_acc"] for name in model["heads"])
