"""The workspace is a sweep's bench: what lay on it is put aside first, and back at the end, whatever happens."""

import json
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actrec import paths
from actrec.console import say
from actrec.errors import UserError
from actrec.params.load import checked, plain
from actrec.store.files import write_atomic
from actrec.sweep import dvc

_ASIDE = paths.SWEPT / ".aside"
# What sweeps set params.yaml to: if it is anything else by then, its user has edited it since.
_SET = "set.json"
_FILES = (paths.PARAMS, paths.LOCK, paths.METRICS)


@dataclass(frozen=True, slots=True)
class Bench:
    """The workspace while a sweep uses it.

    Args:
        base: The content of params.yaml that every run starts from.
        command: How DVC is called.
    """

    base: bytes
    command: Sequence[str]

    def prepare(self, params: Mapping[str, Any]) -> None:
        """Make the workspace what a run starts from; `params` are those that it will set."""
        write_atomic(_ASIDE / _SET, json.dumps([plain_of(self.base), params]))
        write_atomic(paths.PARAMS, self.base)


@contextmanager
def bench(base: bytes, command: Sequence[str]) -> Iterator[Bench]:
    """Put the workspace aside, and back at the end."""
    for file in _FILES:
        if file.is_file():
            write_atomic(_ASIDE / file.name, file.read_bytes())
    write_atomic(_ASIDE / _SET, json.dumps([plain_of(base)]))  # the last: without it nothing was put aside
    try:
        with dvc.ending_is_interrupting():
            yield Bench(base, command)
    finally:
        with _undisturbed():
            put_back(command)


def put_back(command: Sequence[str]) -> None:
    """Make the workspace what it was: params.yaml, dvc.lock, results/metrics.json; and outputs, by `dvc checkout`."""
    for file in _FILES:
        aside = _ASIDE / file.name
        if aside.is_file():
            write_atomic(file, aside.read_bytes())
        else:
            file.unlink(missing_ok=True)
    # A DVC that was killed leaves its changes staged, and then the next one refuses to begin. Files stay as they are.
    dvc.run_quietly(("git",), "reset", "--quiet")
    # With dvc.yaml as its target: without one, checkout removes the outputs of every other data set as well.
    # What has not been in DVC's cache before was not there before either.
    done = dvc.run_quietly(command, "checkout", "--force", "--allow-missing", "dvc.yaml")
    if done.status:
        say(f"params.yaml and dvc.lock are back; dvc checkout failed: {done.message}")
    shutil.rmtree(_ASIDE)


def recover(command: Sequence[str]) -> None:
    """Put back what a sweep that was killed has left aside; if its user has edited params.yaml since, leave all."""
    try:
        left = json.loads((_ASIDE / _SET).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return
    # Or it was killed while it put things back.
    left.append(_content(_ASIDE / paths.PARAMS.name))
    if _content(paths.PARAMS) in left:
        say("an earlier sweep was killed; the workspace is put back as it was before it")
        with _undisturbed():
            put_back(command)
    else:
        say("an earlier sweep was killed, and params.yaml has been edited since: it stays as it is now")
        shutil.rmtree(_ASIDE)


def _content(params: Path) -> dict[str, Any] | None:
    return plain_of(params.read_bytes()) if params.is_file() else None


def plain_of(content: bytes) -> dict[str, Any] | None:
    """Return the settings that are in the content of a params file, None if it is not valid."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return plain(checked(YAML(typ="safe", pure=True).load(content.decode()), paths.PARAMS.name))
    except (YAMLError, UnicodeDecodeError, UserError):
        return None


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Do not stop half way for an impatient second Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
