"""Plain data and numpy arrays out of a pickle, without Python's unpickler: nothing in the file is ever called.

A pickle is a program for a small machine with a stack. Python's own imports whatever the program names and calls it;
this one knows the instructions that protocols 2 to 5 use for plain data, and a few names, which it gives a meaning of
its own: those of numpy 1 and 2 for arrays, scalars and types of numbers. Everything else is refused before it has any
effect. Arrays are views of the file's own bytes, so no claim in it can make them larger than the file is.
"""

import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from typing import Any

import numpy as np

from actrec.errors import BadItem

# A clip of real data takes some 70 bytes an instruction, a list of names 10; a dictionary takes 64 bytes of memory.
_FREE_STEPS, _BYTES_PER_STEP = 1_000_000, 4
_MAX_DIMENSIONS = 8
_MAX_NAME_BYTES = 200
_MAX_INT_BYTES = 8
_NUMBER_TYPES = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
_TEXT_TYPE = re.compile(r"U[0-9]{1,4}", re.ASCII)


class _Known(Enum):
    """What a name in a pickle may stand for."""

    NDARRAY = auto()
    NEW_ARRAY = auto()
    ARRAY_OF_BYTES = auto()
    SCALAR = auto()
    DTYPE = auto()
    ENCODE = auto()
    BYTES = auto()


_NAMES: Mapping[tuple[str, str], _Known] = {
    ("numpy", "ndarray"): _Known.NDARRAY,
    ("numpy", "dtype"): _Known.DTYPE,
    ("numpy.core.multiarray", "_reconstruct"): _Known.NEW_ARRAY,
    ("numpy._core.multiarray", "_reconstruct"): _Known.NEW_ARRAY,
    ("numpy.core.multiarray", "scalar"): _Known.SCALAR,
    ("numpy._core.multiarray", "scalar"): _Known.SCALAR,
    ("numpy.core.numeric", "_frombuffer"): _Known.ARRAY_OF_BYTES,
    ("numpy._core.numeric", "_frombuffer"): _Known.ARRAY_OF_BYTES,
    # Protocol 2 has no bytes of its own: Python 3 writes them as encode(text, "latin1"), and none as bytes().
    ("_codecs", "encode"): _Known.ENCODE,
    ("__builtin__", "bytes"): _Known.BYTES,
}


class _Unbuilt:
    """An array, or (`code`) a type of numbers, that the program has made and not yet filled."""

    def __init__(self, code: str | None = None) -> None:
        self.code = code
        self.memo_keys: list[int] = []


def load_plain(content: memoryview) -> Any:
    """Return what a pickle of protocol 2 to 5 holds: dict, list, tuple, str, int, float, bool, None, bytes and ndarray.

    Bytes and arrays are views of `content`, so they are read-only and keep it alive; a numpy scalar becomes a plain
    number or str. Keys of a dict are str or int. Nested values are not looked at: read only what a schema names, since
    a small file may hold the same list in itself ever so often.

    Args:
        content: The whole file.

    Raises:
        BadItem: unsafe_pickle (a name or an instruction that such data has no use for), truncated, malformed,
            too_large (many parts for so small a file).
    """
    return _Machine(content).run()


def _refused(what: str) -> BadItem:
    return BadItem(
        "unsafe_pickle",
        f"expected plain data and numpy arrays, got {what}. Nothing of it was run. If you trust it, write it anew "
        "where it was made, of dict, list, str, int and arrays of numbers",
    )


def _malformed(what: str) -> BadItem:
    return BadItem("malformed", f"expected a pickle of plain data, got {what}")


class _Machine:
    """The machine: where it is in the program, its stack with marks, and its memory of values."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._at = 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        if len(self._content) < 2 or self._content[0] != 0x80 or self._content[1] not in range(2, 6):
            raise _malformed(
                "a file that does not begin as protocols 2 to 5 do. Write it with pickle.dump(…, protocol=4)"
            )
        steps = _FREE_STEPS + len(self._content) // _BYTES_PER_STEP
        for _ in range(steps):
            opcode = self._number("<B")
            if opcode == _STOP:
                return self._result()
            step = _STEPS.get(opcode)
            if step is None:
                raise _refused(f"instruction 0x{opcode:02x} {_REFUSED_OPCODES.get(opcode, '')}".rstrip())
            step(self)
        raise BadItem("too_large", f"more than {steps} instructions in {len(self._content)} bytes")

    def _result(self) -> Any:
        if len(self._stack) != 1 or self._marks:
            raise _malformed(f"{len(self._stack)} values at its end instead of 1")
        if self._at != len(self._content):
            raise _malformed(f"{len(self._content) - self._at} bytes after its end")
        return self._stack[0]

    # --- the file

    def _take(self, num_bytes: int) -> memoryview:
        if num_bytes > len(self._content) - self._at:
            left = len(self._content) - self._at
            raise BadItem("truncated", f"expected {num_bytes} more bytes at byte {self._at}, got {left}")
        self._at += num_bytes
        return self._content[self._at - num_bytes : self._at]

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _line(self) -> str:
        start = bytes(self._content[self._at : self._at + _MAX_NAME_BYTES])
        length = start.find(b"\n")
        if length < 0:
            raise _refused(f"a name without end at byte {self._at}")
        self._at += length + 1
        return start[:length].decode("ascii", "backslashreplace")

    # --- the stack

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise _malformed(f"a program that takes what is not there, at byte {self._at}")
        return self._stack.pop()

    def _pop_many(self, count: int) -> list[Any]:
        return [self._pop() for _ in range(count)][::-1]

    def _pop_to_mark(self) -> list[Any]:
        if not self._marks:
            raise _malformed(f"a program that takes what is not there, at byte {self._at}")
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def _top(self, kind: type) -> Any:
        value = self._pop()
        if type(value) is not kind:
            raise _refused(f"a program that fills a {type(value).__name__} as if it were a {kind.__name__}")
        self._stack.append(value)
        return value

    # --- instructions

    def skip(self, num_bytes: int) -> None:
        self._take(num_bytes)

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def push_number(self, form: str) -> None:
        self._stack.append(self._number(form))

    def push_text(self, form: str) -> None:
        try:
            self._stack.append(str(self._take(self._number(form)), "utf-8"))
        except UnicodeDecodeError as error:
            raise _malformed(f"text that is not UTF-8 before byte {self._at}: {error.reason}") from None

    def push_bytes(self, form: str) -> None:
        self._stack.append(self._take(self._number(form)))

    def push_int(self) -> None:
        num_bytes = self._number("<B")
        if num_bytes > _MAX_INT_BYTES:
            raise _malformed(f"a whole number of {num_bytes} bytes")
        self._stack.append(int.from_bytes(self._take(num_bytes), "little", signed=True))

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def push_tuple(self, count: int | None = None) -> None:
        self._stack.append(tuple(self._pop_to_mark() if count is None else self._pop_many(count)))

    def extend(self, is_many: bool) -> None:
        values = self._pop_to_mark() if is_many else self._pop_many(1)
        self._top(list).extend(values)

    def update(self, is_many: bool) -> None:
        values = self._pop_to_mark() if is_many else self._pop_many(2)
        # Of other keys the hash may never end: a tuple of two that are the same tuple of two, and so on.
        if len(values) % 2 or not all(type(key) in (str, int) for key in values[::2]):
            raise _refused("a dictionary with keys that are not text")
        self._top(dict).update(zip(values[::2], values[1::2], strict=True))

    def remember(self, form: str | None) -> None:
        key = len(self._memo) if form is None else self._number(form)
        value = self._pop()
        self._stack.append(value)
        self._memo[key] = value
        if isinstance(value, _Unbuilt):
            value.memo_keys.append(key)

    def recall(self, form: str) -> None:
        key = self._number(form)
        if key not in self._memo:
            raise _malformed(f"a program that recalls what it has not kept, at byte {self._at}")
        self._stack.append(self._memo[key])

    def name_in_text(self) -> None:
        self._push_known(self._line(), self._line())

    def name_on_stack(self) -> None:
        self._push_known(*self._pop_many(2))

    def _push_known(self, module: Any, name: Any) -> None:
        known = _NAMES.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if known is None:
            shown = ".".join(part[:60] if isinstance(part, str) else type(part).__name__ for part in (module, name))
            raise _refused(f"{shown!a}")
        self._stack.append(known)

    def call(self) -> None:
        known, arguments = self._pop_many(2)
        if not isinstance(known, _Known) or type(arguments) is not tuple:
            raise _refused(f"a call of a {type(known).__name__}")
        self._stack.append(_made(known, arguments))

    def fill(self) -> None:
        unbuilt, state = self._pop_many(2)
        if not isinstance(unbuilt, _Unbuilt) or type(state) is not tuple:
            raise _refused(f"a change of a {type(unbuilt).__name__}")
        built = _array_of_state(state) if unbuilt.code is None else _type_of_state(unbuilt.code, state)
        self._stack.append(built)
        for key in unbuilt.memo_keys:
            self._memo[key] = built


def _made(known: _Known, arguments: tuple[Any, ...]) -> Any:
    match known, arguments:
        case _Known.NEW_ARRAY, (_Known.NDARRAY, _, _):
            return _Unbuilt()
        case _Known.DTYPE, (str(code), _, _) if code in _NUMBER_TYPES or _TEXT_TYPE.fullmatch(code):
            return _Unbuilt(code)
        case _Known.DTYPE, (str(code), *_):
            raise _refused(f"an array of type '{code[:20]}'")
        case _Known.SCALAR, (np.dtype() as dtype, memoryview() | bytes() as content):
            return _text(dtype, content) if dtype.kind == "U" else _array(dtype, (), content).item()
        case _Known.ARRAY_OF_BYTES, (memoryview() | bytes() as content, np.dtype() as dtype, tuple(shape), order):
            return _array(dtype, shape, content, "F" if order == "F" else "C")
        case _Known.ARRAY_OF_BYTES, (memoryview() | bytes() as content, np.dtype() as dtype, tuple(shape), "K", axes):
            return _transposed(_array(dtype, shape, content), axes)
        case _Known.ENCODE, (str(text), "latin1") if text.isascii() or max(text) <= "\xff":
            return text.encode("latin1")
        case _Known.BYTES, ():
            return b""
    raise _refused(f"{known.name.lower()} of unexpected values")


def _type_of_state(code: str, state: tuple[Any, ...]) -> "np.dtype[Any]":
    match state:
        case (3 | 4, "<" | ">" | "|" | "=" as order, None, None, None, *_):
            return np.dtype(code).newbyteorder(order)
    raise _refused(f"an array of type '{code}' with fields or objects")


def _array_of_state(state: tuple[Any, ...]) -> "np.ndarray[Any, Any]":
    match state:
        case (1, tuple(shape), np.dtype() as dtype, bool() | 0 | 1 as is_fortran, memoryview() | bytes() as content):
            return _array(dtype, shape, content, "F" if is_fortran else "C")
    raise _refused("an array of objects, or one that is not made of bytes")


def _array(
    dtype: "np.dtype[Any]", shape: Sequence[Any], content: memoryview | bytes, order: Any = "C"
) -> "np.ndarray[Any, Any]":
    """Return the array that these bytes are, without a copy."""
    if len(shape) > _MAX_DIMENSIONS or not all(type(side) is int and 0 <= side < 2**31 for side in shape):
        raise _malformed("an array of impossible shape")
    expected = math.prod(shape) * dtype.itemsize
    if expected != len(content) or not dtype.itemsize:
        raise _malformed(f"an array of {len(content)} bytes whose shape needs {expected}")
    flat = np.frombuffer(content, dtype) if expected else np.empty(0, dtype)
    try:
        return flat.reshape(tuple(shape), order=order)
    except ValueError as error:
        raise _malformed(f"an array of impossible shape ({error})") from None


def _text(dtype: "np.dtype[Any]", content: memoryview | bytes) -> str:
    """Return the text of a scalar, which numpy would take for letters whatever its bytes are."""
    try:
        return bytes(content).decode("utf-32-be" if dtype.byteorder == ">" else "utf-32-le").rstrip("\0")
    except UnicodeDecodeError as error:
        raise _malformed(f"text with letters that there are not ({error.reason})") from None


def _transposed(values: "np.ndarray[Any, Any]", axes: Any) -> "np.ndarray[Any, Any]":
    if type(axes) is not tuple or sorted(axes) != list(range(values.ndim)):
        raise _malformed("an array of impossible shape")
    return values.transpose(axes)


_STOP = ord(".")

_Step = Callable[[_Machine], None]


def _steps() -> dict[int, _Step]:
    """Return what each instruction does. Source: the notes in Python's Lib/pickletools.py."""
    steps: dict[int, _Step] = {
        ord("("): _Machine.mark,
        ord("t"): _Machine.push_tuple,
        ord("R"): _Machine.call,
        ord("b"): _Machine.fill,
        ord("c"): _Machine.name_in_text,
        0x93: _Machine.name_on_stack,
        0x8A: _Machine.push_int,
        0x80: lambda machine: machine.skip(1),  # the protocol
        0x95: lambda machine: machine.skip(8),  # how long a frame is
        ord("N"): lambda machine: machine.push(None),
        0x88: lambda machine: machine.push(True),
        0x89: lambda machine: machine.push(False),
        ord("}"): lambda machine: machine.push({}),
        ord("]"): lambda machine: machine.push([]),
        ord(")"): lambda machine: machine.push(()),
        0x94: lambda machine: machine.remember(None),
        ord("a"): lambda machine: machine.extend(False),
        ord("e"): lambda machine: machine.extend(True),
        ord("s"): lambda machine: machine.update(False),
        ord("u"): lambda machine: machine.update(True),
    }
    for count in (1, 2, 3):
        steps[0x84 + count] = lambda machine, count=count: machine.push_tuple(count)
    for opcode, form in ((ord("J"), "<i"), (ord("K"), "<B"), (ord("M"), "<H"), (ord("G"), ">d")):
        steps[opcode] = lambda machine, form=form: machine.push_number(form)
    for opcode, form in ((0x8C, "<B"), (ord("X"), "<I"), (0x8D, "<Q")):
        steps[opcode] = lambda machine, form=form: machine.push_text(form)
    for opcode, form in ((ord("C"), "<B"), (ord("B"), "<I"), (0x8E, "<Q"), (0x96, "<Q")):
        steps[opcode] = lambda machine, form=form: machine.push_bytes(form)
    for opcode, form in ((ord("q"), "<B"), (ord("r"), "<I")):
        steps[opcode] = lambda machine, form=form: machine.remember(form)
    for opcode, form in ((ord("h"), "<B"), (ord("j"), "<I")):
        steps[opcode] = lambda machine, form=form: machine.recall(form)
    return steps


_STEPS = _steps()

# The names of those that come up: what else there is, is of protocols 0 and 1, or makes objects.
_REFUSED_OPCODES: Mapping[int, str] = {
    ord("i"): "(INST, a call)",
    ord("o"): "(OBJ, a call)",
    0x81: "(NEWOBJ, a call)",
    0x92: "(NEWOBJ_EX, a call)",
    ord("P"): "(PERSID, an object from elsewhere)",
    ord("Q"): "(BINPERSID, an object from elsewhere)",
    0x82: "(EXT1, an object from a registry)",
    0x83: "(EXT2, an object from a registry)",
    0x84: "(EXT4, an object from a registry)",
    0x97: "(NEXT_BUFFER, data from elsewhere)",
    0x8F: "(EMPTY_SET)",
    0x91: "(FROZENSET)",
    0x8B: "(LONG4, a very long number)",
    ord("U"): "(text of Python 2: write the file again with Python 3)",
    ord("T"): "(text of Python 2: write the file again with Python 3)",
}
