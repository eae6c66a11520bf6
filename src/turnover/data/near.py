"""Near-duplicates of texts, by the n-grams of words that they share (as in Lee et al., 2022, compared exactly)."""

from collections import Counter, defaultdict
from collections.abc import Sequence

_WORDS = 5  # of an n-gram
_SHARED = 0.5  # n-grams that two texts have in common, as a share of all that they have


def first_alike(texts: Sequence[str]) -> list[int]:
    """Return for each text the position of the first one that it is like, perhaps its own.

    Two are alike if at least half of the 5-grams of words that either has are in both; case does not matter. A text is
    compared with those alone that are not like an earlier one.
    """
    of_gram = defaultdict[int, list[int]](list)  # positions of texts that are the first of their kind
    sizes: dict[int, int] = {}
    result = []
    for position, text in enumerate(texts):
        grams = _grams(text)
        shared = Counter(first for gram in grams for first in of_gram.get(gram, ()))
        jaccard = {first: count / (len(grams) + sizes[first] - count) for first, count in shared.items()}
        best = max(jaccard, key=lambda first: (jaccard[first], -first), default=position)
        if jaccard.get(best, 0.0) >= _SHARED:
            result.append(best)
            continue
        result.append(position)
        sizes[position] = len(grams)
        for gram in grams:
            of_gram[gram].append(position)
    return result


def _grams(text: str) -> set[int]:
    words = text.lower().split()
    return {hash(tuple(words[start : start + _WORDS])) for start in range(max(1, len(words) - _WORDS + 1))}
