"""Who goes where: splits for clips that were given none, so that what is tested was never seen in training."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from actrec.data.manifest import SPLITS, Split

_ANY = "", ""  # besides its own classes each clip counts for this one, so that the totals come out right as well


@dataclass(frozen=True, slots=True)
class Candidate:
    """A clip that has a split or gets one. `classes` are all its (head, class) pairs, of a multi-label head several."""

    clip_id: str
    classes: Collection[tuple[str, str]]
    group: str
    sha256: str
    split: Split | None = None
    sample: str = ""


def assign_splits(
    clips: Sequence[Candidate], *, train_frac: float, val_frac: float, test_frac: float, seed: int
) -> tuple[dict[str, Split], str]:
    """Return the split of each clip id, and a note that the user should read, "" if there is none.

    Given splits stay. Clips without one follow their group, or the copy of their file, if that has one; the rest is
    shared out by `split_by_group`. If all splits are given and none is val, val is taken out of train, in whole groups;
    if there are none, or train is a single one, by clip, stratified: the note says so.
    """
    fractions: dict[Split, float] = {"train": train_frac, "val": val_frac, "test": test_frac}
    if any(clip.split is None for clip in clips):
        return split_by_group(clips, fractions=fractions, seed=seed), ""
    given: dict[str, Split] = {clip.clip_id: clip.split for clip in clips if clip.split}
    if "val" in given.values() or "train" not in given.values() or not val_frac:
        return given, ""
    total = train_frac + val_frac
    shares: dict[Split, float] = {"train": train_frac / total, "val": val_frac / total}
    pool = [replace(clip, split=None) for clip in clips if clip.split == "train"]
    how = "in whole groups" if any(clip.group for clip in pool) else "classes in proportion"
    note = f"no row is in val: {val_frac / total:.0%} of train becomes val, {how}"
    if len(_units(pool)) == 1 and pool[0].group:
        note = (
            f"no row is in val, and train is the single group '{pool[0].group}': {val_frac / total:.0%} of its clips "
            "become val, so val scores are too high; test scores are not concerned"
        )
        pool = [replace(clip, group="") for clip in pool]
    return {**given, **split_by_group(pool, fractions=shares, seed=seed)}, note


def split_by_group(clips: Sequence[Candidate], *, fractions: Mapping[Split, float], seed: int) -> dict[str, Split]:
    """Return a split for each clip id, in which no group, no sample and no two copies of a file are parted.

    A unit is what must stay together: the clips of a group or a sample, and everything with the same bytes. Units that
    hold a clip with a given split go there. The others go, the largest first, where the unit's classes (of all heads;
    a clip with several counts for each) fall shortest of their fractions: for each split the sum over classes c of
    p(c) * (fraction - have(c)), where p(c) is the unit's share of all clips of c and have(c) the split's share so far.
    (Adding the unit there lowers the summed squared deviations most.) Two rules stand above that: the last unit that
    has a class which train lacks goes to train; and when no more units are left than there are empty splits, each gets
    one. `seed` orders units of equal size; the order of `clips` does not matter.

    Args:
        clips: All of them; a group of "" is a group of its own.
        fractions: The wanted share of each split; those with 0 get nothing.
        seed: Any number.
    """
    wanted: list[Split] = [split for split in SPLITS if fractions.get(split, 0) > 0]
    units = sorted(_units(clips), key=lambda unit: (-len(unit), _shuffled(seed, unit[0].clip_id)))
    totals = Counter(part for unit in units for clip in unit for part in _parts(clip))
    have: dict[Split, Counter[tuple[str, str]]] = defaultdict(Counter)
    free = []
    chosen: dict[str, Split] = {}
    for unit in units:
        pinned: list[Split] = sorted({clip.split for clip in unit if clip.split})
        if pinned:
            have[pinned[0]].update(part for clip in unit for part in _parts(clip))
            chosen.update({clip.clip_id: clip.split or pinned[0] for clip in unit})
        else:
            free.append(unit)
    ahead = Counter(part for unit in free for part in {part for clip in unit for part in _parts(clip)})
    for position, unit in enumerate(free):
        parts = Counter(part for clip in unit for part in _parts(clip))
        last_chance = any(ahead[part] == 1 and not have["train"][part] for part in parts)
        ahead.subtract(parts.keys())
        empty: list[Split] = [split for split in wanted if not have[split].total()]
        choice: list[Split] = empty if len(free) - position <= len(empty) else wanted
        candidates: list[Split] = ["train"] if last_chance else choice
        split = max(candidates, key=lambda s: _shortfall(parts, have[s], totals, fractions[s]))
        have[split].update(parts)
        chosen.update({clip.clip_id: split for clip in unit})
    return chosen


def _parts(clip: Candidate) -> tuple[tuple[str, str], ...]:
    return (_ANY, *clip.classes)


def _shortfall(
    parts: Mapping[tuple[str, str], int],
    have: Mapping[tuple[str, str], int],
    totals: Mapping[tuple[str, str], int],
    fraction: float,
) -> float:
    return sum(n / totals[part] * (fraction - have[part] / totals[part]) for part, n in sorted(parts.items()))


def _units(clips: Iterable[Candidate]) -> list[list[Candidate]]:
    """Return what must stay together, by group, sample and bytes, each sorted by id."""
    leader: dict[str, str] = {}

    def lead(name: str) -> str:
        while leader.setdefault(name, name) != name:
            leader[name] = name = leader[leader[name]]
        return name

    clips = sorted(clips, key=lambda clip: clip.clip_id)
    for clip in clips:
        bytes_of = "bytes " + clip.sha256
        if clip.sample:
            leader[lead("sample " + clip.sample)] = lead(bytes_of)
        leader[lead("group " + clip.group if clip.group else "clip " + clip.clip_id)] = lead(bytes_of)
    units: dict[str, list[Candidate]] = defaultdict(list)
    for clip in clips:
        units[lead("bytes " + clip.sha256)].append(clip)
    return list(units.values())


def _shuffled(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode()).digest()
