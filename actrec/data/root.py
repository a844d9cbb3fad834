"""The folder that holds the user's files."""

from pathlib import Path

from actrec.errors import UserError, nearest


def check_root(root: Path) -> None:
    """Stop if there is no such folder.

    Raises:
        UserError: with what to do.
    """
    if root.is_dir():
        return
    beside = [path.name for path in root.parent.iterdir() if path.is_dir()] if root.parent.is_dir() else []
    if str(root).startswith("~"):
        hint = f"~ means something to shells alone: write {root.expanduser()}"
    else:
        near = nearest(root.name, beside)
        hint = (
            f"Did you mean {root.parent / near}?" if near else "Put your files there, or set data.root in params.yaml."
        )
    raise UserError(
        f"data.root is '{root}': no such folder (from {Path.cwd()}). {hint}\nWhere clips are not needed, to train on "
        "what was made of them: `frozen: true` below `ingest:` in dvc.yaml. In `dvc exp run --queue` and `--temp`, "
        "which see no git-ignored files: dvc add the clips, or an absolute data.root."
    )
