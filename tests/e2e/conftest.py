import importlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from checkout import Checkout, Done, RunStages, checkout_at, new_checkout
from filelock import FileLock

from tools import deps


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def first_repro(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, Done]:
    """Return a checkout that has run from nothing and is committed, and what was said. Copy it, never change it.

    Processes that run tests side by side share one: whoever comes first makes it.
    """
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if os.environ.get("PYTEST_XDIST_WORKER") else shared
    home, said = shared / "first-repro", shared / "first-repro.json"
    with FileLock(shared / "first-repro.lock"):
        if said.exists():
            return checkout_at(home), Done(**json.loads(said.read_text(encoding="utf-8")))
        made = new_checkout(home)
        done = made.repro()
        made.commit()
        said.write_text(json.dumps(asdict(done)), encoding="utf-8")
        return made, done


@pytest.fixture
def reproduced(first_repro: tuple[Checkout, Done], tmp_path: Path) -> Checkout:
    """Return a checkout of one's own that has run once, and is committed."""
    return first_repro[0].copy(tmp_path / "copy")


@pytest.fixture
def cloned(first_repro: tuple[Checkout, Done], tmp_path: Path) -> Callable[..., Checkout]:
    """Return a function that makes a `git clone` of one that has run: cloned("--depth", "1")."""
    return lambda *options: first_repro[0].clone(tmp_path / "clone", *options)


@pytest.fixture
def run_stages(monkeypatch: pytest.MonkeyPatch, without_workers: None) -> Iterator[RunStages]:
    """Return a function that runs all stages in a folder: run_stages(folder, store=folder).

    In this process, which loads torch and others once: a process a stage, and its workers, do little else.
    """
    import torch

    threads = torch.get_num_threads()

    def run(folder: Path, *, store: Path) -> None:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("ACTREC_CACHE", str(store))
        for stage in deps.STAGES:
            importlib.import_module(f"pipeline.{stage}").main(Path("params.yaml"), debug=False)

    yield run
    torch.set_num_threads(threads)
