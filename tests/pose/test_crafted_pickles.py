"""Pickles that no library writes: each instruction and each claim that could do harm, or takes what is not there."""

import struct
import tracemalloc

import pytest

from actrec.errors import BadItem
from actrec.pose.unpickle import load_plain


def load(content):
    return load_plain(memoryview(content))


def refusal(content):
    """Return the reason for which a pickle is refused."""
    with pytest.raises(BadItem) as refused:
        load(content)
    return refused.value.reason


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


# numpy.dtype("f4"), with its state; and bytes of 8 zeros
F4 = (
    b"cnumpy\ndtype\n"
    + text("f4")
    + b"\x89\x88\x87R(K\x03"
    + text("<")
    + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)
ZEROS = b"C\x08" + bytes(8)
NEW = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"


def array(shape, dtype=F4, content=ZEROS, version=b"K\x01", order=b"\x89"):
    return NEW + b"(" + version + shape + dtype + order + content + b"tb"


def as_type(code, state=None):
    made = b"cnumpy\ndtype\n" + text(code) + b"\x89\x88\x87R"
    return made if state is None else made + state + b"b"


PAIR = b"K\x02\x85"
CRAFTED = {
    "the good one": (array(PAIR), None),
    "persistent id": (b"Pmodule\n", "unsafe_pickle"),
    "persistent id on the stack": (text("x") + b"Q", "unsafe_pickle"),
    "extension 1": (b"\x82\x01", "unsafe_pickle"),
    "extension 2": (b"\x83\x01\x00", "unsafe_pickle"),
    "extension 4": (b"\x84\x01\x00\x00\x00", "unsafe_pickle"),
    "buffer from elsewhere": (b"\x97", "unsafe_pickle"),
    "read-only buffer": (b"\x96" + struct.pack("<Q", 1) + b"x\x98", "unsafe_pickle"),
    "set": (b"\x8f", "unsafe_pickle"),
    "adding to a set": (b"](K\x01\x90", "unsafe_pickle"),
    "frozenset": (b"(\x91", "unsafe_pickle"),
    "text of protocol 0": (b"S'x'\n", "unsafe_pickle"),
    "number of protocol 0": (b"I7\n", "unsafe_pickle"),
    "text of Python 2": (b"U\x01x", "unsafe_pickle"),
    "unknown instruction": (b"\xff", "unsafe_pickle"),
    "state for a dict": (b"}" + b"}" + text("x") + b"K\x01sb", "unsafe_pickle"),
    "state for a list": (b"]K\x01b", "unsafe_pickle"),
    "state for a known name": (b"cnumpy\ndtype\n}b", "unsafe_pickle"),
    "state for a type twice": (F4 + b"(K\x03" + text("<") + b"NNNtb", "unsafe_pickle"),
    "state for an array twice": (array(PAIR) + b"(K\x01" + PAIR + F4 + b"\x89" + ZEROS + b"tb", "unsafe_pickle"),
    "a call of a list": (b"])R", "unsafe_pickle"),
    "a call of text": (text("os.system") + b")R", "unsafe_pickle"),
    "a call with a list": (b"cnumpy\ndtype\n]R", "unsafe_pickle"),
    "a known name, dotted": (text("numpy") + text("ndarray.tofile") + b"\x93", "unsafe_pickle"),
    "a name that is no text": (b"K\x01K\x02\x93", "unsafe_pickle"),
    "a name that is a list": (b"]]\x93", "unsafe_pickle"),
    "a name without end": (b"c" + b"x" * 1000, "unsafe_pickle"),
    "a subclass of ndarray": (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nmemmap\nK\x00\x85C\x01b\x87R",
        "unsafe_pickle",
    ),
    "an array of a type's type": (NEW.replace(b"ndarray", b"dtype"), "unsafe_pickle"),
    "keys that are tuples": (b"})K\x01s", "unsafe_pickle"),
    "keys that are numbers with a point": (b"}G" + bytes(8) + b"K\x01s", "unsafe_pickle"),
    "items of a list": (b"]" + text("x") + b"K\x01s", "unsafe_pickle"),
    "a tuple that grows": (b")K\x01a", "unsafe_pickle"),
    "an array that grows": (array(PAIR) + b"K\x01a", "unsafe_pickle"),
    "an odd number of keys and values": (b"}(" + text("x") + b"u", "unsafe_pickle"),
    "objects": (array(PAIR, as_type("O8", b"(K\x03" + text("|") + b"NNNtb")), "unsafe_pickle"),
    "objects in a list": (array(PAIR, F4, b"]"), "unsafe_pickle"),
    "objects by a flag": (
        array(PAIR, as_type("f4", b"(K\x03" + text("<") + b"N" + text("x") + b"}t")),
        "unsafe_pickle",
    ),
    "fields": (array(PAIR, as_type("f4", b"(K\x03" + text("<") + b"N" + b"(" + text("x") + b"t}t")), "unsafe_pickle"),
    "a type of another size": (array(PAIR, as_type("f1")), "unsafe_pickle"),
    "a type by its fields": (array(PAIR, as_type("f4,O")), "unsafe_pickle"),
    "a type without state": (array(PAIR, as_type("f4")), "unsafe_pickle"),
    "a type that is text": (array(PAIR, text("f4")), "unsafe_pickle"),
    "a scalar object": (b"cnumpy.core.multiarray\nscalar\n" + as_type("O8") + ZEROS + b"\x86R", "unsafe_pickle"),
    "a scalar of a list": (b"cnumpy.core.multiarray\nscalar\n" + F4 + b"]\x86R", "unsafe_pickle"),
    "a scalar of too many bytes": (b"cnumpy.core.multiarray\nscalar\n" + F4 + ZEROS + b"\x86R", "malformed"),
    "fewer bytes than the shape needs": (array(b"K\x03\x85"), "malformed"),
    "more bytes than the shape needs": (array(b"K\x01\x85"), "malformed"),
    "a shape of terabytes": (array(b"J\xff\xff\xff\x7f" * 3 + b"\x87"), "malformed"),
    "a shape of terabytes, of no bytes": (
        array(b"K\x00" + b"J\xff\xff\xff\x7f" * 2 + b"\x87", F4, b"C\x00"),
        "malformed",
    ),
    "a shape below 0": (array(b"J\xfe\xff\xff\xff\x85"), "malformed"),
    "a shape of two below 0": (array(b"J\xfe\xff\xff\xff" + b"J\xff\xff\xff\xff\x86"), "malformed"),
    "a shape of lists": (array(b"]\x85"), "malformed"),
    "a shape of truth": (array(b"\x88K\x02\x86"), "malformed"),
    "nine axes": (array(b"(" + b"K\x01" * 8 + b"K\x02t"), "malformed"),
    "another version of the state": (array(PAIR, version=b"K\x02"), "unsafe_pickle"),
    "bytes of a terabyte": (b"\x8e" + struct.pack("<Q", 2**40), "truncated"),
    "bytes of all there is": (b"\x8e" + struct.pack("<Q", 2**64 - 1), "truncated"),
    "a bytearray of a terabyte": (b"\x96" + struct.pack("<Q", 2**40), "truncated"),
    "bytes of 4 GB": (b"B" + struct.pack("<I", 2**32 - 1), "truncated"),
    "text of a terabyte": (b"\x8d" + struct.pack("<Q", 2**40), "truncated"),
    "text that is not UTF-8": (b"\x8c\x02\xff\xff", "malformed"),
    "half a pair of UTF-16": (b"\x8c\x03\xed\xa0\x80", "malformed"),
    "a number of a gigabyte": (b"\x8b" + struct.pack("<i", 2**30), "unsafe_pickle"),
    "a number of 255 bytes": (b"\x8a\xff" + b"\x01" * 255, "malformed"),
    "memory at 4 billion": (b"Nr\xff\xff\xff\xff", None),
    "memory that is not there": (b"h\x07", "malformed"),
    "memory of a mark": (b"(q\x00", "malformed"),
    "what is below the mark": (b"K\x01(\x85t", "malformed"),
    "no mark": (b"K\x01t", "malformed"),
    "nothing": (b"", "malformed"),
    "two values": (b"NN", "malformed"),
    "an open mark": (b"(N", "malformed"),
    "a mark alone": (b"(", "malformed"),
    "doubling": (b"N2", "unsafe_pickle"),
    "throwing away": (b"NN0", "unsafe_pickle"),
    "throwing away to a mark": (b"N(N1", "unsafe_pickle"),
    "bytes(10**9)": (b"c__builtin__\nbytes\nJ\x00\xca\x9a\x3b\x85R", "unsafe_pickle"),
    "encode of a list": (b"c_codecs\nencode\n]" + text("latin1") + b"\x86R", "unsafe_pickle"),
    "encode beyond latin1": (b"c_codecs\nencode\n" + text("€") + text("latin1") + b"\x86R", "unsafe_pickle"),
    "text with no such letter": (
        b"cnumpy.core.multiarray\nscalar\n"
        + as_type("U2", b"(K\x03" + text("<") + b"NNNt")
        + b"C\x08"
        + b"\xff" * 8
        + b"\x86R",
        "malformed",
    ),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_pickles_are_refused_and_take_no_memory(name):
    content, reason = CRAFTED[name]
    content = b"\x80\x04" + content + b"."
    tracemalloc.start()
    try:
        if reason is None:
            load(content)
        else:
            assert refusal(content) == reason
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_nested_bombs_end():
    doubled = b"]q\x00" + b"".join(b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60))
    assert refusal(b"\x80\x02" + doubled + b".") == "malformed"  # 61 values, each with the one before it twice
    deep = b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."
    assert type(load(deep)) is list
    keys = b"})q\x00" + b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60))
    assert refusal(b"\x80\x02" + keys + b"Ns.") == "unsafe_pickle"  # whose hash takes 2**60 steps
    assert refusal(b"\x80\x02" + b"}" * 1_400_000 + b".") == "too_large"
    cycle = load(b"\x80\x02]q\x00h\x00a.")
    assert cycle[0] is cycle
