"""What TensorBoard is given. Its package is an extra, so a writer that notes its calls stands in for torch's."""

import sys

import pytest
from fake_tensorboard import Writer, install

from actrec.errors import UserError
from actrec.training.board import board

HISTORY = [
    {"epoch": 1, "phase": "main", "train_loss": 0.5, "val_score": None, "is_best": False},
    {"epoch": 2, "phase": "main", "train_loss": 0.25, "val_score": 0.75, "is_best": True},
]


@pytest.fixture
def package(monkeypatch):
    install(monkeypatch)


def test_each_epoch_s_numbers_are_written_once_and_those_of_a_resumed_run_as_well(tmp_path, package):
    folder = tmp_path / "tensorboard"
    folder.mkdir()
    (folder / "of another run").touch()
    with board(folder, enabled=True) as write:
        assert not folder.exists()
        write(HISTORY[:1])
        assert Writer.last.scalars == [("train_loss", 0.5, 1)]
        write(HISTORY)
        assert Writer.last.scalars[1:] == [("train_loss", 0.25, 2), ("val_score", 0.75, 2)]
    assert Writer.last.folder == str(folder) and not Writer.last.is_open
    with board(folder, enabled=True) as write:
        write(HISTORY)  # taken up after the second epoch
        assert [step for name, _, step in Writer.last.scalars if name == "train_loss"] == [1, 2]


def test_switched_off_nothing_is_written_or_removed(tmp_path):
    with board(tmp_path / "tensorboard", enabled=False) as write:
        write(HISTORY)
    assert not list(tmp_path.iterdir())


def test_without_the_package_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with (
        pytest.raises(UserError, match=r"pip install 'actrec\[tensorboard\]'; or set train\.tensorboard: false"),
        board(tmp_path / "tensorboard", enabled=True),
    ):
        pass
