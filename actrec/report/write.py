"""Everything in results/ that follows from the scores."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from actrec.metrics.bootstrap import intervals
from actrec.metrics.classification import Scores
from actrec.metrics.levels import f1_mean
from actrec.metrics.summary import AnyScores, summarise
from actrec.outputs import file_name, label_head, modality_of, stream_output
from actrec.report import curves, plots, tables
from actrec.report.scores_file import dump_scores
from actrec.report.submission import submission_csv
from actrec.store.files import write_atomic

Tree = dict[str, dict[str, dict[str, float | int]]]


def metrics_tree(
    all_scores: Iterable[AnyScores], *, levels: tuple[str, str] | None = None, bootstrap_samples: int, seed: int
) -> Tree:
    """Return {split: {head: {metric: value}}}, as metrics.json has it.

    Of two levels of classes there is `f1_mean` as well, under the name of both: {split: {"rgb/action+body": …}}.

    Args:
        all_scores: One for each split and head.
        levels: The fine head and the coarse one, see `levels_of`.
        bootstrap_samples: For the 95 % intervals (keys that end in _low and _high); 0 = none.
        seed: Of the bootstrap.
    """
    tree: Tree = {}
    for scores in all_scores:
        values = summarise(scores) | intervals(scores, samples=bootstrap_samples, seed=seed)
        tree.setdefault(scores.split, {})[scores.head] = values
    if levels:
        tree = {split: {**heads, **_f1_means(heads, *levels)} for split, heads in tree.items()}
    return tree


def levels_of(model: Mapping[str, Any], coarse: tuple[str, str] | None) -> tuple[str, str] | None:
    """Return the fine head and the coarse one; None if there are no such two.

    Args:
        model: The section `model` of params.yaml.
        coarse: The two that `data.coarse` names; None: neck late with two heads has these two.
    """
    heads = tuple(model["heads"])
    if coarse:
        return coarse if set(coarse) <= set(heads) else None
    return (heads[0], heads[1]) if model["neck"]["kind"] == "late" and len(heads) == 2 else None


def _f1_means(
    heads: Mapping[str, Mapping[str, float | int]], fine: str, coarse: str
) -> dict[str, dict[str, float | int]]:
    streams = [modality_of(output) for output in heads if label_head(output) == fine]
    names = {stream: [stream_output(stream, head) if stream else head for head in (fine, coarse)] for stream in streams}
    values = {stream: [heads[name] for name in own] for stream, own in names.items()}
    return {
        f"{names[stream][0]}+{coarse}": {"f1_mean": f1_mean(*own)}
        for stream, own in values.items()
        if all("top1" in level for level in own)  # where clips have one class
    }


def results(
    folder: Path,
    all_scores: Sequence[AnyScores],
    *,
    metrics: tables.MetricsTree,
    history_csv: Path,
    select_on: str,
    pictures: Mapping[str, bytes],
    modalities: Sequence[str] = (),
    submission: tuple[str, str] | None = None,
) -> None:
    """Write predictions.csv, per_class.csv, confusion.csv, confused_pairs.csv, confusion/*.csv and plots/*.png.

    And scores.npz, see `scores_file`, and submission.csv, see there.

    confusion.csv has all splits and heads in one table; confusion/<split>_<head>.csv have one each, for DVC's
    confusion template counts every row of a file. Heads whose clips may have several classes have no confusions.
    Pictures and tables there of an earlier run are removed.

    Args:
        folder: results/.
        all_scores: One for each split and head.
        metrics: What `metrics_tree` makes of them, for the headings.
        history_csv: What training wrote.
        select_on: `<head>.<metric>`, the number that chose the best epoch.
        pictures: More PNG files for plots/, by name.
        modalities: Those that have outputs of their own.
        submission: See `submission_csv`; of the last split.
    """
    with_one_class = [scores for scores in all_scores if isinstance(scores, Scores)]
    for name, text in _tables(all_scores, with_one_class).items():
        write_atomic(folder / name, text)
    write_atomic(folder / "scores.npz", dump_scores(all_scores, modalities=modalities))
    table = submission_csv(all_scores, split=all_scores[-1].split, outputs=submission)
    write_atomic(folder / "submission.csv", table)
    confusions = {f"{s.split}_{file_name(s.head)}.csv": tables.confusion_csv([s]).encode() for s in with_one_class}
    _replace(folder / "confusion", confusions)
    _replace(folder / "plots", {**_pictures(all_scores, metrics, history_csv, select_on), **pictures})


def run_costs(history_csv: Path) -> dict[str, float | int]:
    """Return what training cost, from its history: epochs, the best one, time, and the peak of memory in MB.

    The time is that of training alone, with its validation: neither of decoding nor of extracting cached features.
    `clips_per_s` is of the time in which clips were waited for and learned from, without validation; it lacks where the
    history does not say how many clips an epoch had, and of an svm, which is solved anew for each C.
    """
    history = curves.read_history(history_csv)
    if history is None:
        return {"epochs": 0}
    numbers = history.numbers
    seconds = float(numbers["epoch_s"].sum())
    best = {} if history.best is None else {"best_epoch": int(numbers["epoch"][history.best])}
    return {
        "epochs": len(numbers["epoch"]),
        **best,
        "seconds": round(seconds, 1),
        "minutes": round(seconds / 60, 2),
        **_rate(numbers),
        "peak_memory_mb": round(float(numbers["peak_memory_mb"].max()), 1),
    }


def _rate(numbers: Mapping[str, Any]) -> dict[str, float]:
    learning_s = float((numbers["data_s"] + numbers["compute_s"]).sum())
    if "c" in numbers or "train_clips" not in numbers or not learning_s:
        return {}
    return {"clips_per_s": round(float(numbers["train_clips"].sum()) / learning_s, 1)}


def _tables(all_scores: Sequence[AnyScores], with_one_class: Sequence[Scores]) -> dict[str, str]:
    return {
        "predictions.csv": tables.predictions_csv(all_scores),
        "per_class.csv": tables.per_class_csv(all_scores),
        "confusion.csv": tables.confusion_csv(with_one_class),
        "confused_pairs.csv": tables.confused_pairs_csv(with_one_class),
    }


def _pictures(
    all_scores: Sequence[AnyScores], metrics: tables.MetricsTree, history_csv: Path, select_on: str
) -> dict[str, bytes]:
    pictures = {
        f"{scores.split}_{file_name(scores.head)}_{what}.png": content
        for scores in all_scores
        for what, content in plots.figures(scores, metrics[scores.split][scores.head]).items()
    }
    history = curves.read_history(history_csv)
    if history:
        pictures["training_curves.png"] = curves.training_curves(history, select_on=select_on)
    return pictures


def _replace(folder: Path, files: dict[str, bytes]) -> None:
    """Make the folder hold these files, and no other of their kinds."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_atomic(folder / name, content)
    for path in folder.iterdir():
        if path.suffix in (".png", ".csv") and path.name not in files:
            path.unlink()
