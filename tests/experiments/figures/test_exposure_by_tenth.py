"""What the figure on membership inference makes of ensembles that were made up, against plain loops."""

from pathlib import Path

import ensemble_oracles
import numpy as np
import pandas as pd
import pytest
import torch

from turnover.config.compose import sweep
from turnover.experiments.figures import exposure
from turnover.experiments.figures.interface import claims
from turnover.experiments.plots.figure import Plotted, configured
from turnover.experiments.plots.notes import Source
from turnover.runs.store.members import Members, write_members

NETWORKS, EXAMPLES, SEEDS = 20, 30, (0, 1, 2)


def made_up(seed: int) -> Members:
    """Examples of which the later ones are memorized; another order of them for every seed."""
    generator = np.random.default_rng(seed)
    included = np.stack([generator.permutation(NETWORKS) % 2 == 0 for _ in range(EXAMPLES)], axis=1)
    memorized = np.arange(EXAMPLES) / EXAMPLES
    odds = generator.normal(2, 1, included.shape) + np.where(included, 0, -6 * memorized)
    order = generator.permutation(EXAMPLES)
    inside, confidence = (torch.from_numpy(each[:, order]) for each in (included, odds.astype(np.float32)))
    none = torch.zeros(NETWORKS, 0)
    return Members(
        ids=order + 100,
        test_ids=np.array([], dtype=np.int64),
        included=inside,
        fraction=torch.full((NETWORKS,), 0.5, dtype=torch.float64),
        confidence=confidence,
        right=confidence > 0,
        test_confidence=none,
        test_right=none.bool(),
    )


def sources(folder: Path) -> list[Source]:
    found = []
    for end in ("", "_cifar10"):
        for config in sweep([f"+experiment=exposure{end}", "scale=smoke", "logger=none"]):
            place = folder / f"{config.dataset.name}-{config.seed}"
            place.mkdir()
            write_members(place, made_up(config.seed + 10 * bool(end)))
            found.append(Source(config, place))
    return found


def of_example(members: Members, id: int) -> tuple[list[float], list[bool]]:
    """Log odds of one example by every network, and whether it was trained on."""
    place = members.ids.tolist().index(id)
    return [float(row[place]) for row in members.confidence], [bool(row[place]) for row in members.included]


def test_networks_are_attacked_by_their_seed_and_ranked_by_the_others(tmp_path: Path) -> None:
    numbers = exposure.tabulate(sources(tmp_path)).numbers.query("dataset == 'mnist'")
    ensembles = {seed: made_up(seed) for seed in SEEDS}
    ids = range(100, 100 + EXAMPLES)
    for seed, members in ensembles.items():
        memorized, excess, loss = {}, {}, {}
        for id in ids:
            by_seed = []
            for other in SEEDS:
                if other == seed:
                    continue
                odds, inside = of_example(ensembles[other], id)
                outcomes: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
                for value, member in zip(odds, inside, strict=True):
                    outcomes[member].append((float(value > 0), float(np.log1p(np.exp(-value)))))
                (right_in, loss_in), (right_out, loss_out) = (np.mean(outcomes[kind], axis=0) for kind in (True, False))
                by_seed.append((right_in - right_out, loss_out - loss_in, loss_in))
            memorized[id], excess[id], loss[id] = np.mean(by_seed, axis=0)
        odds_and_membership = [of_example(members, id) for id in ids]
        phi, inside_all = (np.array([each[part] for each in odds_and_membership]).T for part in (0, 1))
        ratios = ensemble_oracles.log_likelihood_ratios(phi.tolist(), inside_all.tolist())
        outside = sorted(ratios[~inside_all], reverse=True)
        limit = outside[int(0.01 * len(outside))]
        orders = {
            "memorization": sorted(ids, key=lambda id: (round(memorized[id], 6), excess[id])),
            "loss": sorted(ids, key=lambda id: loss[id]),
        }
        for name, ranked in orders.items():
            mine = numbers[(numbers["seed"] == seed) & (numbers["order"] == name)].set_index("tenth")
            for tenth, part in enumerate([ranked, *(ranked[3 * k : 3 * k + 3] for k in range(10))]):
                places = [id - 100 for id in part]
                of_part, members_of_part = ratios[:, places], inside_all[:, places]
                assert mine.loc[tenth, "found"] == pytest.approx(np.mean(of_part[members_of_part] > limit))
                assert mine.loc[tenth, "mistaken"] == pytest.approx(np.mean(of_part[~members_of_part] > limit))
                expected = np.mean([memorized[id] for id in part])
                assert mine.loc[tenth, "memorization"] == pytest.approx(expected, abs=1e-6)
        chance = numbers[(numbers["seed"] == seed) & (numbers["order"] == "random")].set_index("tenth")["memorization"]
        assert chance[0] == pytest.approx(np.mean(list(memorized.values())), abs=1e-6)
        assert numbers[numbers["seed"] == seed]["fit"].unique() == pytest.approx([np.mean((phi > 0)[inside_all])])


def table(highest: float, lowest: float, fit: float) -> pd.DataFrame:
    rows = [
        {"dataset": dataset, "order": order, "tenth": tenth, "seed": seed, "found": found, "fit": fit}
        for dataset in ("mnist", "cifar10")
        for order, ends in {"memorization": (lowest, highest), "loss": (0.1, 0.2), "random": (0.1, 0.1)}.items()
        for tenth, found in ((0, 0.15), (1, ends[0]), (10, ends[1]))
        for seed in (1, 0, 2)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("highest", "lowest", "fit", "verdict"),
    [
        (0.5, 0.01, 0.99, "reproduced"),
        (0.1, 0.05, 0.99, "not reproduced"),
        (0.1, 0.5, 0.99, "not reproduced"),
        (0.5, 0.01, 0.5, "not tested"),
    ],
)
def test_claims_and_measures(highest: float, lowest: float, fit: float, verdict: str) -> None:
    numbers = table(highest, lowest, fit)
    found = exposure.measures(numbers)
    assert found["memorization_mnist"] == pytest.approx([highest - lowest] * 3)
    assert found["loss_cifar10"] == pytest.approx([0.1] * 3)
    assert found["random_mnist"] == pytest.approx([0.0] * 3)
    assert (found["highest_mnist"], found["found_mnist"]) == ([highest] * 3, [0.15] * 3)
    assert {name for claim in configured("exposure").claims.values() for name in claim.measures} == set(found)
    decided = claims(configured("exposure"), Plotted(numbers), ("mnist", "cifar10"), "laptop")
    assert [claim.verdict for claim in decided] == [verdict] * 2
