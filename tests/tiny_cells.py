"""Cells of the tiny study and who is in them, by task and arm."""

from ssrobust_lib.cells import trained

TASKS = ("pneumonia", "organs")
ARMS = ("scratch", "jigsaw", "scratch_aa")
KEY = ["task", "init", "seed"]


class Stopped(Exception):
    """Ends a cell where the test has seen enough."""


def samples_of(study, task):
    """Table of a task's images with their splits."""
    return study.table(trained.data_cell(study, task), "samples")


def patients(samples, ids):
    """Patients of the named samples."""
    return set(samples.loc[samples["sample_id"].isin(ids), "patient_id"])


def finetune_of(study, task, arm):
    """Fine-tuning cell of an arm."""
    return study.cells("03_finetune", tasks=[task], arms=[arm], seeds=[0])[0]


def pretext_of(study, task):
    """Pretext cell of a task."""
    return study.cells("02_pretext", tasks=[task], pretext_tasks=["jigsaw"], seeds=[0])[0]
