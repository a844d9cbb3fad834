"""How the training went, from history.csv: over epochs, or of an svm over C."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from actrec.errors import UserError
from actrec.metric_names import output_of, val_column
from actrec.outputs import output_and_metric
from actrec.report import canvas
from actrec.report.canvas import BLUE, FAINT, GREY, INK, LINES, ORANGE
from actrec.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NEEDED = ("epoch", "phase", "lr", "train_loss", "data_s", "compute_s", "epoch_s", "is_best")
_MAX_MARKED_EPOCHS = 30
# Names of more outputs would hide their lines: they stand beside the panels.
_MAX_INSIDE = 4
_STYLES = ("-", ":", "-.")


@dataclass(frozen=True, slots=True)
class History:
    """What happened in each epoch, or for each C of an svm: then there is a column `c`, and phases are heads.

    `numbers` holds (epochs,) a numeric column, NaN where a cell is empty; `best` is the row of the best epoch, None if
    no epoch was marked as the best so far; `marked` are all rows that were.
    """

    numbers: dict[str, npt.NDArray[np.float64]]
    phases: tuple[str, ...]
    best: int | None
    marked: tuple[int, ...] = ()

    @property
    def heads(self) -> list[str]:
        """The heads that were validated, in the order of the columns."""
        return list(dict.fromkeys(head for column in self.numbers if (head := output_of(column))))


def read_history(path: Path) -> History | None:
    """Return what history.csv says, or None if no epoch was trained.

    Raises:
        UserError: if there is none, or a column is missing.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or []
    except FileNotFoundError:
        raise UserError(f"{path}: not there; training has not run, or not to its end. Run: dvc repro train") from None
    if missing := [name for name in _NEEDED if name not in columns]:
        raise UserError(f"{path}: no column {', '.join(missing)}; found {', '.join(columns)}. Run: dvc repro -f train")
    if not rows:
        return None
    numeric = [name for name in columns if name not in ("phase", "is_best")]
    best = [number for number, row in enumerate(rows) if row["is_best"].strip().lower() in ("true", "1")]
    return History(
        numbers={name: np.array([float(row[name] or "nan") for row in rows]) for name in numeric},
        phases=tuple(row["phase"] for row in rows),
        best=best[-1] if best else None,
        marked=tuple(best),
    )


def training_curves(history: History, *, select_on: str) -> bytes:
    """Return loss, validation metric, learning rate and where the time went, by epoch, as a PNG file.

    Of an svm, loss and validation metric by C.

    Args:
        history: At least one epoch, or C.
        select_on: `<head>.<metric>`, the number that chose the best epoch.
    """
    head, metric = output_and_metric(select_on)
    if "c" in history.numbers:
        return _over_c(history, head, metric)
    with canvas.style():
        fig = canvas.figure(
            10.0 if len(history.heads) <= _MAX_INSIDE else 12.0,
            7.0,
            title="Training",
            subtitle=_subtitle(history, head, metric),
            caption="Grey line: the best epoch, whose model is kept." if history.best is not None else "",
        )
        (loss, quality), (rate, time) = fig.subplots(2, 2, sharex=True)
        _draw_loss(loss, history)
        # The loss has its own panel.
        _draw_metric(quality, history, _main_metric(history, head) if metric == "loss" else metric)
        _draw_line(rate, history, "lr", BLUE, "")
        _finish(rate, history, "learning rate")
        rate.set_ylim(bottom=0)
        rate.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        _draw_time(time, history)
        return canvas.png(fig)


def _over_c(history: History, head: str, metric: str) -> bytes:
    numbers, best = history.numbers, history.best
    chosen = f" · {head}: C = {numbers['c'][best]:g}" if best is not None else ""
    score = numbers.get(val_column(head, metric))
    scored = f", val {metric} {score[best]:.3f}" if best is not None and score is not None else ""
    with canvas.style():
        fig = canvas.figure(
            10.0,
            3.8,
            title="Support vector machines",
            subtitle=f"{len(history.phases)} fitted, {np.nansum(numbers['epoch_s']):,.0f} s in all{chosen}{scored}",
            caption="Ringed: the C that was chosen, on val. Small: a wide margin; large: few clips on the wrong side.",
        )
        loss, quality = fig.subplots(1, 2)
        for number, name in enumerate(history.heads):
            colour = LINES[number % len(LINES)]
            _draw_over_c(loss, history, name, "train_loss", colour, f"train {name}", "--")
            _draw_over_c(loss, history, name, val_column(name, "loss"), colour, f"val {name}", "-")
            shown = "top1" if metric == "loss" else metric
            _draw_over_c(quality, history, name, val_column(name, shown), colour, f"val {name}", "-")
        _finish_over_c(loss, "loss")
        _finish_over_c(quality, ("top1" if metric == "loss" else metric).replace("_", " "))
        quality.set_ylim(0, 1.03)
        return canvas.png(fig)


def _draw_over_c(axes: "Axes", history: History, head: str, column: str, colour: str, label: str, style: str) -> None:
    values = history.numbers[column]
    own = [row for row, phase in enumerate(history.phases) if phase == head and not np.isnan(values[row])]
    axes.plot(
        history.numbers["c"][own], values[own], style, color=colour, marker="o", markersize=3, label=label, lw=1.5
    )
    chosen = [row for row in own if row in history.marked]
    axes.plot(history.numbers["c"][chosen], values[chosen], "o", color=colour, fillstyle="none", markersize=9)


def _finish_over_c(axes: "Axes", heading: str) -> None:
    axes.set_title(heading, loc="left", fontsize=9.5, color=GREY)
    axes.set_xlabel("C")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(axis="y", color=FAINT)
    axes.legend(fontsize=8.5)


def _subtitle(history: History, head: str, metric: str) -> str:
    epochs = history.numbers["epoch"]
    text = counted(len(epochs), "epoch")
    values = history.numbers.get(val_column(head, metric))
    if history.best is None or values is None:
        return text
    return f"{text} · best: epoch {epochs[history.best]:.0f}, val {head} {metric} {values[history.best]:.3f}"


def _main_metric(history: History, head: str) -> str:
    """Return top1 or, where clips may have several classes, what takes its place."""
    return "top1" if val_column(head, "top1") in history.numbers else "map_macro"


def _draw_line(axes: "Axes", history: History, column: str, colour: str, label: str, style: str = "-") -> None:
    # A single epoch is a point, which a line alone would not show.
    marker = "o" if len(history.phases) <= _MAX_MARKED_EPOCHS else ""
    known = ~np.isnan(history.numbers[column])  # not every epoch may have been validated
    epochs, values = history.numbers["epoch"][known], history.numbers[column][known]
    axes.plot(epochs, values, style, color=colour, marker=marker, markersize=3, label=label, lw=1.5)


def _draw_loss(axes: "Axes", history: History) -> None:
    _draw_line(axes, history, "train_loss", INK, "train", "--")
    many = len(history.heads) > _MAX_INSIDE
    for number, head in enumerate(history.heads):
        if val_column(head, "loss") in history.numbers:
            _draw_output(axes, history, number, "loss", "" if many else f"val {head}")
    _finish(axes, history, "loss, colours as beside" if many else "loss")
    axes.legend(fontsize=8.5)


def _draw_metric(axes: "Axes", history: History, metric: str) -> None:
    drawn = [number for number, head in enumerate(history.heads) if val_column(head, metric) in history.numbers]
    if not drawn:
        canvas.note(axes, "No validation clips.")
        return
    for number in drawn:
        _draw_output(axes, history, number, metric, f"val {history.heads[number]}")
    _finish(axes, history, metric.replace("_", " "))
    axes.set_ylim(0, 1.03)
    if len(history.heads) > _MAX_INSIDE:
        axes.legend(fontsize=8.5, loc="upper left", bbox_to_anchor=(1.02, 1.0))
    else:
        axes.legend(fontsize=8.5, loc="lower right")


def _draw_output(axes: "Axes", history: History, number: int, metric: str, label: str) -> None:
    """Draw a number of val of the head with this place in `history.heads`, in a colour and style of its own."""
    colour, style = LINES[number % len(LINES)], _STYLES[number // len(LINES) % len(_STYLES)]
    _draw_line(axes, history, val_column(history.heads[number], metric), colour, label, style)


def _draw_time(axes: "Axes", history: History) -> None:
    epochs, total = history.numbers["epoch"], history.numbers["epoch_s"]
    known = total > 0
    data, compute = (
        np.divide(history.numbers[name], total, out=np.zeros_like(total), where=known)
        for name in ("data_s", "compute_s")
    )
    rest = np.where(known, np.maximum(0, 1 - data - compute), 0)
    below = np.zeros_like(total)
    seconds = {"waiting for data": ORANGE, "computing": BLUE, "rest": "#BDBDBD"}
    for (name, colour), share in zip(seconds.items(), (data, compute, rest), strict=True):
        label = f"{name} {np.average(share, weights=np.maximum(total, 1e-9)):.0%}"
        axes.bar(epochs, share, width=1.0, bottom=below, color=colour, label=label, edgecolor="white", linewidth=0.3)
        below = below + share
    _finish(axes, history, f"time, {np.nansum(total):,.0f} s in all")
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.legend(fontsize=8.5, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)


def _finish(axes: "Axes", history: History, heading: str) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = history.numbers["epoch"]
    axes.set_title(heading, loc="left", fontsize=9.5, color=GREY)
    axes.set_xlabel("epoch")
    axes.tick_params(labelbottom=True)
    axes.set_xlim(epochs[0] - 0.6, epochs[-1] + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.grid(axis="y", color=FAINT)
    if history.best is not None:
        axes.axvline(epochs[history.best], color="#BDBDBD", linewidth=1, zorder=0)
    for number in range(1, len(epochs)):
        if history.phases[number] != history.phases[number - 1]:
            edge = (epochs[number - 1] + epochs[number]) / 2
            axes.axvline(edge, color=GREY, linewidth=1, linestyle=":")
            if heading.startswith("loss"):
                place = axes.get_xaxis_transform()
                axes.text(edge, 1.0, f" {history.phases[number]}", transform=place, fontsize=8.5, color=GREY, va="top")
