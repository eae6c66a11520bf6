"""The generated parts of the README: what stands between <!-- NAME --> and <!-- end of NAME -->."""

import re
from collections.abc import Callable

from turnover.errors import RunFailed
from turnover.experiments.documentation.claims import every_claim
from turnover.experiments.documentation.estimators import recommended
from turnover.experiments.documentation.index import index

PARTS: dict[str, Callable[[], str]] = {
    "figures": lambda: index("outputs/reference"),
    "claims": every_claim,
    "scores": recommended,
}


def filled(text: str) -> str:
    """The README with its generated parts made anew from the committed results.

    Raises:
        RunFailed: the marks of a part are missing, or stand there more than once.
    """
    for name, make in PARTS.items():
        first, last = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        found = re.findall(f"{re.escape(first)}.*?{re.escape(last)}", text, flags=re.DOTALL)
        if len(found) != 1:
            raise RunFailed(f"README.md must have {first.strip()} and {last} once, around what is generated")
        text = text.replace(found[0], f"{first}\n{make()}\n\n{last}")
    return text
