"""What each modality adds to the scores, as a picture."""

from collections.abc import Mapping

import numpy as np

from actrec.report import canvas

_BAR = 0.36


def contributions_plot(found: Mapping[str, Mapping[str, Mapping[str, float]]], *, split: str) -> bytes:
    """Return a PNG with two bars a modality and head: its Shapley value, and what is lost without it.

    Args:
        found: {head: {modality: {"shapley": …, "drop_one": …}}}, in the units of the score.
        split: On which clips, for the heading.
    """
    heads = canvas.short_names(list(found), max_chars=26)
    names = [(head, modality) for head, own in found.items() for modality in own]
    shown = dict(zip(found, heads, strict=True))
    places = np.arange(len(names))
    with canvas.style():
        fig = canvas.figure(
            max(4.8, 1.4 + 1.1 * len(names)),
            3.8,
            title="What each modality adds",
            subtitle=f"{split} · mean per-class accuracy (mAP where clips have several classes)",
            caption="Shapley: the mean gain over all orders of adding the modalities;\n"
            "the values of a head sum to its score above that of class frequencies.",
        )
        axes = fig.add_subplot()
        for number, (key, label) in enumerate((("shapley", "Shapley value"), ("drop_one", "lost without it"))):
            values = [found[head][modality][key] for head, modality in names]
            bars = axes.bar(places + (number - 0.5) * _BAR, values, _BAR, color=canvas.LINES[number], label=label)
            axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=8.5)
        axes.set_xticks(places, [f"{modality}\n{shown[head]}" for head, modality in names])
        axes.axhline(0, color=canvas.GREY, linewidth=0.6)
        axes.margins(y=0.15)
        axes.legend(loc="best")
        return canvas.png(fig)
