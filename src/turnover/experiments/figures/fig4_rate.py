"""Figure 4 at the learning rate 0.06, drawn like figure 4 itself."""

from turnover.experiments.figures.fig4 import draw

__all__ = ["draw"]
