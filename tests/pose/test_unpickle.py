"""Plain data comes out of pickles of protocols 2 to 5, and nothing else does, whatever the pickle asks for."""

import pickle
import random
import struct

import numpy as np
import pytest

from actrec.errors import BadItem
from actrec.pose.unpickle import load_plain

PROTOCOLS = (2, 3, 4, 5)


def load(content):
    return load_plain(memoryview(content))


def refusal(content):
    """Return the reason for which a pickle is refused."""
    with pytest.raises(BadItem) as refused:
        load(content)
    return refused.value.reason


# --- what is let in -----------------------------------------------------------------------------------------------

ARRAYS = {
    "C": np.arange(24, dtype=np.float16).reshape(2, 3, 4),
    "F": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "K": np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(1, 0, 2),
    "strided": np.arange(20, dtype=np.int64)[::2],
    "empty": np.zeros((0, 3), np.float32),
    "swapped": np.arange(5, dtype=">f4"),
    "no axes": np.array(7, np.uint8),
    "text": np.array(["a", "ünï"]),
    "bool": np.array([True, False]),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_come_out_as_python_reads_them(protocol):
    found = load(pickle.dumps(ARRAYS, protocol))
    assert list(found) == list(ARRAYS)
    for name, expected in ARRAYS.items():
        assert type(found[name]) is np.ndarray and found[name].dtype == expected.dtype, name
        np.testing.assert_array_equal(found[name], expected)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_come_out_as_python_reads_them(protocol):
    shared = ["x", "y"]
    plain = {
        "text": ["", "é" * 300, "x" * 70_000],
        "numbers": [0, 255, 256, 65536, -1, 2**31, -(2**40), 2**62, 1.5, float("inf")],
        "rest": (None, True, False, (), (1,), (1, 2, 3, 4), {}, [], {1: shared, -7: shared}),
        "many": list(range(3000)),
    }
    assert load(pickle.dumps(plain, protocol)) == plain


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scalars_of_numpy_become_plain(protocol):
    found = load(pickle.dumps([np.int64(-3), np.float32(0.5), np.bool_(True), np.str_("S001")], protocol))
    assert found == [-3, 0.5, True, "S001"]
    assert [type(value) for value in found] == [int, float, bool, str]


def test_names_of_numpy_1_are_known():
    for protocol in PROTOCOLS:
        content = pickle.dumps({"a": ARRAYS["C"], "b": np.float32(2)}, protocol)
        new, old = b"numpy._core.", b"numpy.core."
        assert new in content
        if protocol < 4:
            renamed = content.replace(new, old)
        else:  # there a length stands before a name, and another one before the whole
            renamed = content[:2] + content[11:]
            for rest in (b"multiarray", b"numeric"):
                short = (b"\x8c" + bytes([len(name + rest)]) + name + rest for name in (new, old))
                renamed = renamed.replace(*short)
        assert new not in renamed
        found = load(renamed)
        np.testing.assert_array_equal(found["a"], ARRAYS["C"])
        assert found["b"] == 2


def test_arrays_are_views_of_the_file():
    """A claim in the file cannot take memory that the file does not have."""
    content = bytearray(pickle.dumps(np.arange(1000.0), 4))
    found = load(content)
    before = found[7]
    place = bytes(content).index(struct.pack("<d", 7.0))
    content[place : place + 8] = struct.pack("<d", -1.0)
    assert (before, found[7]) == (7.0, -1.0)


# --- what is damaged ---------------------------------------------------------------------------------------------


def test_a_cut_pickle_is_refused_wherever_it_is_cut():
    for protocol in PROTOCOLS:
        content = pickle.dumps({"split": {"a": ["x"]}, "annotations": [{"keypoint": ARRAYS["C"], "n": 300}]}, protocol)
        for length in range(len(content)):
            assert refusal(content[:length]) in ("truncated", "malformed", "unsafe_pickle"), length


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\x80", b"PK\x03\x04", b"[1]", b"\x80\x01N.", b"\x80\x06N.", b"(dp0\n."]
)
def test_what_is_no_pickle_of_these_protocols_is_refused(content):
    assert refusal(content) in ("malformed", "truncated")


def test_more_after_the_end_is_refused():
    assert refusal(pickle.dumps([1]) + pickle.dumps([2])) == "malformed"


def test_damaged_pickles_end_in_a_refusal_or_plain_data():
    """2,000 pickles with a few bytes changed: whatever comes of it, nothing but BadItem is raised."""
    draw = random.Random(0)
    whole = [pickle.dumps({"split": {"a": ["x"]}, "b": list(ARRAYS.values()), "c": np.str_("x")}, p) for p in PROTOCOLS]
    num_refused = 0
    for _ in range(2000):
        content = bytearray(draw.choice(whole))
        for _ in range(draw.randint(1, 4)):
            content[draw.randrange(2, len(content))] = draw.randrange(256)
        try:
            load(content)
        except BadItem:
            num_refused += 1
    assert num_refused > 1000
