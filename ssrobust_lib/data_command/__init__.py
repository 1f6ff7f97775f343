"""The command `ssrobust data`: what sets are there, getting open ones, checking, showing and preparing them.

Nothing of it is part of a study's result: a cell of the study reads the sets' own files, whoever put them there.
"""


class DataCommandError(RuntimeError):
    """What stops a command on a data set; the message says why and what to do."""
