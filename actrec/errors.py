"""The two exceptions that are no bugs of ours, a run its user can mend and an item that is of no use; and a hint."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something its reader can mend: the text says what, where, expected, got, and the command or setting to fix it.

    Everything else that escapes a command is our bug, and is reported as one (`actrec.console.run`).
    """


class BadItem(Exception):
    """One clip cannot be used, for a reason (a code of `data.quarantine`) and in words; the run goes on without it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason, self.message = reason, message


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return what a message says after a name that is not known: the nearest one that is, or all of them."""
    names = list(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else f"There are: {', '.join(names) or 'none'}."
