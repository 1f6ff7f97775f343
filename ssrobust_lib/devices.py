"""On which device a training runs, in which precision, and the settings of a process that make it fast.

Enters: what a profile asks for. Leaves: an object with the few methods that the training loop needs: `OneDevice`, or
Lightning Fabric's, which has the same ones, where several devices are asked for. No section of the paper; the study's
numbers do not depend on the choice except for the rounding of another device or precision.
"""

import os
import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ssrobust_lib.registry import unknown_name

if TYPE_CHECKING:
    import torch

Result = TypeVar("Result")
PRECISIONS = ("auto", "float32", "bf16")


def _runs_on_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):  # Windows, macOS, musl
        return False


# glibc returns large freed blocks to the system, which then spends the time of a step on page faults. malloc reads
# these when a process starts: set them in the environment of the process that starts the one which trains.
KERNEL_ENVIRONMENT: dict[str, str] = (
    {
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(32 * 2**30),
        "MALLOC_TOP_PAD_": str(256 * 2**20),
    }
    if _runs_on_glibc()
    else {}
)


def set_threads(threads: int) -> None:
    """Fix the number of threads of this process; results then do not depend on the machine's load.

    Raises
    ------
    ValueError
        Fewer than one.
    """
    import torch

    if threads < 1:
        raise ValueError(f"expected at least one thread, got {threads}")
    torch.set_num_threads(threads)


def choose_device(name: str = "auto") -> "torch.device":
    """Take the device of this name ('cpu', 'cuda', 'cuda:1', 'mps'); 'auto' is the GPU if there is one, else the CPU.

    Raises
    ------
    ValueError
        The device is not there.
    """
    import torch

    there = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if name == "auto":
        return torch.device("cuda") if there is not None and there.type == "cuda" else torch.device("cpu")
    device = torch.device(name)
    if device.type != "cpu" and (there is None or there.type != device.type):
        found = there or "no accelerator"
        raise ValueError(f"device {name!r} is asked for, but torch finds {found}: use 'auto' or 'cpu'")
    return device


def has_bf16(device: "torch.device", cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor computes in bfloat16 itself; emulated, it is slower than float32."""
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not cpuinfo.is_file():
        return False
    flags = next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "")
    return bool({"avx512_bf16", "amx_bf16"} & set(flags.split()))


def choose_precision(asked: str, device: "torch.device") -> str:
    """Resolve 'auto' to 'bf16' where the processor has it and to 'float32' elsewhere.

    Raises
    ------
    UnknownNameError
        Not one of 'auto', 'float32', 'bf16'.
    """
    if asked not in PRECISIONS:
        raise unknown_name("precision", asked, list(PRECISIONS))
    if asked == "auto":
        return "bf16" if has_bf16(device) else "float32"
    return asked


def autocast(precision: str, device: "torch.device") -> AbstractContextManager[Any]:
    """Context in which networks compute in the asked precision; see `choose_precision`."""
    import torch

    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=choose_precision(precision, device) == "bf16")


class OneDevice:
    """A single device, with those of Lightning Fabric's methods that the training loop calls."""

    world_size = 1
    global_rank = 0
    is_global_zero = True

    def __init__(self, device: str = "auto") -> None:
        self.device = choose_device(device)

    def setup(self, network: Any, optimizer: Any) -> tuple[Any, Any]:
        return network, optimizer

    def backward(self, loss: "torch.Tensor") -> None:
        loss.backward()

    def broadcast(self, value: Any) -> Any:
        return value

    def all_reduce(self, value: "torch.Tensor", reduce_op: str) -> "torch.Tensor":
        return value


def launch(work: Callable[[Any], Result], *, devices: int = 1, device: str = "auto") -> Result:
    """Call `work(fabric)` on one device, or once in each of several processes with one device each.

    Under torchrun the processes are there already, and each gets its own result. Otherwise they are forked (also from
    a notebook), and the first one's result is returned; CUDA must not have been used before. Batch statistics are
    those of each device's share of a batch, so several devices do not give the same numbers as one.

    Parameters
    ----------
    work : function of an object with the methods of `OneDevice`.
    devices : number of devices, >= 1.
    device : as for `choose_device`.

    Raises
    ------
    ValueError
        Fewer than one device.
    """
    if devices < 1:
        raise ValueError(f"expected at least one device, got devices={devices}")
    under_torchrun = int(os.environ.get("WORLD_SIZE", "1")) > 1 and "LOCAL_RANK" in os.environ
    if devices == 1 and not under_torchrun:
        return work(OneDevice(device))

    import ssrobust_lib.torchvision_ops  # noqa: F401, I001  (Fabric imports torchmetrics, and that torchvision)
    from lightning_fabric import Fabric

    accelerator = device.partition(":")[0]  # Fabric finds out by itself what is there, without touching CUDA
    if under_torchrun:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
        nodes = max(1, int(os.environ["WORLD_SIZE"]) // local)
        fabric = Fabric(accelerator=accelerator, devices=local, num_nodes=nodes, strategy="ddp")
        fabric.launch()
        return work(fabric)
    # tensors travel between processes as handles that die with the sender: the result is sent as bytes instead
    fabric = Fabric(accelerator=accelerator, devices=devices, strategy="ddp_notebook")
    return pickle.loads(fabric.launch(lambda fabric: pickle.dumps(work(fabric))))
