"""Stage check: all of params.yaml, before DVC removes what a stage has written to run that stage again."""

from pathlib import Path

from ruamel.yaml import YAML

from actrec import paths
from actrec.console import Debug, run, say
from actrec.data.root import check_root
from actrec.models.at_hand import lacking_weights
from actrec.params import load
from actrec.params.load import plain
from actrec.store.files import write_atomic


def main(params: Path = paths.PARAMS, debug: Debug = False) -> None:
    """Write data/interim/checked.txt, the same whatever the settings are: so nothing else runs again for it."""
    p = load(params)
    root = Path(p.data.root)
    is_drawn = root == paths.DEMO  # by the next stage
    if not is_drawn and not ingest_is_frozen():
        check_root(root)
    for line in lacking_weights(plain(p.model.backbones), p.model.backbones.published):
        say(f"check: {line}")
    write_atomic(paths.CHECKED, "params.yaml is valid\n")


def ingest_is_frozen() -> bool:
    """Tell whether dvc.yaml, which DVC lets no stage depend on, says that `ingest` never runs and reads `data.root`."""
    if not paths.STAGES.exists():
        return False
    stages = YAML(typ="safe", pure=True).load(paths.STAGES.read_text(encoding="utf-8"))["stages"]
    return bool(stages["ingest"].get("frozen", False))


if __name__ == "__main__":
    run(main)
