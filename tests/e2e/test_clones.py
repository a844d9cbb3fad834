"""Checkouts as other people have them: without a git identity, or shallow."""

from collections.abc import Callable

import pytest
from checkout import ROOT, Checkout

HOOK = ROOT / "tools/identity.sh"
# The second experiment starts in a workspace that differs from HEAD, which DVC puts aside in a commit. Of another split
# of the data, ingest is the cheapest part.
FIRST, SECOND = (("-S", f"data.split.seed={seed}", "ingest") for seed in (1, 2))


@pytest.fixture
def activated(reproduced: Checkout) -> Callable[..., str]:
    """Return a function that runs a command line in a shell without an identity that has activated .venv."""
    (reproduced.folder / ".venv/bin").mkdir(parents=True)
    (reproduced.folder / ".venv/bin/activate").write_bytes(HOOK.read_bytes())
    # -e and -u, because a user's shell, or CI, may have them on.
    return lambda line: reproduced.without_identity()("sh", "-euc", f". .venv/bin/activate; {line}").text


def test_the_set_up_appends_the_hook_that_is_tested_here() -> None:
    assert 'cat tools/identity.sh >>"$bin/activate"' in (ROOT / "tools/bootstrap.sh").read_text(encoding="utf-8")


def test_experiments_without_a_git_identity(reproduced: Checkout, activated: Callable[..., str]) -> None:
    reproduced.without_identity()("git", "config", "user.email", status=1)
    assert "up to date" in activated("dvc repro")
    for experiment in (FIRST, SECOND):
        text = activated(" ".join(["dvc exp run", *experiment]))
        assert "Running stage 'ingest'" in text
        assert "Ran experiment(s): " in text
    assert activated("dvc exp list --name-only").count("\n") == 2


def test_who_has_an_identity_keeps_it(reproduced: Checkout, activated: Callable[..., str]) -> None:
    assert "actrec <actrec@localhost>" in activated("git var GIT_AUTHOR_IDENT")
    reproduced("git", "config", "user.name", "Ada")
    reproduced("git", "config", "user.email", "ada@example.org")
    assert "Ada <ada@example.org>" in activated("git var GIT_AUTHOR_IDENT")


def test_a_shallow_clone(cloned: Callable[..., Checkout]) -> None:
    clone = cloned("--depth", "1")
    assert clone("git", "rev-parse", "--is-shallow-repository").text == "true\n"
    assert clone.repro().ran == []
    for experiment in (FIRST, SECOND):
        assert clone.exp_run(*experiment).ran == ["ingest"]
    assert clone("dvc", "exp", "list", "--name-only").text.count("\n") == 2
