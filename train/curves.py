"""The picture of a training."""

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["curves"]


def curves(metrics, title):
    """PNG bytes: loss, accuracy of training and test, share of weights that flipped, over epochs."""
    epochs = [row["epoch"] for row in metrics]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    panels = figure.subplots(1, 3)
    panels[0].plot(epochs, [row["loss"] for row in metrics])
    panels[0].set(ylabel="loss", yscale="log")
    panels[1].plot(epochs, [100 * row["train_accuracy"] for row in metrics], label="training passes")
    if metrics and "held_accuracy" in metrics[0]:
        panels[1].plot(epochs, [100 * row["held_accuracy"] for row in metrics], label="held out")
    panels[1].plot(epochs, [100 * row["test_accuracy"] for row in metrics], label="test")
    panels[1].set(ylabel="accuracy in %")
    panels[1].legend()
    panels[2].plot(epochs, [100 * row["flip_ratio"] for row in metrics])
    panels[2].set(ylabel="weights flipped in the epoch, in %", yscale="log")
    for panel in panels:
        panel.set_xlabel("epoch")
        panel.grid(alpha=0.3)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()
