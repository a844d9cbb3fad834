"""The two exceptions that are not our bugs: a run that its user can mend, and an item that cannot be used."""


class UserError(Exception):
    """Something its reader can mend: the text says what, where, expected, got, and the command or setting to fix it.

    Everything else that escapes a command is our bug, and is reported as one (`actrec.console.run`).
    """


class BadItem(Exception):
    """One clip cannot be used, for a reason (a code of `data.quarantine`) and in words; the run goes on without it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason, self.message = reason, message
