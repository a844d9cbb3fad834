"""Measurements taken in turns, A B A B …: what else the machine does meets all sides alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Turns:
    """What each side measured, a number a round."""

    values: Mapping[str, list[float]]

    def median(self, side: str) -> float:
        """Return the median of a side."""
        return median(self.values[side])

    def ratio(self, side: str, anchor: str) -> float:
        """Return the median over rounds of one side's number by the other's of the same round."""
        return median(a / b for a, b in zip(self.values[side], self.values[anchor], strict=True))


def take_turns(rounds: int, **sides: Callable[[], float]) -> Turns:
    """Return what the sides measure in `rounds` rounds; each round begins with another side."""
    values: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    for _ in range(rounds):
        for name in order:
            values[name].append(sides[name]())
        order = order[1:] + order[:1]
    return Turns(values)
