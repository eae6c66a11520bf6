"""What every picture is checked for while it is drawn."""

from matplotlib.figure import Figure

from turnover.experiments.plots import style


def finish_and_look(figure: Figure, title: str, notes: list[str]) -> None:
    """Nothing is written outside the picture."""
    style.finish(figure, title, notes)
    figure.draw_without_rendering()
    for text in (*figure.texts, *(one for axes in figure.axes for one in (axes.title, *axes.texts))):
        box = text.get_window_extent()
        assert box.x0 >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert box.y0 >= -1, text
