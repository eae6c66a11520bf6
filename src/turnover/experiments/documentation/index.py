"""The index of figures: picture, command, time and verdicts, from the committed results."""

from turnover.experiments.documentation.claims import in_order, markdown_table, verdicts
from turnover.experiments.documentation.reference import of_figure, results, two_cores
from turnover.experiments.results import Values


def index(pictures: str) -> str:
    """A row for each figure and study that is committed; `pictures` is the folder that the links go to."""
    rows = [["figure", "command", "laptop scale, 2 cores", "claims at laptop scale", "claims at paper scale"]]
    for name in in_order():
        result = results()[name]
        paper = [
            f"[{verdicts(there) or 'picture'}]({pictures}/paper/{stem.replace('=', '%3D')}.png)"
            + (f" ({', '.join(there['overrides'])})" if there["overrides"] else "")
            for stem, there in of_figure(name, "paper").items()
        ]
        link = f"[{title(name, result)}]({pictures}/laptop/{name}.png)"
        rows.append([link, f"`make {name}`", time(name), verdicts(result) or "none", " ".join(paper)])
    return markdown_table(rows)


def title(name: str, result: Values) -> str:
    """Its title, with the paper's number if it has one."""
    number = name.removeprefix("fig")
    return f"{number}: {result['title']}" if number.isdigit() else str(result["title"])


def time(name: str) -> str:
    """How long its runs take on 2 cores, score runs told apart."""
    if not results()[name]["runs"]:
        return "seconds"
    if name not in two_cores().index:
        return "not timed"
    own, scores = two_cores().loc[name, ["minutes", "score_minutes"]]
    return f"{own:.0f} min" + (f" + {scores:.0f} min of score runs" if scores else "")
