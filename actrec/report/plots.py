"""Pictures of what a head gets right and wrong. Each function returns the bytes of a PNG file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from actrec.metrics.classification import Scores, class_recalls, confusion_matrix
from actrec.metrics.multi_label import MultiScores, class_precisions
from actrec.metrics.summary import AnyScores
from actrec.report import canvas
from actrec.report.canvas import BLUE, FAINT, GREY, INK, RED
from actrec.report.tables import confused_pairs, with_interval
from actrec.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = Mapping[str, float | int]

# With more classes than this, names and numbers would overlap.
MAX_NAMED_CLASSES = 40
_MAX_NUMBERED_CLASSES = 16
_NAME_CHARS = 26
_MAX_PAIRS = 15
_MAX_BEST = 10
_ROW_IN = 0.27


def figures(scores: AnyScores, values: Values) -> dict[str, bytes]:
    """Return the figures of one split and head by what they show: confusion, per_class, …

    Where clips may have several classes none is taken for another: then there are no confusions to show.
    """
    classes = {"per_class": per_class(scores, values), "best_worst": best_worst(scores, values)}
    match scores:
        case MultiScores():
            return classes
        case Scores():
            return {
                "confusion": confusion(scores, values, normalised=False),
                "confusion_normalised": confusion(scores, values, normalised=True),
                **classes,
                "confused_pairs": top_confused_pairs(scores, values),
            }


def _subtitle(scores: AnyScores, values: Values) -> str:
    clips = counted(len(scores.labels), "clip")
    metric, name = ("map_macro", "mAP") if isinstance(scores, MultiScores) else ("top1", "top1")
    interval = " (95 %)" if f"{metric}_low" in values else ""
    return f"{scores.split} · {scores.head} · {clips} · {name} {with_interval(values, metric)}{interval}"


# --- confusion ----------------------------------------------------------------------------------------------------


def confusion(scores: Scores, values: Values, *, normalised: bool) -> bytes:
    """Return the confusion matrix: rows are what is true, columns what the head says.

    Args:
        scores: What to show.
        values: Its metrics, for the heading.
        normalised: Shares of each row rather than numbers of clips.
    """
    counts = confusion_matrix(scores)
    names = canvas.short_names(scores.class_names, max_chars=_NAME_CHARS)
    named = len(names) <= MAX_NAMED_CLASSES
    cells_in = float(np.clip(0.42 * len(names), 3.2, 8.0)) if named else 8.0
    margin_in = 0.075 * max(map(len, names)) if named else 0.3
    title = "Confusion, share of each true class" if normalised else "Confusion, clips"
    with canvas.style():
        fig = canvas.figure(
            cells_in + margin_in + 1.7,
            cells_in + margin_in + 1.4,
            title=title,
            subtitle=_subtitle(scores, values),
            caption=_confusion_caption(scores, counts, names, named=named, normalised=normalised),
        )
        axes = fig.add_subplot()
        _draw_matrix(fig, axes, counts, normalised=normalised, root=not named)
        axes.set(xlabel="predicted", ylabel="true")
        if named:
            ticks = np.arange(len(names))
            axes.set_xticks(ticks, names, rotation=90 if len(names) > 3 else 0)
            axes.set_yticks(ticks, names)
        else:
            axes.set(xticks=[], yticks=[])
        axes.tick_params(length=0)
        return canvas.png(fig)


def _confusion_caption(
    scores: Scores, counts: npt.NDArray[np.int64], names: Sequence[str], *, named: bool, normalised: bool
) -> str:
    lines = []
    if not named:
        lines.append(f"{len(names)} classes in the order of their numbers, too many to name: see per_class.csv.")
    elif text := canvas.number_note(names):
        lines.append(text)
    if normalised and (empty := int((counts.sum(axis=1) == 0).sum())):
        lines.append(f"Grey rows: classes without a clip in {scores.split} ({empty} of {len(names)}).")
    return "\n".join(lines)


def _draw_matrix(fig: "Figure", axes: "Axes", counts: npt.NDArray[np.int64], *, normalised: bool, root: bool) -> None:
    import matplotlib as mpl
    from matplotlib.colors import PowerNorm
    from matplotlib.ticker import MaxNLocator

    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cells = np.where(counts.sum(axis=1, keepdims=True) > 0, shares, np.nan) if normalised else counts.astype(float)
    top = 1.0 if normalised else max(1.0, float(counts.max()))
    # Among many classes single mistakes are pale specks: the root makes them visible.
    norm = PowerNorm(0.5 if root else 1.0, vmin=0, vmax=top)
    image = axes.imshow(cells, cmap=mpl.colormaps["Blues"].with_extremes(bad="#D0D0D0"), norm=norm)
    bar = fig.colorbar(image, ax=axes, fraction=0.045, pad=0.02)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.ax.tick_params(length=2, labelsize=8.5)
    if not normalised:
        bar.ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    bar.set_label(("share" if normalised else "clips") + (", square-root colours" if root else ""))
    axes.spines[:].set_visible(False)
    if len(counts) <= MAX_NAMED_CLASSES:
        axes.set_xticks(np.arange(1, len(counts)) - 0.5, minor=True)
        axes.set_yticks(np.arange(1, len(counts)) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1.2)
        axes.tick_params(which="minor", length=0)
    if len(counts) <= _MAX_NUMBERED_CLASSES:
        _number_cells(axes, cells, top=top, normalised=normalised)


def _number_cells(axes: "Axes", cells: npt.NDArray[np.float64], *, top: float, normalised: bool) -> None:
    for (row, column), value in np.ndenumerate(cells):
        if value > 0:
            text = f"{value:.2f}" if normalised else f"{value:.0f}"
            colour = "white" if value > 0.68 * top else INK
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8.5)


# --- classes ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Classes:
    """How well each class is known, and of how many clips that was found: (c,), NaN of a class without a clip.

    `what` names the measure, `mean` the metric that is its mean over classes.
    """

    what: str
    mean: str
    values: npt.NDArray[np.float64]
    totals: npt.NDArray[np.int64]


def _classes(scores: AnyScores) -> _Classes:
    match scores:
        case Scores():
            counts = confusion_matrix(scores)
            return _Classes("accuracy", "mean_per_class_acc", class_recalls(counts), counts.sum(axis=1))
        case MultiScores():
            return _Classes("average precision", "map_macro", class_precisions(scores), scores.labels.sum(axis=0))


def _ranking(found: npt.NDArray[np.float64], totals: npt.NDArray[np.int64], *, worst: bool) -> npt.NDArray[np.int64]:
    """Return the numbers of the classes that have clips; of equals, the one with more clips says more and is first."""
    order = np.lexsort((-totals, found if worst else -found))  # NaN comes last
    return order[: int(np.isfinite(found).sum())]


def per_class(scores: AnyScores, values: Values) -> bytes:
    """Return the accuracy, or the average precision, of every class that has clips, best first."""
    classes = _classes(scores)
    order = _ranking(classes.values, classes.totals, worst=False)
    names = canvas.short_names(scores.class_names, max_chars=_NAME_CHARS)
    named = len(order) <= MAX_NAMED_CLASSES
    height_in = 1.9 + _ROW_IN * len(order) if named else 5.2
    captions = [f"Dashed: the mean over classes, {with_interval(values, classes.mean)}."]
    if empty := len(names) - len(order):
        captions[0] += f" Not shown: classes without a clip in {scores.split} ({empty} of {len(names)})."
    if not named:
        captions.append(f"{len(order)} classes, too many to name: see the figure best_worst, and per_class.csv.")
    elif text := canvas.number_note([names[k] for k in order]):
        captions.append(text)
    with canvas.style():
        fig = canvas.figure(
            8.0 if named else 9.5,
            height_in,
            title=f"{classes.what.capitalize()} of each class",
            subtitle=_subtitle(scores, values),
            caption="\n".join(captions),
        )
        axes = fig.add_subplot()
        if named:
            _class_bars(axes, order, names, classes)
            axes.axvline(values[classes.mean], color=GREY, linestyle="--", linewidth=1)
        else:
            _class_skyline(axes, classes.values[order], classes.what)
            axes.axhline(values[classes.mean], color=GREY, linestyle="--", linewidth=1)
        return canvas.png(fig)


def _class_bars(
    axes: "Axes", shown: npt.NDArray[np.int64], names: Sequence[str], classes: _Classes, colour: str = BLUE
) -> None:
    rows = np.arange(len(shown))
    axes.barh(rows, classes.values[shown], height=0.7, color=colour)
    for row, k in enumerate(shown):
        axes.text(1.02, row, f"{classes.values[k]:.2f}", va="center", fontsize=8.5)
        axes.text(1.18, row, f"n={classes.totals[k]}", va="center", fontsize=8.5, color=GREY)
    axes.set_yticks(rows, [names[int(k)] for k in shown])
    axes.set(xlim=(0, 1.3), ylim=(len(shown) - 0.4, -0.6), xlabel=classes.what)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
    axes.spines["bottom"].set_bounds(0, 1)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def _class_skyline(axes: "Axes", found: npt.NDArray[np.float64], what: str) -> None:
    axes.bar(np.arange(len(found)), found, width=1.0, color=BLUE, edgecolor="white", linewidth=0.3)
    axes.set(xlim=(-0.5, len(found) - 0.5), ylim=(0, 1), ylabel=what, xlabel="classes, best first")
    axes.set_xticks([])
    axes.grid(axis="y")


def best_worst(scores: AnyScores, values: Values) -> bytes:
    """Return the classes that the head knows best and worst, up to ten each, by name."""
    classes = _classes(scores)
    names = canvas.short_names(scores.class_names, max_chars=_NAME_CHARS)
    # No class stands on both sides.
    shown = min(_MAX_BEST, max(1, int(np.isfinite(classes.values).sum()) // 2))
    best, lowest = (_ranking(classes.values, classes.totals, worst=side) for side in (False, True))
    best = best[:shown]
    worst = lowest[~np.isin(lowest, best)][:shown]
    caption = canvas.number_note([names[k] for k in (*best, *worst)])
    with canvas.style():
        fig = canvas.figure(
            11.5,
            2.0 + _ROW_IN * shown,
            title="Best and worst classes",
            subtitle=_subtitle(scores, values),
            caption=caption,
        )
        left, right = fig.subplots(1, 2)
        for axes, numbers, heading, colour in ((left, best, "best", BLUE), (right, worst, "worst first", RED)):
            _class_bars(axes, numbers, names, classes, colour)
            axes.set_title(heading, loc="left", fontsize=9.5, color=GREY)
        return canvas.png(fig)


def top_confused_pairs(scores: Scores, values: Values) -> bytes:
    """Return the commonest confusions, by name."""
    from matplotlib.ticker import MaxNLocator

    pairs = confused_pairs(scores)
    shown = pairs[:_MAX_PAIRS]
    names = canvas.short_names(scores.class_names, max_chars=_NAME_CHARS)
    captions = [f"The commonest {len(shown)} of {len(pairs)} confusions: see confused_pairs.csv."]
    if text := canvas.number_note([names[k] for pair in shown for k in (pair.actual, pair.predicted)]):
        captions.append(text)
    with canvas.style():
        fig = canvas.figure(
            8.5,
            1.9 + _ROW_IN * max(len(shown), 3),
            title="Most confused pairs (true → predicted)",
            subtitle=_subtitle(scores, values),
            caption="\n".join(captions) if len(pairs) > len(shown) else "\n".join(captions[1:]),
        )
        axes = fig.add_subplot()
        if not shown:
            canvas.note(axes, "No clip was taken for another class.")
            return canvas.png(fig)
        rows, counts = np.arange(len(shown)), np.array([pair.num_clips for pair in shown])
        axes.barh(rows, counts, height=0.7, color=RED)
        for row, pair in enumerate(shown):
            text = f" {pair.num_clips}  ({pair.actual_frac:.0%} of its clips)"
            axes.text(pair.num_clips, row, text, va="center", fontsize=8.5)
        axes.set_yticks(rows, [f"{names[pair.actual]} → {names[pair.predicted]}" for pair in shown])
        axes.set(xlim=(0, counts.max() * 1.35), ylim=(len(shown) - 0.4, -0.6), xlabel="clips")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=FAINT)
        return canvas.png(fig)
