"""Figure 7: the images of MNIST with the lowest (a) and the highest (b) memorization scores; claim 7."""

from collections.abc import Sequence

from turnover.experiments.figures import gallery
from turnover.experiments.plots.figure import Drawn, FigureConfig
from turnover.experiments.plots.notes import Source


def draw(figure: FigureConfig, sources: Sequence[Source]) -> Drawn:
    """Panels, what is shown and claim 7 from score runs of MNIST with different seeds."""
    return gallery.draw(figure, sources)
