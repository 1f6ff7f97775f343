"""Where a run's results lie: one folder per finished cell, written whole or not at all.

``runs/<profile>/cells/<step>/<cell>-<key>/`` holds tables (Parquet), tensors (safetensors), arrays (.npy) and
``cell.json``: the settings that made them, versions, time and memory. A cell is computed in a folder beside and renamed
when it is complete, so that a killed process leaves nothing that could be taken for a result.
"""

import errno
import fcntl
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ssrobust_lib.hardware import hardware

if TYPE_CHECKING:
    import numpy as np
    import torch

RECORD = "cell.json"

PACKAGES = (
    "ssrobust", "torch", "torchvision", "numpy", "pandas", "scipy", "statsmodels", "torchmetrics", "monai",
    "pydicom", "nibabel", "SimpleITK", "pillow",
)  # fmt: skip
"""Distributions whose versions a result's record states: those that numbers pass through."""


class StoreError(RuntimeError):
    """A result that is missing, incomplete or cannot be written; says which and what to do."""


def finished(folder: Path) -> bool:
    """Whether a cell's results are complete."""
    return (folder / RECORD).is_file()


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Let one process at a time work on a cell; a second one waits. The system frees the lock when a process dies."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f".{folder.name}.lock")
    while True:
        with open(path, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_file_of(path, lock.fileno()):  # whom we waited for has removed it, and the next one made another
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)  # while it is still ours
            return


def _is_file_of(path: Path, opened: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(opened))
    except FileNotFoundError:
        return False


@contextmanager
def writing(folder: Path, record: dict[str, Any]) -> Iterator[Path]:
    """Hand out a folder to fill; rename it to `folder` and add the record when the block ends without an error.

    Raises
    ------
    StoreError
        The disk is full or cannot be written. What was finished before stays.
    """
    aside = folder.with_name(f".{folder.name}.partial")
    started, cpu = time.time(), cpu_seconds()
    try:
        aside.mkdir(parents=True, exist_ok=True)
        yield aside
        spent: dict[str, Any] = {
            "seconds": round(time.time() - started, 2),
            "cpu_seconds": round(cpu_seconds() - cpu, 2),
        }
        spent["finished"] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        write_json(aside / RECORD, {**record, **spent, "peak_memory_bytes": peak_memory(), **provenance()})
        if folder.exists():  # made beforehand and empty, or left by an older layout
            shutil.rmtree(folder)
        os.replace(aside, folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"no space left while writing {folder}: free some and run the same command again; "
                "finished cells are kept (`ssrobust plan` prints the space that a run needs)"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise StoreError(
                f"{folder} cannot be written ({error.strerror}): give write access or move the project"
            ) from error
        raise


def peak_memory() -> int:
    """Largest resident set of this process so far, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def cpu_seconds() -> float:
    """Processor time of this process, all its threads, and of the processes that it has waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


@cache
def provenance() -> dict[str, Any]:
    """Versions, machine and commit under which results are made."""
    return {
        "versions": {"python": platform.python_version(), **{name: installed(name) for name in PACKAGES}},
        "hardware": hardware(),
        "commit": _commit(),
    }


def installed(package: str) -> str:
    """Version of a distribution, or 'not installed'."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def write_json(path: Path, value: Any) -> None:
    aside = path.with_name(f".{path.name}.partial")
    aside.write_text(json.dumps(value, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")
    os.replace(aside, path)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a tidy table as Parquet; strings that repeat are stored once."""
    table.to_parquet(path, index=False, compression="zstd")


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of a finished cell."""
    if not path.is_file():
        raise StoreError(
            f"{path} is missing: its cell is not finished or was damaged; delete {path.parent} and run again"
        )
    return pd.read_parquet(path)


def write_tensors(path: Path, tensors: "dict[str, torch.Tensor]", configuration: Any = None) -> None:
    """Write named tensors as safetensors, with their configuration as JSON beside; nothing is pickled."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}, str(path))
    except SafetensorError as error:  # also what it says of a full disk
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
    if configuration is not None:
        write_json(path.with_suffix(".json"), configuration)


def read_tensors(path: Path) -> "dict[str, torch.Tensor]":
    """Read named tensors from safetensors onto the CPU."""
    from safetensors.torch import load_file

    if not path.is_file():
        raise StoreError(
            f"{path} is missing: its cell is not finished or was damaged; delete {path.parent} and run again"
        )
    return load_file(str(path))


def write_arrays(path: Path, arrays: Any) -> None:
    """Write the arrays of a dataclass or mapping as .npz (NumPy's own format, nothing pickled)."""
    import dataclasses

    import numpy as np

    named = (
        {f.name: getattr(arrays, f.name) for f in dataclasses.fields(arrays)}
        if dataclasses.is_dataclass(arrays)
        else arrays
    )
    arrays_by_name: dict[str, Any] = {name: np.asarray(array) for name, array in named.items()}
    np.savez_compressed(path, **arrays_by_name)


def array_file(path: Path, shape: tuple[int, ...], dtype: str) -> "np.ndarray":
    """Open a .npy file of this shape and type to be filled in place; one that was begun keeps what it holds.

    Its room on the disk is taken at once: an array mapped over a full disk would kill the process that fills it.
    """
    import numpy as np

    try:
        begun = np.lib.format.open_memmap(path, mode="r+")
        if begun.shape == shape and begun.dtype == np.dtype(dtype):
            return begun
    except (OSError, ValueError):  # not there, or its header was not finished
        pass
    with open(path, "wb") as file:
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, file.tell() + int(np.prod(shape)) * np.dtype(dtype).itemsize)
        else:
            file.truncate(file.tell() + int(np.prod(shape)) * np.dtype(dtype).itemsize)
    return np.lib.format.open_memmap(path, mode="r+")


def map_array(path: Path) -> "np.ndarray":
    """Map a .npy file of a finished cell, read-only."""
    import numpy as np

    if not path.is_file():
        raise StoreError(
            f"{path} is missing: its cell is not finished or was damaged; delete {path.parent} and run again"
        )
    return np.load(path, mmap_mode="r", allow_pickle=False)


def read_arrays(path: Path) -> dict[str, Any]:
    """Read what `write_arrays` wrote; an array of objects is refused."""
    import numpy as np

    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
