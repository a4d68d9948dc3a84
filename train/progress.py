"""What a training says while it runs: lines, a bar on a terminal, files for TensorBoard."""

import contextlib
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["Board", "Lines", "duration"]


def duration(seconds):
    """``seconds`` for people: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class Lines:
    """Lines on standard output, and on a terminal a bar below them.

    Parameters
    ----------
    quiet : bool
        Say nothing: of several processes one speaks.
    """
    def __init__(self, quiet=False):
        self.console = Console(quiet=quiet)
        self._bar = None

    def say(self, text):
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def training(self, epochs, steps, done):
        """A bar of all steps, of which ``done`` epochs are over; :meth:`step` and :meth:`epoch` belong inside."""
        self._epochs, self._done, self._start, self._first = epochs, done, time.perf_counter(), done
        with Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"), TimeElapsedColumn(),
                      TextColumn("left:"), TimeRemainingColumn(), console=self.console, transient=True,
                      disable=not self.console.is_terminal) as bar:
            self._bar, self._task = bar, bar.add_task("training", total=epochs * steps, completed=done * steps)
            yield

    def step(self):
        self._bar.advance(self._task)

    def epoch(self, row):
        """Say what a finished epoch's metrics are, and how long the others will take at the pace of those since the start."""
        self._done = row["epoch"]
        left = (time.perf_counter() - self._start) / (self._done - self._first) * (self._epochs - self._done)
        held = f", held out {row['held_accuracy']:.2%}" if "held_accuracy" in row else ""
        self.say(f"epoch {row['epoch']}/{self._epochs}: loss {row['loss']:.4f}, training {row['train_accuracy']:.2%}{held}, test "
                 f"{row['test_accuracy']:.2%}, {row['flip_ratio']:.2%} of the weights flipped, {row['seconds']:.1f} s"
                 + (f", about {duration(left)} left" if self._done < self._epochs else ""))


class Board:
    """Writes every epoch's metrics for TensorBoard.

    Parameters
    ----------
    folder : path
    epoch : int
        Epochs that are over: what an earlier run wrote of later ones no longer counts.
    """
    def __init__(self, folder, epoch):
        from torch.utils.tensorboard import SummaryWriter  # comes with an extra
        self._writer = SummaryWriter(folder, purge_step=epoch + 1)

    def epoch(self, row):
        for key, value in row.items():
            if key != "epoch":
                self._writer.add_scalar(key, value, row["epoch"])
        self._writer.flush()

    def close(self):
        self._writer.close()
