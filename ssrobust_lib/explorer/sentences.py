"""What a view shows, in words: the caption below the panels, and the alternative text of the picture."""

from ssrobust_lib.explorer.views import SliceView, State, XRayView
from ssrobust_lib.figures import corruption_title, paper_label
from ssrobust_lib.figures.panels import dice_words, label_word


def caption(view: XRayView | SliceView) -> str:
    """Name, label, corruption with its strength, and the result of each arm, in one line."""
    return f"{subject(view)}. {corruption_words(view)}. {results(view)}"


def subject(view: XRayView | SliceView) -> str:
    """Which image: 'p0007, label: pneumonia' or 'scan 12, slice 3 of 20'."""
    if isinstance(view, XRayView):
        return f"{view.state.sample_id}, label: {label_word(view.label)}"
    return f"{view.state.sample_id}, slice {view.state.slice_index + 1} of {view.n_slices}"


def corruption_words(view: XRayView | SliceView) -> str:
    """The corruption, its severity, and its strength as its own module words it."""
    from ssrobust_lib.corruptions import CORRUPTIONS

    state = view.state
    if state.strength is None and state.severity == 0:
        return "Clean image"
    level = "free strength" if state.strength is not None else f"severity {state.severity}"
    title = corruption_title(state.corruption)
    if view.strength == 0:
        return f"{title}, {level}: nothing is changed"
    return f"{title}, {level}: {CORRUPTIONS[state.corruption].describe(view.strength)}"


def results(view: XRayView | SliceView) -> str:
    """What each arm says, as a sentence an arm."""
    arms = view.state.arms
    if isinstance(view, SliceView):
        return " ".join(f"{paper_label(arm)}: {dice_words(view, arm)}." for arm in arms)
    said = []
    for arm in arms:
        verdict = view.verdict(arm)
        clean = f"; clean {view.clean_scores[arm]:.2f}" if arm in view.clean_scores else ""
        said.append(f"{paper_label(arm)}: {view.scores[arm]:.2f}{f', {verdict}' if verdict else ''}{clean}.")
    return "Probability of pneumonia: " + " ".join(said)


def provenance(state: State) -> str:
    """Whether the pixels are those of the evaluation."""
    if state.strength is not None:
        return "A free strength was not evaluated; its random pattern is that of the calibration."
    return "Pixels and networks are those of the evaluation."
