"""Whether a media file is still the one that the manifest speaks of."""

import hashlib
from pathlib import Path

from actrec.errors import UserError


def check_unchanged(path: Path, sha256: str) -> None:
    """Stop if the file is another than `ingest` saw: the store would keep its content under the old one's key for ever.

    Raises:
        UserError: if it is, or if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). If it moved, run: dvc repro ingest") from None
    if found != sha256:
        raise UserError(f"{path}: changed since ingest read it. Run: dvc repro ingest")
