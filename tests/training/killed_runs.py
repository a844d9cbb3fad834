"""Kills training runs with SIGKILL at random moments, and says whether they end as undisturbed ones do.

python killed_runs.py FOLDER SEED. The process imports torch once and trains nothing itself; each run is a fork of it.
"""

import os
import pickle
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import sklearn.metrics  # noqa: F401  (what the first validation would import in each fork)
from tiny_runs import ADAMW, Bench, make_bench, outcome

CONFIGS: dict[str, dict[str, Any]] = {
    "frozen, then free": {"optimizer": ADAMW, "freeze": {"epochs": 2, "lr": 0.1}, "epochs": 3, "accumulate": 2},
    "sgd": {"epochs": 5, "batch_size": 2},
}


def train(bench: Bench, state: Path, result: Path, changes: dict[str, Any]) -> None:
    fitted = bench.run("live", state=state, save_every_s=0, **changes).fit(lambda row: None)
    unfinished = result.with_suffix(".new")
    unfinished.write_bytes(pickle.dumps(outcome(fitted)))
    unfinished.rename(result)


def forked(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException as error:
        print(f"failed: {error!r}", flush=True)
        os._exit(1)
    os._exit(0)


def is_running(pid: int) -> bool:
    done, status = os.waitpid(pid, os.WNOHANG)
    if done and status:
        sys.exit(f"a run ended with status {status}")
    return not done


def check(bench: Bench, name: str, changes: dict[str, Any], rng: random.Random) -> None:
    first, second, state = (bench.folder / f"{name}{suffix}" for suffix in (" undisturbed", "", ".pt"))
    started = time.monotonic()
    os.waitpid(forked(partial(train, bench, bench.folder / "other.pt", first, changes)), 0)
    (bench.folder / "other.pt").unlink()
    took_s = time.monotonic() - started
    attempt = partial(train, bench, state, second, changes)
    for _ in range(4):
        pid = forked(attempt)
        time.sleep(rng.uniform(0, 0.4 * took_s))
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            print(f"{name}: killed, {'with' if state.exists() else 'without'} a state", flush=True)
    os.waitpid(forked(attempt), 0)
    if pickle.loads(first.read_bytes()) != pickle.loads(second.read_bytes()):
        sys.exit(f"{name}: another end than that of the undisturbed run")


def main(folder: Path, seed: int) -> None:
    bench, rng = make_bench(folder), random.Random(seed)
    for name, changes in CONFIGS.items():
        check(bench, name, changes, rng)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
