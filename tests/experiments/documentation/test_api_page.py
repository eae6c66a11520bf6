"""The examples of the page on the Python API, run in their order."""

import re
from typing import Any

import pytest
from readings import page


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page("api.md"), flags=re.DOTALL):
        exec(compile(block, "api.md", "exec"), names)
    return names


def test_wrong_numbers_are_among_the_suspects(names: dict[str, Any]) -> None:
    assert (names["suspects"].index < 10).sum() >= 6
    assert {"own_value", "label"} <= set(names["suspects"])
    assert (names["by_function"]["score"].nlargest(10).index < 10).sum() >= 6


def test_a_data_set_that_streams_keeps_its_names(names: dict[str, Any]) -> None:
    assert names["streamed"].index.tolist() == [f"item-{i:04d}" for i in range(300)]
    assert names["streamed"]["score"].notna().all()


def test_rewinding_all_weights_is_the_network_before_training(names: dict[str, Any]) -> None:
    noisy = names["rewound"].query("group == 'noisy' and measure == 'accuracy'").set_index("block")["value"]
    for block, network in (("none", names["network"]), ("all", names["initial"])):
        right = network(names["x"][:20]).argmax(1) == names["given"][:20]  # the twenty wrong labels
        assert noisy[block] == pytest.approx(right.double().mean().item())
    assert noisy["none"] == 1
