"""Looking at single images under corruption: what each of two networks says of the same corrupted pixels.

Enters: the finished cells of a run. Leaves: a picture of each state that a reader chooses (task, set, image,
corruption, severity, seed, slice), as widgets in JupyterLab and as a page of the book (paper, sections 3.2 to 3.4).

`finished_run` opens a run; `views` turns a state into images, predictions and scores; `samples` chooses images by what
happened to them; `sentences` says what a view shows; `widgets` puts controls in front of it; `page` writes the book's
page; `recording` works the widgets in a browser. Nothing is computed anew but the shown image: its pixels are those of
the evaluation.
"""
