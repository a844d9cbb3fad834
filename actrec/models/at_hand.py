"""Whether weights are on this machine: asked without loading torch, before anything is decoded for them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actrec.models.hub import cached_folder

# Where torchvision's files are.
PUBLISHER = "https://download.pytorch.org/models/"
_FETCHED = "is not on this machine, and will be fetched when the model is built. Without a network"


def lacking_weights(backbones: Mapping[str, Any], published: Mapping[str, str]) -> list[str]:
    """Return a line for each network whose weights are not here: what is lacking, and what to do.

    Args:
        backbones: The section `model.backbones` of params.yaml.
        published: {modality: the name of torchvision's file} of those that start from such weights.
    """
    found = {m: _lacking(section["weights"], published.get(m, "")) for m, section in backbones.items()}
    return [f"model.backbones.{m}.weights: {text}" for m, text in found.items() if text]


def _lacking(weights: Mapping[str, Any], published: str) -> str:
    match weights:
        case {"kind": "torchvision"} if not (path := torch_cache() / "checkpoints" / published).exists():
            return f"{published} {_FETCHED} put {PUBLISHER}{published} at {path} before"
        case {"kind": "hub", "id": name, "revision": revision} if not cached_folder(name, revision):
            return f"{name} {_FETCHED} bring it as a folder: weights: {{kind: folder, path: …, sha256: …}}"
        case {"kind": "file" | "folder", "path": path} if not Path(path).exists():
            return f"{path} is not there, and the model cannot be built without it"
    return ""


def torch_cache() -> Path:
    """Return where torch.hub keeps what it has fetched (its `get_dir`)."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub"
