"""Start cells from one warm process: what takes seconds to import is imported once, then forked for each cell.

Enter: the command that runs the workflow, and from its jobs the arguments of `ssrobust`. Leave: the same cells and the
same exit codes as without. The warm process starts the workflow, and ends with it. A job hands its arguments, folder,
environment and standard streams over a socket whose address it finds in its environment; where there is none (another
machine of a cluster, a system that cannot fork safely) it simply does the work itself.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

ADDRESS = "SSROBUST_WARM"
PROVISIONER = "ssrobust-forked"  # the entry point of `ForkedKernel` in pyproject.toml
MODULES = (
    "ipykernel.kernelapp",
    "numba",
    "papermill",
    "pyarrow.parquet",
    "scipy.ndimage",
    "ssrobust_lib.cells.calibrate",
    "ssrobust_lib.cells.compare",
    "ssrobust_lib.cells.data",
    "ssrobust_lib.cells.evaluate",
    "ssrobust_lib.cells.finetune",
    "ssrobust_lib.cells.pretext",
    "ssrobust_lib.book.examples",
    "ssrobust_lib.figures",
    "ssrobust_lib.book.readings",
    "ssrobust_lib.running.runner",
)
_LIMIT = 2**20  # bytes of one request; arguments and an environment are far smaller


# ---- the job's side ------------------------------------------------------------------------------------------------


def hand_over(arguments: list[str]) -> int | None:
    """Let the warm process run `ssrobust` with these arguments; its exit code, or None where there is none."""
    address = os.environ.get(ADDRESS)
    if not address:
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(address)
            message = json.dumps(
                {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
            ).encode()
            socket.send_fds(connection, [len(message).to_bytes(4, "big")], [0, 1, 2])
            connection.sendall(message)
            answers = connection.makefile()
            worker = int(answers.readline() or 0)
        except OSError:
            return None
        if not worker:
            return None
        # the worker is in this process's group: what is sent to the group has reached it already
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda number, frame: _pass_on(worker, number))
        return int(answers.readline() or 1)  # nothing comes if the warm process was killed


def _pass_on(worker: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, number)


# ---- the warm process ----------------------------------------------------------------------------------------------


def main(command: list[str]) -> int:
    """Run a workflow's command, with a warm process for its jobs where that is safe; its exit code."""
    folder = Path(tempfile.mkdtemp(prefix="ssrobust-"))
    address = str(folder / "warm")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(address)
            listening.listen(64)
            workflow = subprocess.Popen(command, env={**os.environ, ADDRESS: address})
            for number in (signal.SIGINT, signal.SIGTERM):  # the workflow gets them as well, stops its jobs and ends
                signal.signal(number, signal.SIG_IGN)
            if _ready():
                return _serve(listening, workflow)
        return workflow.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ready() -> bool:
    """Import what the jobs need; whether this process can then be forked."""
    os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")  # pyarrow's allocator starts a thread
    try:
        for module in MODULES:
            import_module(module)
        return len(os.listdir("/proc/self/task")) == 1  # what another thread holds at a fork is held for ever
    except (ImportError, OSError):  # the jobs will say what is missing; not Linux, where forking is not safe
        return False


def _serve(listening: socket.socket, workflow: "subprocess.Popen[bytes]") -> int:
    """Fork a worker for each job until the workflow ends; tell each job its worker and its worker's exit code."""
    jobs: dict[int, socket.socket] = {}
    listening.settimeout(0.05)
    while True:
        for ended, code in _ended():
            if ended == workflow.pid:
                return code
            if ended in jobs:
                with contextlib.suppress(OSError), jobs.pop(ended) as job:  # the job may have been killed
                    job.sendall(f"{code}\n".encode())
        with contextlib.suppress(OSError, ValueError):  # nobody called, or not in our language
            job, _ = listening.accept()
            request, streams = _read(job)
            worker = os.fork()
            if worker == 0:
                _work(request, streams)
            jobs[worker] = job
            for stream in streams:
                os.close(stream)
            job.sendall(f"{worker}\n".encode())


def _ended() -> list[tuple[int, int]]:
    """Child processes that have ended since the last call, with their exit codes."""
    ended = []
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended.append((found[0], os.waitstatus_to_exitcode(found[1])))
    return ended


def _read(job: socket.socket) -> tuple[dict[str, Any], list[int]]:
    job.settimeout(10)
    size, streams, _, _ = socket.recv_fds(job, 4, 3)
    expected = int.from_bytes(size, "big")
    if not 0 < expected <= _LIMIT or len(streams) != 3:
        raise ValueError(f"a request of {expected} bytes with {len(streams)} streams")
    message = bytearray()
    while len(message) < expected:
        part = job.recv(expected - len(message))
        if not part:
            raise ValueError("the request is cut off")
        message += part
    return json.loads(message), streams


def _work(request: dict[str, Any], streams: list[int]) -> None:
    """In a forked worker: become the job, run its command, and end."""
    global _kernel
    code = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") > 0 else 4096)
        os.environ.clear()
        os.environ.update(request["environment"], JUPYTER_DEFAULT_PROVISIONER_NAME=PROVISIONER)
        os.chdir(request["folder"])
        _kernel = _Kernel()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        from ssrobust_lib.cli import run

        code = run(request["arguments"])
    except BaseException as error:
        code = _told(error)
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _stop(*_: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # a stop may come twice: to the group, and passed on by the job
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _told(error: BaseException) -> int:
    """Say what ended a worker as the interpreter would; its exit code."""
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    sys.excepthook(type(error), error, error.__traceback__)
    return 1


# ---- kernels -------------------------------------------------------------------------------------------------------


class _Kernel:
    """A process forked before the worker has threads, which becomes the worker's kernel when told to.

    To Jupyter it is what a `Popen` is.
    """

    stdin = stdout = stderr = None

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            os.close(writing)
            _become_kernel(reading)
        os.close(reading)
        self._channel = os.fdopen(writing, "w")

    def start(self, command: list[str], environment: dict[str, str], folder: str) -> None:
        """Tell it the command line of a kernel. Only once: raises ValueError if it was started before."""
        environment = {**environment, "JPY_PARENT_PID": str(os.getpid())}  # it ends with its parent
        with self._channel as channel:
            json.dump(
                {"arguments": command[command.index("-f") :], "environment": environment, "folder": folder}, channel
            )

    def poll(self) -> int | None:
        """Exit code, or None while it runs."""
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self) -> int:
        """Exit code, once it has ended."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


_kernel: _Kernel | None = None  # of a warm process's worker


def take_kernel() -> _Kernel | None:
    """The kernel that stands ready in this process, once; None where there is none."""
    global _kernel
    kernel, _kernel = _kernel, None
    return kernel


def _become_kernel(reading: int) -> None:
    """In the forked process: wait for the word, then be an IPython kernel until it ends. No word: end."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with os.fdopen(reading) as channel:
            word = channel.read()
        if word:
            told = json.loads(word)
            os.environ.clear()
            os.environ.update(told["environment"])
            os.chdir(told["folder"])
            from ipykernel.kernelapp import IPKernelApp

            IPKernelApp.launch_instance(argv=told["arguments"])
        code = 0
    except BaseException as error:
        code = _told(error)
    finally:
        os._exit(code)


if __name__ == "__main__":
    from ssrobust_lib.running import warm  # the module under its own name, which is the one that its workers import

    sys.exit(warm.main(sys.argv[1:]))
