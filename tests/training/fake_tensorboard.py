"""What stands for TensorBoard's package, which is an extra: a writer that notes its calls."""

import sys
from types import ModuleType
from typing import ClassVar

import pytest


class Writer:
    last: "ClassVar[Writer | None]" = None

    def __init__(self, folder):
        self.folder, self.scalars, self.is_open = folder, [], True
        Writer.last = self

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.is_open = False

    def add_scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def flush(self):
        pass


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch find it; nothing has been written yet."""
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(Writer, "last", None)
