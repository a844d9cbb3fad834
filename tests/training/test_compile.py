"""Training through torch.compile: the same run, the same names, and resumed to the bit."""

import shutil
from functools import partial
from unittest.mock import patch

import pytest
import torch
from test_resume import Killed, dying, ignore
from tiny_runs import ADAMW, HEAD, compiling_nothing, make_model, outcome
from two_devices import of_eye

from actrec.errors import UserError
from actrec.models.recogniser import Recogniser
from actrec.training import device

NO_DROPOUT = {**HEAD, "dropout": 0.0}
PHASES = {"freeze": {"epochs": 1, "lr": 0.1}, "epochs": 2, "optimizer": ADAMW}


@pytest.fixture
def traced():
    with compiling_nothing():
        yield


CACHED = {"compiled": True, "epochs": 2, "optimizer": ADAMW, "mixup_alpha": 0.4}


@pytest.fixture(scope="module")
def undisturbed(bench):
    """Return what runs end with that do not die: one on cached features, and one in two phases."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with compiling_nothing():
        runs = {
            "cached": bench.run("cached", **CACHED),
            "in phases": bench.run("live", model=of_eye(), compiled=True, **PHASES),
        }
        ends = {name: outcome(run.fit(ignore)) for name, run in runs.items()}
    torch.set_num_threads(threads)
    return ends


def numbers(fitted):
    return torch.cat([value.flatten().double() for value in fitted.last.values()])


def test_the_run_is_the_same_and_so_are_the_names(bench, tmp_path, traced):
    ends = {}
    for compiled in (False, True):
        state = tmp_path / f"{compiled}.pt"
        model = make_model(head=NO_DROPOUT)
        run = bench.run("live", state=state, model=model, compiled=compiled, epochs=1, optimizer=ADAMW, batch_size=5)
        ends[compiled] = run.fit(ignore)
    assert list(ends[True].last) == list(ends[False].last) and list(ends[True].best) == list(ends[False].best)
    assert numbers(ends[True]).numpy() == pytest.approx(numbers(ends[False]).numpy(), abs=1e-5)
    saved = [torch.load(tmp_path / f"{compiled}.pt", weights_only=True) for compiled in (False, True)]
    assert list(saved[0]["model"]) == list(saved[1]["model"])
    assert not [name for name in saved[1]["model"] if "_orig_mod" in name or "module." in name]


def test_each_phase_is_compiled_and_nothing_runs_past_it(bench):
    seen, tracing = [], []
    with compiling_nothing():
        compiler, learn = torch.compile, Recogniser.learn
        with (
            patch.object(
                torch, "compile", lambda model, **options: (seen.append(options), compiler(model, **options))[1]
            ),
            patch.object(Recogniser, "learn", spy(learn, tracing)),
        ):
            bench.run("live", model=of_eye(), compiled=True, **PHASES).fit(ignore)
    # A trial, and two phases; what Python does in a step happens while torch looks at it, not in each of the nine.
    assert seen == [{"dynamic": False}, *[{"dynamic": False, "options": {"deterministic": True}}] * 2]
    assert tracing and all(tracing)


def spy(method, found):
    def learn(self, batch):
        found.append(torch.compiler.is_compiling())
        return method(self, batch)

    return learn


@pytest.mark.parametrize("calls", [2, 3, 5])
def test_a_run_that_died_ends_as_if_it_had_not_to_the_bit(bench, undisturbed, tmp_path, traced, calls):
    """Also where the first batch after it is the smaller last one of an epoch."""
    make = partial(bench.run, "cached", state=tmp_path / "state.pt", save_every_s=0, **CACHED)
    with pytest.raises(Killed):
        dying(make(), "_step", calls=calls).fit(ignore)
    assert outcome(make().fit(ignore)) == undisturbed["cached"]


@pytest.mark.parametrize("calls", [3, 4, 5])
def test_so_does_one_that_died_about_the_end_of_a_phase(bench, undisturbed, tmp_path, traced, calls):
    make = partial(bench.run, "live", state=tmp_path / "state.pt", compiled=True, **PHASES)
    with pytest.raises(Killed):
        dying(make(model=of_eye(), save_every_s=0), "_step", calls=calls).fit(ignore)
    assert outcome(make(model=of_eye()).fit(ignore)) == undisturbed["in phases"]


def test_what_lacks_is_said_before_anything_else(bench, monkeypatch):
    def no_compiler(model, **options):
        def call(*args):
            raise RuntimeError("No working C++ compiler\nfound in PATH")

        return call

    monkeypatch.setattr(torch, "compile", no_compiler)
    with pytest.raises(
        UserError, match=r"compute\.compile is true, but .* on cpu here \(No working C\+\+ compiler found"
    ):
        bench.run("cached", compiled=True)
    bench.run("cached")  # without it nobody asks


@pytest.mark.skipif(not shutil.which("g++"), reason="there is no compiler")
def test_a_head_is_compiled_and_learns_the_same(bench):
    """By torch's own compiler, in C++; and again, to the bit."""
    make = partial(bench.run, "cached", epochs=1)
    first, again = (make(model=make_model(frozen=True, head=NO_DROPOUT), compiled=True).fit(ignore) for _ in range(2))
    plain = make(model=make_model(frozen=True, head=NO_DROPOUT)).fit(ignore)
    assert outcome(first) == outcome(again)
    assert numbers(first).numpy() == pytest.approx(numbers(plain).numpy(), abs=1e-5)


@pytest.mark.skipif(not shutil.which("g++"), reason="there is no compiler")
def test_a_compiler_that_is_gone_is_missed(monkeypatch):
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", ("/nowhere/g++",))
    with pytest.raises(UserError, match=r"torch\.compile does not work on cpu here .*set compute\.compile: false"):
        device.refuse_to_compile(torch.device("cpu"))
