"""JupyterLab for a machine to look at: started on this machine alone, with settings of its own, and ended again.

Enters: a folder of notebooks. Leaves: the address of a running JupyterLab. Nothing of the user's Jupyter is read or
changed, and the lab asks no other machine for anything. The recording of the explorer uses it; no part of the paper.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from ssrobust_lib.config import PROJECT

_OPTIONS = (
    "--no-browser",
    "--allow-root",  # containers run as root; the server listens to this machine only and asks for a token
    "--ServerApp.ip=127.0.0.1",
    "--ServerApp.port=0",
    "--LabApp.expose_app_in_browser=True",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)
_FOLDERS = ("CONFIG", "DATA", "RUNTIME")


class LabError(RuntimeError):
    """JupyterLab is not installed, or did not start; the message ends with what it printed."""


def has_lab() -> bool:
    """Whether JupyterLab is installed beside this Python."""
    return find_spec("jupyterlab") is not None


@contextmanager
def open_lab(folder: Path, *, patience_s: float = 60.0) -> Iterator[str]:
    """Start JupyterLab on a folder, yield the address that notebooks are opened below, and end it with its kernels.

    Yields
    ------
    'http://127.0.0.1:<port>/lab/tree/{path}?token=...', to be formatted with the path of a notebook.

    Raises
    ------
    LabError
        It is not installed, ended at once, or did not answer within `patience_s` seconds.
    """
    if not has_lab():
        raise LabError("JupyterLab is not installed beside this Python: `make lab` installs and opens it")
    with tempfile.TemporaryDirectory(prefix="ssrobust-lab-", ignore_cleanup_errors=True) as place:
        own = {f"JUPYTER_{name}_DIR": str(Path(place) / name.lower()) for name in _FOLDERS}
        own |= {f"JUPYTERLAB_{name}_DIR": str(Path(place) / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
        _ask_nobody(Path(own["JUPYTERLAB_SETTINGS_DIR"]))
        own |= {"IPYTHONDIR": str(Path(place) / "ipython"), "JUPYTER_TOKEN": secrets.token_hex(16)}
        path = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH", ""))))
        command = [sys.executable, "-m", "jupyterlab", *_OPTIONS, f"--ServerApp.root_dir={Path(folder).resolve()}"]
        with open(Path(place) / "log.txt", "w+") as log:
            options = {"stdout": log, "stderr": subprocess.STDOUT, "start_new_session": True}
            process = subprocess.Popen(command, env=os.environ | own | {"PYTHONPATH": path}, **options)  # type: ignore[call-overload]
            try:
                port = _port(process, Path(own["JUPYTER_RUNTIME_DIR"]), Path(log.name), patience_s)
                yield f"http://127.0.0.1:{port}/lab/tree/{{path}}?token={own['JUPYTER_TOKEN']}"
            finally:
                _end(process)


def _ask_nobody(settings: Path) -> None:
    """Answer no, beforehand, to the question whether JupyterLab may fetch news from the network."""
    file = settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}), encoding="utf-8")


def _port(process: subprocess.Popen, runtime: Path, log: Path, patience_s: float) -> int:
    """Wait until the server has written its port and answers there."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy of the environment
    told = runtime / f"jpserver-{process.pid}.json"
    end = time.monotonic() + patience_s
    while time.monotonic() < end and process.poll() is None:
        try:
            about = json.loads(told.read_text(encoding="utf-8"))
            with direct.open(f"http://127.0.0.1:{about['port']}/api?token={about['token']}", timeout=5):
                return int(about["port"])
        except (OSError, ValueError):
            time.sleep(0.1)
    words = log.read_text(errors="replace")[-1500:]
    raise LabError(f"JupyterLab did not answer within {patience_s:.0f} s; it said:\n{words}")


def _end(process: subprocess.Popen) -> None:
    """Ask the server to stop, which ends its kernels too; kill it if it does not."""
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
