"""The programs of the page on language models, as they stand there, from a fine-tuning to its tables."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from oracles import auroc
from readings import page

pytest.importorskip("accelerate", reason="the Trainer needs it")

OFTEN = np.arange(80) < 8  # texts that come 16 times


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "language"}
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("language"))
        for block in re.findall(r"```python\n(.*?)```", page("language.md"), flags=re.DOTALL):
            exec(compile(block, "language.md", "exec"), names)
    return names


def test_a_fine_tuned_model_gives_back_what_came_often(names: dict[str, Any]) -> None:
    table = names["table"]
    assert table["copies"].tolist() == [16] * 8 + [1] * 72
    assert table["extractable"][:8].mean() > 0.7
    assert table["extractable"][8:].mean() < 0.2
    assert auroc(table["score"].to_numpy(), OFTEN) > 0.8
    assert table.attrs["leakage"]["verdict"] != "leakage"


def test_networks_without_a_text_say_so_too(names: dict[str, Any]) -> None:
    table = names["counterfactual"]
    assert table["copies"].tolist() == [16] * 8 + [1] * 72
    assert auroc(table["score"].to_numpy(), OFTEN) > 0.9


def test_codes_that_came_often_are_exposed(names: dict[str, Any]) -> None:
    bits = names["bits"]
    assert bits[:8].mean() > bits[8:].mean() + 4
