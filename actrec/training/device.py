"""On what the numbers are computed."""

import os
import re
import socket
import time
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import distributed, nn

from actrec.errors import UserError
from actrec.training.processes import place

_PRECISIONS: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def launch(*, device: str, threads: int, precision: str, devices: int = 1) -> Fabric:
    """Return Fabric on the device that was asked for, with deterministic kernels and a fixed number of threads.

    With several devices, each process of `actrec.training.processes.together` calls this, and gets one of them.

    Args:
        device: auto (cuda, else mps, else cpu), or one of these.
        threads: Of torch on the CPU, in each process; another number changes the last bits of results.
        precision: fp32, or bf16 / fp16 where autocast deems it safe.
        devices: How many: GPUs of this machine, or processes on its CPU.

    Raises:
        UserError: if the device is not there, or not so many times, or cannot compute so.
    """
    chosen = _best_device() if device == "auto" else device
    if chosen == "cuda" and not torch.cuda.is_available():
        raise UserError("compute.device is cuda, but torch sees no GPU here. Set compute.device: auto")
    if chosen == "mps" and not torch.backends.mps.is_available():
        raise UserError("compute.device is mps, but this machine has none. Set compute.device: auto")
    if precision == "fp16" and chosen != "cuda":
        raise UserError(f"train.precision: fp16 needs a CUDA GPU, this runs on {chosen}. Set train.precision: bf16")
    if devices > 1:
        _refuse_too_many(chosen, devices)
    # Without this, matrix products on a GPU are not deterministic.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Where a GPU has no deterministic kernel (some 3-D pooling) torch warns and goes on.
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Else each new tensor is filled before it is written, a help to find what reads too early: 3 to 6 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    torch.backends.cudnn.benchmark = False
    fabric = _connected(chosen, devices, precision) if devices > 1 else _alone(chosen, precision)
    fabric.launch()
    torch.set_num_threads(threads)  # after Fabric, which sets a number of its own
    return fabric


def _alone(device: str, precision: str) -> Fabric:
    return Fabric(accelerator=device, devices=1, precision=_PRECISIONS[precision])


def _connected(device: str, devices: int, precision: str) -> Fabric:
    here = place()
    if device == "cuda":
        backend, own_device = "nccl", torch.device("cuda", here.rank)
    else:
        backend, own_device = "gloo", None
        # Nothing but this machine is meant to connect, whatever its name resolves to.
        if loopback := next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
    # By a file, not a port: two runs that start at the same time might choose the same one.
    distributed.init_process_group(
        backend, init_method=f"file://{here.meeting}", rank=here.rank, world_size=here.size, device_id=own_device
    )
    # Parameters without a gradient in a step occur: of a stream that was dropped, of a modality that no clip has. And
    # only so are gradients exchanged in the same parts in all steps, and summed alike before and after a kill.
    strategy = DDPStrategy(find_unused_parameters=True)
    here_only = LightningEnvironment()  # also within a job of Slurm, which has started the first process alone
    return Fabric(
        accelerator=device, devices=devices, strategy=strategy, plugins=here_only, precision=_PRECISIONS[precision]
    )


def _refuse_too_many(device: str, devices: int) -> None:
    if device == "mps":
        raise UserError(f"train.devices is {devices}, but there is one mps device. Set train.devices: 1")
    processors = os.cpu_count() or 1
    if device == "cpu" and devices > max(processors, 2):
        raise UserError(
            f"train.devices is {devices}: on a CPU so many processes, each with a model, and this machine has "
            f"{processors} processors. Set train.devices: {processors}"
        )
    if device == "cuda" and devices > torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise UserError(f"train.devices is {devices}, but torch sees GPUs here: {found}. Set train.devices: {found}")


def seed_step(seed: int, device: torch.device) -> None:
    """Seed what dropout draws from on this device.

    torch.manual_seed seeds those of all devices. Where there is no GPU it costs milliseconds, and remembers each seed
    for a GPU that may come.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def synchronise_batch_norm(model: nn.Module, fabric: Fabric) -> nn.Module:
    """Return the model, whose batch norm in training is over the clips of all GPUs where there are several.

    On a CPU, where torch cannot do so, each process normalises with the clips that it has itself.
    """
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return model


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def refuse_wrong_gradients(model: nn.Module, fabric: Fabric) -> None:
    """Let the model refuse to learn where torch would compute wrong gradients.

    In bf16 on a CPU, the weights of a 3-D convolution over less than its kernel, in time or space, may get the content
    of unused memory as their gradient, up to 1e38 (seen with torch 2.15 and AVX-512; oneDNN does it, fp32 is right).
    """
    if fabric.device.type == "cpu" and fabric.strategy.precision.precision == _PRECISIONS["bf16"]:
        for module in model.modules():
            if isinstance(module, nn.Conv3d):
                module.register_forward_pre_hook(_refuse_small_input)


def _refuse_small_input(convolution: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    assert isinstance(convolution, nn.Conv3d)
    size, kernel = inputs[0].shape[2:], convolution.kernel_size
    learns = torch.is_grad_enabled() and convolution.weight.requires_grad
    if learns and any(have < want for have, want in zip(size, kernel, strict=True)):
        shown = ["x".join(str(n) for n in part) for part in (size, kernel)]
        raise UserError(
            f"train.precision is bf16, in which torch may compute wrong gradients on a CPU, where a 3-D convolution of "
            f"{shown[1]} sees but {shown[0]} (frames x height x width). Set train.precision: fp32"
        )


def refuse_to_compile(device: torch.device) -> None:
    """Compile a little, so that what lacks for it is known before the data are read.

    Raises:
        UserError: if torch.compile does not work on this device.
    """
    number = time.time_ns() % 10**9  # in the code that is compiled, so that no cache has it: they outlive compilers
    trial = torch.compile(lambda values: (values * number).sum(), dynamic=False)
    try:
        trial(torch.ones(8, device=device))
    except Exception as error:
        raise UserError(
            f"compute.compile is true, but torch.compile does not work on {device} here "
            f"({' '.join(str(error).split())[:200]}). Install a C++ compiler such as g++ with the headers of Python "
            "and, for a GPU, triton; or set compute.compile: false"
        ) from None


def compile_in_place(module: nn.Module) -> None:
    """Let calls of the module run through torch.compile; the names in its state dict stay what they are.

    Each shape of a batch is compiled for itself, and no kernels are chosen by measuring them: so a run that was killed
    goes on with the kernels that it had, whatever batch comes first.
    """
    torch.compiler.reset()  # what earlier phases and runs compiled is over, and would count towards torch's limit
    module.compile(dynamic=False, options={"deterministic": True})


def peak_memory_mb(device: torch.device) -> float:
    """Return the most memory used so far, in MB: of the GPU on one, else of this process, without others beside it.

    On Linux less the files that are mapped now, such as clips: the system takes that memory back when it is short of
    any. The most of several calls counts, since what was mapped at the very peak is not known.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    status = Path("/proc/self/status")
    text = status.read_text(encoding="utf-8") if status.exists() else ""
    kilobytes = {name: int(size) for name, size in re.findall(r"^(VmHWM|RssFile):\s+(\d+) kB$", text, re.MULTILINE)}
    if len(kilobytes) == 2:
        return (kilobytes["VmHWM"] - kilobytes["RssFile"]) * 1024 / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
