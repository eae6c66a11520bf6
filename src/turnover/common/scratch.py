"""What a run goes on from besides its checkpoint: arrays in files that are removed when it is finished."""

import logging
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from turnover.runs.store.run import replacing

log = logging.getLogger("turnover")


def keep(path: Path, **arrays: Tensor) -> None:
    """Write arrays to a file, all or nothing."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **{name: array.cpu().numpy() for name, array in arrays.items()})  # type: ignore[arg-type]


def kept(path: Path) -> dict[str, Tensor] | None:
    """The arrays of such a file; None if it is not there, or if it is damaged, which is told."""
    try:
        with np.load(path, allow_pickle=False) as file:  # reading compares every array with its CRC-32
            return {name: torch.from_numpy(file[name]) for name in file.files}
    except FileNotFoundError:
        return None
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError, NotImplementedError, OSError) as error:
        log.warning("%s is damaged (%s)", path, error)
        return None
