"""The two exceptions that are no bugs of ours, a run its user can mend and an item that is of no use; and hints."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class UserError(Exception):
    """Something its reader can mend: the text says what, where, expected, got, and the command or setting to fix it.

    Everything else that escapes a command is our bug, and is reported as one (`actrec.console.run`).
    """


class BadItem(Exception):
    """One clip cannot be used, for a reason (a code of `data.quarantine`) and in words; the run goes on without it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason, self.message = reason, message


def not_here() -> str:
    """Return what a message says where this is not the project's folder, "" where it is."""
    return "" if Path("dvc.yaml").exists() else " Run this in the folder that holds dvc.yaml."


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is written most like this one, whatever their case; None if none comes near."""
    by_folded = {each.casefold(): each for each in known}
    near = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    return by_folded[near[0]] if near else None


def did_you_mean(name: str, known: Iterable[str], *, within: str = "") -> str:
    """Return what a message says after a name that is not known: the nearest one that is, or all of them.

    The nearest is said with what it stands `within`, such as "train.".
    """
    names = list(known)
    near = nearest(name, names)
    return f"Did you mean {within}{near}?" if near else f"Known: {', '.join(names) or 'none'}."
