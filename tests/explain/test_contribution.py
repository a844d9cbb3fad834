from itertools import permutations

import pytest

from actrec.explain.contribution import contributions


def game(table):
    """Return the score of a table of subsets, "" for none, and the list of what was asked for."""
    scores = {frozenset(names.split()): value for names, value in table.items()}
    asked = []

    def score(subset):
        asked.append(subset)
        return scores[subset]

    return score, asked


def test_two_modalities_by_hand():
    # Alone .6 and .3, both .8, chance .2. rgb first adds .4, second .5: (.4 + .5) / 2; audio .1 and .2.
    score, asked = game({"rgb": 0.6, "audio": 0.3, "rgb audio": 0.8})
    found = contributions(("rgb", "audio"), score, empty=0.2)
    assert list(found) == ["rgb", "audio"]
    assert found["rgb"] == pytest.approx({"drop_one": 0.5, "shapley": 0.45})
    assert found["audio"] == pytest.approx({"drop_one": 0.2, "shapley": 0.15})
    assert sorted(map(sorted, asked)) == [["audio"], ["audio", "rgb"], ["rgb"]]  # each once, and never nothing


def test_the_same_said_twice_is_shared():
    """Either alone says all: leaving one out costs nothing, and yet each has its half."""
    score, _ = game({"a": 1.0, "b": 1.0, "a b": 1.0})
    found = contributions(("a", "b"), score, empty=0.0)
    assert found == {m: {"drop_one": 0.0, "shapley": 0.5} for m in ("a", "b")}


def test_a_symmetric_game_is_shared_evenly():
    # Worth the square of how many there are: 9 for three, a third each; without one, 4.
    found = contributions(("a", "b", "c"), lambda subset: float(len(subset) ** 2), empty=0.0)
    for values in found.values():
        assert values == pytest.approx({"drop_one": 5.0, "shapley": 3.0})


def test_a_dummy_adds_what_it_is_worth_alone():
    table = {"a": 5, "b": 3, "a b": 11, "d": 0, "a d": 5, "b d": 3, "a b d": 11}
    found = contributions(("a", "b", "d"), game(table)[0], empty=0)
    assert found["d"] == {"drop_one": 0, "shapley": 0}
    alone = contributions(("a", "b"), game(table)[0], empty=0)
    assert {m: found[m]["shapley"] for m in "ab"} == pytest.approx({m: alone[m]["shapley"] for m in "ab"})


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_any_game_is_the_mean_over_all_orders_and_sums_to_the_whole(count):
    names = ("pose", "rgb", "audio", "flow")[:count]
    empty = 0.37

    def score(subset):
        return sum(len(name) ** 1.5 for name in subset) + (3.0 if {"rgb", "audio"} <= subset else 0) - len(subset) ** 2

    def worth(subset):
        return score(subset) if subset else empty

    found = contributions(names, score, empty=empty)
    for name in names:
        added = [
            worth(frozenset(order[: order.index(name) + 1])) - worth(frozenset(order[: order.index(name)]))
            for order in permutations(names)
        ]
        assert found[name]["shapley"] == pytest.approx(sum(added) / len(added))
    total = sum(values["shapley"] for values in found.values())
    assert total == pytest.approx(score(frozenset(names)) - empty)


def test_one_modality_has_it_all():
    found = contributions(("rgb",), lambda _: 0.9, empty=0.25)
    assert found == {"rgb": {"drop_one": 0.65, "shapley": 0.65}}


@pytest.mark.parametrize("names", [(), ("a", "b", "c", "d", "e"), ("a", "a")])
def test_what_cannot_be_shared_out(names):
    with pytest.raises(ValueError, match="expected 1 to 4 different modalities"):
        contributions(names, lambda _: 0.0, empty=0.0)
