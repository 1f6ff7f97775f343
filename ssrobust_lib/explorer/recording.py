"""A recording of the explorer: JupyterLab in a headless browser, worked by keyboard, a picture of each state.

Enters: a profile whose run is finished. Leaves: PNG of each state, and an animated GIF of them. A state that draws no
new picture, or a page that shows an error, stops the recording.
"""

import io
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ssrobust_lib.book.browser import BrowserError, Window, open_window
from ssrobust_lib.config import profile_path
from ssrobust_lib.explorer.widgets import FIGURE
from ssrobust_lib.lab_server import open_lab
from ssrobust_lib.running.notebook_parameters import NOTEBOOKS

NOTEBOOK = NOTEBOOKS / "explore.ipynb"
ANIMATION = "explorer.gif"
_WINDOW = (1500, 1300)
_FRAME_MS = 1200
_BOX = ".ssrobust-explorer"
_DRAWING = f"Number(document.querySelector('.{FIGURE}')?.dataset.drawing ?? 0)"
_SHOWN = f"document.querySelector('.{FIGURE} img').src"
_ACTIVATE = """(() => {
  const [notebook] = [...jupyterapp.shell.widgets('main')];
  if (!notebook || !notebook.sessionContext.isReady) return false;
  if (notebook.sessionContext.session?.kernel?.status !== 'idle') return false;  // cells sent before are lost
  jupyterapp.shell.activateById(notebook.id);
  return jupyterapp.commands.isEnabled('notebook:run-all-cells');
})()"""
_RUN_ALL = "void window.jupyterapp.commands.execute('notebook:run-all-cells')"
_ERRORS = """[...document.querySelectorAll(
  '[data-mime-type="application/vnd.jupyter.stderr"], [data-mime-type="application/vnd.jupyter.error"], .jp-Dialog,' +
  '.jp-Notebook [role=alert]'
)].map(e => e.textContent.slice(0, 500))"""
# the control beside a word: a select, or the handle of a slider
_CONTROL = """(() => {
  const words = [...document.querySelectorAll('.ssrobust-explorer .widget-label')];
  const word = words.find(w => w.textContent.trim() === NAME);
  return word && word.parentElement.querySelector('select, .noUi-handle');
})()"""


@dataclass(frozen=True)
class Picture:
    """One recorded state.

    Attributes
    ----------
    name : of the file
    png : screenshot of the explorer
    caption : what the explorer says below its picture
    seconds : from the last key to the new picture; 0 for the first one
    """

    name: str
    png: bytes
    caption: str
    seconds: float


def record(profile: str, folder: Path, *, runs: Path | None = None) -> list[Path]:
    """Record the explorer's states as ``<folder>/NN_<state>.png`` and ``<folder>/explorer.gif``.

    Parameters
    ----------
    profile : name or path of a profile whose run is finished.
    folder : made if missing; what a recording left in it before is replaced.
    runs : folder that holds the runs; ``runs/`` of the project if None.

    Returns
    -------
    the files, the animation last.

    Raises
    ------
    BrowserError, LabError
        No Chromium or JupyterLab, a state that draws nothing new, or an error on the page.
    """
    with open_explorer(profile, runs=runs) as window:
        pictures = list(record_states(window))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("[0-9][0-9]_*.png"), folder / ANIMATION]:
        old.unlink(missing_ok=True)
    written = []
    for number, picture in enumerate(pictures):
        written.append(folder / f"{number:02d}_{picture.name}.png")
        written[-1].write_bytes(picture.png)
    (folder / ANIMATION).write_bytes(animation([picture.png for picture in pictures]))
    return [*written, folder / ANIMATION]


@contextmanager
def open_explorer(profile: str, *, runs: Path | None = None) -> Iterator[Window]:
    """Start JupyterLab and a browser, open the notebook with a profile, run it, and wait for the first picture."""
    with tempfile.TemporaryDirectory(prefix="ssrobust-explorer-") as place:
        notebook = write_notebook(Path(place), profile, runs)
        with open_lab(Path(place)) as address, open_window() as window:
            window.resize(*_WINDOW)
            window.open(address.format(path=notebook.name))
            window.wait_for("document.querySelectorAll('.jp-Notebook .jp-CodeCell').length > 1", "the notebook")
            window.wait_for(_ACTIVATE, "the notebook's kernel", patience_s=300)
            window.evaluate(_RUN_ALL)
            window.wait_for(f"{_DRAWING} > 0 || {_ERRORS}.length > 0", "the first picture", patience_s=300)
            check_page(window)
            window.evaluate("document.querySelector('.ssrobust-explorer').style.background = 'white'")
            yield window


def write_notebook(folder: Path, profile: str, runs: Path | None = None) -> Path:
    """Write the explorer's notebook into a folder, with a profile and a folder of runs as its parameters."""
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cell = next(cell for cell in content["cells"] if "parameters" in cell["metadata"].get("tags", []))
    values = {"profile": str(profile_path(profile).resolve()), "runs": str(Path(runs).resolve()) if runs else ""}
    cell["source"] = "".join(f"{name}: str = {json.dumps(value)}\n" for name, value in values.items()).strip()
    path = Path(folder) / NOTEBOOK.name
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def record_states(window: Window) -> Iterator[Picture]:
    """Go through the states of every task by keyboard, and yield a picture of each.

    Severities 0 to 5, the first rule that chooses images, the next image, a free strength; of CT also another slice.
    """
    tasks = window.evaluate(f"[...{_control('Task')}.options].map(o => o.textContent)")
    for turn, task in enumerate(tasks):
        short = task.split()[0]
        if turn == 0:
            yield _picture(window, f"{short}_severity0", 0.0)
        else:
            _step(window, "Scale", ["ArrowUp"], "a severity again")
            _step(window, "Severity", ["Home"], "clean again")
            yield _step(window, "Task", ["ArrowDown"], f"{short}_severity0")
        for severity in range(1, 6):
            yield _step(window, "Severity", ["ArrowRight"], f"{short}_severity{severity}")
        if window.evaluate(f"getComputedStyle({_control('Slice')}.closest('.widget-slider')).display != 'none'"):
            yield _step(window, "Slice", ["ArrowRight"], f"{short}_slice")
        yield _step(window, "Choose", ["ArrowDown"] * 4, f"{short}_chosen", or_the_same=True)
        yield _step(window, "Image", ["ArrowDown"], f"{short}_next_image")
        yield _step(window, "Scale", ["ArrowDown"], f"{short}_free_strength")
        yield _step(window, "Strength", ["ArrowRight"] * 60, f"{short}_stronger")


def _step(window: Window, control: str, keys: Sequence[str], name: str, *, or_the_same: bool = False) -> Picture:
    """Press keys on a control and wait for the new picture; BrowserError where there is none."""
    before, shown = window.evaluate(_DRAWING), window.evaluate(_SHOWN)
    _focus(window, control)
    for key in keys:
        window.press(key)
    began = time.monotonic()
    if or_the_same:
        _settled(window, before)
    else:
        window.wait_for(f"{_DRAWING} > {before}", f"a new picture after {control} was moved")
    seconds = time.monotonic() - began
    _settled(window, before)
    check_page(window)
    if not or_the_same and window.evaluate(_SHOWN) == shown:
        raise BrowserError(f"{name}: the picture is the same after {control} was moved")
    return _picture(window, name, seconds)


def _settled(window: Window, before: int) -> None:
    """Wait until no further picture has come for half a second."""
    last, since = before, time.monotonic()
    while time.monotonic() - since < 0.5:
        now = window.evaluate(_DRAWING)
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(0.05)


def _picture(window: Window, name: str, seconds: float) -> Picture:
    caption = window.evaluate(f"document.querySelector('.{FIGURE} figcaption').textContent")
    return Picture(name, window.picture(_BOX), caption, seconds)


def _focus(window: Window, control: str) -> None:
    if not window.evaluate(f"(() => {{ const c = {_control(control)}; if (c) c.focus(); return !!c; }})()"):
        raise BrowserError(f"the explorer has no control {control!r}")


def _control(name: str) -> str:
    return _CONTROL.replace("NAME", json.dumps(name))


def check_page(window: Window) -> None:
    """Raise BrowserError where the page shows an error, a script failed, or another machine was asked for something."""
    found = [*window.evaluate(_ERRORS), *window.script_errors()]
    found += [f"asked for {url}" for url in window.requests() if not url.startswith("http://127.0.0.1:")]
    if found:
        raise BrowserError("the explorer's page shows an error: " + "; ".join(found))


def animation(pictures: Sequence[bytes]) -> bytes:
    """Animated GIF of PNG pictures, each on the white ground of the largest; ValueError without any."""
    from PIL import Image

    if not pictures:
        raise ValueError("expected at least one picture for an animation, got none")
    opened = [Image.open(io.BytesIO(png)).convert("RGB") for png in pictures]
    width, height = (max(getattr(picture, side) for picture in opened) for side in ("width", "height"))
    frames = []
    for picture in opened:
        ground = Image.new("RGB", (width, height), "white")
        ground.paste(picture)
        frames.append(ground.quantize(128, dither=Image.Dither.NONE))
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], duration=_FRAME_MS, loop=0)
    return stream.getvalue()
