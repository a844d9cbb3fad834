from collections.abc import Callable
from pathlib import Path

import pytest
from checkout import Checkout, Done, new_checkout


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def first_repro(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, Done]:
    """Return a checkout that has run from nothing and is committed, and what was said. Copy it, never change it."""
    made = new_checkout(tmp_path_factory.mktemp("first") / "repro")
    done = made.repro()
    made.commit()
    return made, done


@pytest.fixture
def reproduced(first_repro: tuple[Checkout, Done], tmp_path: Path) -> Checkout:
    """Return a checkout of one's own that has run once, and is committed."""
    return first_repro[0].copy(tmp_path / "copy")


@pytest.fixture
def cloned(first_repro: tuple[Checkout, Done], tmp_path: Path) -> Callable[..., Checkout]:
    """Return a function that makes a `git clone` of one that has run: cloned("--depth", "1")."""
    return lambda *options: first_repro[0].clone(tmp_path / "clone", *options)
