"""Stage check: all of params.yaml, before DVC removes what a stage has written to run that stage again."""

from pathlib import Path

from ruamel.yaml import YAML

from actrec.console import Debug, run, say
from actrec.data.root import check_root
from actrec.params import load
from actrec.store.files import write_atomic
from pipeline import paths


def main(params: Path = paths.PARAMS, debug: Debug = False) -> None:
    """Write data/interim/checked.txt, the same whatever the settings are: so nothing else runs again for it."""
    root = Path(load(params).data.root)
    if root != paths.DEMO and not root.is_dir():  # the next stage makes that one
        if not was_read(root):
            check_root(root)
        say(
            f"check: data.root is '{root}': no such folder now. `dvc repro --allow-missing` goes on with what was "
            "ingested from it; without that, ingest stops."
        )
    write_atomic(paths.CHECKED, "params.yaml is valid\n")


def was_read(root: Path) -> bool:
    """Tell whether DVC has recorded that `ingest` read this folder."""
    if not paths.LOCK.exists():
        return False
    lock = YAML(typ="safe", pure=True).load(paths.LOCK.read_text(encoding="utf-8"))
    return str(root) in [dep["path"] for dep in lock["stages"].get("ingest", {}).get("deps", [])]


if __name__ == "__main__":
    run(main)
