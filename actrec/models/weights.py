"""Where a backbone's first weights come from; each file is named by its sha256."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from actrec.errors import UserError
from actrec.models.at_hand import torch_cache

# What torch.compile and data parallel training put into the names of parameters, where they wrap the network or a part.
_WRAPPERS = frozenset({"_orig_mod", "module"})
# What training loops put before all of them.
_OWNERS = ("model.",)
# Torch goes on to say how such a file can be opened all the same.
_FORBIDDEN = re.compile(r"Unsupported (?:global: GLOBAL|class) (\S+)")
# Published files from before 2018 lack it; batch norm counts from 0 then, and only uses it without a momentum.
_OPTIONAL_SUFFIX = ".num_batches_tracked"
Tensors = dict[str, torch.Tensor]


def load_weights(
    network: nn.Module,
    weights: dict[str, Any],
    *,
    architecture: str,
    drop: tuple[str, ...],
    modality: str = "rgb",
    adapt: Callable[[Tensors], Tensors] = dict,
) -> str:
    """Fill `network` and return the sha256 of the file used, "" for none.

    Args:
        network: With its classifier already taken away.
        weights: `{kind: none}`, `{kind: torchvision, name}` or `{kind: file, path, sha256}`.
        architecture: torchvision's name of the network.
        drop: Prefixes of parameters that only the classifier had.
        modality: Whose backbone is meant where the file is a checkpoint of actrec.
        adapt: What becomes of the file's parameters before they must fit.

    Raises:
        UserError: if the file cannot be had (saying which to put where), is another than stated, or does not fit.
    """
    match weights:
        case {"kind": "none"}:
            return ""
        case {"kind": "torchvision", "name": name}:
            path = _torchvision_file(architecture, name)
            digest = sha256_of(path)
        case {"kind": "file", "path": path, "sha256": expected}:
            path, digest = Path(path), checked_digest(Path(path), expected)
        case _:
            raise ValueError(f"unknown weights {weights}")
    fill(network, adapt(read_tensors(path, modality=modality)), drop=drop, source=path)
    return digest


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tensors(path: Path, *, modality: str = "rgb") -> Tensors:
    """Return the parameters in a checkpoint: safetensors, a plain state dict, or one under `state_dict` or `model`.

    Of a checkpoint of actrec they are those of this modality's backbone, under the names of its own weights.

    Raises:
        UserError: if the file holds something else, or objects that only unsafe loading would open.
    """
    try:
        content = _content(path)
    except Exception as error:
        raise UserError(
            f"{path}: not a checkpoint of plain tensors ({why_refused(error)}). "
            "Save its state_dict() alone where you trust it, and use that file."
        ) from None
    for key in ("state_dict", "model", "model_state"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise UserError(f"{path}: expected a state dict of tensors, got {type(content).__name__}")
    tensors = {_without(_OWNERS, _unwrapped(name)): value for name, value in content.items()}
    # Where a checkpoint of actrec has the network; the rest of it are other backbones, the neck and heads.
    place = (f"backbones.{modality}.network.", f"backbones.{modality}.")
    own = {_without(place, name): value for name, value in tensors.items() if name.startswith(place)}
    return own or tensors


def why_refused(error: Exception) -> str:
    """Return in a line why a file was not read as one of tensors, numbers and text."""
    said = " ".join(str(error).split())
    if found := _FORBIDDEN.search(said):
        return f"it holds the Python object {found[1]}, and nothing of it was run"
    said = said.partition("WeightsUnpickler error: ")[2] or said
    return said.partition(" Check the documentation of torch.load")[0][:150]


def _content(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _without(prefixes: tuple[str, ...], name: str) -> str:
    while prefix := next(filter(name.startswith, prefixes), ""):
        name = name.removeprefix(prefix)
    return name


def _torchvision_file(architecture: str, name: str) -> Path:
    from urllib.parse import urlparse

    from torchvision.models import get_model_weights

    choices = get_model_weights(architecture)
    if name not in choices.__members__:
        raise UserError(
            f"model.backbones: torchvision has no weights '{name}' for {architecture}; it has: "
            f"{', '.join(choices.__members__)}. For random ones: weights: {{kind: none}}"
        )
    url = choices[name].url
    path = torch_cache() / "checkpoints" / Path(urlparse(url).path).name
    if not path.exists():
        _download(url, path, what=f"{architecture} {name}")
    return path


def _download(url: str, path: Path, *, what: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rpartition("-")[2], progress=False)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"the weights {what} are not on this machine and could not be fetched ({error}). Fetch {url} on another "
            f"machine, put the file at {path}, and run again. For random weights: weights: {{kind: none}}"
        ) from None


def checked_digest(path: Path, expected: str) -> str:
    """Return the sha256 of a file.

    Raises:
        UserError: if there is no such file, or its digest is not `expected`.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file. model.backbones…weights.path must name a checkpoint on this machine.")
    digest = sha256_of(path)
    if digest != expected:
        raise UserError(f"{path}: its sha256 is {digest}, expected {expected}. If the file is right, set that.")
    return digest


def fill(network: nn.Module, tensors: Tensors, *, drop: tuple[str, ...], source: Path) -> None:
    """Give a network its parameters, all of them and no others but those that `drop` names.

    Raises:
        UserError: naming those that lack, are too many, or have another shape.
    """
    tensors = {name: value for name, value in tensors.items() if not name.startswith(drop)}
    own = network.state_dict()
    missing = sorted(name for name in set(own) - set(tensors) if not name.endswith(_OPTIONAL_SUFFIX))
    unknown = sorted(set(tensors) - set(own))
    differing = [
        f"{name} {tuple(tensors[name].shape)} for {tuple(own[name].shape)}"
        for name in sorted(set(own) & set(tensors))
        if own[name].shape != tensors[name].shape
    ]
    problems = {"missing": missing, "unknown": unknown, "of another shape": differing}
    if any(problems.values()):
        found = (f"{len(names)} {what} ({', '.join(names[:3])} …)" for what, names in problems.items() if names)
        raise UserError(
            f"{source}: weights of another network: {'; '.join(found)}. Check kind and depth in model.backbones"
        )
    network.load_state_dict(tensors)
