"""The one exception whose text is written for the person at the keyboard."""


class UserError(Exception):
    """Something its reader can mend. The text says what, where, expected, got, and the command or setting that fixes it.

    Everything else that escapes a command is our bug, and is reported as one (`actrec.console.run`).
    """
