"""Figure 8: the images of CIFAR-10 with the lowest (a) and the highest (b) memorization scores; claim 8."""

from collections.abc import Sequence

from turnover.experiments.figures import gallery
from turnover.experiments.plots.figure import Drawn, FigureConfig
from turnover.experiments.plots.notes import Source


def draw(figure: FigureConfig, sources: Sequence[Source]) -> Drawn:
    """Panels, what is shown and claim 8 from score runs of CIFAR-10 with different seeds."""
    return gallery.draw(figure, sources)
