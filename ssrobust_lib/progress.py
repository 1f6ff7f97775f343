"""Progress of long work: a bar in the terminal or notebook, and a note in the run's folder for whoever watches.

The watcher (`ssrobust study`) shows for each running cell what it does and how far it is.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOTES = "progress"


class Progress:
    """Bar over `total` steps, mirrored to a small JSON file at most once a second."""

    def __init__(self, what: str, total: int, note: Path | None) -> None:
        from tqdm import tqdm

        self.what, self.total, self.note = what, total, note
        self.done = 0
        self._bar = tqdm(total=total, desc=what, mininterval=1.0, leave=False, disable=None)
        self._written = 0.0

    def __call__(self, done: int, total: int | None = None, text: str = "") -> None:
        """Say that `done` of `total` steps are behind, with a few words on what is going on."""
        if total is not None and total != self.total:
            self.total = self._bar.total = total
        self._bar.update(done - self.done)
        self.done = done
        if text:
            self._bar.set_postfix_str(text, refresh=False)
        now = time.monotonic()
        if self.note and (now - self._written > 1 or done >= self.total):
            self._written = now
            aside = self.note.with_name(f".{self.note.name}.{os.getpid()}")
            aside.write_text(json.dumps({"what": self.what, "done": done, "total": self.total, "text": text}))
            os.replace(aside, self.note)

    def close(self) -> None:
        self._bar.close()
        if self.note:
            self.note.unlink(missing_ok=True)


@contextmanager
def progress(what: str, total: int, run: Path | None = None) -> Iterator[Progress]:
    """Open a progress bar; `run` is the run's folder, where the note lies while the work goes on."""
    note = None
    if run is not None:
        (run / NOTES).mkdir(parents=True, exist_ok=True)
        note = run / NOTES / f"{what.replace('/', '_').replace(' ', '_')}.json"
    shown = Progress(what, total, note)
    try:
        yield shown
    finally:
        shown.close()


def running(run: Path) -> list[dict[str, object]]:
    """What the cells of a run say that they are doing now."""
    notes = []
    for path in sorted((run / NOTES).glob("*.json")):
        try:
            notes.append(json.loads(path.read_text()))
        except (OSError, ValueError):  # replaced or removed while it was read
            continue
    return notes
