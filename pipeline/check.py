"""Stage check: all of params.yaml, before DVC removes what a stage has written to run that stage again."""

from pathlib import Path

from ruamel.yaml import YAML

from actrec.console import Debug, run, say
from actrec.data.root import check_root
from actrec.models.at_hand import lacking
from actrec.params import Params, load
from actrec.params.load import plain
from actrec.store.files import write_atomic
from pipeline import paths


def main(params: Path = paths.PARAMS, debug: Debug = False) -> None:
    """Write data/interim/checked.txt, the same whatever the settings are: so nothing else runs again for it."""
    p = load(params)
    root = Path(p.data.root)
    is_drawn = root == paths.DEMO  # by the next stage
    if not (is_drawn or root.is_dir() or ingest_is_frozen()):
        check_root(root)
    for line in weights_to_come(p):
        say(f"check: {line}")
    write_atomic(paths.CHECKED, "params.yaml is valid\n")


def ingest_is_frozen() -> bool:
    """Tell whether dvc.yaml says that `ingest` never runs: then nothing below `data.root` is read."""
    if not paths.STAGES.exists():
        return False
    stages = YAML(typ="safe", pure=True).load(paths.STAGES.read_text(encoding="utf-8"))["stages"]
    return bool(stages["ingest"].get("frozen", False))


def weights_to_come(p: Params) -> list[str]:
    """Return a line for each network whose weights are not here yet: better told now than after hours of decoding."""
    found = []
    for modality, backbone in p.model.backbones.used.items():
        weights = plain(backbone.weights)
        file = backbone.weights.file_of(backbone.network) if weights["kind"] == "torchvision" else ""
        found.append((modality, lacking(weights, file)))
    return [f"model.backbones.{modality}.weights: {text}" for modality, text in found if text]


if __name__ == "__main__":
    run(main)
