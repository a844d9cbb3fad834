"""Published models of the Hugging Face hub: at one commit, from its cache, or fetched into it."""

import re
from pathlib import Path

from actrec.errors import UserError

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
# The first that is there is read; both hold the same tensors.
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_ANSWER_TIMEOUT_S = 5.0


def hub_folder(model_id: str, revision: str) -> Path:
    """Return the folder with a published model's configuration, preprocessing and weights.

    Args:
        model_id: `owner/name`.
        revision: The 40 hexadecimal digits of a commit: what a branch points to changes.

    Raises:
        UserError: if it is not in the cache and cannot be fetched, saying where else to get it and where to put it.
    """
    if not re.fullmatch("[0-9a-f]{40}", revision):
        raise UserError(
            f"model.backbones…weights.revision is '{revision}' for {model_id}; expected the 40 hexadecimal digits of a "
            "commit, which the model's page lists under Files, History: a branch or tag may mean other weights tomorrow"
        )
    if folder := cached_folder(model_id, revision):
        return folder
    try:
        return _fetched(model_id, revision)
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"the weights {model_id} at {revision} are not on this machine and could not be fetched ({reason}). "
            f"On a machine with a network: hf download {model_id} --revision {revision} --local-dir DIR. Copy DIR to "
            f"this machine and set model.backbones…weights: {{kind: folder, path: DIR, sha256: …}}, where sha256 is "
            f"that of DIR/{WEIGHTS[0]}, or of DIR/{WEIGHTS[1]} if there is no such file"
        ) from None


def cached_folder(model_id: str, revision: str) -> Path | None:
    """Return the folder in the hub's cache with a model at a commit, None if not all of it is there."""
    from huggingface_hub import try_to_load_from_cache

    def is_there(name: str) -> bool:
        return isinstance(try_to_load_from_cache(model_id, name, revision=revision), str)

    if not (is_there(CONFIG) and is_there(PREPROCESSOR) and any(map(is_there, WEIGHTS))):
        return None
    return Path(str(try_to_load_from_cache(model_id, CONFIG, revision=revision))).parent


def weights_file(folder: Path) -> Path:
    """Return the file with the weights in a model's folder.

    Raises:
        UserError: if the folder lacks it, or one of the two that say what it is.
    """
    for name in (CONFIG, PREPROCESSOR):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: no such file. A model's folder has {CONFIG}, {PREPROCESSOR} and weights")
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"{folder}: no weights. Expected one of {', '.join(WEIGHTS)} there")


def _fetched(model_id: str, revision: str) -> Path:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    # The download itself tries again for minutes where there is no network; this gives up at once.
    get_hf_file_metadata(hf_hub_url(model_id, CONFIG, revision=revision), timeout=_ANSWER_TIMEOUT_S)
    for name in (CONFIG, PREPROCESSOR):
        hf_hub_download(model_id, name, revision=revision)
    try:
        return Path(hf_hub_download(model_id, WEIGHTS[0], revision=revision)).parent
    except EntryNotFoundError:
        return Path(hf_hub_download(model_id, WEIGHTS[1], revision=revision)).parent
