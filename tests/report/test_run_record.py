"""run.json: what made a result, without this machine's folders."""

import ast
import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actrec.report.run_record import run_record, without_folders

REPO = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))


def record(repo: Path, **changed: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "seed": 3,
        "threads": 2,
        "device": "cpu",
        "data_digest": "ab" * 32,
        "params": {"recipe": "demo"},
        "started": NOW,
        "ended": NOW.astimezone(UTC) + timedelta(seconds=90),
    }
    return run_record(repo=repo, **(settings | changed))


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "results").mkdir()
    for name in ("code.py", "dvc.lock", "results/metrics.json"):
        (tmp_path / name).write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_what_was_passed_and_what_is_installed(tmp_path: Path) -> None:
    found = record(tmp_path)
    assert (found["started_utc"], found["ended_utc"]) == ("2026-01-02T01:04:05Z", "2026-01-02T01:05:35Z")
    assert (found["seed"], found["threads"], found["device"]) == (3, 2, "cpu")
    assert found["versions"]["numpy"] == np.__version__
    assert {"python", "torch", "torchvision", "decord", "av", "h5py"} <= set(found["versions"])
    assert json.loads(json.dumps(found)) == found


def counted(file: Path) -> Iterator[str]:
    """Yield the packages whose releases count, by a file's calls of code_version."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    module_of = {alias.name: node.module for node in imports for alias in node.names if node.module}
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="code_version"), args=[_, *tools]):
                for tool in tools:
                    if isinstance(tool, ast.Starred) and isinstance(tool.value, ast.Name):
                        yield from getattr(import_module(module_of[tool.value.id]), tool.value.id)
                    else:
                        yield ast.literal_eval(tool)


def test_every_package_that_counts_for_the_store_is_named(tmp_path: Path) -> None:
    packages = {
        name for folder in ("actrec", "pipeline") for file in (REPO / folder).rglob("*.py") for name in counted(file)
    }
    assert {"transformers", "pillow", "librosa", "decord"} <= packages  # by name, by TOOLS and by HEAVY_IMPORTS
    assert packages <= set(record(tmp_path)["versions"])


def test_git_commit_and_whether_the_code_was_changed(repo: Path) -> None:
    commit = git(repo, "rev-parse", "HEAD")
    (repo / "untracked.txt").write_text("x")
    (repo / "dvc.lock").write_text("2\n")
    (repo / "results/metrics.json").unlink()  # as dvc does before it runs a stage
    assert record(repo)["git"] == {"commit": commit, "dirty": False}
    (repo / "code.py").write_text("2\n")
    assert record(repo)["git"] == {"commit": commit, "dirty": True}
    assert record(repo / "results")["git"] == {"commit": commit, "dirty": True}


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {"commit": None, "dirty": None}
    assert record(tmp_path)["git"] == nothing  # no repository
    git(tmp_path, "init", "-q")
    assert record(tmp_path)["git"] == nothing  # no commit yet
    monkeypatch.setenv("PATH", str(tmp_path))
    assert record(tmp_path)["git"] == nothing  # no git


def test_no_folder_of_this_machine_is_named(tmp_path: Path) -> None:
    params = {"data": {"root": str(tmp_path / "videos"), "also": ["C:\\Users\\me\\x.csv", "data/raw/demo", 3, None]}}
    found = record(tmp_path, params=params)
    assert found["params"] == {"data": {"root": "…/videos", "also": ["…/x.csv", "data/raw/demo", 3, None]}}
    assert str(tmp_path) not in json.dumps(found)
    assert without_folders("a/b: not /absolute") == "a/b: not /absolute"
