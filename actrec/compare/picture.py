"""Experiments as a picture: a dot each with its interval, and what it cost beside."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from actrec.compare.experiment import SPLITS, Point
from actrec.report import canvas
from actrec.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_POINTS = 80
_NAME_CHARS = 34
_ROW_IN = 0.34
_MEASURE_IN, _COST_IN = 3.6, 1.5
# Panels beside each other; more go below.
_MAX_COLUMNS = 4
_COLOURS = {"val": canvas.ORANGE, "test": canvas.BLUE}
_COSTS = {"minutes": ("minutes", 1.0), "peak_memory_mb": ("memory, GB", 1000.0)}


def comparison_png(shown: Sequence[Point], measures: Sequence[tuple[str, str]], *, title: str) -> bytes:
    """Return a PNG with a row a point: a panel a head, val and test with their intervals, and one a cost.

    Args:
        shown: At least one, from the top down; of more than 80 the first ones are drawn.
        measures: (head, metric), a panel each.
        title: What this is.
    """
    hidden, shown = len(shown) - len(shown[:_MAX_POINTS]), shown[:_MAX_POINTS]
    costs = [name for name in _COSTS if any(point.cost(name) is not None for point in shown)]
    num_panels = len(measures) + len(costs)
    is_grid = len(measures) > _MAX_COLUMNS
    widths = [_MEASURE_IN] * (_MAX_COLUMNS if is_grid else len(measures)) + [_COST_IN] * (0 if is_grid else len(costs))
    lines = -(-num_panels // len(widths))
    with canvas.style():
        names = canvas.short_names([point.label for point in shown], max_chars=_NAME_CHARS)
        fig = canvas.figure(
            1.0 + 0.075 * max(map(len, names)) + sum(widths),
            1.0 + lines * (0.9 + _ROW_IN * len(shown)),
            title=title,
            subtitle=_subtitle(shown),
            caption="\n".join(_captions(shown, names, hidden)),
        )
        panels = fig.subplots(lines, len(widths), sharey=True, squeeze=False, width_ratios=widths).ravel()
        for axes, (head, metric) in zip(panels, measures, strict=False):
            _draw_measure(axes, shown, head, metric)
        for axes, cost in zip(panels[len(measures) : num_panels], costs, strict=True):
            _draw_cost(axes, shown, cost)
        for axes in panels[num_panels:]:
            axes.set_axis_off()
        panels[0].set_yticks(np.arange(len(shown)), names)
        panels[0].set_ylim(len(shown) - 0.5, -0.5)
        return canvas.png(fig)


def _subtitle(shown: Sequence[Point]) -> str:
    return counted(sum(len(point.experiments) for point in shown), "experiment")


def _captions(shown: Sequence[Point], names: Sequence[str], hidden: int) -> list[str]:
    several = [len(point.experiments) > 1 for point in shown]
    lines = []
    if not all(several):
        lines.append("Dot: the value; line: its 95 % interval, by bootstrap over clips.")
    if any(several):
        lines.append("Of several seeds, dot: the mean; line: from the lowest to the highest.")
    if hidden:
        lines.append(f"{hidden} more are not drawn.")
    if any(name.startswith("#") for name in names):
        lines.append("#n: an experiment whose name cannot be written out here, counted from 0 at the top.")
    return lines


def _draw_measure(axes: "Axes", shown: Sequence[Point], head: str, metric: str) -> None:
    drawn = [split for split in SPLITS if any(point.measured(split, head, metric) for point in shown)]
    for number, split in enumerate(drawn):
        offset = 0.22 * (number - (len(drawn) - 1) / 2)
        colour = _COLOURS[split]
        for row, point in enumerate(shown):
            found = point.measured(split, head, metric)
            if found is None:
                continue
            if found.low is not None and found.high is not None:
                axes.plot([found.low, found.high], [row + offset] * 2, color=colour, linewidth=1.6, alpha=0.55)
            axes.plot(found.value, row + offset, "o", color=colour, markersize=5)
        axes.plot([], [], "o-", color=colour, label=split, markersize=5)
    # An experiment without metrics has its place all the same: it was tried.
    for row, point in enumerate(shown):
        if not any(point.measured(split, head, metric) for split in SPLITS):
            place = axes.get_yaxis_transform()
            axes.text(0.5, row, "no result", transform=place, ha="center", va="center", color=canvas.GREY, fontsize=8.5)
    axes.set_title(f"{head} · {metric.replace('_', ' ')}", loc="left", fontsize=9.5, color=canvas.GREY, pad=18)
    axes.grid(axis="x", color=canvas.FAINT)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.06)
    if drawn:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, fontsize=8.5, borderpad=0.1, handlelength=1.4)


def _draw_cost(axes: "Axes", shown: Sequence[Point], cost: str) -> None:
    name, unit = _COSTS[cost]
    values = [(point.cost(cost) or 0.0) / unit for point in shown]
    bars = axes.barh(np.arange(len(shown)), values, height=0.5, color="#BDBDBD")
    axes.bar_label(bars, [f"{value:.3g}" if value else "" for value in values], padding=2, fontsize=8.5)
    axes.set_title(name, loc="left", fontsize=9.5, color=canvas.GREY, pad=18)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.3)
