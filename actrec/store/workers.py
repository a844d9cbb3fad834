"""Runs one function over many items in processes that can be killed, so that a bad item costs itself alone.

A native decoder may crash, or spin while it holds the interpreter's lock: neither can be stopped from inside. Here each
item has a deadline, its process dies with it, and the next item gets a fresh one.
"""

import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures import TimeoutError as DeadlineError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pebble import ProcessExpired, ProcessPool

from actrec.errors import BadItem, UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
# Of these another day may end otherwise: nobody remembers them.
TRANSIENT = ("decoder_crash", "decoder_timeout", "out_of_memory")
_MAX_ATTEMPTS = 2
_MESSAGE_CHARS = 200
# pebble gives a whole pool up if it finds its last worker dead and has not heard yet what that was working on: it may
# happen when a decoder crashes at once on a busy machine. Then a new pool goes on.
_MAX_BREAKS = 5
_POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Item, Result]):
    """What became of an item: a result, or the reason and message why there is none."""

    item: Item
    result: Result | None
    reason: str
    message: str
    attempts: int


def worker_count() -> int:
    """Return how many processes to use: $ACTREC_WORKERS, else one a processor. It changes no result.

    Raises:
        UserError: if the variable is not a positive number.
    """
    chosen = os.environ.get("ACTREC_WORKERS", "")
    if not chosen:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not chosen.isdigit() or int(chosen) < 1:
        raise UserError(f"ACTREC_WORKERS is '{chosen}', expected a number of processes such as 4")
    return int(chosen)


def run_each(
    work: Callable[[Item], Result], items: Sequence[Item], *, timeout_s: float, workers: int, preload: Sequence[str]
) -> Iterator[Outcome[Item, Result]]:
    """Yield the outcome of `work(item)` for each item, as they finish, in any order.

    Args:
        work: A function of a module, since it runs in other processes.
        items: Small picklable arguments. Results travel back, so keep them small as well.
        timeout_s: An item that takes longer is killed.
        workers: Processes at a time.
        preload: Modules that `work` needs and that take long to import: loaded once, and shared by all workers.

    Raises:
        UserError: from `work`, at once: it concerns the whole run, not the item.
    """
    waiting = deque((item, 1) for item in items)
    num_breaks = 0
    while waiting:
        running: dict[Future, tuple[Item, int]] = {}
        pool = ProcessPool(max_workers=min(workers, len(items)), context=_context(preload))
        try:
            while (waiting or running) and pool.active:
                while waiting and len(running) < 2 * workers:
                    item, attempt = waiting.popleft()
                    running[pool.schedule(_guarded, args=(work, item), timeout=timeout_s)] = item, attempt
                for future in wait(running, timeout=_POLL_S, return_when=FIRST_COMPLETED).done:
                    if isinstance(future.exception(), BrokenProcessPool):
                        break
                    num_breaks = 0
                    item, attempt = running.pop(future)
                    outcome = _settle(item, attempt, future, timeout_s)
                    if outcome.reason in ("decoder_crash", "decoder_timeout") and attempt < _MAX_ATTEMPTS:
                        waiting.append((item, attempt + 1))
                    else:
                        yield outcome
        finally:
            pool.stop()
            pool.join()
        num_breaks += 1
        if running and num_breaks > _MAX_BREAKS:
            raise UserError("worker processes die before they take up any work. Is there enough memory?")
        waiting.extend(running.values())  # which of them broke the pool is not known, so it is no attempt of theirs


def _context(preload: Sequence[str]) -> Any:
    """Return how to start workers: forked from a server that has loaded `preload`, so that a new one costs nothing."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # A worker imports the main module again, whatever it will do: what that needs should be there as well.
    own = sorted(name for name in sys.modules if name.startswith("actrec."))
    context.set_forkserver_preload([*preload, *own])
    return context


def _guarded(work: Callable[[Item], Result], item: Item) -> tuple[str, Any, str]:
    """Run in the worker: turn every exception into plain data, which always survives the way back."""
    # Python's own handler waits for the interpreter's lock, which a spinning decoder never gives back.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        return "ok", work(item), ""
    except BadItem as error:
        return "bad", error.reason, _shorten(error.message)
    except UserError as error:
        return "stop", str(error), ""
    except MemoryError as error:
        return "bad", "out_of_memory", _shorten(str(error))
    except BaseException as error:  # SystemExit too: it would end the whole run
        return "bad", "decoder_error", _shorten(f"{type(error).__name__}: {_text(error)}")


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its message cannot be shown)"


def _settle(item: Item, attempt: int, future: Future, timeout_s: float) -> Outcome[Item, Any]:
    try:
        status, value, message = future.result()
    except DeadlineError:
        return Outcome(item, None, "decoder_timeout", f"not done after {timeout_s:g} s", attempt)
    except ProcessExpired as error:
        return Outcome(item, None, "decoder_crash", f"its process died with exit code {error.exitcode}", attempt)
    if status == "stop":
        raise UserError(value)
    if status == "bad":
        return Outcome(item, None, value, message, attempt)
    return Outcome(item, value, "", "", attempt)


def _shorten(message: str) -> str:
    return " ".join(message.split())[:_MESSAGE_CHARS]
