"""Ids of examples that have names: a file's path, a key of a data base."""

from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor

from turnover.errors import RefusedInput

_BITS = 62  # of an id: 2⁶³ is the end of int64, and evaluation adds to ids


def numbers(names: Sequence[str]) -> Tensor:
    """Return the ids that stand for names: the first 62 bits of their BLAKE2b hash, the same in every process.

    Give these to `turnover.own` in a loop of your own, and the names to `turnover.score`.  # int64 [n], on the CPU

    Raises:
        RefusedInput: two different names have the same hash; among a million that has a chance of 1 in 10 million.
    """
    hashes = (blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest() for name in names)
    ids = [int.from_bytes(digest, "big") >> (64 - _BITS) for digest in hashes]
    by_id = dict(zip(ids, names, strict=True))
    for number, name in zip(ids, names, strict=True):
        if by_id[number] != name:
            raise RefusedInput(
                f"ids: the names {name!r} and {by_id[number]!r} have the same hash, and would share their masks: "
                "give one of them another name"
            )
    return torch.tensor(ids, dtype=torch.int64)
