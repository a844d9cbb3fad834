"""The benchmarks run; what they measure on a busy machine proves nothing, so no figure is looked at."""

import re
from pathlib import Path

import pytest

import benchmarks
from actrec.errors import UserError
from benchmarks.__main__ import MEASURES, ON_REQUEST, main
from benchmarks.table import COLUMNS, Row, render
from benchmarks.turns import take_turns

ROOT = Path(benchmarks.__path__[0])


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_smallest_measure_prints_a_table(capsys):
    main(["idle_stages"], quick=True)
    header, rule, *rows = capsys.readouterr().out.splitlines()
    assert tuple(cells(header)) == COLUMNS
    assert set(rule) == {"|", "-", " "}
    assert [cells(row)[0].split(",")[0] for row in rows] == ["demo", "frames", "mels", "features", "check"]
    assert all("torch not imported" in cells(row)[1] for row in rows)


def test_every_measure_has_a_line_and_none_that_takes_scores_runs_unasked():
    listed = re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(listed) == {*MEASURES, *ON_REQUEST} == modules_that_measure()
    assert set(ON_REQUEST) == {"fusion"}


def modules_that_measure():
    return {path.stem for path in ROOT.glob("*.py") if "\ndef measure(" in path.read_text(encoding="utf-8")}


def test_an_unknown_measure_is_named_with_the_known_ones():
    with pytest.raises(UserError, match=r"no such measure: speed\. Known: idle_stages, "):
        main(["idle_stages", "speed"])


@pytest.mark.parametrize(
    ("goal", "shown", "verdict"),
    [
        ({"at_most": 1.5}, "≤ 1.5", "yes"),
        ({"at_most": 1.25}, "≤ 1.25", "NO"),
        ({"at_least": 1.5}, "≥ 1.5", "yes"),
        ({"at_least": 2}, "≥ 2", "NO"),
        ({}, "", ""),
    ],
)
def test_a_goal_is_met_up_to_and_with_its_limit(goal, shown, verdict):
    assert Row("m", "3 s", "2 s", 1.5, **goal).cells() == ("m", "3 s", "2 s", "1.5", shown, verdict)


def test_columns_are_aligned():
    lines = render([Row("short", "1 s", "2 s", 0.5), Row("a longer name", "10 s", "1 s", 10.0, at_most=2)]).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_sides_take_turns_and_ratios_are_of_the_same_round():
    calls = []

    def side(name, values):
        remaining = iter(values)

        def measured():
            calls.append(name)
            return next(remaining)

        return measured

    # The machine was ten times slower in the second round: the ratio of medians would say 20 / 3.
    turns = take_turns(3, ours=side("ours", [2.0, 20.0, 30.0]), anchor=side("anchor", [1.0, 10.0, 3.0]))
    assert calls == ["ours", "anchor", "anchor", "ours", "ours", "anchor"]
    assert turns.ratio("ours", "anchor") == 2.0
    assert turns.median("ours") == 20.0
