"""Devices and precisions, and what torch gets wrong on them."""

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from tiny_runs import HEAD, make_model, outcome, same

from actrec.errors import UserError
from actrec.training.device import launch, refuse_wrong_gradients, seed_step, synchronise_batch_norm
from pipeline import evaluate, features, train

NO_DROPOUT = {**HEAD, "dropout": 0.0}
REPO = Path(__file__).resolve().parents[2]


def ignore(row):
    pass


def test_fp16_on_a_cpu_is_refused():
    with pytest.raises(UserError, match=r"fp16 needs a CUDA GPU, this runs on cpu\. Set train\.precision: bf16"):
        launch(device="cpu", threads=1, precision="fp16")


@pytest.mark.parametrize(
    ("device", "message"),
    [("cuda", "is cuda, but torch sees no GPU here"), ("mps", "is mps, but this machine has none")],
)
def test_a_gpu_that_is_not_there_is_refused(monkeypatch, device, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=rf"compute\.device {message}\. Set compute\.device: auto"):
        launch(device=device, threads=1, precision="fp32")


def test_bf16(bench):
    """With the data in memory, since the tiny clips are too small for it: see the test below."""
    fabric = launch(device="cpu", threads=1, precision="bf16")
    first, second = (outcome(bench.run("cached", fabric=fabric, epochs=2).fit(ignore)) for _ in range(2))
    assert first == second
    assert first["last"] != outcome(bench.run("cached", epochs=2).fit(ignore))["last"]
    assert all(np.isfinite(row["train_loss"]) for row in first["history"])


@pytest.fixture
def given(monkeypatch) -> dict[str, Any]:
    """Return what Fabric is asked for, in whose place stands what does nothing."""
    found: dict[str, Any] = {}

    class Asked:
        def __init__(self, **options):
            found.update(options)

        def launch(self):
            pass

    monkeypatch.setattr("actrec.training.device.Fabric", Asked)
    return found


@pytest.mark.parametrize(("precision", "asked"), [("fp32", "32-true"), ("bf16", "bf16-mixed"), ("fp16", "16-mixed")])
def test_fabric_is_asked_for_the_precision(monkeypatch, given, precision, asked):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    launch(device="cuda", threads=1, precision=precision)
    assert given == {"accelerator": "cuda", "devices": 1, "precision": asked}


@pytest.mark.parametrize(
    ("device", "has_cuda", "has_mps", "expected"),
    [
        ("auto", True, True, "cuda"),
        ("auto", False, True, "mps"),
        ("auto", False, False, "cpu"),
        ("mps", True, True, "mps"),
        ("cpu", True, True, "cpu"),
    ],
)
def test_auto_is_the_best_device_and_others_are_themselves(monkeypatch, given, device, has_cuda, has_mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)
    launch(device=device, threads=1, precision="fp32")
    assert given["accelerator"] == expected


@pytest.mark.parametrize(
    ("stage", "precisions", "own"),
    [
        (features, {"features": "bf16", "train": "fp32"}, {"precision": "bf16"}),
        (train, {"features": "fp32", "train": "bf16"}, {"precision": "bf16", "devices": 2}),
        (evaluate, {"features": "bf16", "train": "bf16"}, {"precision": "fp32"}),
    ],
    ids=["features", "train", "evaluate"],
)
def test_the_stage_asks_for_what_params_say(monkeypatch, tmp_path, stage, precisions, own):
    """Processes, device, threads and precision, each another than that of the recipe and of other stages."""
    params = YAML(typ="safe", pure=True).load((REPO / "recipes/demo.yaml").read_text(encoding="utf-8"))
    params["features"]["enabled"] = params["model"]["backbones"]["rgb"]["frozen"] = True
    params["compute"] |= {"device": "mps", "threads": 3}
    params["train"]["devices"] = 2
    for section, precision in precisions.items():
        params[section]["precision"] = precision
    file, processes, asked = tmp_path / "params.yaml", [], []
    YAML(typ="safe", pure=True).dump(params, file)

    def refuse(**options):
        asked.append(options)
        raise UserError("no further")

    monkeypatch.setattr("pipeline.train.together", lambda *wanted, lock: processes.append(wanted) or nullcontext())
    monkeypatch.setattr("actrec.training.device.launch", refuse)
    with pytest.raises(UserError, match="no further"):
        stage.main(file)
    assert asked == [{"device": "mps", "threads": 3, **own}]
    assert processes == ([(2, ["-m", "pipeline.train", "--params", str(file)])] if stage is train else [])


def bf16_gradients(num_frames, size_px):
    fabric = launch(device="cpu", threads=1, precision="bf16")
    model = make_model(width=16, head=NO_DROPOUT)
    refuse_wrong_gradients(model, fabric)
    clips = torch.randint(0, 256, (2, num_frames, size_px, size_px, 3), dtype=torch.uint8)
    found = []
    for autocast in (True, False):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = model({"rgb": clips, "present": {"rgb": torch.ones(2, dtype=torch.bool)}})["action"]
        logits.float().square().sum().backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    return found


def test_bf16_gradients_are_near_those_of_fp32():
    """The last of four convolutions, each but this halving space and one time, sees 3 x 3 x 3."""
    bf16, fp32 = bf16_gradients(6, 24)
    assert torch.nn.functional.cosine_similarity(bf16, fp32, dim=0) > 0.98


@pytest.mark.parametrize(("num_frames", "size_px", "seen"), [(4, 24, "2x3x3"), (6, 16, "3x2x2")])
def test_bf16_is_refused_where_torch_computes_wrong_gradients(num_frames, size_px, seen):
    with pytest.raises(UserError, match=rf"3-D convolution of 3x3x3 sees but {seen}.*train\.precision: fp32"):
        bf16_gradients(num_frames, size_px)


def test_a_frozen_backbone_may_be_as_small_as_it_likes_in_bf16(bench):
    fabric = launch(device="cpu", threads=1, precision="bf16")
    run = bench.run("live", model=make_model(frozen=True), fabric=fabric, epochs=1)
    assert len(run.fit(ignore).history) == 1
    with pytest.raises(UserError, match="sees but"):
        bench.run("live", fabric=fabric, epochs=1).fit(ignore)


def test_threads_are_as_set():
    launch(device="cpu", threads=2, precision="fp32")
    assert torch.get_num_threads() == 2


# --- several devices, as far as one machine without a GPU can tell ----------------------------------------------------


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", r"train\.devices is 4, but torch sees GPUs here: 2\. Set train\.devices: 2"),
        ("mps", r"train\.devices is 4, but there is one mps device\. Set train\.devices: 1"),
        ("cpu", r"train\.devices is 4: on a CPU so many processes.* has 3 processors\. Set train\.devices: 3"),
    ],
)
def test_more_devices_than_there_are(monkeypatch, device, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    with pytest.raises(UserError, match=message):
        launch(device=device, threads=1, precision="fp32", devices=4)


@pytest.mark.parametrize(("kind", "world_size", "expected"), [("cuda", 2, True), ("cuda", 1, False), ("cpu", 2, False)])
def test_batch_norm_is_over_all_gpus_and_its_numbers_stay_where_they_were(kind, world_size, expected):
    fabric: Any = SimpleNamespace(world_size=world_size, device=torch.device(kind))
    model = make_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = synchronise_batch_norm(model, fabric)
    norms = [module for module in found.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    assert norms and {isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms} == {expected}
    assert list(found.state_dict()) == list(before) and same(before, found.state_dict())


def test_a_step_is_seeded_as_torch_seeds_it_but_on_its_device_alone(monkeypatch):
    """Without a GPU, torch.manual_seed keeps each seed for one that may come: a list that grows with each step."""
    torch.manual_seed(5)
    expected, called = torch.rand(3), []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", called.append)
    torch.manual_seed(6)
    assert called.pop() == 6  # this is how it does so
    seed_step(5, torch.device("cpu"))
    assert torch.equal(torch.rand(3), expected) and torch.initial_seed() == 5
    monkeypatch.setattr(torch.cuda, "manual_seed", called.append)
    seed_step(7, torch.device("cuda"))
    assert called == [7]


def test_mapped_files_are_no_peak_of_memory_where_the_system_tells_them_from_it(tmp_path):
    """In a process of its own, whose peak is neither that of an earlier test nor, as ru_maxrss has it, its parent's."""
    mapped_mb = 0 if sys.platform == "linux" else 100
    large = torch.ones(1_500_000_000, dtype=torch.uint8)
    path = tmp_path / "clips.pt"
    torch.save(torch.ones(100_000_000, dtype=torch.uint8), path)
    script = f"""
import torch
from actrec.training.device import peak_memory_mb
cpu = torch.device("cpu")
held = torch.ones(300_000_000, dtype=torch.uint8)  # more than to import torch takes for a moment
tensor = torch.load({str(path)!r}, mmap=True)
before = peak_memory_mb(cpu)
tensor.max()
mapped = peak_memory_mb(cpu)
tensor.clone()
print(mapped - before, peak_memory_mb(cpu) - mapped)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    del large
    of_mapped, of_copy = (float(number) for number in done.stdout.split())
    assert of_mapped == pytest.approx(mapped_mb, abs=20) and of_copy == pytest.approx(100, abs=20)
