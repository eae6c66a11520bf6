"""Memory that an audit needs, compared with what is free before any pixels are read."""

import logging
import math
from pathlib import Path

from turnover.common.memory import available
from turnover.common.text import size as amount
from turnover.errors import RefusedInput

log = logging.getLogger("turnover")

_BASE = 500_000_000  # bytes of a process that trains a small network
_COPY = 4  # bytes of a value in float32, which is trained on besides the examples as they are
_SIDES = (512, 384, 256, 224, 192, 128, 96, 64, 48, 32, 24, 16, 8, 4)  # of images, to advise one that fits
_SPARE = 0.8  # of the free memory, for the side that is advised


def refuse_much(
    path: Path, shape: tuple[int, ...], width: int = 1, *, besides: int = 0, resizable: bool = False, instead: str = ""
) -> None:
    """Log how much memory examples need, or refuse them.

    Args:
        shape: of the examples.  # [n, ...]
        width: bytes of a value as it is read.
        besides: bytes of what else is read.
        resizable: they are images, [n, channels, height, width], for which a smaller size can be chosen.
        instead: what else helps.

    Raises:
        RefusedInput: they need more than is free. Says what would fit.
    """
    free, need = available() - besides, _need(shape, width)
    text = (
        f"{shape[0]:,} examples of {' x '.join(map(str, shape[1:]))} need about {amount(need)} of memory, "
        f"{amount(free)} are free"
    )
    if need <= free:
        log.info("%s", text)
        return
    most = max(0, free - _BASE) // ((need - _BASE) // shape[0])
    advice = [f"take at most {most:,} examples"] if most > 1 else []
    if resizable:
        small = {side: _need((*shape[:2], side, side), width) for side in _SIDES if side < max(shape[2:])}
        if fitting := [side for side in small if small[side] <= _SPARE * free]:
            advice.insert(0, f"set size={fitting[0]}, which needs {amount(small[fitting[0]])}")
    advice = [*advice, *filter(None, [instead])]
    raise RefusedInput(f"data = {path}: {text}; {', or '.join(advice) or 'a larger machine is needed'}")


def _need(shape: tuple[int, ...], width: int) -> int:
    return _BASE + math.prod(shape) * (
        2 * width + _COPY
    )  # as they are, in the order of folds, and as they are trained on
