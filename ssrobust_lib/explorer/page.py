"""The book's page of the explorer: what its pictures show of one X-ray and one CT slice, from clean to severity 5.

Enters: a run whose cells are finished. Leaves: Markdown with figures inside. The images are chosen by a rule that
favours neither arm: those whose result changed most, mean of both arms (paper, sections 3.2 and 3.3).
"""

from typing import TYPE_CHECKING, Any

from ssrobust_lib.book.examples import data_set_name
from ssrobust_lib.book.texts import page_note
from ssrobust_lib.config import AA_ARM
from ssrobust_lib.evaluation.conditions import HIGHEST_SEVERITY
from ssrobust_lib.explorer.finished_run import CT, FinishedRun
from ssrobust_lib.explorer.samples import choose_samples
from ssrobust_lib.explorer.sentences import subject
from ssrobust_lib.explorer.views import State, look, richest_slice

if TYPE_CHECKING:
    from ssrobust_lib.study import Study

CORRUPTION, SEVERITY = "gaussian_noise", 3


def explorer_text(study: "Study") -> str:
    """Write the strips of states as Markdown: on which images, then a section a task."""
    run = FinishedRun(study)
    return "\n\n".join([page_note(study.profile), *(_section(run, task) for task in run.tasks)]) + "\n"


def shown_states(run: FinishedRun, task: str) -> list[State]:
    """States of a task's strip: its most changed image under one corruption, severities 0 to 5, first seed."""
    arms = [arm for arm in run.arms if arm != AA_ARM][:2]
    corruption = CORRUPTION if CORRUPTION in run.corruptions else run.corruptions[0]
    (own, *_) = run.sets(task)
    first = next(iter(run.samples(task, own)))
    start: dict[str, Any] = {"task": task, "data_set": own, "arms": tuple(arms), "corruption": corruption}
    chosen = choose_samples(
        run, State(sample_id=first, severity=SEVERITY, **start), "ct_changed" if task == CT else "xray_changed"
    )
    sample = chosen[0].sample_id if chosen else first
    slice_index = richest_slice(run, own, sample) if task == CT else 0
    levels = range(HIGHEST_SEVERITY + 1)
    return [State(sample_id=sample, severity=level, slice_index=slice_index, **start) for level in levels]


def _section(run: FinishedRun, task: str) -> str:
    from ssrobust_lib import figures as fig

    views: list[Any] = [look(run, state) for state in shown_states(run, task)]
    word = fig.corruption_word(views[0].state.corruption)
    score = "Dice" if task == CT else "probability of pneumonia"
    changed = (
        f"Shown: {subject(views[0])}, of all test images the one whose {score} severity {SEVERITY} moved furthest from "
        f"the clean image's, mean of both arms. Networks of seed {views[0].state.seed}, the first of the run."
    )
    words: dict[str, Any] = {"dataset": data_set_name(run.study, task)}
    if task == CT:
        heading, title = "A CT slice", f"One CT slice under {word}"
        note = "Top: the label's outlines. Below: predictions, with their mean Dice over the structures of this slice."
        figure = fig.explored_slices(views, title=title, notes=[note, changed], **words)
    else:
        heading, title = "An X-ray", f"One X-ray under {word}"
        note = "Bars: probability of pneumonia from 0 to 1, dashed at 0.5; diamonds: for the clean image."
        figure = fig.explored_xrays(views, title=title, notes=[note, changed], **words)
    return f"## {heading}\n\n```{{raw}} html\n{figure.html(every_colour=True)}\n```"
