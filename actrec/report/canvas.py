"""One look for every figure, and the same bytes for the same figure."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design" (2008): told apart with every common colour blindness.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
LINES = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY)
INK, GREY, FAINT = "#222222", "#6B6B6B", "#E4E4E4"
_DPI = 110
_FONT = "DejaVu Sans"  # comes with matplotlib, so that every machine draws the same letters
_STYLE: dict[Any, Any] = {
    "font.family": [_FONT],
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    # Names are text: a $ in one starts no formula.
    "text.parse_math": False,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the one style, whatever the user's matplotlibrc says."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def figure(width_in: float, height_in: float, *, title: str, subtitle: str, caption: str = "") -> "Figure":
    """Return an empty figure with a bold title, a grey line below it, and a caption at its foot."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    top_in, foot_in = 0.62, 0.12 + 0.19 * len(caption.splitlines())
    side = 0.1 / width_in
    inner = (side, foot_in / height_in, 1 - 2 * side, 1 - (top_in + foot_in) / height_in)
    layout = ConstrainedLayoutEngine(rect=inner, wspace=0.04)
    fig = Figure(figsize=(width_in, height_in), dpi=_DPI, layout=layout, facecolor="white")
    left = 0.12 / width_in
    fig.text(left, 1 - 0.10 / height_in, title, va="top", fontsize=12, fontweight="bold")
    fig.text(left, 1 - 0.35 / height_in, subtitle, va="top", fontsize=9.5, color=GREY)
    fig.text(left, 0.08 / height_in, caption, va="bottom", fontsize=8.5, color=GREY, linespacing=1.25)
    return fig


def png(fig: "Figure") -> bytes:
    """Return the figure as a PNG file without a date or a version in it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(fig)
    out = BytesIO()
    fig.savefig(out, format="png", dpi=_DPI, metadata={"Software": None})
    return out.getvalue()


def note(axes: "Axes", text: str) -> None:
    """Show a sentence where there is nothing to draw."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", color=GREY, transform=axes.transAxes, wrap=True)


def short_names(names: Sequence[str], *, max_chars: int) -> list[str]:
    """Return labels of at most `max_chars` characters, each one different.

    The middle of a long name is left out, for names often begin alike (scratching neck, scratching back). A name that
    the font cannot write, and one that looks like another when shortened, is given by its class number.
    """
    shown = [_short(name, max_chars) if _drawable(name) else f"#{number}" for number, name in enumerate(names)]
    counts = Counter(shown)
    return [
        f"{_short(names[number], max_chars - len(str(number)) - 2)} #{number}" if counts[label] > 1 else label
        for number, label in enumerate(shown)
    ]


def number_note(labels: Sequence[str]) -> str:
    """Return what #12 means, if a label holds one."""
    if not any(re.search(r"#\d+$", label) for label in labels):
        return ""
    return "#n: the class with that class_number in per_class.csv, where its name cannot be written out here."


def _short(name: str, max_chars: int) -> str:
    name = " ".join(name.split()) or "(blank)"
    if len(name) <= max_chars:
        return name
    head = (max_chars - 1) * 3 // 5
    return f"{name[:head].rstrip()}…{name[head + 1 - max_chars :].lstrip()}"


def _drawable(name: str) -> bool:
    return all(ord(letter) in _letters() for letter in " ".join(name.split()))


@cache
def _letters() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont(_FONT)).get_charmap())
