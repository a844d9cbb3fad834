"""What a head says of a clip, as it stands in one cell of a table."""

from collections.abc import Iterable


def listed(names: Iterable[str]) -> str:
    """Return several classes, `name|name`, where a name's own \\ and | stand as \\\\ and \\|."""
    return "|".join(map(_escape, names))


def ranking(named: Iterable[tuple[str, float]]) -> str:
    """Return classes with their probabilities, `name:prob|name:prob`, names as in `listed`."""
    return "|".join(f"{_escape(name)}:{prob:.4f}" for name, prob in named)


def _escape(name: str) -> str:
    return name.replace("\\", "\\\\").replace("|", "\\|")
