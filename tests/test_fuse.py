"""Modalities in other ratios, from saved scores alone."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from actrec.cli import app
from actrec.errors import UserError
from actrec.fuse import fused_scores, fused_table, parse_ratio
from actrec.metrics.classification import Scores
from actrec.metrics.multi_label import MultiScores
from actrec.report.scores_file import SavedScores, dump_scores

REPO = Path(__file__).resolve().parents[1]
RGB = Scores(
    *("test", "rgb/act", ("w", "x", "y", "z")),
    probs=np.array([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1], [0.2, 0.8]], np.float32),
    labels=np.array([0, 1, 1, 1]),
    class_names=("a", "b"),
)
# Alone each is right about half of the clips; 1:1 about the first two and the last, 3:1 as the pictures say.
POSE = replace(RGB, head="pose/act", probs=np.array([[0.5, 0.5], [0.1, 0.9], [0.6, 0.4], [0.6, 0.4]], np.float32))
FUSED = replace(RGB, head="rgbpose_1:1/act", probs=(RGB.probs + POSE.probs) / 2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "scores.npz"
    path.write_bytes(dump_scores([FUSED, RGB, POSE], modalities=("rgb", "pose")))
    return path


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_by_hand(file: Path) -> None:
    header = ["split", "output", "top1", "mean_per_class_acc", "map_macro"]
    alone = [["test", f"{modality}/act", "0.5000", "0.6667", "-"] for modality in ("rgb", "pose")]
    first, *table = rows(fused_table("1:1", scores=file))
    assert first == f"{file}: rgb 1, pose 1; below, each alone".split()
    assert table == [header, ["test", "rgbpose_1:1/act", "0.7500", "0.8333", "-"], *alone]
    assert rows(fused_table("3:1", scores=file))[2] == ["test", "rgbpose_3:1/act", "0.7500", "0.8333", "-"]
    assert rows(fused_table("9:1", scores=file))[2] == ["test", "rgbpose_9:1/act", "0.5000", "0.6667", "-"]
    assert rows(fused_table("0:1", scores=file))[2][2:4] == ["0.5000", "0.6667"]


def test_a_ratio_that_evaluate_has_made_is_the_same_numbers() -> None:
    (again,) = fused_scores(SavedScores(("rgb", "pose"), (FUSED, RGB, POSE)), [2, 2])
    assert np.abs(again.probs - FUSED.probs).max() < 1e-7
    assert again.probs.dtype == np.float32


def test_heads_of_several_classes_have_their_own_metric(tmp_path: Path) -> None:
    labels = np.array([[1, 0], [0, 1]])
    probs = np.array([[0.9, 0.2], [0.3, 0.1]], np.float32)
    streams = [MultiScores("val", f"{m}/acts", ("x", "y"), probs, labels, ("a", "b")) for m in ("rgb", "pose")]
    (tmp_path / "scores.npz").write_bytes(dump_scores(streams, modalities=("rgb", "pose")))
    # Class a is found first (1), class b second of two (1/2).
    found = rows(fused_table("1:1", scores=tmp_path / "scores.npz"))
    assert found[2] == ["val", "rgbpose_1:1/acts", "-", "-", "0.7500"]


@pytest.mark.parametrize("ratio", ["", "1", "1:1:1", "a:b", "1:", "-1:1", "0:0", "nan:1", "inf:1", "1,1"])
def test_a_ratio_that_does_not_fit_is_refused(ratio: str) -> None:
    with pytest.raises(UserError, match=f"the ratio is '{ratio}'.*each of rgb, pose, not all 0, such as 3:1"):
        parse_ratio(ratio, ("rgb", "pose"))


def test_a_model_with_one_answer_has_nothing_to_fuse(tmp_path: Path) -> None:
    (tmp_path / "scores.npz").write_bytes(dump_scores([replace(RGB, head="act")], modalities=()))
    with pytest.raises(UserError, match="nothing to fuse"):
        fused_table("1:1", scores=tmp_path / "scores.npz")


def test_the_command(file: Path) -> None:
    result = CliRunner().invoke(app, ["fuse", "1:2", "--scores", str(file)], catch_exceptions=False)
    assert result.exit_code == 0 and "rgbpose_1:2/act" in result.stdout


def test_nothing_heavy_is_loaded(file: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from actrec.fuse import fused_table; "
        f"fused_table('1:1', scores=Path({str(file)!r})); "
        "print(sorted({'torch', 'sklearn', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
