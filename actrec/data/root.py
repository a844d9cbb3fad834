"""The folder that holds the user's files."""

from pathlib import Path

from actrec.errors import UserError


def check_root(root: Path) -> None:
    """Stop if there is no such folder.

    Raises:
        UserError: with what to do.
    """
    if not root.is_dir():
        raise UserError(
            f"data.root is '{root}': no such folder (from {Path.cwd()}). Put your files there, or set data.root in "
            "params.yaml. To train where only data/interim and data/processed are, write `frozen: true` below "
            "`ingest:` in dvc.yaml. `dvc exp run --queue` and `--temp` run in a folder without git-ignored files: "
            "there the data must be tracked (dvc add), or data.root be absolute."
        )
