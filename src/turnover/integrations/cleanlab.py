"""A score table as the table of label issues of cleanlab, which `CleanLearning.fit(label_issues=...)` takes."""

import pandas as pd

from turnover.errors import RefusedInput


def label_issues(table: pd.DataFrame, count: int | None = None) -> pd.DataFrame:
    """Return is_label_issue, label_quality, given_label and predicted_label of each example, in the table's order.

    label_quality is the share of examples whose score is higher, of equal scores half of them: from 0 to 1, low for
    labels that are likely wrong. Without column `prediction` there is no predicted_label.

    Args:
        table: of `turnover.memorization` or `turnover.score`, with classes as labels.
        count: how many examples are issues, those of the highest scores; None: all whose label is not the class that
            `memorization` gives as `prediction`. (flipped_prediction, of half a network, errs too often for that.)

    Raises:
        RefusedInput: there are no labels; no predictions and no count; or a count that is not from 0 to the number of
            examples.
    """
    if not len(table) or "label" not in table or table["label"].dtype.kind not in "iu":
        raise RefusedInput("the table must have a class number as the label of each example; has it another loss?")
    if count is None and "prediction" not in table:
        raise RefusedInput(
            f"the table has no column prediction (columns: {', '.join(map(str, table))}), so which labels are wrong is "
            "not known: give count=, how many, or make the table with predictions=True, or estimator='blocks'"
        )
    if count is not None and not 0 <= count <= len(table):
        raise RefusedInput(f"count = {count}: must be from 0 to the {len(table)} examples of the table")
    if count is None:
        wrong = table["prediction"] != table["label"]
    else:
        wrong = table["score"].rank(method="first", ascending=False) <= count
    quality = (table["score"].rank(ascending=False) - 0.5) / len(table)
    issues = pd.DataFrame({"is_label_issue": wrong, "label_quality": quality, "given_label": table["label"]})
    return issues.assign(predicted_label=table["prediction"]) if "prediction" in table else issues
