"""The explorer in JupyterLab: controls for a state, and its picture redrawn at every change.

Enters: the name of a profile whose run is finished. Leaves: a widget. Every control has its name beside it and is
worked by keyboard or mouse. While a slider is dragged, the browser holds back what it has to say until the last picture
is there, and then says only the newest (a property of ipywidgets): pictures follow the hand, and none queue up.
"""

import base64
import html
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets
from IPython.display import Javascript, display

from ssrobust_lib import store
from ssrobust_lib.config import AA_ARM
from ssrobust_lib.corruptions import CORRUPTIONS
from ssrobust_lib.explorer.finished_run import CT, FinishedRun
from ssrobust_lib.explorer.samples import EVERY, choose_samples, rules_for
from ssrobust_lib.explorer.sentences import caption, provenance
from ssrobust_lib.explorer.views import SliceView, State, XRayView, look, richest_slice
from ssrobust_lib.figures import SlicePanels, XRayPanels, corruption_title, paper_label

if TYPE_CHECKING:
    from ssrobust_lib.study import Study

FIGURE = "ssrobust-explorer-figure"
"""Class of the HTML figure; its attribute `data-drawing` counts the pictures drawn so far."""

TASK_WORDS = {"pneumonia": "pneumonia (X-ray)", "organs": "organs (CT)"}
# JupyterLab takes arrow keys and letters that are pressed outside of text for commands of the notebook (x cuts a cell);
# an element with this attribute keeps its keys
_KEEP_KEYS = """
document.addEventListener('focusin', event => {
  if (event.target.closest('.ssrobust-explorer')) event.target.setAttribute('data-lm-suppress-shortcuts', 'true');
});
"""
_BY_SEVERITY, _FREE = "severity", "free"
_STEPS = 200  # of the free strength, over the corruption's declared range


def explore(profile: str = "demo", *, runs: str = "") -> ipywidgets.Widget:
    """Open the explorer on a finished run.

    Parameters
    ----------
    profile : name in ``profiles/`` or path of a YAML file.
    runs : folder that holds the runs; empty for ``runs/`` of the project.

    Returns
    -------
    the explorer, or where the run is not finished a text that says which command finishes it.
    """
    from ssrobust_lib.devices import set_threads

    try:
        study = finished_study(profile, Path(runs) if runs else None)
        set_threads(study.profile.threads)  # as its cells do: sums are then formed in the same order
        explorer = Explorer(study)
    except store.StoreError as error:
        return ipywidgets.HTML(f'<p class="ssrobust-explorer" role="alert">{html.escape(str(error))}</p>')
    display(Javascript(_KEEP_KEYS))
    return explorer.box


def finished_study(profile: str, runs: Path | None = None) -> "Study":
    """Open a run to read; StoreError with the command that finishes it where no task of it is finished."""
    from ssrobust_lib.config import load_profile
    from ssrobust_lib.study import Study

    return FinishedRun(Study(load_profile(profile), read_only=True, runs=runs)).study


class Explorer:
    """Controls and picture.

    Parameters
    ----------
    study : a study with at least one finished task.

    Attributes
    ----------
    box : what a notebook shows
    controls : name -> widget
    view : what is shown
    drawings : how many pictures were drawn

    Raises
    ------
    StoreError
        No task of the run is finished.
    """

    def __init__(self, study: "Study") -> None:
        self.run = FinishedRun(study)
        self.drawings = 0
        self.view: XRayView | SliceView | None = None
        self._panels: dict[Any, XRayPanels | SlicePanels] = {}
        self._lock, self._waiting, self._astray = threading.Lock(), 0, False
        self._owner: int | None = threading.get_ident()  # the thread that brings controls in line at the moment
        self.controls = _controls(self.run)
        self._figure, self._note = ipywidgets.HTML(), ipywidgets.HTML()
        self.box = _laid_out(self.controls, self._figure, self._note)
        self._settle("task")
        self._owner = None
        for name, control in self.controls.items():
            control.observe(lambda change, name=name: self._changed(name), names="value")
        self._draw()

    def state(self) -> State:
        """The state that the controls are in."""
        value = {name: control.value for name, control in self.controls.items()}
        return State(
            task=value["task"],
            data_set=value["set"],
            sample_id=value["image"],
            arms=tuple(dict.fromkeys((value["first"], value["second"]))),
            corruption=value["corruption"],
            severity=value["severity"],
            strength=value["strength"] if value["scale"] == _FREE else None,
            seed=value["seed"],
            slice_index=value["slice"] - 1,
        )

    def _changed(self, name: str) -> None:
        """Bring the other controls in line with the one that was moved, and draw once; say what went wrong, if it did.

        JupyterLab lets a kernel hear controls in several threads (subshells), so that one may be moved while another
        is being followed: changes wait for each other, and one that met controls that did not fit leaves it to the next
        to bring all in line. Jupyter only logs an error of a control; the reader is told it here.
        """
        if self._owner == threading.get_ident():  # moved by what follows below
            return
        self._waiting += 1
        with self._lock:
            self._waiting -= 1
            self._owner = threading.get_ident()
            try:
                self._settle("task" if self._astray else name)
                self._draw()
                self._astray = False
            except Exception as error:
                self._astray = True
                if not self._waiting:
                    told = html.escape(f"{type(error).__name__}: {error}")
                    self._note.value = f'<p role="alert">This could not be shown. {told}</p>'
                    raise
            finally:
                self._owner = None

    def _settle(self, name: str) -> None:
        """Offer what fits: a task has its sets, a set its images, a scan its slices, a corruption its range."""
        controls = self.controls
        if name == "task":
            controls["set"].options = self.run.sets(controls["task"].value)
        if name in ("task", "first", "second"):
            words = rules_for(
                controls["task"].value, tuple(dict.fromkeys(controls[a].value for a in ("first", "second")))
            )
            kept = controls["choose"].value
            controls["choose"].options = [(text, rule) for rule, text in words.items()]
            controls["choose"].value = kept if kept in words else EVERY
        if name in ("task", "corruption"):
            strongest = CORRUPTIONS[controls["corruption"].value].strongest
            controls["strength"].max, controls["strength"].step = strongest, strongest / _STEPS
        controls["strength"].disabled = controls["scale"].value != _FREE
        controls["severity"].disabled = controls["scale"].value == _FREE
        if name not in ("image", "slice", "strength"):
            self._offer_images(stay=name not in ("task", "set", "choose"))
        if name in ("task", "set", "choose", "image", "severity", "corruption", "first", "second", "seed"):
            self._offer_slices()

    def _offer_images(self, *, stay: bool) -> None:
        """List the images that the rule chooses; the shown one stays where `stay`, chosen or not."""
        image, state = self.controls["image"], self.state()
        self._note.value = ""
        try:
            chosen = choose_samples(self.run, state, self.controls["choose"].value)
        except LookupError as error:
            self._note.value = _told(f"{str(error)[0].upper()}{str(error)[1:]}. All images are listed.")
            chosen = choose_samples(self.run, state)
        known = [sample.sample_id for sample in chosen]
        options = [
            (f"{n}/{len(chosen)}  {s.sample_id}  {s.words}".strip(), s.sample_id) for n, s in enumerate(chosen, 1)
        ]
        shown = image.value if stay or not known else None
        if not known:
            self._note.value = _told("No image fits; the list holds the one that is shown.")
            shown = image.value or next(iter(self.run.samples(state.task, state.data_set)))
        if shown is not None and shown not in known:
            options.insert(0, (f"–/{len(chosen)}  {shown}  (does not fit)", shown))
        image.options = options
        image.value = shown if shown is not None else known[0]

    def _offer_slices(self) -> None:
        """Give a scan's slices to the slider; a scan that was not shown before opens at its richest slice."""
        state, slider = self.state(), self.controls["slice"]
        slider.layout.display = "" if state.task == CT else "none"
        if state.task != CT or (self.view is not None and self.view.state.sample_id == state.sample_id):
            return
        n = len(self.run.rows_of(CT, state.data_set, state.sample_id))
        slider.max = max(n, slider.value)  # never below the value while both change
        slider.value = richest_slice(self.run, state.data_set, state.sample_id) + 1
        slider.max = n

    def _draw(self) -> None:
        state = self.state()
        self.view = look(self.run, state)
        structures = self.view.structures if isinstance(self.view, SliceView) else ()
        key = (state.task, state.arms, structures)
        if key not in self._panels:
            self._panels[key] = SlicePanels(state.arms, structures) if structures else XRayPanels(state.arms)
        panels = self._panels[key]
        panels.show(self.view)
        self.drawings += 1
        self._figure.value = _figure_html(panels.png(), caption(self.view), provenance(state), self.drawings)


def _controls(run: FinishedRun) -> dict[str, Any]:
    """Every control under its name, with the word that stands beside it."""
    arms = [(paper_label(arm), arm) for arm in run.arms]
    second = next((arm for arm in run.arms[1:] if arm != AA_ARM), run.arms[-1])
    wide: dict[str, Any] = {"style": {"description_width": "6.5em"}, "layout": {"width": "27em"}}
    slow: dict[str, Any] = wide | {"continuous_update": True}
    choice, levels = ipywidgets.Dropdown, ipywidgets.IntSlider
    corruptions = [(corruption_title(name), name) for name in run.corruptions]
    scales = [("severity, as evaluated", _BY_SEVERITY), ("free strength", _FREE)]
    return {
        "task": choice(description="Task", options=[(TASK_WORDS.get(t, t), t) for t in run.tasks], **wide),
        "set": choice(description="Set", options=run.sets(run.tasks[0]), **wide),
        "first": choice(description="First arm", options=arms, value=run.arms[0], **wide),
        "second": choice(description="Second arm", options=arms, value=second, **wide),
        "seed": levels(description="Seed", min=0, max=len(run.seeds) - 1, value=0, **slow),
        "choose": choice(description="Choose", options=[("all, in the order of the set", EVERY)], **wide),
        "image": choice(description="Image", **wide),
        "corruption": choice(description="Corruption", options=corruptions, **wide),
        "scale": choice(description="Scale", options=scales, **wide),
        "severity": levels(description="Severity", min=0, max=5, value=0, **slow),
        "strength": ipywidgets.FloatSlider(
            description="Strength", min=0.0, max=1.0, step=1 / _STEPS, value=0.0, readout_format=".3g", **slow
        ),
        "slice": levels(description="Slice", min=1, max=1, value=1, **slow),
    }


def _laid_out(controls: dict[str, Any], *below: ipywidgets.Widget) -> ipywidgets.VBox:
    """Controls in three columns: what is shown, which image, what is done to it; then the picture."""
    columns = (
        ("task", "set", "choose", "image"),
        ("corruption", "scale", "severity", "strength"),
        ("first", "second", "seed", "slice"),
    )
    boxes = [ipywidgets.VBox([controls[name] for name in names]) for names in columns]
    top = ipywidgets.HBox(boxes, layout={"flex_flow": "row wrap"})
    box = ipywidgets.VBox([top, *below])
    box.add_class("ssrobust-explorer")
    return box


def _figure_html(png: bytes, words: str, source: str, drawing: int) -> str:
    """The picture with its alternative text, and the same words as a caption that screen readers announce."""
    picture, alt = base64.b64encode(png).decode("ascii"), html.escape(words)
    return (
        f'<figure class="{FIGURE}" data-drawing="{drawing}" style="margin:0.3em 0">'
        f'<img alt="{alt}" decoding="sync" style="max-width:100%" src="data:image/png;base64,{picture}">'
        f'<figcaption aria-live="polite" style="line-height:1.4">{alt} {html.escape(source)}</figcaption></figure>'
    )


def _told(text: str) -> str:
    return f'<p role="status" style="line-height:1.4;margin:0">{html.escape(text)}</p>'
