import random
from collections import Counter, defaultdict

import pytest

from actrec.data.manifest import Split
from actrec.data.splits import Candidate, assign_splits, split_by_group

FRACTIONS: dict[Split, float] = {"train": 0.6, "val": 0.2, "test": 0.2}
KEYS = {"train_frac": 0.6, "val_frac": 0.2, "test_frac": 0.2}


def sample(name, label="run", group="", sha256=None, split=None):
    return Candidate(name, [("action", label)], group, sha256 or name, split)


def label_of(sample):
    ((_, label),) = sample.classes
    return label


def people(num_groups, classes, takes):
    return [sample(f"{c}/{g:02}_{t}", c, f"g{g:02}") for g in range(num_groups) for c in classes for t in range(takes)]


def shares(samples, splits) -> dict[Split, float]:
    counts = Counter(splits[s.clip_id] for s in samples)
    return {split: counts[split] / len(samples) for split in FRACTIONS}


def splits_of_groups(samples, splits):
    found = defaultdict(set)
    for s in samples:
        found[s.group or s.clip_id].add(splits[s.clip_id])
    return found


def test_every_clip_gets_a_split_and_no_group_is_parted():
    samples = people(12, "abcdef", 2)
    splits = split_by_group(samples, fractions=FRACTIONS, seed=0)
    assert splits.keys() == {s.clip_id for s in samples}
    assert all(len(own) == 1 for own in splits_of_groups(samples, splits).values())


@pytest.mark.parametrize("seed", range(5))
def test_fractions_are_met_with_uneven_groups_and_classes(seed):
    """A realistic set: 40 sites of 3 to 60 clips, 8 classes, the rarest 1 in 50."""
    rng = random.Random(seed)
    samples = [
        sample(f"{g}_{i}", rng.choices("abcdefgh", weights=(40, 20, 15, 10, 6, 4, 3, 2))[0], f"g{g}")
        for g in range(40)
        for i in range(rng.randint(3, 60))
    ]
    splits = split_by_group(samples, fractions=FRACTIONS, seed=seed)
    for split, share in shares(samples, splits).items():
        assert share == pytest.approx(FRACTIONS[split], abs=0.02)
    for label in "abcdefgh":
        own = [s for s in samples if label_of(s) == label]
        for split, share in shares(own, splits).items():
            assert share == pytest.approx(FRACTIONS[split], abs=0.1), (label, split)


def test_clips_without_a_group_are_stratified_by_class():
    samples = [sample(f"{c}{i}", c) for c, n in (("a", 100), ("b", 50), ("c", 10)) for i in range(n)]
    splits = split_by_group(samples, fractions=FRACTIONS, seed=0)
    counts = Counter((label_of(s), splits[s.clip_id]) for s in samples)
    assert counts == {
        **{("a", "train"): 60, ("a", "val"): 20, ("a", "test"): 20},
        **{("b", "train"): 30, ("b", "val"): 10, ("b", "test"): 10},
        **{("c", "train"): 6, ("c", "val"): 2, ("c", "test"): 2},
    }


def test_the_order_of_rows_does_not_matter_and_the_seed_does():
    samples = people(12, "ab", 3)
    shuffled = random.Random(1).sample(samples, len(samples))
    first = split_by_group(samples, fractions=FRACTIONS, seed=0)
    assert split_by_group(shuffled, fractions=FRACTIONS, seed=0) == first
    assert split_by_group(samples, fractions=FRACTIONS, seed=1) != first


def test_copies_stay_together_across_groups():
    samples = [sample("a", group="g1", sha256="x"), sample("b", group="g2", sha256="x"), sample("c", group="g2")]
    samples += [sample(f"d{i}") for i in range(20)]
    for seed in range(10):
        splits = split_by_group(samples, fractions=FRACTIONS, seed=seed)
        assert splits["a"] == splits["b"] == splits["c"]


def test_a_class_of_a_single_group_goes_to_train():
    samples = [*people(10, "ab", 4), sample("rare", "rare", "g03")]
    for seed in range(10):
        splits = split_by_group(samples, fractions=FRACTIONS, seed=seed)
        assert splits["rare"] == "train"


def test_a_class_of_a_single_group_goes_to_train_even_where_that_is_small():
    samples = [*people(30, "ab", 4), sample("rare", "rare")]
    splits = split_by_group(samples, fractions={"train": 0.2, "val": 0.4, "test": 0.4}, seed=0)
    assert splits["rare"] == "train"


def test_classes_of_every_head_reach_train():
    samples = [
        Candidate(f"{i}", [("species", "deer"), *([("what", "eats")] if i == 7 else [])], f"g{i}", f"{i}")
        for i in range(10)
    ]
    for seed in range(10):
        assert split_by_group(samples, fractions=FRACTIONS, seed=seed)["7"] == "train"


def test_few_groups_leave_no_split_empty():
    for seed in range(10):
        samples = people(3, "ab", 5)
        splits = split_by_group(samples, fractions={"train": 0.8, "val": 0.1, "test": 0.1}, seed=seed)
        assert set(splits.values()) == {"train", "val", "test"}


def test_a_fraction_of_zero_gets_nothing():
    splits = split_by_group(people(10, "ab", 2), fractions={"train": 0.8, "val": 0.2, "test": 0}, seed=0)
    assert set(splits.values()) == {"train", "val"}


def test_given_splits_stay_and_their_groups_follow():
    samples = [sample("a", group="g", split="test"), sample("b", group="g"), sample("c", sha256="x", split="val")]
    samples += [sample("d", sha256="x"), *(sample(f"e{i}") for i in range(10))]
    splits, note = assign_splits(samples, **KEYS, seed=0)
    assert (splits["a"], splits["b"], splits["c"], splits["d"], note) == ("test", "test", "val", "val", "")


def test_all_given_stay_as_they_are():
    samples = [sample("a", split="train"), sample("b", split="val"), sample("c", split="test")]
    assert assign_splits(samples, **KEYS, seed=0) == ({"a": "train", "b": "val", "c": "test"}, "")


def given_without_val(num_groups):
    train = [sample(s.clip_id, label_of(s), s.group, split="train") for s in people(num_groups, "ab", 8)]
    return [*train, sample("t", group="other", split="test")]


@pytest.mark.parametrize("samples", [people(12, "ab", 3), given_without_val(8)], ids=["shared out", "val from train"])
def test_another_seed_is_another_split(samples):
    first, second = (assign_splits(samples, **KEYS, seed=seed)[0] for seed in (0, 1))
    assert first != second


def test_val_comes_out_of_train_in_whole_groups():
    samples = given_without_val(8)
    splits, note = assign_splits(samples, **KEYS, seed=0)
    assert splits["t"] == "test" and "25% of train becomes val, in whole groups" in note
    assert all(len(own) == 1 for own in splits_of_groups(samples, splits).values())
    assert Counter(splits.values()) == {"train": 96, "val": 32, "test": 1}  # 0.2 / (0.6 + 0.2) of 128


def test_val_comes_out_of_a_single_group_by_clip_and_says_so():
    samples = given_without_val(1)
    splits, note = assign_splits(samples, **KEYS, seed=0)
    counts = Counter((label_of(s), splits[s.clip_id]) for s in samples if s.group == "g00")
    assert counts == {("a", "train"): 6, ("a", "val"): 2, ("b", "train"): 6, ("b", "val"): 2}
    assert "single group 'g00'" in note


def test_val_comes_out_of_train_without_groups_by_clip_and_stratified():
    samples = [sample(f"{c}{i}", c, split="train") for c, n in (("a", 80), ("b", 8)) for i in range(n)]
    splits, note = assign_splits([*samples, sample("t", "a", split="test")], **KEYS, seed=0)
    assert Counter((s.clip_id[0], splits[s.clip_id]) for s in samples) == {
        **{("a", "train"): 60, ("a", "val"): 20},
        **{("b", "train"): 6, ("b", "val"): 2},
    }
    assert "25% of train becomes val, classes in proportion" in note and "groups" not in note


def test_without_a_val_fraction_nothing_is_taken():
    samples = given_without_val(4)
    splits, note = assign_splits(samples, train_frac=0.8, val_frac=0, test_frac=0.2, seed=0)
    assert "val" not in splits.values() and note == ""


# --- several classes a clip, and samples --------------------------------------------------------------------------


def test_a_clip_with_several_classes_counts_for_each():
    """All classes of 200 clips, each with one to three of six, come close to their shares."""
    rng = random.Random(0)
    samples = [
        Candidate(str(i), [("acts", c) for c in rng.sample("abcdef", rng.randint(1, 3))], f"g{i // 4}", str(i))
        for i in range(200)
    ]
    splits = split_by_group(samples, fractions=FRACTIONS, seed=0)
    for label in "abcdef":
        own = [s for s in samples if ("acts", label) in s.classes]
        for split, share in shares(own, splits).items():
            assert share == pytest.approx(FRACTIONS[split], abs=0.06), (label, split)


def test_the_only_clip_with_a_class_goes_to_train_whatever_else_it_shows():
    samples = [
        Candidate(str(i), [("acts", "run"), *([("acts", "howl")] if i == 7 else [])], "", str(i)) for i in range(20)
    ]
    for seed in range(10):
        assert split_by_group(samples, fractions=FRACTIONS, seed=seed)["7"] == "train"


def test_clips_of_a_sample_stay_together():
    samples = [
        Candidate(f"{i}_{j}", [("acts", "run")], f"g{i}_{j}", f"{i}_{j}", sample=f"s{i}")
        for i in range(12)
        for j in "ab"
    ]
    for seed in range(5):
        splits = split_by_group(samples, fractions=FRACTIONS, seed=seed)
        assert all(splits[f"{i}_a"] == splits[f"{i}_b"] for i in range(12))
        assert set(splits.values()) == {"train", "val", "test"}
