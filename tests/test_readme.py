"""Every command that the README tells a user to type is run somewhere, or it says here why not."""

import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
CI = ".ci/run"
CHECKOUT = "tests/e2e/checkout.py"
EXPERIMENTS = "tests/e2e/test_experiments.py"
RECIPES = "tests/e2e/test_recipes_run.py"
SWEEPS = "tests/e2e/test_sweeps.py"
# Command: the file that runs it, and how it is written there, if otherwise.
RUN_BY = {
    "make repro": (CI, ""),
    "make test": (CI, ""),
    ". .venv/bin/activate": (CI, ""),
    "dvc repro": (CHECKOUT, '"dvc", "repro"'),
    "dvc exp run -S train.lr=0.001": (EXPERIMENTS, 'exp_run("-S", "train.lr=0.001")'),
    "dvc metrics diff": (CI, ""),
    "dvc params diff": (CI, ""),
    "dvc exp show --only-changed": (EXPERIMENTS, '"dvc", "exp", "show", "--only-changed"'),
    "dvc plots show": (CI, ""),
    "actrec recipe --list": (RECIPES, '"actrec", "recipe", "--list"'),
    "actrec recipe folder": (RECIPES, '"actrec", "recipe", recipe'),
    "actrec recipe folder-scratch": (RECIPES, '"actrec", "recipe", recipe'),
    "actrec recipe linear-probe": (RECIPES, '"actrec", "recipe", recipe'),
    "actrec recipe relation-demo": (RECIPES, '"actrec", "recipe", recipe'),
    "actrec recipe images-demo": (RECIPES, '"actrec", "recipe", recipe'),
    "actrec sweep optimiser-demo --dry-run": (SWEEPS, '"sweep", "optimiser-demo", "--dry-run"'),
    "actrec compare": (SWEEPS, '"actrec", "compare"'),
    "actrec recipe sound": (RECIPES, '"actrec", "recipe", recipe'),
    "actrec recipe rgbpose-demo": (RECIPES, '"actrec", "recipe", recipe'),
    "actrec recipe wildlife-demo": (RECIPES, '"actrec", "recipe", recipe'),
    "actrec predict data/raw/demo/clips --out predictions.csv": (CI, ""),
    "actrec cache": (CI, ""),
    "actrec cache --prune 20GB": ("tests/test_cli.py", 'call("cache", "--prune"'),
}


def commands(markdown: str) -> list[str]:
    """Return the lines of all ```bash blocks, without what follows a #."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", markdown, flags=re.MULTILINE | re.DOTALL)
    lines = [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def test_commands_are_found() -> None:
    text = "```bash\na b   # why\n\n# only this\nc\n```\ntext\n```yaml\nno: 1\n```\n```bash\nd\n```\n"
    assert commands(text) == ["a b", "c", "d"]


def test_the_readme_s_commands_are_those_that_are_run() -> None:
    told = set(commands((REPO / "README.md").read_text(encoding="utf-8")))
    assert told - RUN_BY.keys() == set(), "a new command: run it somewhere, and say in RUN_BY where"
    assert RUN_BY.keys() - told == set(), "not in the README any more"


@pytest.mark.parametrize("command", sorted(RUN_BY))
def test_the_command_is_run_where_the_list_says(command: str) -> None:
    file, written = RUN_BY[command]
    text = (REPO / file).read_text(encoding="utf-8")
    assert re.search(f"^{re.escape(command)}( |$)", text, flags=re.MULTILINE) if file == CI else written in text
