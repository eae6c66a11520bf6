"""One independent, named random stream for every (seed, purpose).

No code draws from a global generator. A stream is named by what it is for, so adding a new use of randomness
never changes an old one, and a resumed run needs no stored generator state: epoch 7's order is a function of
(seed, "order", 7).
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def stream(seed: int, purpose: str, *indices: int) -> int:
    """Return a 63-bit integer that depends on (seed, purpose, indices) and on nothing else."""
    name = ":".join([str(seed), purpose, *map(str, indices)])
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") >> 1


def numpy_generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """Return the NumPy generator of the named stream."""
    return np.random.default_rng(stream(seed, purpose, *indices))


def torch_generator(seed: int, purpose: str, *indices: int) -> "torch.Generator":
    """Return the PyTorch generator of the named stream; on the CPU, so that every device sees the same numbers."""
    import torch

    return torch.Generator().manual_seed(stream(seed, purpose, *indices))


@contextmanager
def seeded(seed: int, purpose: str, *indices: int) -> Iterator[None]:
    """Set PyTorch's global generator to the named stream inside, for code that takes no generator.

    Used where layers initialise their own weights.
    """
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(stream(seed, purpose, *indices))
        yield
