"""What lies in a folder that the demo has drawn; and its motions backwards."""

import csv
from pathlib import Path

import numpy as np

from actrec.demo.figures import Motion


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of all files of a folder, by their paths below it."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def reversed_in_time(motion: Motion) -> Motion:
    """Return the motion that starts where this one ends, and goes back."""
    return Motion(
        x=(motion.x + motion.shift) % 1,
        y=motion.y,
        arm_rad=(motion.arm_rad + motion.arm_turn_rad) % (2 * np.pi),
        leg_rad=(motion.leg_rad + motion.leg_turn_rad) % (2 * np.pi),
        shift=-motion.shift,
        arm_turn_rad=-motion.arm_turn_rad,
        leg_turn_rad=-motion.leg_turn_rad,
    )
