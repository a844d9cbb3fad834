"""DVC reads params.yaml once a stage has ended: what is edited meanwhile must not be recorded for it."""

import shutil
from pathlib import Path

import pytest

from actrec import console
from actrec.errors import UserError
from pipeline.recorded import recorded, run_stage

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture
def edit(tmp_path, monkeypatch):
    """Be in a folder with the stages and the demo's settings; return a function that changes these."""
    shutil.copy(REPO / "dvc.yaml", tmp_path)
    shutil.copy(REPO / "recipes/demo.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)

    def change(old: str, new: str) -> None:
        text = Path("params.yaml").read_text(encoding="utf-8")
        assert text.count(old) == 1
        Path("params.yaml").write_text(text.replace(old, new), encoding="utf-8")

    return change


def test_what_a_stage_is_recorded_with_may_not_be_edited_while_it_runs(edit):
    refuse_edits = recorded("train", Path("params.yaml"))
    refuse_edits()
    edit("\n  lr: 0.003", "\n  lr: 0.01")
    edit("width: 16,", "width: 17,")
    with pytest.raises(
        UserError, match=r"while train ran: train\.lr is 0\.01, it ran with 0\.003, model\.backbones\.rgb"
    ):
        refuse_edits()
    edit("\n  lr: 0.01", "\n  lr: 0.003")
    edit("width: 17,", "width: 16,")
    refuse_edits()  # all is as it was


def test_settings_of_other_stages_may_be_edited(edit):
    refuse_edits = recorded("train", Path("params.yaml"))
    edit("\n  bootstrap_samples: 1000", "\n  bootstrap_samples: 500")
    edit("\nseed: 0\n", "\nseed: 0  # a comment\n")
    refuse_edits()
    edit("\nevaluate:", "\n\tevaluate:")  # half written, and no YAML: nobody knows what DVC would make of it
    with pytest.raises(UserError, match="while train ran: train is None, it ran with"):
        refuse_edits()


def test_a_stage_whose_settings_are_edited_does_not_end_well(edit, monkeypatch, capsys):
    def main(params: Path = Path("params.yaml"), debug: console.Debug = False) -> None:
        edit("\n  size_px: 64", "\n  size_px: 48")

    monkeypatch.setattr("sys.argv", ["pipeline.frames"])
    with pytest.raises(SystemExit) as ended:
        run_stage("frames", main)
    assert ended.value.code == 1
    assert (
        "error: params.yaml was edited while frames ran: frames.size_px is 48, it ran with 64."
        in capsys.readouterr().err
    )


def test_without_stages_nothing_is_recorded(edit):
    refuse_edits = recorded("train", Path("params.yaml"))
    Path("dvc.yaml").unlink()
    edit("\n  lr: 0.003", "\n  lr: 0.01")
    refuse_edits()
