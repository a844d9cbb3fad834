"""A run that is killed and started again ends bit-identical to one that never was."""

import math
import random
import subprocess
import sys
import weakref
from functools import partial
from pathlib import Path

import pytest
import torch
from tiny_runs import ADAMW, AUGMENT, CONSTANT, SETTINGS, outcome

from actrec.errors import UserError
from actrec.training.device import launch
from actrec.training.fit import Run


class Killed(BaseException):
    """What no handler in the code under test catches."""


def ignore(row):
    pass


def dying(run, method, *, calls, after=False):
    """Let a run die at the given call of one of its methods, before or after its work."""
    real, count = getattr(type(run), method), 0
    # Where it holds itself, Python closes its loaders' queues before their processes, and waits five seconds for each.
    itself = weakref.ref(run)

    def patched(*args):
        nonlocal count
        count += 1
        if count == calls and not after:
            raise Killed
        result = real(itself(), *args)
        if count == calls:
            raise Killed
        return result

    setattr(run, method, patched)
    return run


def killed_once(make, method, *, calls, after):
    """Return what a run ends with that dies at a point and is started again; None if it never comes to this point."""
    try:
        dying(make(), method, calls=calls, after=after).fit(ignore)
    except Killed:
        return outcome(make().fit(ignore))
    return None


# Ten training clips in batches of 4: 3 steps an epoch.
CONFIGS = {
    "sgd": {},
    "adamw": {"optimizer": ADAMW},
    "adam, accumulate 2": {"optimizer": {**ADAMW, "kind": "adam"}, "accumulate": 2},
    "freeze": {"freeze": {"epochs": 1, "lr": 0.1}, "epochs": 2, "optimizer": ADAMW},
    "plateau": {
        "schedule": {
            "kind": "plateau",
            "warmup_epochs": 0,
            "warmup_from_frac": 0.0,
            "patience_epochs": 1,
            "factor": 0.5,
        },
        "select_on": "action.top1",
        "epochs": 4,
    },
    "mixup": {"mixup_alpha": 0.4, "accumulate": 2},
    "early stopping": {
        "early_stopping": {"patience_epochs": 1, "min_delta": 0.2},
        "select_on": "action.top1",
        "epochs": 5,
    },
}


@pytest.mark.parametrize("config", CONFIGS)
def test_dying_after_every_update(bench, tmp_path, config):
    """Each process makes one update, so every point between two of them is a beginning."""
    kind = "live" if config == "freeze" else "cached"
    undisturbed = outcome(bench.run(kind, **CONFIGS[config]).fit(ignore))
    state = tmp_path / "state.pt"
    for _ in range(40):
        run = bench.run(kind, state=state, save_every_s=0, **CONFIGS[config])
        # Only updates and ends of epochs are saved: two calls are more than one saved step where two make an update.
        calls = run.settings.accumulate
        try:
            fitted = dying(run, "_step", calls=calls + 1).fit(ignore)
            break
        except Killed:
            continue
    assert outcome(fitted) == undisturbed
    epochs = len(undisturbed["history"])
    assert epochs < 5 if config == "early stopping" else epochs == run.settings.total_epochs


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("method", ["_step", "_validate", "_save"])
def test_dying_at_every_point(bench, tmp_path, method, after):
    config = {**CONFIGS["adam, accumulate 2"], "freeze": {"epochs": 1, "lr": 0.1}, "epochs": 1}
    undisturbed = outcome(bench.run("live", **config).fit(ignore))
    points = {"_step": 6, "_validate": 2, "_save": 6}[method]  # 2 epochs of 3 steps and 2 updates, each saved
    for calls in range(1, points + 2):
        every_s = 0 if method == "_save" else 1e9
        make = partial(bench.run, "live", state=tmp_path / f"{calls}.pt", save_every_s=every_s, **config)
        assert killed_once(make, method, calls=calls, after=after) == (undisturbed if calls <= points else None)


def test_saving_does_not_change_a_run(bench):
    often = outcome(bench.run("live", save_every_s=0, accumulate=2).fit(ignore))
    assert often == outcome(bench.run("live", accumulate=2).fit(ignore))


def test_a_finished_run_is_not_trained_again(bench, tmp_path, monkeypatch):
    first = outcome(bench.run("cached", state=tmp_path / "state.pt").fit(ignore))
    monkeypatch.setattr(Run, "_step", None)
    assert outcome(bench.run("cached", state=tmp_path / "state.pt").fit(ignore)) == first


def test_kill_9_at_random_moments(tmp_path):
    """Real processes, real signals: see killed_runs.py."""
    seed = random.SystemRandom().randrange(10**6)
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("killed_runs.py"), tmp_path, str(seed)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}{done.stderr}"
    assert done.stdout.count("killed") >= 2, "all runs ended before their signal"


def test_the_number_of_loader_workers_does_not_matter(bench, monkeypatch):
    ends = []
    for workers in ("0", "1", "2"):
        monkeypatch.setenv("ACTREC_LOADER_WORKERS", workers)
        ends.append(outcome(bench.run("live", epochs=2).fit(ignore)))
    assert ends[0] == ends[1] == ends[2]


def test_nor_does_it_for_randaugment_nor_does_ambient_randomness(bench, monkeypatch):
    ends = []
    for workers, spec in (("0", {"ops": 2, "magnitude": 9}), ("2", {"ops": 2, "magnitude": 9}), ("0", None)):
        monkeypatch.setenv("ACTREC_LOADER_WORKERS", workers)
        torch.manual_seed(int(workers))
        augment = {**AUGMENT, "rgb": {**AUGMENT["rgb"], "randaugment": spec}}
        ends.append(outcome(bench.run("live", epochs=1, augment=augment).fit(ignore)))
    assert ends[0] == ends[1] and ends[0]["last"] != ends[2]["last"]


def test_resuming_with_other_workers_does_not_matter(bench, tmp_path, monkeypatch):
    undisturbed = outcome(bench.run("live", epochs=2).fit(ignore))
    monkeypatch.setenv("ACTREC_LOADER_WORKERS", "2")
    run = bench.run("live", epochs=2, state=tmp_path / "state.pt", save_every_s=0)
    with pytest.raises(Killed):
        dying(run, "_step", calls=5).fit(ignore)
    monkeypatch.setenv("ACTREC_LOADER_WORKERS", "0")
    assert outcome(bench.run("live", epochs=2, state=tmp_path / "state.pt").fit(ignore)) == undisturbed


def test_ambient_randomness_does_not_matter(bench):
    ends = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        ends.append(outcome(bench.run("live", epochs=1).fit(ignore)))
    assert ends[0] == ends[1]


def test_another_seed_is_another_run(bench):
    first, second = (outcome(bench.run("live", epochs=1, seed=seed).fit(ignore)) for seed in (1, 2))
    assert first["last"] != second["last"]


def test_a_frozen_backbone_is_not_in_the_state(bench, tmp_path):
    state = tmp_path / "state.pt"
    bench.run("cached", state=state, epochs=1).fit(ignore)
    saved = torch.load(state, weights_only=True)
    assert sorted(saved["model"]) == sorted(saved["state"]["best"]) == ["heads.0.1.bias", "heads.0.1.weight"]


def test_the_precision_s_state_is_taken_up_at_the_start_of_a_phase(bench, tmp_path, monkeypatch):
    """The gradient scaler of fp16 is no part of a phase: after the frozen one it has its scale still."""
    state = tmp_path / "state.pt"
    changes = {"freeze": {"epochs": 1, "lr": 0.1}, "epochs": 1, "schedule": CONSTANT}
    precision = launch(device="cpu", threads=1, precision="fp32").strategy.precision
    monkeypatch.setattr(type(precision), "state_dict", lambda self: {"scale": 7.0})
    with pytest.raises(Killed):
        dying(bench.run("live", state=state, **changes), "_step", calls=4).fit(ignore)
    taken = []
    monkeypatch.setattr(type(precision), "load_state_dict", lambda self, saved: taken.append(saved))
    bench.run("live", state=state, **changes).fit(ignore)
    assert taken == [{"scale": 7.0}]


# --- pictures and sound -----------------------------------------------------------------------------------------------

BOTH = {"optimizer": ADAMW, "lr": 0.01, "epochs": 2, "freeze": {"epochs": 1, "lr": 0.1}}


@pytest.mark.parametrize("kind", ["live", "cached"])
@pytest.mark.parametrize("calls", [2, 5, 8])
def test_a_run_on_both_that_dies_in_any_epoch_ends_as_if_it_had_not(both, tmp_path, kind, calls):
    changes = BOTH if kind == "live" else {**BOTH, "freeze": {"epochs": 0, "lr": 0.1}, "epochs": 3}
    undisturbed = outcome(both.run(kind, **changes).fit(ignore))
    make = partial(both.run, kind, state=tmp_path / "state.pt", save_every_s=0, **changes)
    assert killed_once(make, "_step", calls=calls, after=True) == undisturbed
    assert all(math.isfinite(row[name]) for row in undisturbed["history"] for name in ("train_loss", "val_score"))


def test_the_number_of_loader_workers_does_not_matter_for_both(both, monkeypatch):
    ends = []
    for workers in ("0", "2"):
        monkeypatch.setenv("ACTREC_LOADER_WORKERS", workers)
        ends.append(outcome(both.run("live", epochs=1).fit(ignore)))
    assert ends[0] == ends[1]


def test_only_the_neck_and_the_heads_are_in_the_state_of_two_frozen_backbones(both, tmp_path):
    both.run("cached", state=tmp_path / "state.pt", epochs=1).fit(ignore)
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    assert {name.partition(".")[0] for name in saved["model"]} == {"neck", "heads"}


def test_a_damaged_state_is_named(bench, tmp_path):
    state = tmp_path / "state.pt"
    bench.run("cached", state=state, epochs=1).fit(ignore)
    state.write_bytes(state.read_bytes()[:-500])
    with pytest.raises(UserError, match=r"state\.pt.*damaged.*Remove the file"):
        bench.run("cached", state=state, epochs=1).fit(ignore)


def test_settings_of_the_tests_are_those_of_the_schema():
    from actrec.params.training import Train

    Train.model_validate({**SETTINGS, "augment": AUGMENT, "precision": "fp32", "devices": 1, "tensorboard": False})
