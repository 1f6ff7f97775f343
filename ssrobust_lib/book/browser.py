"""A headless Chromium, driven through its debugging protocol: how a page looks to a reader, and what it does when used.

What enters: HTML files or addresses on this machine, window widths, keys. What leaves: measurements of the rendered
page (its width, broken images, requests that left the machine, errors of scripts), values of scripts, and screenshots.
The checks of the book and the recording of the explorer use it; no part of the paper.
"""

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--allow-file-access-from-files",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # whoever asks for another machine is found out at once
    "--remote-debugging-port=0",
)
TALLEST_PICTURE = 16_000
"""Pixels of a screenshot's height; Chromium draws nothing beyond 16,384."""

_PHONE_BELOW = 600  # pixels; narrower windows are measured as a phone shows them
# Side bars glide when the window changes its width; a page is measured at rest.
_AT_REST = """{
  const style = document.createElement('style');
  style.textContent = '*, *::before, *::after { transition: none !important; animation: none !important }';
  document.head.append(style);
}"""
_KEYS = {  # name -> Windows code and the text that it types
    "ArrowLeft": (37, ""),
    "ArrowUp": (38, ""),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
    "Home": (36, ""),
    "End": (35, ""),
    "Tab": (9, ""),
    "Enter": (13, "\r"),
}
_PLACE = """(() => {
  const element = document.querySelector(SELECTOR);
  if (!element) return null;
  element.scrollIntoView({block: 'start'});
  const box = element.getBoundingClientRect();
  return {x: box.x + scrollX, y: box.y + scrollY, width: Math.ceil(box.width), height: Math.ceil(box.height)};
})()"""
_MEASURE = """(async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  await document.fonts.ready;
  const wide = [];
  for (const element of document.body.querySelectorAll('article *')) {
    const box = element.getBoundingClientRect();
    if (box.width > 0 && box.right > WIDTH + 1) {
      let parent = element.parentElement, scrolls = false;
      while (parent && parent !== document.body) {
        if (getComputedStyle(parent).overflowX !== 'visible') { scrolls = true; break; }
        parent = parent.parentElement;
      }
      if (!scrolls) wide.push(element.tagName.toLowerCase() + (element.className ? '.' + element.className : ''));
    }
  }
  return JSON.stringify({
    width: Math.max(document.documentElement.scrollWidth, document.body.scrollWidth),
    height: Math.max(document.documentElement.scrollHeight, document.body.scrollHeight),
    wide: wide.slice(0, 3),
    broken: Array.from(document.images).filter(i => i.complete && i.naturalWidth === 0).map(i => i.src.slice(0, 200)),
    formulas: Array.from(document.querySelectorAll('mjx-merror')).map(e => e.textContent.slice(0, 100)),
    unrendered: window.MathJax && MathJax.startup ? 0 : document.querySelectorAll('.math').length,
  });
})()"""


class BrowserError(RuntimeError):
    """Chromium did not start or did not answer."""


@dataclass(frozen=True)
class Rendering:
    """What a window of `asked_width` pixels shows of one page.

    Attributes
    ----------
    asked_width, width, height : int
        Width of the window, width and height of the page in it, in CSS pixels; `width > asked_width` scrolls sideways.
    wide : tuple of str
        The first elements that reach beyond the window.
    broken_images, formula_errors, script_errors, external_requests : tuple of str
        Addresses and messages.
    """

    asked_width: int
    width: int
    height: int
    wide: tuple[str, ...]
    broken_images: tuple[str, ...]
    formula_errors: tuple[str, ...]
    script_errors: tuple[str, ...]
    external_requests: tuple[str, ...]


def find_chromium() -> str | None:
    """Return the command of an installed Chromium or Chrome, or None."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


def require_chromium() -> str:
    """Return the command of an installed Chromium or Chrome; BrowserError, which says what to install, without one."""
    found = find_chromium()
    if found is None:
        raise BrowserError(
            "no Chromium found (it prints the PDF and takes screenshots): install the package `chromium` "
            "(Debian, Ubuntu: `apt install chromium`) or Google Chrome, or print report.html from any browser"
        )
    return found


class Window:
    """One browser window; made by `open_window`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._number = 0
        self._events: list[dict] = []
        for domain in ("Page", "Network", "Runtime"):
            self._call(f"{domain}.enable")
        self._call("Page.setLifecycleEventsEnabled", enabled=True)
        self._call("Emulation.setFocusEmulationEnabled", enabled=True)  # as if it were the window in front

    def open(self, page: Path | str) -> None:
        """Load a file or an address and wait until everything that it asks for is there or has failed."""
        self._load("about:blank")  # a fresh document: going from a page to itself would count as a move within it
        self._events.clear()
        self._load(page if isinstance(page, str) else Path(page).resolve().as_uri())
        self._call("Runtime.evaluate", expression=_AT_REST)

    def resize(self, width: int, height: int) -> None:
        """Give the window a size in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < _PHONE_BELOW}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def evaluate(self, script: str) -> Any:
        """Value of a JavaScript expression, promises awaited; BrowserError where it throws."""
        answer = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(f"a script failed: {details.get('exception', {}).get('description', details['text'])}")
        return answer["result"].get("value")

    def wait_for(self, script: str, what: str, *, patience_s: float = 60.0) -> Any:
        """Evaluate an expression until its value is true, and return it; BrowserError after `patience_s` seconds."""
        end = time.monotonic() + patience_s
        while not (value := self.evaluate(script)):
            if time.monotonic() > end:
                raise BrowserError(f"waited {patience_s:.0f} s in vain for {what}")
            time.sleep(0.05)
        return value

    def press(self, key: str, times: int = 1) -> None:
        """Press a key of `_KEYS` (what has the focus gets it)."""
        code, text = _KEYS[key]
        about: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code, "nativeVirtualKeyCode": code}
        for _ in range(times):
            self._call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **about)
            self._call("Input.dispatchKeyEvent", type="keyUp", **about)

    def picture(self, selector: str) -> bytes:
        """Screenshot of the first element that a CSS selector finds, as PNG; BrowserError where there is none."""
        where = self.evaluate(_PLACE.replace("SELECTOR", json.dumps(selector)))
        if where is None:
            raise BrowserError(f"the page has no {selector}")
        answer = self._call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=where | {"scale": 1}
        )
        return base64.b64decode(answer["data"])

    def script_errors(self) -> list[str]:
        """First lines of the errors that scripts of the open page have raised so far."""
        return list(self._script_errors())

    def requests(self) -> list[str]:
        """Addresses that the open page has asked for so far, those of files and inline data left out."""
        return list(self._external_requests())

    def show_as(self, medium: str) -> None:
        """Apply the style rules of a medium: 'print', or '' for the screen."""
        self._call("Emulation.setEmulatedMedia", media=medium)

    def print(self) -> bytes:
        """The open page as PDF, tagged and with bookmarks, on the paper that its style asks for."""
        options = {"preferCSSPageSize": True, "printBackground": True}
        tagged = {"generateTaggedPDF": True, "generateDocumentOutline": True}
        handle = self._call("Page.printToPDF", transferMode="ReturnAsStream", **options, **tagged)["stream"]
        content = bytearray()
        while True:
            part = self._call("IO.read", handle=handle)
            content += base64.b64decode(part["data"]) if part.get("base64Encoded") else part["data"].encode("latin-1")
            if part["eof"]:
                return bytes(content)

    def look(self, width: int, screenshot: Path | None = None) -> Rendering:
        """Measure the open page in a window `width` pixels wide; save it whole where `screenshot` (a PNG) is given.

        A page taller than Chromium draws at once goes on in further files beside it: `<name>-2.png`, `<name>-3.png`.
        """
        self.resize(width, 900)
        expression = _MEASURE.replace("WIDTH", str(width))
        answer = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"the page could not be measured: {answer['exceptionDetails']}")
        found = json.loads(answer["result"]["value"])
        if screenshot is not None:
            for path, top, height in parts_of_picture(Path(screenshot), found["height"]):
                area = {"x": 0, "y": top, "width": width, "height": height, "scale": 1}
                picture = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=area)
                path.write_bytes(base64.b64decode(picture["data"]))
        formulas = list(found["formulas"])
        if found["unrendered"]:
            formulas.append("formulas stay unrendered: MathJax did not load")
        return Rendering(
            asked_width=width,
            width=found["width"],
            height=found["height"],
            wide=tuple(found["wide"]),
            broken_images=tuple(found["broken"]),
            formula_errors=tuple(formulas),
            script_errors=tuple(self._script_errors()),
            external_requests=tuple(self._external_requests()),
        )

    def _script_errors(self) -> Iterator[str]:
        for event in self._events:
            if event.get("method") == "Runtime.exceptionThrown":
                details = event["params"]["exceptionDetails"]
                yield details.get("exception", {}).get("description", details["text"]).splitlines()[0]

    def _external_requests(self) -> Iterator[str]:
        for event in self._events:
            if event.get("method") == "Network.requestWillBeSent":
                url = event["params"]["request"]["url"]
                if not url.startswith(("file:", "data:", "blob:", "about:")):
                    yield url

    def _call(self, method: str, **params: object) -> dict:
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = self._receive(method)
            if message.get("id") == self._number:
                if "error" in message:
                    raise BrowserError(f"{method} failed: {message['error'].get('message', message['error'])}")
                return message["result"]
            self._events.append(message)

    def _load(self, url: str) -> None:
        loader = self._call("Page.navigate", url=url)["loaderId"]

        def loaded(message: dict) -> bool:
            told = message.get("params", {})
            moment = (message.get("method"), told.get("loaderId"), told.get("name"))
            return moment == ("Page.lifecycleEvent", loader, "load")

        while not any(loaded(message) for message in self._events):
            self._events.append(self._receive(f"loading {url}"))

    def _receive(self, doing: str) -> dict:
        from websocket import WebSocketException

        try:
            return json.loads(self._connection.recv())
        except (WebSocketException, OSError) as error:
            raise BrowserError(f"Chromium stopped answering while {doing}: {error}") from error


def parts_of_picture(path: Path, height: int) -> list[tuple[Path, int, int]]:
    """Files of a screenshot of a page `height` pixels tall: path, first pixel and height of each, top first."""
    tops = range(0, max(height, 1), TALLEST_PICTURE)
    return [
        (path if part == 1 else path.with_stem(f"{path.stem}-{part}"), top, min(TALLEST_PICTURE, height - top))
        for part, top in enumerate(tops, start=1)
    ]


@contextmanager
def open_window(*, patience_s: float = 60.0) -> Iterator[Window]:
    """Start Chromium with an empty profile, yield a window, and end both.

    External host names resolve to nothing, so that a page that asks for them is found out at once, with and without a
    network.

    Raises
    ------
    BrowserError
        No Chromium is installed, or it does not start within `patience_s` seconds.
    """
    import websocket

    chromium = require_chromium()
    with tempfile.TemporaryDirectory(prefix="ssrobust-browser-", ignore_cleanup_errors=True) as folder:
        command = [chromium, *_FLAGS, f"--user-data-dir={folder}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            connection = websocket.create_connection(
                _window_address(process, Path(folder), patience_s), suppress_origin=True, timeout=patience_s
            )
            try:
                yield Window(connection)
            finally:
                connection.close()
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _window_address(process: subprocess.Popen, folder: Path, patience_s: float) -> str:
    """Wait until Chromium has written its port, and ask it for the address of its first window."""
    told = folder / "DevToolsActivePort"
    end = time.monotonic() + patience_s
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy of the environment
    while time.monotonic() < end:
        if process.poll() is not None:
            raise BrowserError(f"Chromium ended with exit status {process.returncode} before it opened a window")
        try:
            port = int(told.read_text().split()[0])
            with direct.open(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                targets = json.load(answer)
            return next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
        except (OSError, IndexError, ValueError, StopIteration):
            time.sleep(0.05)
    raise BrowserError(f"Chromium opened no window within {patience_s:.0f} s")
