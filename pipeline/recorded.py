"""What DVC records of a stage: it reads params.yaml once the stage has ended, and training takes hours."""

from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

from actrec import paths
from actrec.console import run
from actrec.errors import UserError


def run_stage(stage: str, main: Callable[..., None]) -> None:
    """Run a stage as a command, and do not let it end well if its settings have been edited meanwhile.

    Args:
        stage: Its name in dvc.yaml.
        main: What it does; it takes `params`, the file, and `debug`.
    """

    @wraps(main)
    def watched(params: Path, debug: bool) -> None:
        refuse_edits = recorded(stage, params)
        main(params, debug)
        refuse_edits()

    run(watched)


def recorded(stage: str, params: Path) -> Callable[[], None]:
    """Return what refuses edits from now on of the settings that DVC will record for a stage.

    A stage that fails is not recorded. The next `dvc repro` runs it with the new settings; with the old ones back in
    the file it goes on from all that it has kept.

    Args:
        stage: Its name in dvc.yaml, where its settings are listed.
        params: The file with their values.
    """
    before = _content(params)

    def refuse_edits() -> None:
        after = _content(params)
        if before != after and (edits := list(_edits(stage, before, after))):
            raise UserError(
                f"{params} was edited while {stage} ran: {', '.join(edits)}. DVC would record the result under "
                "settings that it was not made with, so it is refused. dvc repro runs the stage with the new ones; "
                "with the old ones it goes on from what is kept. `dvc exp run --temp` works in a copy that no edit "
                "reaches."
            )

    return refuse_edits


def _content(params: Path) -> bytes:
    return params.read_bytes() if params.exists() else b""


def _edits(stage: str, before: bytes, after: bytes) -> Iterator[str]:
    if paths.STAGES.exists():
        old, new = _yaml(before), _yaml(after)
        for name in _yaml(paths.STAGES.read_bytes())["stages"][stage].get("params", ()):
            yield from _differences(name, _at(old, name), _at(new, name))


def _yaml(content: bytes) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(content.decode("utf-8", errors="replace"))
    except YAMLError:  # as of a file that is being written
        return None


def _at(settings: Any, name: str) -> Any:
    for part in name.split("."):
        settings = settings.get(part) if isinstance(settings, dict) else None
    return settings


def _differences(name: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(f"{name}.{key}", old.get(key), new.get(key))
    elif old != new:
        yield f"{name} is {new}, it ran with {old}"
