"""Numbers of things, as messages and pictures say them."""


def counted(number: int, noun: str) -> str:
    """Return `1 clip`, `2,000 clips`: a number of things whose plural has an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
