"""Every training rule against a whole training by hand, in float64; and what is observed stays plain cross-entropy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import method_oracles as oracles
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import turnover
from turnover.common.seeding import stream
from turnover.config.parse import parse
from turnover.config.run import Training
from turnover.core.examples import Examples
from turnover.errors import RefusedInput
from turnover.training.fit import fit
from turnover.training.methods import build
from turnover.training.methods.method import Method
from turnover.training.methods.small_loss import CoTeaching

N, BATCH, EPOCHS, LR, SEED = 22, 8, 3, 0.3, 3
IDS = 7 * torch.arange(N) + 1
X = torch.randn(N, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(N) * 5 % 4


def data() -> Examples:
    return Examples(X, LABELS, IDS)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 9), nn.LayerNorm(9), nn.ReLU(), nn.Linear(9, 4)).double()


def training(method: dict[str, Any], **changes: Any) -> Training:
    sgd = {"name": "sgd", "lr": LR, "momentum": 0.0, "weight_decay": 0.0, "decay": "all"}
    values = {
        "seed": SEED,
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "precision": "float32",
        "optimizer": sgd,
        "schedule": {"name": "constant", "warmup": 0},
        "method": method,
        "estimator": {"name": "none"},
    }
    return parse(Training, values | changes)


Rule = Callable[[nn.Module, list[int], int], Tensor]  # network, positions, epoch -> what is minimised


def by_mean(rule: Rule, model: nn.Module) -> oracles.Gradients:
    return lambda positions, epoch: [torch.autograd.grad(rule(model, positions, epoch), [*model.parameters()])]


def each(loss: Callable[[Tensor, int, int], Tensor]) -> Rule:
    """The mean of a loss of logits, label and position."""
    return lambda model, positions, epoch: (
        sum((loss(model(X[i : i + 1])[0], int(LABELS[i]), i) for i in positions), torch.zeros(())) / len(positions)
    )


def own_small_loss(share: float, ramp: int) -> Rule:
    def rule(model: nn.Module, positions: list[int], epoch: int) -> Tensor:
        losses = [oracles.cross_entropy(model(X[i : i + 1])[0], int(LABELS[i])) for i in positions]
        kept = oracles.smallest([float(loss.detach()) for loss in losses], share, epoch, ramp)
        return torch.stack([losses[i] for i in kept]).mean()

    return rule


def co_teaching(first: nn.Module, second: nn.Module, share: float, ramp: int) -> oracles.Gradients:
    def gradients(positions: list[int], epoch: int) -> list[tuple[Tensor, ...]]:
        losses = [
            [oracles.cross_entropy(model(X[i : i + 1])[0], int(LABELS[i])) for i in positions]
            for model in (first, second)
        ]
        found = []
        for model, mine, other in ((first, losses[0], losses[1]), (second, losses[1], losses[0])):
            kept = oracles.smallest([float(loss.detach()) for loss in other], share, epoch, ramp)
            found.append(torch.autograd.grad(torch.stack([mine[i] for i in kept]).mean(), [*model.parameters()]))
        return found

    return gradients


def private(model: nn.Module, norm: float, noise: float, weights: Tensor | None = None) -> oracles.Gradients:
    def gradients(positions: list[int], epoch: int) -> list[tuple[Tensor, ...]]:
        single = []
        for i in positions:
            loss = oracles.cross_entropy(model(X[i : i + 1])[0], int(LABELS[i]))
            loss = loss if weights is None else loss * weights[i]
            single.append(torch.autograd.grad(loss, [*model.parameters()]))
        total = oracles.clipped(single, norm)
        drawn = [torch.randn_like(part) if noise else torch.zeros_like(part) for part in total]
        return [tuple((t + noise * norm * d) / len(positions) for t, d in zip(total, drawn, strict=True))]

    return gradients


ATTACK: dict[str, Any] = {"radius": 0.3, "size": 0.11, "steps": 4}
RANGE: dict[str, Any] = {"low": float(X.min()), "high": float(X.max())}


def pgd(model: nn.Module, positions: list[int], epoch: int) -> Tensor:
    start = torch.empty(len(positions), 5, dtype=torch.float64).uniform_(-0.3, 0.3)
    losses = []
    for i, moved in zip(positions, start, strict=True):

        def loss(x: Tensor, label: int = int(LABELS[i])) -> Tensor:
            return oracles.cross_entropy(model(x[None])[0], label)

        losses.append(loss(oracles.attacked(X[i], moved, loss, **ATTACK, **RANGE)))
    return torch.stack(losses).mean()


def trades(model: nn.Module, positions: list[int], epoch: int) -> Tensor:
    start = 0.001 * torch.randn(len(positions), 5, dtype=torch.float64)
    losses = []
    for i, moved in zip(positions, start, strict=True):
        clean = oracles.probabilities(model(X[i : i + 1])[0])
        fixed = [p.detach() for p in clean]

        def change(x: Tensor, p: list[Tensor] = fixed) -> Tensor:
            return oracles.divergence(p, oracles.probabilities(model(x[None])[0]))

        x = oracles.attacked(X[i], moved, change, **ATTACK, **RANGE)
        losses.append(-clean[int(LABELS[i])].log() + 2.5 * change(x.detach(), clean))
    return torch.stack(losses).mean()


SCORES = [(i * 7 % 11) / 3 for i in range(N)]  # with ties
CHOSEN = {"share": 0.4, "ramp": 2}


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Scores of two epochs, and of an example that is not trained on, in another order."""
    rows = [{"id": int(i), "score": score, "epoch": 2} for i, score in zip(IDS, SCORES, strict=True)]
    rows += [{"id": row["id"], "score": 0.0, "epoch": 1} for row in rows] + [{"id": 3, "score": 9.0, "epoch": 2}]
    pd.DataFrame(rows[::-1]).to_parquet(tmp_path / "scores.parquet")
    return str(tmp_path / "scores.parquet")


def rules(name: str, path: str) -> tuple[dict[str, Any], Callable[[nn.Module, nn.Module], oracles.Gradients]]:
    """The fields of a rule, and its gradients by hand in a network and a second one."""
    elr = oracles.EarlyLearning(3.0, 0.7)
    weights = oracles.ranked_weights(SCORES, -0.8)
    found: dict[str, tuple[dict[str, Any], Callable[[nn.Module, nn.Module], oracles.Gradients]]] = {
        "plain": ({}, lambda a, b: by_mean(each(lambda z, y, i: oracles.cross_entropy(z, y)), a)),
        "gce": ({"q": 0.6}, lambda a, b: by_mean(each(lambda z, y, i: oracles.gce(z, y, 0.6)), a)),
        "rll": ({"alpha": 0.2}, lambda a, b: by_mean(each(lambda z, y, i: oracles.rll(z, y, 0.2)), a)),
        "elr": ({"strength": 3.0, "momentum": 0.7}, lambda a, b: by_mean(each(elr), a)),
        "small_loss": (CHOSEN, lambda a, b: by_mean(own_small_loss(0.4, 2), a)),
        "co_teaching": (CHOSEN, lambda a, b: co_teaching(a, b, 0.4, 2)),
        "reweight": (
            {"path": path, "strength": -0.8},
            lambda a, b: by_mean(each(lambda z, y, i: weights[i] * oracles.cross_entropy(z, y)), a),
        ),
        "clipping": ({"norm": 2.5}, lambda a, b: private(a, 2.5, 0.0)),
        "dp_sgd": ({"norm": 2.5, "noise": 0.5}, lambda a, b: private(a, 2.5, 0.5)),
        "pgd": (ATTACK, lambda a, b: by_mean(pgd, a)),
        "trades": (ATTACK | {"beta": 2.5}, lambda a, b: by_mean(trades, a)),
    }
    fields, gradients = found[name]
    return fields | {"name": name}, gradients


NAMES = "plain gce rll elr small_loss co_teaching reweight clipping dp_sgd pgd trades".split()


@pytest.mark.parametrize("name", NAMES)
def test_a_training_is_the_one_by_hand(name: str, table: str) -> None:
    fields, gradients = rules(name, table)
    config, model = training(fields), network()
    method = build(config, model, data(), network)
    epochs = list(fit(config, model, data(), method=method))
    one, two = network(), network(stream(SEED, "second"))
    networks, step = [one, two] if name == "co_teaching" else [one], gradients(one, two)
    seen: list[Tensor] = []

    def observed(positions: list[int], epoch: int) -> list[tuple[Tensor, ...]]:
        losses = [oracles.cross_entropy(one(X[i : i + 1])[0], int(LABELS[i])).detach() for i in positions]
        if len(seen) < epoch:
            seen.append(torch.empty(N, dtype=torch.float64))
        seen[-1][positions] = torch.stack(losses)
        return step(positions, epoch)

    oracles.trained(networks, N, observed, seed=SEED, epochs=EPOCHS, batch=BATCH, lr=LR)
    ours: list[nn.Module] = [model, method.second] if isinstance(method, CoTeaching) else [model]
    for a, b in zip(ours, networks, strict=True):
        for found, expected in zip(a.parameters(), b.parameters(), strict=True):
            assert torch.allclose(found, expected, rtol=1e-10, atol=1e-10)
    for epoch, losses in zip(epochs, seen, strict=True):
        assert torch.allclose(epoch.losses, losses, rtol=1e-9), "plain cross-entropy is observed"
    if name != "plain":
        plain = network()
        list(fit(training({"name": "plain"}), plain, data()))
        moved = [
            float((a - b).detach().abs().max()) for a, b in zip(plain.parameters(), model.parameters(), strict=True)
        ]
        assert max(moved) > 1e-3


def test_weights_of_classes_are_of_losses_and_of_gradients() -> None:
    config, model = training({"name": "clipping", "norm": 2.5}, class_weights="balanced"), network()
    list(fit(config, model, data()))
    counts = LABELS.bincount()
    weights = torch.tensor([N / (4 * float(counts[label])) for label in LABELS], dtype=torch.float64)
    assert len(weights.unique()) > 1
    one = network()
    step = private(one, 2.5, 0.0, weights)
    oracles.trained([one], N, step, seed=SEED, epochs=EPOCHS, batch=BATCH, lr=LR)
    for found, expected in zip(model.parameters(), one.parameters(), strict=True):
        assert torch.allclose(found, expected, rtol=1e-10, atol=1e-10)


def wide(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 4)).double()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "plain"])
def test_in_own_sub_networks_nothing_moves_but_the_units_of_the_examples(name: str, table: str) -> None:
    """Of one example, with every pass that a rule makes."""
    one, model = Examples(X[:1], LABELS[:1], IDS[:1]), turnover.attach(wide(0), seed=5)
    fields, _ = rules(name, table)
    # noise goes to all weights, by design
    config = training(fields | ({"noise": 1e-9} if name == "dp_sgd" else {}))
    method = build(config, model, one, lambda seed: wide(1))
    list(fit(config, model, one, method=method))
    trained: list[tuple[nn.Module, nn.Module]] = [(model, wide(0))]
    if isinstance(method, CoTeaching):
        trained.append((method.second, wide(1)))
    flipped = ~turnover.mask(IDS[:1], 64, 0, 5)[0]
    for network, before in trained:
        moved = (next(network.parameters()) - next(before.parameters())).detach().abs().amax(1)
        assert float(moved[flipped].max()) < 1e-7
        if name != "reweight":  # the rank of an only example is in the middle
            assert float(moved[~flipped].max()) > 1e-4


def test_the_clipped_sum_is_that_of_single_gradients() -> None:
    model = network()
    config = training({"name": "clipping", "norm": 2.5}, epochs=1, batch_size=N)
    list(fit(config, model, data()))
    single = [
        torch.autograd.grad(oracles.cross_entropy(other(X[i : i + 1])[0], int(LABELS[i])), [*other.parameters()])
        for other in [network()]
        for i in range(N)
    ]
    lengths = [float(sum(part.square().sum() for part in parts)) ** 0.5 for parts in single]
    assert min(lengths) < 2.5 < max(lengths), "some are clipped and some are not"
    for weight, was, total in zip(
        model.parameters(), network().parameters(), oracles.clipped(single, 2.5), strict=True
    ):
        assert torch.allclose((was - weight) * N / LR, total, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("alpha", [0.05, 1.0])
def test_robust_log_loss_of_all_labels_together_is_constant(alpha: float) -> None:
    for seed in range(3):
        logits = 4 * torch.randn(5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        total = sum(float(oracles.rll(logits, label, alpha)) for label in range(5))
        assert total == pytest.approx(5 * float(torch.tensor((1 + alpha) / alpha).double().log()), rel=1e-6)


def test_an_example_of_no_probability_has_a_gradient_under_generalized_cross_entropy() -> None:
    model = nn.Linear(1, 2).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1000.0], [-1000.0]]))
    list(
        fit(training({"name": "gce", "q": 0.7}), model, Examples(torch.ones(1, 1).double(), torch.tensor([1]), IDS[:1]))
    )
    assert model.weight.isfinite().all()


def test_scores_that_are_missing_or_two_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    config = {"name": "reweight", "path": str(path), "strength": 1.0}
    for rows, words in (
        ([(int(i), 0.5) for i in IDS[1:]], "1 of 22 examples have no score, among them id 1"),
        ([(int(i), 0.5) for i in IDS] + [(8, 0.1)], "id = 8 has two scores"),
    ):
        pd.DataFrame(rows, columns=["id", "score"]).to_csv(path, index=False)
        with pytest.raises(RefusedInput, match=words):
            list(fit(training(config), network(), data()))
    pd.DataFrame({"id": IDS}).to_csv(path, index=False)
    with pytest.raises(RefusedInput, match="no column score"):
        list(fit(training(config), network(), data()))


def test_the_base_is_the_plain_rule() -> None:
    assert type(build(training({"name": "plain"}), network(), data())) is Method
