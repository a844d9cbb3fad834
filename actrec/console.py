"""What a command says while it runs and when it fails. On standard error, and quiet where there is no terminal."""

import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, TypeVar

import typer

from actrec.errors import UserError

T = TypeVar("T")
EXIT_USER, EXIT_BUG, EXIT_INTERRUPTED = 1, 3, 130
_QUIET_INTERVAL_S = 60.0
_debug = False


def run(command: Callable[..., None] | typer.Typer) -> None:
    """Run a typer command, and turn what escapes it into a text and an exit code.

    0 ok · 1 something the user can mend · 2 wrong usage (typer's own) · 3 our bug · 130 interrupted.
    """
    app = command if isinstance(command, typer.Typer) else _single(command)
    try:
        app()
    except UserError as error:
        if _debug:
            traceback.print_exc()
        for line in str(error).splitlines():
            say(f"error: {line}")
        sys.exit(EXIT_USER)
    except SystemExit as end:
        if end.code == EXIT_INTERRUPTED:  # typer has made this of ctrl-C
            say("interrupted; finished items are kept, the same command goes on from here")
        raise
    except Exception as error:
        if _debug:
            traceback.print_exc()
        say(f"error: a bug in actrec: {type(error).__name__}: {error}. Please report the traceback that --debug shows.")
        sys.exit(EXIT_BUG)


def _single(command: Callable[..., None]) -> typer.Typer:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    return app


def _set_debug(value: bool) -> None:
    global _debug
    _debug = value


Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", callback=_set_debug)]


def say(text: str) -> None:
    """Print a line to standard error."""
    print(text, file=sys.stderr, flush=True)


def progress(items: Iterable[T], total: int, title: str, unit: str = "clips") -> Iterator[T]:
    """Yield `items`, showing count, rate and time left: a bar on a terminal, else a line a minute."""
    if sys.stderr.isatty():
        yield from _bar(items, total, title, unit)
    else:
        yield from _lines(items, total, title, unit)


def _bar(items: Iterable[T], total: int, title: str, unit: str) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn(unit), rate, TimeRemainingColumn())
    started = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total, rate="")
        for done, item in enumerate(items, start=1):
            yield item
            bar.update(task, advance=1, rate=f"{done / (time.monotonic() - started):.1f}/s")


def _lines(items: Iterable[T], total: int, title: str, unit: str) -> Iterator[T]:
    started = said = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - said >= _QUIET_INTERVAL_S:
            said = now
            rate = done / (now - started)
            say(f"{title}: {done} of {total} {unit}, {rate:.1f}/s, {(total - done) / rate:.0f} s left")
