"""What `actrec compare` does: experiments in one table and one picture."""

from collections.abc import Sequence
from pathlib import Path

from actrec.compare.experiment import DATASET, Experiment, differing, heads_of, metric_of, points
from actrec.compare.picture import comparison_png
from actrec.compare.revisions import experiments_named
from actrec.compare.table import MAX_SETTINGS, Table, experiments_csv, table_of
from actrec.console import say
from actrec.errors import UserError, did_you_mean, not_here
from actrec.store.files import write_atomic
from actrec.words import counted

_SUFFIXES = (".csv", ".md")


def compare(
    names: Sequence[str],
    *,
    pooled: bool,
    head: str | None,
    metric: str | None,
    all_commits: bool,
    plot: Path,
    out: Path | None,
) -> Table:
    """Return experiments as a table, draw them, and write the table if that is asked for.

    Args:
        names: See `experiments_named`.
        pooled: Those that differ in their seed alone are one row: mean, lowest and highest.
        head: The one to compare; None: all.
        metric: The one to compare; None: top1, or map_macro of heads whose clips may have several classes.
        all_commits: See `experiments_named`.
        plot: The PNG file to write.
        out: A .csv or .md file to write.

    Raises:
        UserError: if a name is unknown, or none of the experiments has what is to be compared.
    """
    if out is not None and out.suffix not in _SUFFIXES:
        raise UserError(f"--out is {out}: expected a name that ends in {' or '.join(_SUFFIXES)}")
    experiments = experiments_named(names, all_commits=all_commits)
    measures = measures_of(experiments, head=head, metric=metric)
    shown = points(experiments, pooled=pooled)
    table = table_of(shown, measures)
    if out is not None:
        write_atomic(out, table.markdown() if out.suffix == ".md" else experiments_csv(experiments))
        say(f"{out}: {counted(len(table.rows if out.suffix == '.md' else experiments), 'row')}")
    write_atomic(plot, comparison_png(shown, measures, title="Experiments"))
    say(f"{plot}: the picture")
    settings = differing(shown)
    if DATASET in settings:
        say("these are of different data (data.name): their scores are not of the same clips")
    if len(settings) > MAX_SETTINGS:
        say(
            f"{MAX_SETTINGS} of {len(settings)} settings that differ are shown; all are in {out or '--out compare.csv'}"
        )
    return table


def measures_of(experiments: Sequence[Experiment], *, head: str | None, metric: str | None) -> list[tuple[str, str]]:
    """Return the (head, metric) by which experiments are compared.

    Raises:
        UserError: if no experiment has metrics, that head, or that metric.
    """
    heads = heads_of(experiments)
    if not heads:
        raise UserError(
            f"none of {', '.join(each.name for each in experiments)} has metrics of val or test in "
            f"results/metrics.json. Make them: dvc repro.{not_here()}"
        )
    if head is not None and head not in heads:
        raise UserError(f"no head '{head}'. {did_you_mean(head, heads)}")
    chosen = [head] if head is not None else heads
    if metric is None:
        return [(own, metric_of(experiments, own)) for own in chosen]
    numbers = {own: _metrics_of(experiments, own) for own in chosen}
    if not any(metric in found for found in numbers.values()):
        known = dict.fromkeys(name for found in numbers.values() for name in found)
        raise UserError(f"no metric '{metric}'. {did_you_mean(metric, known)}")
    return [(own, metric) for own in chosen if metric in numbers[own]]


def _metrics_of(experiments: Sequence[Experiment], head: str) -> list[str]:
    names = (
        name
        for each in experiments
        for split in ("val", "test")
        for name in each.metrics.get(split, {}).get(head, {})
        if not name.endswith(("_low", "_high"))
    )
    return list(dict.fromkeys(names))
