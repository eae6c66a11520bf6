"""Examples that are the same but for their labels, of which one at least is wrong."""

from collections import defaultdict
from hashlib import blake2b

import numpy as np

from turnover.audit.labelled import Collection

_NAMED = 3  # pairs that the remark names


def contradictions(collection: Collection) -> np.ndarray:
    """Return for each example the name of one that has its values and another label, else "".  # object [n]"""
    alike = defaultdict[bytes, list[int]](list)
    for row, values in enumerate(collection.values):
        alike[blake2b(values.tobytes(), digest_size=16).digest()].append(row)
    same_as = np.full(len(collection), "", dtype=object)
    for rows in alike.values():
        first = rows[0]
        other = next((row for row in rows if collection.labels[row] != collection.labels[first]), None)
        if other is not None:
            for row in rows:
                same_as[row] = collection.names[other if collection.labels[row] == collection.labels[first] else first]
    return same_as


def remark(same_as: dict[str, str]) -> list[str]:
    """Return a sentence on contradictions, by the names of examples; none if there are none."""
    if not same_as:
        return []
    pairs = list(dict.fromkeys(tuple(sorted(pair)) for pair in same_as.items()))
    named = "; ".join(" and ".join(pair) for pair in pairs[:_NAMED])
    return [
        f"{len(same_as)} examples have the same pixels or values as one with another label, so one of the two is "
        f"wrong: {named}{'; ...' * (len(pairs) > _NAMED)} (column same_as of suspects.csv)."
    ]
