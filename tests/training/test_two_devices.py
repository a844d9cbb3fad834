"""Two processes train as one does: the same curves, each clip once; and a kill of either changes nothing."""

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from two_devices import RUNS, ends_of, predictions

from actrec.training.randomness import derive

pytestmark = pytest.mark.long

SCRIPT = Path(__file__).with_name("two_devices.py")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Return what the runs end with in two processes, as each of these has it."""
    folder = tmp_path_factory.mktemp("two")
    done = subprocess.run([sys.executable, SCRIPT, folder, "all"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return [pickle.loads((folder / f"all {rank}.pkl").read_bytes()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def one(bench, both):
    return ends_of(bench, both)


def numbers(state):
    return {name: np.frombuffer(value, np.float32) for name, value in state.items() if len(value) % 4 == 0}


@pytest.mark.parametrize("name", list(RUNS))
def test_two_processes_learn_what_one_does(one, two, name):
    found, expected = two[0]["ends"][name], one[name]
    assert len(found["history"]) == len(expected["history"])
    for row, alone in zip(found["history"], expected["history"], strict=True):
        assert list(row) == list(alone)
        for column, value in alone.items():
            is_number = isinstance(value, float)
            assert row[column] == (pytest.approx(value, abs=1e-5) if is_number else value), (row["epoch"], column)
    for state in ("best", "last"):
        mine, theirs = numbers(found[state]), numbers(expected[state])
        assert mine.keys() == theirs.keys()
        assert all(mine[key] == pytest.approx(theirs[key], abs=1e-5) for key in mine)
    assert expected["history"][-1]["train_loss"] != expected["history"][0]["train_loss"]


def test_both_processes_end_with_the_same(two):
    assert two[0]["ends"] == two[1]["ends"]


def test_penalties_are_in_the_loss_and_in_the_history(one):
    rows = one["penalties"]["history"]
    assert all(row["train_size"] > 0 and row["train_nothing"] == 0 for row in rows)
    # Each label once, though the last batch of 10 clips in threes has none for the second process; three epochs.
    assert numbers(one["penalties"]["last"])["heads.0.seen"].tolist() == [12, 9, 9]
    assert "train_size" not in one["a head on cached features"]["history"][0]


def test_predictions_of_all_clips_come_once_and_in_order(bench, two):
    expected = predictions(bench)
    for count, alone in expected.items():
        assert alone.shape == (count, 3) and len(np.unique(alone[:, 0])) == count
        for rank in (0, 1):
            np.testing.assert_allclose(two[rank]["predictions"][count], alone, atol=1e-6)


def test_the_weights_are_the_same_in_both_though_each_normalises_its_own_clips(two):
    first, second = (numbers(two[rank]["batch norm"]["last"]) for rank in (0, 1))
    assert all((first[name] == second[name]).all() for name in first)


def test_validation_is_of_the_model_that_is_kept(two):
    """Its statistics are the first process's; the second counts its clips with the same ones."""
    end = two[0]["batch norm"]
    loss = torch.nn.functional.nll_loss(torch.from_numpy(end["probs"]).log(), torch.from_numpy(end["labels"])).item()
    assert end["history"][-1]["val_action_loss"] == pytest.approx(loss, abs=1e-6)


def test_dropout_is_another_in_each_process(two):
    first, second = (two[rank]["batch norm"]["seed"] for rank in (0, 1))
    assert first == derive(0, "step", 2, 2, 0) and second == derive(0, "step", 2, 2, 1)


def comparable(end):
    return {name: value for name, value in end.items() if name not in ("probs", "labels", "seed")}


def test_the_same_run_again_is_the_same_to_the_bit(two):
    assert comparable(two[0]["batch norm"]) == comparable(two[0]["again"])


def test_a_run_that_died_ends_as_if_it_had_not_to_the_bit(two):
    assert len(two[0]["resumed"]) == 4
    assert all(end == comparable(two[0]["batch norm"]) for end in two[0]["resumed"])


def test_what_is_no_number_in_one_process_stops_both(two):
    for rank in (0, 1):
        assert "the loss is" in two[rank]["diverged"] and "epoch 1, step 1 of 1" in two[rank]["diverged"]


def start(folder):
    command = [sys.executable, SCRIPT, folder, "killed"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_state(process, state, since):
    while process.poll() is None and not (state.exists() and state.stat().st_mtime > since):
        time.sleep(0.002)


def test_kill_9_of_either_process(two, tmp_path):
    """Real processes, real signals, in the middle of what they say to each other; then the run is taken up."""
    state, seed = tmp_path / "killed.pt", random.SystemRandom().randrange(10**6)
    for victim, status in ((1, 1), (0, -signal.SIGKILL)):
        since, process = time.time(), start(tmp_path)
        wait_for_state(process, state, since)
        time.sleep(random.Random(seed).uniform(0, 0.05))
        (other,) = psutil.Process(process.pid).children()
        os.kill([process.pid, other.pid][victim], signal.SIGKILL)
        text, _ = process.communicate(timeout=300)
        assert process.returncode == status, f"seed {seed}\n{text}"
        assert ("process 2 of the 2" in text and "SIGKILL" in text) == bool(victim)
        psutil.wait_procs([other], timeout=120)
        assert not other.is_running() and state.exists() and not (tmp_path / "killed 0.pkl").exists()
    process = start(tmp_path)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    assert pickle.loads((tmp_path / "killed 0.pkl").read_bytes()) == comparable(two[0]["batch norm"]), f"seed {seed}"
