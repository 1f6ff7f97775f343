"""What the tests of figures hand in, and the words that they find on a figure."""

import pandas as pd

DATASET = "phantoms, RSNA layout"
STRUCTURES = ["liver", "left_kidney", "aorta"]


def texts(figure):
    """All words on a figure, drawn once so that lazily made ones are there."""
    import matplotlib.text

    figure.draw_without_rendering()
    return [item.get_text() for item in figure.findobj(matplotlib.text.Text) if item.get_text()]


def training_curves():
    """Losses and scores of five epochs of two arms and two seeds; the score rises with the epoch and the seed."""
    rows = [
        (init, seed, epoch, 1 / epoch, 1.1 / epoch, 0.5 + 0.02 * epoch + 0.01 * seed)
        for init in ("scratch", "jigsaw")
        for seed in (0, 1)
        for epoch in range(1, 6)
    ]
    return pd.DataFrame(rows, columns=["init", "seed", "epoch", "train_loss", "val_loss", "val_score"])
