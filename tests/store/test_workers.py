"""One bad item costs itself: crashes, endless loops and odd exceptions, each in a process of its own."""

import os
import signal
import time
from concurrent.futures.process import BrokenProcessPool
from itertools import repeat
from typing import Any

import pytest
from pebble.pool.process import PoolManager

from actrec.errors import BadItem, UserError
from actrec.store import workers
from actrec.store.workers import run_each, worker_count


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")


class Unpicklable(Exception):
    def __init__(self):
        super().__init__("a lock inside")
        self.function = lambda: None


class OneArgument(Exception):
    """Cannot be made again from its `args`, as unpickling would."""

    def __init__(self, code, text):
        super().__init__(text)


ERRORS = {
    "bad": lambda: BadItem("truncated", "frame 3  of\n 9"),
    "memory": MemoryError,
    "sysexit": lambda: SystemExit(5),
    "interrupt": KeyboardInterrupt,
    "unprintable": Unprintable,
    "unpicklable": Unpicklable,
    "one argument": lambda: OneArgument(3, "text"),
    "unicode": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    "long": lambda: ValueError("é" * 1000),
    "stop": lambda: UserError("the disk is full"),
}


def work(item):
    if item in ERRORS:
        raise ERRORS[item]()
    match item:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "spin":  # holds the interpreter's lock for ever: no signal handler and no thread gets a turn
            sum(repeat(0))
        case "terminate":
            return signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        case "sleep":
            time.sleep(600)
    return item * item


def outcomes(items, *, num_workers=2, timeout_s=30.0):
    found = {}
    for outcome in run_each(work, items, timeout_s=timeout_s, workers=num_workers, preload=()):
        assert outcome.item not in found
        found[outcome.item] = outcome
    return found


def test_results_belong_to_their_items():
    found = outcomes(list(range(50)))
    assert {item: outcome.result for item, outcome in found.items()} == {item: item * item for item in range(50)}
    assert all((outcome.reason, outcome.message, outcome.attempts) == ("", "", 1) for outcome in found.values())


def test_nothing_to_do_starts_nothing(monkeypatch):
    monkeypatch.setattr(workers, "ProcessPool", None)
    assert outcomes([]) == {}


def test_an_endless_loop_costs_itself_twice():
    found = outcomes([1, "spin", 2, 3, 4], timeout_s=1.5)
    spun = found.pop("spin")
    assert (spun.reason, spun.message, spun.attempts) == ("decoder_timeout", "not done after 1.5 s", 2)
    assert {outcome.result for outcome in found.values()} == {1, 4, 9, 16}


def test_a_worker_that_spins_can_be_terminated():
    """A handler in Python would never get its turn, and each deadline would cost pebble's grace period more."""
    assert outcomes(["terminate"])["terminate"].result is True


@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_a_crash_costs_itself_whatever_the_number_of_workers(num_workers):
    good = list(range(12))
    found = outcomes([*good[:4], "crash", *good[4:8], "killed", *good[8:]], num_workers=num_workers)
    crash, killed = found.pop("crash"), found.pop("killed")
    assert (crash.result, crash.reason, crash.attempts) == (None, "decoder_crash", 2)
    assert crash.message == f"its process died with exit code -{signal.SIGSEGV.value}"
    assert (killed.result, killed.reason, killed.attempts) == (None, "decoder_crash", 2)
    assert {item: outcome.result for item, outcome in found.items()} == {item: item * item for item in good}


def test_every_exception_is_a_reason_and_a_text():
    expected = {
        "bad": ("truncated", "frame 3 of 9"),
        "memory": ("out_of_memory", ""),
        "sysexit": ("decoder_error", "SystemExit: 5"),
        "interrupt": ("decoder_error", "KeyboardInterrupt: "),
        "unprintable": ("decoder_error", "Unprintable: (its message cannot be shown)"),
        "unpicklable": ("decoder_error", "Unpicklable: a lock inside"),
        "one argument": ("decoder_error", "OneArgument: text"),
        "unicode": ("decoder_error", "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0: "),
        "long": ("decoder_error", "ValueError: " + "é" * 188),
    }
    found = outcomes([*expected, 7])
    assert found.pop(7).result == 49
    for item, (reason, message) in expected.items():
        outcome = found[item]
        assert (outcome.result, outcome.reason, outcome.attempts) == (None, reason, 1), item
        assert outcome.message.startswith(message.rstrip()) and len(outcome.message) <= 200, item


def test_what_concerns_the_whole_run_stops_it_at_once():
    with pytest.raises(UserError, match=r"^the disk is full$"):
        outcomes(["stop", "sleep", "sleep", 1, 2])


def test_whoever_stops_listening_stops_the_work():
    stream: Any = run_each(work, [1, "sleep", "sleep"], timeout_s=600, workers=2, preload=())
    assert next(stream).result == 1
    stream.close()


def broken_pool(times):
    """Return a replacement by which pebble gives up its pool at the first `times` deaths of a worker."""
    real, left = PoolManager.find_expired_task, [times]

    def find_expired_task(self, worker_id):
        if left[0] > 0:
            left[0] -= 1
            raise BrokenProcessPool("All workers expired")
        return real(self, worker_id)

    return find_expired_task


def test_a_pool_that_breaks_is_replaced_and_nobody_is_blamed(monkeypatch):
    """A worker that crashes before pebble has heard what it works on takes the whole pool down."""
    monkeypatch.setattr(PoolManager, "find_expired_task", broken_pool(1))
    found = outcomes(["crash", 1, 2, 3], num_workers=1)
    assert {item: outcome.result for item, outcome in found.items()} == {"crash": None, 1: 1, 2: 4, 3: 9}
    assert [found[item].attempts for item in ("crash", 1, 2, 3)] == [2, 1, 1, 1]


def test_pools_that_only_break_end_the_run(monkeypatch):
    monkeypatch.setattr(PoolManager, "find_expired_task", broken_pool(1000))
    monkeypatch.setattr(workers, "_MAX_BREAKS", 1)
    with pytest.raises(UserError, match="die before they take up any work"):
        outcomes(["crash"], num_workers=1)


def test_the_environment_chooses_the_number_of_workers(monkeypatch):
    monkeypatch.setenv("ACTREC_WORKERS", "3")
    assert worker_count() == 3
    monkeypatch.delenv("ACTREC_WORKERS")
    assert worker_count() >= 1


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", " "])
def test_a_number_of_workers_that_is_none(monkeypatch, value):
    monkeypatch.setenv("ACTREC_WORKERS", value)
    with pytest.raises(UserError, match="ACTREC_WORKERS is"):
        worker_count()
