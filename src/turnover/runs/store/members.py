"""Outcomes of the networks of an ensemble: members.npz of its run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from turnover.common.files import replacing

MEMBERS = "members.npz"


@dataclass(frozen=True)
class Members:
    """Outcomes of the networks of an ensemble, on the CPU."""

    ids: np.ndarray  # int64 [examples]
    test_ids: np.ndarray  # int64 [test examples]
    included: Tensor  # bool [networks, examples], whether a network was trained on an example
    fraction: Tensor  # float64 [networks], share of the examples that a network was trained on
    confidence: Tensor  # float32 [networks, examples], log odds of the label
    right: Tensor  # bool [networks, examples]
    test_confidence: Tensor  # float32 [networks, test examples]
    test_right: Tensor  # bool [networks, test examples]


def write_members(run: Path, members: Members) -> None:
    """Write members.npz of a run."""
    arrays = {
        "ids": members.ids,
        "test_ids": members.test_ids,
        "included": members.included.numpy(),
        "fraction": members.fraction.numpy(),
        "confidence": torch.cat([members.confidence, members.test_confidence], 1).numpy(),
        "right": torch.cat([members.right, members.test_right], 1).numpy(),
    }
    with replacing(run / MEMBERS) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_members(run: Path) -> Members:
    """Read members.npz of a finished run."""
    with np.load(run / MEMBERS, allow_pickle=False) as file:
        ids, test_ids = file["ids"], file["test_ids"]
        included, fraction, confidence, right = (
            torch.from_numpy(file[name]) for name in ("included", "fraction", "confidence", "right")
        )
    n = len(ids)
    return Members(ids, test_ids, included, fraction, confidence[:, :n], right[:, :n], confidence[:, n:], right[:, n:])
