"""Which epochs are validated, which of them is the best, and when to stop."""

import pytest
from tiny_runs import ignore, same, states

from actrec.training.history import dump_history


def scripted(bench, monkeypatch, scores, **changes):
    """Return a run whose validation scores are given."""
    run = bench.run("cached", epochs=len(scores), select_on="action.top1", **changes)
    given, real = iter(scores), run._validate
    monkeypatch.setattr(run, "_validate", lambda: {**real(), "val_action_top1": next(given), "val_action_loss": 1.0})
    return run


def test_the_best_state_is_that_of_the_best_epoch(bench, monkeypatch):
    run, after = scripted(bench, monkeypatch, [0.2, 0.6, 0.6, 0.1]), []
    fitted = run.fit(lambda row: after.append(states(run, lambda core: core)))
    assert fitted.best_epoch == 2
    assert same(after[1], fitted.best) and same(after[3], fitted.last) and not same(fitted.best, fitted.last)


@pytest.mark.parametrize(
    ("scores", "patience", "min_delta", "epochs"),
    [
        ([0.5, 0.4, 0.4, 0.4, 0.9], 0, 0.0, 5),  # never
        ([0.5, 0.4, 0.4, 0.4, 0.9], 2, 0.0, 3),
        ([0.5, 0.4, 0.6, 0.4, 0.4], 2, 0.0, 5),
        ([0.50, 0.55, 0.59, 0.7, 0.7], 2, 0.1, 3),  # gains too small to count
        ([0.50, 0.55, 0.61, 0.7, 0.7], 2, 0.1, 5),
    ],
)
def test_early_stopping(bench, monkeypatch, scores, patience, min_delta, epochs):
    stopping = {"patience_epochs": patience, "min_delta": min_delta}
    assert len(scripted(bench, monkeypatch, scores, early_stopping=stopping).fit(ignore).history) == epochs


def test_a_plateau_is_of_its_own_phase(bench, monkeypatch):
    """Three frozen epochs without a gain halve the rate twice there; the main phase begins at its own rate again."""
    schedule = {"kind": "plateau", "warmup_epochs": 0, "warmup_from_frac": 0.0, "patience_epochs": 1, "factor": 0.5}
    changes = {"schedule": schedule, "freeze": {"epochs": 3, "lr": 0.8}, "epochs": 3, "lr": 0.1}
    run = bench.run("live", select_on="action.top1", **changes)
    given, real = iter([0.9, 0.9, 0.9, 0.5, 0.5, 0.6]), run._validate
    monkeypatch.setattr(run, "_validate", lambda: {**real(), "val_action_top1": next(given), "val_action_loss": 1.0})
    assert [row["lr"] for row in run.fit(ignore).history] == pytest.approx([0.8, 0.8, 0.4, 0.1, 0.1, 0.05])


def test_early_stopping_does_not_count_the_frozen_phase(bench, monkeypatch):
    run = bench.run(
        "live",
        freeze={"epochs": 3, "lr": 0.1},
        epochs=3,
        select_on="action.top1",
        early_stopping={"patience_epochs": 2, "min_delta": 0.0},
    )
    given, real = iter([0.9, 0.1, 0.1, 0.1, 0.1, 0.1]), run._validate
    monkeypatch.setattr(run, "_validate", lambda: {**real(), "val_action_top1": next(given), "val_action_loss": 1.0})
    fitted = run.fit(ignore)
    assert len(fitted.history) == 6 and fitted.best_epoch == 1


def seldom(bench, monkeypatch, scores, validation, **changes):
    """Return the history of seven epochs whose validation, where there is one, finds the given scores."""
    run = bench.run("cached", epochs=7, select_on="action.top1", validation=validation, **changes)
    given, real = iter(scores), run._validate
    monkeypatch.setattr(run, "_validate", lambda: {**real(), "val_action_top1": next(given), "val_action_loss": 1.0})
    return run.fit(ignore)


@pytest.mark.parametrize(
    ("validation", "validated"),
    [
        ({"from_epoch": 1, "every_epochs": 1}, [1, 2, 3, 4, 5, 6, 7]),
        ({"from_epoch": 3, "every_epochs": 2}, [3, 5, 7]),
        ({"from_epoch": 2, "every_epochs": 2}, [2, 4, 6, 7]),  # the last one always
        ({"from_epoch": 9, "every_epochs": 1}, [7]),
    ],
)
def test_epochs_without_validation_have_empty_columns_and_are_never_the_best(bench, monkeypatch, validation, validated):
    scores = [0.5] * (len(validated) - 1) + [0.9]
    fitted = seldom(bench, monkeypatch, scores, validation)
    assert fitted.best_epoch == 7 and {tuple(row) for row in fitted.history} == {tuple(fitted.history[-1])}
    for row in fitted.history:
        values = [value for name, value in row.items() if name.startswith("val_")]
        assert all((value is not None) == (row["epoch"] in validated) for value in values)
    assert [row["epoch"] for row in fitted.history if row["is_best"]] == sorted({validated[0], 7})
    lines = dump_history(fitted.history).splitlines()
    assert [",,,," in line for line in lines[1:]] == [row["epoch"] not in validated for row in fitted.history]


def test_patience_counts_epochs_with_validation(bench, monkeypatch):
    validation, stopping = {"from_epoch": 1, "every_epochs": 2}, {"patience_epochs": 2, "min_delta": 0.0}
    fitted = seldom(bench, monkeypatch, [0.5, 0.4, 0.3, 0.9], validation, early_stopping=stopping)
    assert len(fitted.history) == 5 and fitted.best_epoch == 1


def test_a_plateau_is_one_of_epochs_with_validation(bench, monkeypatch):
    schedule = {"kind": "plateau", "warmup_epochs": 0, "warmup_from_frac": 0.0, "patience_epochs": 1, "factor": 0.5}
    changes = {"schedule": schedule, "lr": 1.0}
    fitted = seldom(bench, monkeypatch, [0.5, 0.4, 0.6, 0.6], {"from_epoch": 1, "every_epochs": 2}, **changes)
    assert [row["lr"] for row in fitted.history] == [1, 1, 1, 0.5, 0.5, 0.5, 0.5]
