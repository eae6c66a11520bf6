"""Texts planted among those trained on, a known number of times: canaries with secret codes, and duplicates."""

import numpy as np
import pandas as pd

from turnover.common.seeding import numpy_generator
from turnover.config.text_options import Planting
from turnover.errors import RefusedInput

_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


def planted(texts: pd.DataFrame, config: Planting, first_id: int) -> pd.DataFrame:
    """Return training texts with duplicates repeated and canaries behind them.

    Args:
        texts: index "id", columns text, copies, kind and code.
        first_id: the id of the first canary.

    Raises:
        RefusedInput: too few texts have no copy, or there are not so many codes.
    """
    texts = texts.copy()
    copies = np.repeat(config.counts, config.duplicates)
    single = np.flatnonzero(texts["copies"] == 1)
    if len(single) < len(copies):
        raise RefusedInput(
            f"planting.duplicates = {config.duplicates}: {len(copies)} texts without copies are needed, there are "
            f"{len(single)}; raise dataset.limit"
        )
    chosen = texts.index[numpy_generator(config.seed, "duplicates").permutation(single)[: len(copies)]]
    texts.loc[chosen, "copies"] = copies
    texts.loc[chosen, "kind"] = "duplicate"
    return pd.concat([texts, canaries(config, first_id)])


def canaries(config: Planting, first_id: int) -> pd.DataFrame:
    """Return texts with made-up names, no two alike, and uniformly random codes.  # index id; text, copies, kind, code

    The first of them are the same for larger `canaries`, but for their counts.
    """
    generator = numpy_generator(config.seed, "canaries")
    copies = np.tile(config.counts, config.canaries)
    names: dict[str, str] = {}
    while len(names) < len(copies):
        syllables = (generator.choice(list(letters)) for _ in range(3) for letters in (_CONSONANTS, _VOWELS))
        name = "".join(syllables).capitalize()
        code = "".join(map(str, generator.integers(10, size=config.digits)))
        names.setdefault(name, code)
    return pd.DataFrame(
        {
            "text": [config.template.format(name=name, code=code) for name, code in names.items()],
            "copies": copies,
            "kind": "canary",
            "code": list(names.values()),
        },
        index=pd.RangeIndex(first_id, first_id + len(copies), name="id"),
    )
