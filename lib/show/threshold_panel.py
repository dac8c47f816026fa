"""The threshold over probabilities: what a slider finds and misses, and a button that makes it the next run's."""

import html
from collections.abc import Sequence
from pathlib import Path

import ipywidgets
import numpy as np

from lib.errors import InputError, ParameterError, PPLinkNetError
from lib.mapping.options import CANDIDATE_SHARE
from lib.scores.metrics import ratio
from lib.scores.sweep import THRESHOLDS, threshold_counts
from lib.show.canvas import check_pair, error_rgb
from lib.show.front import EVALUATION, MAPPED
from lib.show.widgets import ERROR_LEGEND, Panel, close_lines, update_yaml, warning


class ThresholdPanel(Panel):
    """
    A threshold slider over predicted chips: errors over the image, IoU of this chip and of all together.

    Buttons write the slider's threshold, or that of the checkpoint again, into the params of notebook 4; and into
    those of notebook 5, where there are any, CANDIDATE_SHARE of it.

    Parameters
    ----------
    probabilities
        float (H, W) in 0 to 1, one a chip. A threshold that is chosen on the chips that test flatters the score on
        them: take those that validate.
    masks
        Truth, uint8 (H, W) of 0, 127 (not scored) and 255.
    images
        uint8 (H, W, 3) RGB.
    names
        Of the chips, for the menu; None: numbers.
    threshold
        At first, to the nearest hundredth; a probability of at least the threshold is foreground.
    params_dir
        params/<area>; None: no buttons.

    Raises
    ------
    InputError
        If there is no chip, or arrays do not fit.
    """

    def __init__(
        self,
        probabilities: Sequence[np.ndarray],
        masks: Sequence[np.ndarray],
        images: Sequence[np.ndarray],
        *,
        names: Sequence[str] | None = None,
        threshold: float = 0.5,
        params_dir: Path | None = None,
    ):
        if not probabilities or not len(probabilities) == len(masks) == len(images):
            raise InputError(
                f"Expected one probability, mask and image a chip, at least one chip; "
                f"got {len(probabilities)}, {len(masks)} and {len(images)}."
            )
        if not 0 < threshold < 1:
            raise ParameterError(f"Expected a threshold between 0 and 1; got {threshold}.")
        self.chips = list(zip(probabilities, masks, images, strict=True))
        for probability, mask, image in self.chips:
            check_pair(image, mask, np.empty(probability.shape, np.uint8))
        # int64 (chips, thresholds, 3): tp, fp, fn
        self.counts = np.stack([threshold_counts(p, mask, THRESHOLDS) for p, mask, _ in self.chips])
        self.params_dir = params_dir
        names = [f"chip {place}" for place in range(len(self.chips))] if names is None else names
        options = [(name, place) for place, name in enumerate(names)]
        wide = {"layout": {"width": "330px"}, "style": {"description_width": "70px"}}
        self.chip = ipywidgets.Dropdown(options=options, description="chip", **wide)
        self.threshold = ipywidgets.FloatSlider(
            value=self._nearest(threshold),
            min=THRESHOLDS[0],
            max=THRESHOLDS[-1],
            step=0.01,
            description="threshold",
            **wide,
        )
        self.use = ipywidgets.Button(description="use this threshold", icon="save", layout={"width": "165px"})
        self.reset = ipywidgets.Button(description="the checkpoint's", icon="undo", layout={"width": "155px"})
        self.use.on_click(lambda _: self.write(self._nearest(self.threshold.value)))
        self.reset.on_click(lambda _: self.write(0.0))
        self.written = ipywidgets.HTML()
        buttons = [ipywidgets.HBox([self.use, self.reset]), self.written] if params_dir else []
        super().__init__([self.chip, self.threshold, *buttons])

    def scores(self) -> tuple[float, float]:
        """Foreground IoU at the slider's threshold: of the chip shown, of all pooled; NaN where empty."""
        place = int(np.searchsorted(THRESHOLDS, self._nearest(self.threshold.value)))
        return _iou(self.counts[self.chip.value, place]), _iou(self.counts[:, place].sum(axis=0))

    @staticmethod
    def _nearest(threshold: float) -> float:
        """The counted threshold that is nearest, so that picture and scores speak of the same one."""
        return float(THRESHOLDS[np.abs(THRESHOLDS - threshold).argmin()])

    def redraw(self) -> None:
        """Draw the errors of the chip at the threshold and state the scores."""
        probability, mask, image = self.chips[self.chip.value]
        self.show(error_rgb(image, mask, probability >= self._nearest(self.threshold.value)))
        here, pooled = self.scores()
        self.status.value = close_lines(
            f"IoU of this chip <b>{here:.3f}</b><br>"
            f"IoU of all {len(self.chips)} pooled <b>{pooled:.3f}</b><br>"
            f"{ERROR_LEGEND}"
        )

    def write(self, threshold: float) -> None:
        """Write a threshold for the next runs, 0 for the checkpoint's; says below the buttons what was written."""
        values = {EVALUATION: threshold, MAPPED: round(CANDIDATE_SHARE * threshold, 4)}
        try:
            paths = {name: self.params_dir / f"{name}.yaml" for name in values}
            written = [name for name in values if name == EVALUATION or paths[name].is_file()]
            for name in written:
                update_yaml(paths[name], {"threshold": values[name]})
        except (PPLinkNetError, OSError) as error:
            self.written.value = warning(error)
            return
        said = [
            f"{name} takes {f'{values[name]:g}' if threshold else 'what it makes of the checkpoint’s'}"
            for name in written
        ]
        text = f"From its next run on {', '.join(said)}: saved in params/{self.params_dir.name}."
        self.written.value = close_lines(html.escape(text))


def _iou(counts: np.ndarray) -> float:
    """IoU of tp, fp and fn."""
    return float(ratio(counts[0], counts.sum()))
