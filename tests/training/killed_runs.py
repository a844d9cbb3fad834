"""Kills training runs with SIGKILL at random moments, and says whether they end as undisturbed ones do.

python killed_runs.py FOLDER SEED. The process imports torch once and computes nothing itself; each run is a fork of it.
"""

import os
import pickle
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def main(folder: Path, seed: int) -> None:
    bench, rng = make_bench(folder), random.Random(seed)
    for name, changes in CONFIGS.items():
        first, state, result = folder / f"{name} undisturbed", folder / f"{name}.pt", folder / name
        started = time.monotonic()
        _, status = os.waitpid(forked(lambda: train(bench, folder / "other.pt", first, changes)), 0)
        (folder / "other.pt").unlink()
        took_s = time.monotonic() - started
        for _ in range(4):
            pid = forked(lambda: train(bench, state, result, changes))
            time.sleep(rng.uniform(0, 0.6 * took_s))
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                print(f"{name}: killed, {'with' if state.exists() else 'without'} a state")
        _, status = os.waitpid(forked(lambda: train(bench, state, result, changes)), 0)
        if status or pickle.loads(first.read_bytes()) != pickle.loads(result.read_bytes()):
            sys.exit(f"{name}: another end than that of the undisturbed run")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
