"""Stands for `dvc` in tests of sweeps: it does to the workspace what DVC does, and a model's score is a formula."""

import json
import math
import os
import sys
import time
from pathlib import Path

from ruamel.yaml import YAML

PARAMS, LOCK, METRICS, MODEL = map(Path, ("params.yaml", "dvc.lock", "results/metrics.json", "models/best.pt"))


def top1(lr: float, seed: int) -> float:
    """Return a score that is best at 0.01, 0.8 there, and 0.02 higher for each seed."""
    return round(0.8 - 0.1 * abs(math.log10(lr) + 2) + 0.02 * seed, 6)


def main(arguments: list[str]) -> int:
    with Path("calls.log").open("a", encoding="utf-8") as file:
        file.write(" ".join(arguments) + "\n")
    match arguments:
        case ["exp", "run", "--name", name, *settings]:
            return experiment(name, settings[1::2])
        case ["checkout", *_]:
            # What the lock names comes out of the cache, and nothing else stays.
            MODEL.unlink(missing_ok=True)
            if LOCK.exists():
                MODEL.write_text(LOCK.read_text())
    return 0


def experiment(name: str, settings: list[str]) -> int:
    if "FAKE_BUSY" in os.environ:
        print("ERROR: 'models' is busy, it is being blocked by: (PID 7): dvc repro")
        return 255
    yaml = YAML()
    params = yaml.load(PARAMS)
    for setting in settings:
        key, _, value = setting.partition("=")
        *parents, last = key.split(".")
        section = params
        for part in parents:
            section = section[part]
        section[last] = json.loads(value)
    if "FAKE_DISOBEDIENT" not in os.environ:
        yaml.dump(params, PARAMS)
    METRICS.unlink(missing_ok=True)
    MODEL.unlink(missing_ok=True)
    print(f"training {name}", flush=True)
    if (hang := os.environ.get("FAKE_HANG")) and name.startswith(hang):
        Path("hanging").touch()
        time.sleep(60)
    failing = os.environ.get("FAKE_FAILING")
    if params["train"]["lr"] > 1 or (failing and name.startswith(failing)):
        print("epoch 1\nerror: the loss is nan\nerror: lower train.lr")
        print("ERROR: failed to reproduce 'train': failed to run: python -m pipeline.train, exited with 1")
        return 255
    value = top1(params["train"]["lr"], params["seed"])
    own = {"top1": value, "top1_low": value - 0.1, "top1_high": value + 0.1}
    training = {"seconds": 90.0, "peak_memory_mb": 512.0, "clips_per_s": 33.0}
    MODEL.write_text(name)
    LOCK.write_text(name)
    heads = dict.fromkeys(params["model"]["heads"], own)
    METRICS.write_text(json.dumps({"val": heads, "test": heads, "training": training}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
