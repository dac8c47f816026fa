"""Charts of numbers: values, marks and labels stand where they should."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from lib.errors import InputError
from lib.scores.sweep import threshold_sweep
from lib.show import charts

pytestmark = pytest.mark.filterwarnings("error")


def test_training_curves_mark_the_best_epoch(texts):
    history = {
        "epoch": [1, 2, 3],
        "train_loss": [3.0, 2, 1],
        "val_loss": [3.0, 2, 2],
        "val_iou": [0.1, 0.6, 0.5],
        "learning_rate": [2e-4, 1e-4, 0],
    }
    figure = charts.training_curves(history, best_epoch=2)
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "validation IoU", "learning rate"]
    assert "best: epoch 2, IoU 0.600" in texts(figure)
    assert "best: epoch 3, IoU 0.500" in texts(charts.training_curves(history, best_epoch=3))
    with pytest.raises(InputError, match="best_epoch"):
        charts.training_curves(history, best_epoch=9)
    with pytest.raises(InputError, match="learning_rate"):
        charts.training_curves(pd.DataFrame(history).drop(columns="learning_rate"), best_epoch=2)


def test_training_curves_of_one_epoch_are_visible():
    history = {"epoch": [1], "train_loss": [0.3], "val_iou": [0.2], "learning_rate": [2e-4]}
    figure = charts.training_curves(history, best_epoch=1)
    assert figure.axes[0].lines[0].get_marker() == "o"
    figure.encoded()
    ends = figure.axes[2].get_xlim()
    assert [tick for tick in figure.axes[2].get_xticks() if ends[0] <= tick <= ends[1]] == [1]
    zero = {**history, "epoch": [0], "train_loss": [np.nan], "learning_rate": [0.0]}
    assert charts.training_curves(zero, best_epoch=0).encoded()


def test_scoreboard_draws_values_and_intervals(texts):
    rows = [
        {"run": run, "metric": metric, "value": value, "low": value - 0.1, "high": value + 0.1}
        for metric, values in (("IoU", (0.3, 0.5)), ("APLS", (0.2, 0.6)))
        for run, value in zip(("scratch", "two stages"), values, strict=True)
    ]
    figure = charts.plot_scoreboard(pd.DataFrame(rows), note="10 chips")
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["IoU", "APLS"]
    assert [bar.get_width() for bar in figure.axes[1].patches] == [0.2, 0.6]
    assert figure.axes[0].lines[0].get_xdata() == pytest.approx([0.2, 0.4])
    assert "0.600" in texts(figure)


def test_scoreboard_without_intervals_and_without_a_score():
    table = pd.DataFrame({"run": ["a", "b"], "metric": ["IoU", "IoU"], "value": [0.0, np.nan]})
    assert isinstance(charts.plot_scoreboard(table), Figure)
    with pytest.raises(InputError, match="run, metric, value"):
        charts.plot_scoreboard(table.drop(columns="run"))


@pytest.mark.parametrize("count", [1, 6, 7, 20])
def test_scoreboard_takes_any_number_of_runs(count, texts):
    table = pd.DataFrame({"run": [f"run {n}" for n in range(count)], "metric": "IoU", "value": 0.5})
    figure = charts.plot_scoreboard(table)
    colors = [bar.get_facecolor()[:3] for bar in figure.axes[0].patches]
    assert len(colors) == count and colors[-1] == to_rgb(charts.TEAL)
    assert all(here != following for here, following in pairwise(colors))
    assert figure.encoded()


def test_scores_that_are_not_defined_are_dashes(texts):
    values = {"value": [0.5, np.inf, np.nan], "low": [0.4, -np.inf, np.nan], "high": [np.inf, np.inf, np.nan]}
    figure = charts.plot_scoreboard(pd.DataFrame({"run": list("abc"), "metric": "APLS", **values}))
    assert figure.encoded() and texts(figure) == ["0.500", "–", "–"]
    assert figure.axes[0].get_xlim() == pytest.approx((0, 0.6))
    assert charts.score_text(0.25, "+") == "+0.250"


def test_widths_histogram_counts_roads_by_class():
    figure = charts.widths_histogram([3.25, 6.5, 6.5, 0.0], ["service", "primary", "primary", "footway"])
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == 3
    legend = figure.axes[0].get_legend().get_texts()
    assert [text.get_text() for text in legend] == ["primary", "service"]
    many = charts.widths_histogram(range(1, 9), list("abcdefgh")).axes[0]
    assert len(many.get_legend().get_texts()) == 6 and sum(bar.get_height() for bar in many.patches) == 8
    with pytest.raises(InputError, match="wider than 0"):
        charts.widths_histogram([0.0], ["footway"])


def test_precision_recall_marks_the_threshold(texts):
    sweep = pd.DataFrame(
        {
            "threshold": [0.25, 0.5, 0.75],
            "precision": [0.5, 0.7, 0.9],
            "recall": [0.9, 0.7, 0.3],
            "f1": 0.6,
            "iou": [0.4, 0.5, 0.3],
        }
    )
    figure = charts.precision_recall(sweep, chosen=0.5)
    assert "threshold 0.5: IoU 0.500" in texts(figure)
    assert len(figure.axes) == 2


def test_precision_recall_takes_a_sweep():
    probability = np.array([[0.2, 0.6], [0.8, 0.9]], np.float32)
    truth = np.array([[0, 255], [0, 255]], np.uint8)
    table = threshold_sweep([(probability, truth)], np.array([0.1, 0.5, 0.85, 0.95]))  # nothing reaches the last
    assert len(charts.precision_recall(table, chosen=0.5).axes) == 2


def test_reliability_stands_beside_the_diagonal(texts):
    table = pd.DataFrame({"said": [0.25, 0.95], "right": [0.1, 0.9], "weight": [3.0, 1.0]})
    figure = charts.reliability_diagram({"pixels": table, "roads": table.head(1)}, note="by length")
    diagonal, curve, single = figure.axes[0].lines
    assert list(diagonal.get_xdata()) == [0, 1] and curve.get_xydata().tolist() == [[0.25, 0.1], [0.95, 0.9]]
    areas = [dots.get_sizes() for dots in figure.axes[0].collections]
    assert areas[0][0] > 2 * areas[0][1] and len(areas[1]) == 1
    assert texts(figure)[:2] == ["pixels", "roads"]
    figure.encoded()
    with pytest.raises(InputError, match="reliability of nothing"):
        charts.reliability_diagram({"nothing": table.head(0)})
