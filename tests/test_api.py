"""Every public name once, with what the package itself depends on and nothing more (`make test-oldest`)."""

from typing import Any

import pytest
import torch
from torch import nn

import turnover
from turnover.config.estimator_names import NAMES

X, Y = torch.rand(40, 6, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2
# confident learning needs an extra, and each of the others a few networks only
OPTIONS: dict[str, dict[str, Any]] = {
    "subsampling": {"models": 20},
    "c_score": {"models": 20, "fractions": [0.5]},
    "membership": {"models": 16},
}


def make_model() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))


@pytest.mark.parametrize("name", [each for each in NAMES if each != "confident_learning"])
def test_every_estimator_scores_every_example(name: str) -> None:
    options = OPTIONS.get(name)
    table = turnover.memorization(
        make_model, X, Y, 4, 0.1, batch_size=16, seeds=1, estimator=name, options=options, progress=False
    )
    assert len(table) == len(X)
    assert table["score"].notna().all()
    assert table["score"].nunique() > 1


def test_a_loop_of_ones_own() -> None:
    network, ids = turnover.attach(make_model()), torch.arange(len(X))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    for _ in range(20):
        with turnover.own(network, ids):
            loss = nn.functional.cross_entropy(network(X), Y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert turnover.verify(network, X, ids).activations["units"].tolist() == [16]
    scores = turnover.score(network, X, Y)
    influences = turnover.influence(network, X[:5], Y[:5], ids)
    assert torch.allclose(influences.diagonal(), torch.tensor(scores["score"].to_numpy()[:5]).to(influences), atol=1e-4)
    with turnover.flipped(network, ids):
        assert network(X).shape == (40, 2)
    assert turnover.mask(ids, 16, layer=0, seed=0).shape == (40, 16)
    assert turnover.detach(network)(X).shape == (40, 2)
