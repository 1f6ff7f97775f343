"""What a process runs on: processor, cores, memory and GPU, as the records of results and benchmarks state them.

Enters: nothing. Leaves: plain values; what cannot be found out is left out. No host, user or path. No part
of the paper.
"""

import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any


@cache
def hardware() -> dict[str, Any]:
    """System, processor, cores of the machine and of this process, memory in bytes, and GPUs where torch sees some.

    Torch is asked only where it is loaded: a process that does not use it has no GPU to state.
    """
    about: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "usable_cores": usable_cores(),
    }
    if memory := memory_bytes():
        about["memory_bytes"] = memory
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        devices = (torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count()))
        about["gpus"] = [f"{device.name}, {device.total_memory / 2**30:.0f} GiB" for device in devices]
    return about


def processor() -> str:
    """The processor's name as Linux tells it, or what Python knows."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Memory of the machine, bytes; None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
