"""What a command says while it runs and when it fails. On standard error, and quiet where there is no terminal."""

import errno
import platform
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from inspect import signature
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from actrec.errors import UserError

T = TypeVar("T")
EXIT_USER, EXIT_BUG, EXIT_INTERRUPTED = 1, 3, 130
_QUIET_INTERVAL_S = 60.0
_OWN = tuple(Path(__file__).resolve().parents[1] / name for name in ("actrec", "pipeline"))
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# What the machine refuses, whoever asks. A file that is missing is not among these: one that we should have foreseen.
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.EMFILE, errno.ENFILE)
# How torch begins or ends what it says of CUDA, MPS and the CPU; its classes differ, and importing them takes seconds.
_NO_MEMORY = ("out of memory", "can't allocate memory")
_LESS_MEMORY = {
    "train": "Set a smaller train.batch_size (4 with train.accumulate: 4 takes steps of as many clips as 16 with 1), "
    "train.precision: bf16, or a smaller input_px",
    "features": "Set a smaller features.batch_size, or features.precision: bf16",
    "evaluate": "Set a smaller evaluate.batch_size",
}
_debug = False


def run(command: Callable[..., None] | typer.Typer) -> None:
    """Run a typer command, and turn what escapes it into a text and an exit code.

    0 ok · 1 something the user can mend · 2 wrong usage (typer's own) · 3 our bug · 130 interrupted.
    """
    program = _program(command)
    app = command if isinstance(command, typer.Typer) else _single(command, program)
    try:
        app(prog_name=program)
    except SystemExit as end:
        if end.code == EXIT_INTERRUPTED:  # typer has made this of ctrl-C
            say("interrupted; finished items are kept, the same command goes on from here")
        raise
    except Exception as error:
        if _debug:
            traceback.print_exc()
        mendable = str(error) if isinstance(error, UserError) else _machine_fault(error, program)
        for line in (mendable or _bug(error, program)).splitlines():
            say(f"error: {line}")
        sys.exit(EXIT_USER if mendable else EXIT_BUG)


def examples(*commands: str) -> str:
    """Return what ends the help of a command: lines to type, each short enough to stay one on 80 columns."""
    return "\n".join(("Examples:", *commands))


def _program(command: Callable[..., None] | typer.Typer) -> str:
    """Return how a command is called: a typer app by its name, a stage as `python -m pipeline.frames`."""
    if isinstance(command, typer.Typer):
        return str(command.info.name)
    spec = getattr(sys.modules.get(command.__module__), "__spec__", None)
    return f"python -m {spec.name.removesuffix('.__main__')}" if spec else Path(sys.argv[0]).name


def _single(command: Callable[..., None], program: str) -> typer.Typer:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    takes_params = "params" in signature(command).parameters
    shown = examples(program, f"{program} --params recipes/demo.yaml") if takes_params else None
    app.command(epilog=shown)(command)
    return app


def _machine_fault(error: Exception, program: str) -> str:
    """Return what to do where the machine has refused something, "" if that is not what happened."""
    said = " ".join(str(error).split())[:300]
    number = error.errno if isinstance(error, OSError) else None
    if number in _NO_ROOM:
        return f"{said}. Free some room (actrec cache --prune 10GB shrinks the store), then run the same again"
    if number in _REFUSED:
        return f"{said}. Check that path, its permissions and the disk, then run the same again"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(sign in said for sign in _NO_MEMORY)):
        advice = _LESS_MEMORY.get(program.rpartition(".")[2], "Close other programs, or give it less at a time")
        return f"out of memory: {said or 'there is none left'}\n{advice}; then run the same again"
    return ""


def _bug(error: Exception, program: str) -> str:
    """Return what is wrong, where, and what a report needs."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if any(Path(frame.filename).is_relative_to(folder) for folder in _OWN)]
    where = "".join(f" ({frame.name} in {Path(frame.filename).name}:{frame.lineno})" for frame in own[-1:])
    again = shlex.join(argument for argument in sys.argv[1:] if argument != "--debug")
    shown = "the traceback above" if _debug else f"the traceback that this shows: {program} --debug {again}".rstrip()
    return (
        f"a bug in actrec: {type(error).__name__}: {error}{where}\n"
        f"It is not your mistake. Please report it as an issue of the project, with {shown}\n"
        f"and with these versions: actrec {own_version()}, Python {platform.python_version()}, {platform.platform()}"
    )


def own_version() -> str:
    """Return the version of the installed package."""
    try:
        return version("actrec")
    except PackageNotFoundError:
        return "as a folder"


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
