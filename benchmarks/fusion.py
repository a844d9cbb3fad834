"""Picture and sound together against each alone: no speed, but scores on the embedded demo, for three seeds.

What is compared is the mean over both heads of the test split's mean_per_class_acc, itself the mean over seeds. The
behaviour is in the motion alone and the species mostly in the voice, so neither modality can win by itself.
"""

import json
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

from ruamel.yaml import YAML

from benchmarks.processes import ROOT, python
from benchmarks.table import Row

_STAGES = ("ingest", "frames", "mels", "features", "train", "evaluate")


def measure(*, quick: bool) -> list[Row]:
    seeds, epochs = ((0,), 1) if quick else ((0, 1, 2), None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scores = {
            what: [_score(folder, modalities, seed, epochs) for seed in seeds]
            for what, modalities in (("both", ("rgb", "audio")), ("picture", ("rgb",)), ("sound", ("audio",)))
        }
    shown = {what: f"{mean(own):.3f} ({min(own):.3f}-{max(own):.3f})" for what, own in scores.items()}
    return [
        Row(
            f"wildlife-demo, both / {alone} alone, {len(seeds)} seeds",
            shown["both"],
            shown[alone],
            mean(scores["both"]) / max(mean(scores[alone]), 1e-9),
            at_least=1.0,
        )
        for alone in ("picture", "sound")
    ]


def _score(folder: Path, modalities: tuple[str, ...], seed: int, epochs: int | None) -> float:
    yaml = YAML(typ="safe", pure=True)
    params: dict[str, Any] = yaml.load(ROOT / "recipes" / "wildlife-demo.yaml")
    params["seed"] = seed
    params["train"]["epochs"] = epochs or params["train"]["epochs"]
    params["model"]["backbones"] = {m: params["model"]["backbones"][m] for m in modalities}
    params["evaluate"] |= {"contributions": False, "attention_clips": 0}
    # Of one modality alone, what it is worth for both heads: the better epoch of neither is preferred.
    params["train"]["select_on"] = "species.loss" if modalities == ("audio",) else params["train"]["select_on"]
    yaml.dump(params, folder / "params.yaml")
    environment = {"ACTREC_CACHE": str(folder / "store")}
    stages = _STAGES if (folder / "data/raw/demo").exists() else ("demo", *_STAGES)
    for stage in stages:
        python("-m", f"pipeline.{stage}", folder=folder, environment=environment)
    heads = json.loads((folder / "results/metrics.json").read_text(encoding="utf-8"))["test"]
    return mean(head["mean_per_class_acc"] for head in heads.values())
