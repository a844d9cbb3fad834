"""What hostile pickles ask for is refused before it has any effect."""

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from actrec.errors import BadItem
from actrec.pose.unpickle import load_plain

PROTOCOLS = (2, 3, 4, 5)


def refusal(content):
    """Return the reason for which a pickle is refused."""
    with pytest.raises(BadItem) as refused:
        load_plain(memoryview(content))
    return refused.value.reason


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def by_global(module, name, arguments):
    return f"c{module}\n{name}\n".encode() + arguments + b"R"


def by_stack_global(module, name, arguments):
    return text(module) + text(name) + b"\x93" + arguments + b"R"


def by_inst(module, name, arguments):
    return b"(" + arguments[1:-1] + f"i{module}\n{name}\n".encode()


def by_obj(module, name, arguments):
    return b"(" + f"c{module}\n{name}\n".encode() + arguments[1:-1] + b"o"


def by_newobj(module, name, arguments):
    return f"c{module}\n{name}\n".encode() + arguments + b"\x81"


def by_newobj_ex(module, name, arguments):
    return f"c{module}\n{name}\n".encode() + arguments + b"}" + b"\x92"


def by_memo(module, name, arguments):
    return f"c{module}\n{name}\n".encode() + b"q\x00" + b"0" + b"h\x00" + arguments + b"R"


WAYS = (by_global, by_stack_global, by_inst, by_obj, by_newobj, by_newobj_ex, by_memo)
CANARY = "canary"


def tuple_of(*values):
    return b"(" + b"".join(text(v) if isinstance(v, str) else b"J" + struct.pack("<i", v) for v in values) + b"t"


COMMAND = f"echo > {CANARY}"
CODE = f"open('{CANARY}', 'w').close()"
CALLS = {
    "os.system": tuple_of(COMMAND),
    "posix.system": tuple_of(COMMAND),
    "nt.system": tuple_of(COMMAND),
    "os.popen": tuple_of(COMMAND),
    "os.remove": tuple_of("keep"),
    "os.mkdir": tuple_of(CANARY),
    "os.execlp": tuple_of("touch", "touch", CANARY),
    "subprocess.getoutput": tuple_of(COMMAND),
    "subprocess.Popen": tuple_of("ls"),
    "builtins.eval": tuple_of(CODE),
    "builtins.exec": tuple_of(CODE),
    "__builtin__.eval": tuple_of(CODE),
    "__builtin__.file": tuple_of(CANARY, "w"),
    "builtins.compile": tuple_of(CODE, "x", "exec"),
    "builtins.getattr": tuple_of("x", "__class__"),
    "builtins.setattr": tuple_of("x", "y", "z"),
    "builtins.__import__": tuple_of("antigravity"),
    "builtins.open": tuple_of(CANARY, "w"),
    "io.open": tuple_of(CANARY, "w"),
    "builtins.bytearray": tuple_of(2**31 - 1),
    "builtins.bytes": tuple_of(2**31 - 1),
    "__builtin__.bytes": tuple_of(2**31 - 1),
    "builtins.range": tuple_of(2**31 - 1),
    "builtins.print": tuple_of("x"),
    "builtins.input": tuple_of("x"),
    "builtins.type": tuple_of("x"),
    "builtins.object": b"(t",
    "builtins.set": b"(t",
    "builtins.breakpoint": b"(t",
    "importlib.import_module": tuple_of("antigravity"),
    "runpy.run_path": tuple_of("evil.py"),
    "runpy._run_code": tuple_of(CODE),
    "pty.spawn": tuple_of("sh"),
    "shutil.rmtree": tuple_of("."),
    "shutil.copy": tuple_of("keep", CANARY),
    "pathlib.PosixPath": tuple_of("x"),
    "socket.create_connection": tuple_of("localhost", 1),
    "urllib.request.urlopen": tuple_of("file:///etc/hostname"),
    "webbrowser.open": tuple_of("x"),
    "ctypes.CDLL": tuple_of("libc.so.6"),
    "code.interact": b"(t",
    "timeit.timeit": tuple_of(CODE),
    "cProfile.run": tuple_of(CODE),
    "pdb.run": tuple_of(CODE),
    "bdb.Bdb.run": tuple_of(CODE),
    "doctest.debug_script": tuple_of(CODE),
    "logging.config.listen": b"(t",
    "marshal.loads": tuple_of("x"),
    "pickle.loads": tuple_of("x"),
    "_pickle.Unpickler": tuple_of("x"),
    "functools.partial": tuple_of("x"),
    "functools.reduce": tuple_of("x", "y"),
    "operator.attrgetter": tuple_of("__class__"),
    "operator.methodcaller": tuple_of("system", "x"),
    "types.FunctionType": tuple_of("x"),
    "types.CodeType": b"(t",
    "copyreg._reconstructor": tuple_of("x"),
    "copyreg.add_extension": tuple_of("os", "system", 1),
    "collections.OrderedDict": b"(t",
    "collections.namedtuple": tuple_of("x", "y"),
    "codecs.open": tuple_of(CANARY, "w"),
    "_codecs.decode": tuple_of("x", "hex"),
    "_codecs.encode": tuple_of("x", "rot13"),
    "codecs.encode": tuple_of("x", "latin1"),
    "numpy.load": tuple_of("evil.npy", "r"),
    "numpy.fromfile": tuple_of("keep"),
    "numpy.memmap": tuple_of(CANARY, "f4", "w+"),
    "numpy.save": tuple_of(CANARY, 1),
    "numpy.savetxt": tuple_of(CANARY, 1),
    "numpy.loadtxt": tuple_of("keep"),
    "numpy.genfromtxt": tuple_of("keep"),
    "numpy.frompyfunc": tuple_of("x", 1, 1),
    "numpy.vectorize": tuple_of("x"),
    "numpy.zeros": tuple_of(2**31 - 1),
    "numpy.ndarray": tuple_of(2**31 - 1),
    "numpy.array": tuple_of("x"),
    "numpy.matrix": tuple_of("__import__"),
    "numpy.rec.fromrecords": tuple_of("x"),
    "numpy.ndarray.tofile": tuple_of(CANARY),
    "numpy.ctypeslib.load_library": tuple_of("libc", "."),
    "numpy.lib.format.open_memmap": tuple_of(CANARY, "w+"),
    "numpy.testing.measure": tuple_of(CODE),
    "numpy.testing._private.utils.runstring": tuple_of(CODE, "d"),
    "numpy.core.multiarray.fromfile": tuple_of("keep"),
    "numpy._core.multiarray.frombuffer": tuple_of("x"),
    "numpy.core.numeric.fromstring": tuple_of("x"),
    "numpy._core.numeric.fromfunction": tuple_of("x", 1),
    "numpy.f2py.compile": tuple_of("x"),
    "numpy.distutils.exec_command.exec_command": tuple_of(COMMAND),
    "torch.load": tuple_of("evil.pt"),
    "pandas.read_pickle": tuple_of("evil.pkl"),
    "joblib.load": tuple_of("evil.pkl"),
    "sys.modules": b"(t",
    "__main__.anything": b"(t",
    "actrec.pose.unpickle.load_plain": tuple_of("x"),
}


def test_there_are_enough_hostile_pickles():
    assert len(CALLS) * len(WAYS) > 600


@pytest.mark.parametrize("name", CALLS)
def test_calls_are_refused(name, tmp_path, monkeypatch):
    """By each instruction that can call, alone and where data should be; the names are never imported."""
    monkeypatch.chdir(tmp_path)
    Path("keep").write_text("")
    module, _, attribute = name.rpartition(".")
    for way in WAYS:
        call = way(module, attribute, CALLS[name])
        for content in (call, b"]" + call + b"a", b"}" + text("annotations") + call + b"s"):
            for protocol in PROTOCOLS:
                assert refusal(bytes([0x80, protocol]) + content + b".") == "unsafe_pickle"
    assert [path.name for path in Path().iterdir()] == ["keep"]


def test_the_canary_sings_where_pickles_are_run(tmp_path, monkeypatch):
    """The check itself: Python's unpickler does what these pickles say."""
    monkeypatch.chdir(tmp_path)
    for name in ("os.system", "builtins.exec", "subprocess.getoutput", "builtins.eval"):
        module, _, attribute = name.rpartition(".")
        for way in WAYS[:4]:
            pickle.loads(b"\x80\x04" + way(module, attribute, CALLS[name]) + b".")
            Path(CANARY).unlink()


def reduced(*parts):
    """Return a pickle, by Python, of an object that asks for a call."""

    class Asks:
        def __reduce__(self):
            return parts

    return Asks()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_objects_that_python_pickles_are_refused(protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = [
        reduced(os.system, (COMMAND,)),
        reduced(eval, (CODE,)),
        reduced(exec, (CODE,)),
        reduced(getattr, ("x", "upper")),
        reduced(np.load, ("evil.npy",)),
        reduced(dict, (), {"x": 1}),
        Path("x"),
        {1, 2},
        frozenset({1}),
        1j,
        os.system,
        np.array([1, None], object),
        np.array([reduced(os.system, (COMMAND,))], object),
        np.zeros(2, [("x", "f4")]),
        np.zeros(2, "V8"),
        np.zeros(2, "S3"),
        np.zeros(2, "M8[s]"),
        np.zeros(2, "c8"),
        np.ma.masked_array([1.0]),
        np.zeros(2).view(np.recarray),
        np.float64,
        np.dtype(object),
        np.random.default_rng(0),
        bytearray(b"xy") if protocol < 5 else {3},
    ]
    for value in values:
        for content in (value, [value], {"annotations": [{"keypoint": value}]}):
            assert refusal(pickle.dumps(content, protocol)) == "unsafe_pickle", value
    assert not list(Path().iterdir())
