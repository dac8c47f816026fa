"""What is to be seen of a training while it runs: at a notebook a bar and curves that grow, elsewhere a line."""

import html
import time
from datetime import timedelta
from typing import Any

import ipywidgets
import lightning
import pandas as pd
from IPython.display import display
from lightning.pytorch.callbacks import Callback

from lib.progress import PAUSE_S
from lib.show.charts import training_curves
from lib.show.widgets import is_interactive
from lib.training.engine import Record, SegmentationTask

REFRESH_S = 0.3  # of the bar
REDRAW_S = 2.0  # of the curves, which take a tenth of that to draw


def watchers(title: str = "") -> list[Callback]:
    """
    What `lib.training.fit` takes as `callbacks` to be seen: in a notebook, or, where nobody looks on, in its log.

    Parameters
    ----------
    title
        Above the curves.
    """
    return [LiveTraining(title)] if is_interactive() else [SpokenTraining()]


class SpokenTraining(Callback):
    """
    Where in an epoch training is, every few seconds, on a line that the next one overwrites.

    `lib.training` says a line an epoch; one of a large area takes minutes. Only the first of several processes speaks.
    """

    def __init__(self) -> None:
        self._said_s = time.monotonic()

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Say at which step it is."""
        self._say(trainer, "step", trainer.fit_loop.batch_idx + 1, trainer.num_training_batches)

    def on_validation_batch_end(self, trainer: lightning.Trainer, *parts: Any) -> None:
        """Say how far the validation is; `parts` are module, outputs, batch, number of the batch."""
        self._say(trainer, "validation", parts[3] + 1, sum(trainer.num_val_batches))

    def _say(self, trainer: lightning.Trainer, what: str, done: int, total: int) -> None:
        if trainer.is_global_zero and time.monotonic() - self._said_s >= PAUSE_S:
            print(f"epoch {trainer.current_epoch + 1}: {what} {done} of {total} ", end="\r", flush=True)
            self._said_s = time.monotonic()


class LiveTraining(Callback):
    """
    A bar with epoch, step, loss and the time left, and the curves of all epochs so far; shown as training starts.

    It only looks: the weights are the same with and without it. Where several processes train together it shows
    nothing, as they can't reach the notebook's page.
    """

    def __init__(self, title: str = "") -> None:
        self.title = title
        self.bar = ipywidgets.IntProgress(layout={"width": "100%"})
        self.said = ipywidgets.HTML("the first step is the slowest")
        self.curves = ipywidgets.Image(format="png", layout={"max_width": "720px", "width": "100%", "display": "none"})
        self.box = ipywidgets.VBox([self.bar, self.said, self.curves], layout={"max_width": "720px"})
        self._started_s = self._refreshed_s = self._redrawn_s = 0.0

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: SegmentationTask) -> None:
        """Show the curves of a run that goes on, at once."""
        if trainer.world_size == 1:
            display(self.box)
            self._redraw(trainer)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: SegmentationTask) -> None:
        """Count from here: what an earlier call has trained takes no time now."""
        self.first_epoch = trainer.current_epoch
        self.bar.max = (trainer.max_epochs - self.first_epoch) * trainer.num_training_batches
        self._started_s = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: SegmentationTask,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Say where training is; not at each step, as a loss that is asked for makes a GPU wait."""
        now_s, steps, epoch = time.perf_counter(), trainer.num_training_batches, trainer.current_epoch
        if now_s - self._refreshed_s < REFRESH_S and batch_idx + 1 < steps:
            return
        self._refreshed_s = now_s
        done = (epoch - self.first_epoch) * steps + batch_idx + 1
        left = timedelta(seconds=round((now_s - self._started_s) / done * (self.bar.max - done)))
        self.bar.value = done
        self.said.value = (
            f"epoch {epoch + 1} of {trainer.max_epochs} · step {batch_idx + 1} of {steps} · "
            f"loss {float(pl_module.losses[-1]):.4f} · {left} left"
        )

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: SegmentationTask) -> None:
        """The curves, one epoch longer."""
        if time.perf_counter() - self._redrawn_s >= REDRAW_S:
            self._redraw(trainer)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: SegmentationTask) -> None:
        """All of it; a training that stopped early has come to its end, too."""
        self._redraw(trainer)
        self.bar.value, self.bar.bar_style = self.bar.max, "success"
        seconds = timedelta(seconds=round(time.perf_counter() - self._started_s))
        self.said.value = f"epoch {_record(trainer).rows[-1]['epoch']} of {trainer.max_epochs} · done in {seconds}"

    def on_exception(self, trainer: lightning.Trainer, pl_module: SegmentationTask, exception: BaseException) -> None:
        """Where it stopped stays to be read."""
        self.bar.bar_style = "danger"
        self.said.value += f" · stopped: {html.escape(type(exception).__name__)}"

    def _redraw(self, trainer: lightning.Trainer) -> None:
        record = _record(trainer)
        if record.rows:
            table, best = pd.DataFrame(record.rows), int(record.best()["epoch"])
            _, self.curves.value = training_curves(table, best_epoch=best, title=self.title).encoded()
            self.curves.layout.display = ""
        self._redrawn_s = time.perf_counter()


def _record(trainer: lightning.Trainer) -> Record:
    """The run's own record of its epochs."""
    return next(callback for callback in trainer.callbacks if isinstance(callback, Record))
