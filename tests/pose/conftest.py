"""The skeletons stage in a project of its own."""

from functools import partial

import pytest
from stage_project import make_root, run_stage, write_project


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return the root of six skeletons, a file each, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTREC_CACHE", str(tmp_path / "cache"))
    return make_root(tmp_path)


@pytest.fixture
def write(root):
    """Return a function that writes the manifest of these clips, and params.yaml: write(clips, max_persons=2, …)."""
    return partial(write_project, root)


@pytest.fixture
def stage(without_workers, capsys):
    """Return a function that runs the stage in this process and returns how many files it read."""
    return partial(run_stage, capsys)
