"""What the stages that make a folder of items have in common: the store around `build`, and the list of failures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actrec.data import quarantine
from actrec.data.quarantine import Quarantined
from actrec.store.cas import open_store
from actrec.store.files import write_atomic
from actrec.store.tree import Built, Job, Maker, build
from actrec.store.workers import worker_count


def build_folder(
    out: Path, jobs: Sequence[Job], maker: Maker, *, about: dict[str, Any], absent: Mapping[str, str] | None = None
) -> Built:
    """Make `out` as `build` does, with the user's store and as many processes as $ACTREC_WORKERS says."""
    with open_store(near=out) as store:
        return build(out, jobs, maker, about=about, store=store, workers=worker_count(), absent=absent)


def list_failed(
    built: Built, stage: str, *, path_of: Mapping[str, str], to: Path, why_empty: str = ""
) -> list[Quarantined]:
    """Write the quarantine list of a stage, and return it.

    Args:
        built: What became of the stage's clips.
        stage: Its name.
        path_of: Which file was read for a clip.
        to: The file to write.
        why_empty: What is to be said of clips of which there is nothing to make; "" where that is no fault.
    """
    bad = [
        Quarantined(o.item.clip_id, stage, o.reason, path_of[o.item.clip_id], o.message, o.attempts)
        for o in built.failed
    ]
    if why_empty:
        bad += [Quarantined(i, stage, built.absent[i], path_of[i], why_empty) for i in built.empty]
    write_atomic(to, quarantine.dump(bad))
    return bad
