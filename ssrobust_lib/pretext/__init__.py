"""Pretext tasks by name; a new one is a new module of this package that registers itself in `PRETEXT_TASKS`."""

import importlib
import pkgutil

from ssrobust_lib.pretext.task import PRETEXT_TASKS, PretextTask

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["PRETEXT_TASKS", "PretextTask"]
