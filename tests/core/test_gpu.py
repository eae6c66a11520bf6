"""On a real GPU, where there is one: the numbers of the CPU, in float64, and a training step that never waits."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
import torchvision
from digits import digits
from gradient_networks import CASES, MASKED, made
from torch import Tensor, nn

import turnover
from turnover.checks.tied import TiedRule
from turnover.core import evaluation
from turnover.core.examples import Examples
from turnover.core.masks import Balance, MaskRule
from turnover.gradients.per_example import gradients
from turnover.gradients.sets import contributions, set_gradients
from turnover.runs.execute import execute
from turnover.runs.store.run import Run
from turnover.training.accuracy import Name, measure
from turnover.training.loop import train
from turnover.training.updates import Updates

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

GPU = torch.device("cuda")
IDS = torch.tensor([0, 1, 2**24 + 1, 2**40, 77, 5])


@pytest.fixture(autouse=True)
def _full_precision() -> Iterator[None]:
    # float64 is not touched by it, and float32 is compared with the CPU
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def close(on_gpu: Tensor, on_cpu: Tensor, tolerance: float = 1e-10) -> None:
    assert on_gpu.device.type == "cuda"
    scale = max(1.0, float(on_cpu.abs().max()))
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=tolerance, atol=tolerance * scale)


def both(name: str, n: int = 6) -> tuple[nn.Module, Examples, nn.Module, Examples]:
    """A network in float64 with turn-over dropout and its examples on the CPU, and copies of both on the GPU."""
    model, x, y = made(CASES[name], n)
    there = copy.deepcopy(model).to(GPU)
    if name in MASKED:
        turnover.attach(model, seed=3)
        turnover.attach(there, seed=3)
    return model, Examples(x, y, IDS[:n]), there, Examples(x.to(GPU), y.to(GPU), IDS[:n].to(GPU))


@pytest.mark.parametrize("p", [0.5, 0.3, 2**-16])
@pytest.mark.parametrize("groups", [None, 8])
@pytest.mark.parametrize("shared", [0.0, 0.2])
@pytest.mark.parametrize("units", [10, 64, 1500])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_kernel_multiplies_by_the_same_numbers(
    p: float, groups: int | None, units: int, dtype: torch.dtype, shared: float
) -> None:
    rule = TiedRule(p, 2**40 + 3, groups, shared=shared) if shared else MaskRule(p, 2**40 + 3, groups)
    for flipped, layer in ((False, 0), (True, 7)):
        here = rule.multiplier(IDS, units, layer, flipped=flipped, dtype=dtype)
        there = rule.multiplier(IDS.to(GPU), units, layer, flipped=flipped, dtype=dtype)
        assert torch.equal(there.cpu(), here)
        given = torch.empty_like(there)
        assert rule.multiplier(IDS.to(GPU), units, layer, flipped=flipped, dtype=dtype, out=given) is given
        assert torch.equal(given, there)


@pytest.mark.parametrize("p", [0.5, 0.3])
@pytest.mark.parametrize("balance", ["bernoulli", "exact"])
@pytest.mark.parametrize("groups", [None, 8])
def test_masks_are_the_same_bits(p: float, balance: Balance, groups: int | None) -> None:
    for units in (64, 100):
        here = turnover.mask(IDS, units, 1, 2, p, groups=groups, balance=balance)
        there = turnover.mask(IDS.to(GPU), units, 1, 2, p, groups=groups, balance=balance)
        assert torch.equal(there.cpu(), here)


@pytest.mark.parametrize("name", MASKED)
def test_scores_and_measures(name: str) -> None:
    model, some, there, copied = both(name)
    here = turnover.score(model, some.inputs, some.labels, some.ids)
    on_gpu = turnover.score(there, copied.inputs, copied.labels, copied.ids)
    assert (here["score"] - on_gpu["score"]).abs().max() < 1e-10
    influences = turnover.influence(model, some.inputs[:2], some.labels[:2], some.ids)
    close(turnover.influence(there, copied.inputs[:2], copied.labels[:2], copied.ids), influences)
    groups: dict[Name, Examples] = {("train", "all"): some, ("test", "all"): some}
    copies: dict[Name, Examples] = dict.fromkeys(groups, copied)
    measured = measure(there, copies, fresh_masks=2, precision="float32")
    for group, values in measure(model, groups, fresh_masks=2, precision="float32").items():
        assert measured[group] == pytest.approx(values, abs=1e-10)


def test_scores_of_resnet18() -> None:
    model = turnover.attach(torchvision.models.resnet18(num_classes=10).double())
    x, y, ids = torch.randn(4, 3, 32, 32, dtype=torch.float64), torch.zeros(4, dtype=torch.int64), IDS[:4]
    here = turnover.score(model, x, y, ids)
    on_gpu = turnover.score(model.to(GPU), x, y, ids)
    assert (here["score"] - on_gpu["score"]).abs().max() < 1e-9


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_single_examples(name: str) -> None:
    model, some, there, copied = both(name)
    masked = name in MASKED
    here = gradients(model, some.inputs, some.labels, evaluation.own_units(some.ids) if masked else None, check=False)
    on_gpu = gradients(
        there, copied.inputs, copied.labels, evaluation.own_units(copied.ids) if masked else None, check=False
    )
    close(on_gpu.gram(), here.gram())
    close(on_gpu.squared_norms(), here.squared_norms())
    sets = set_gradients(model, some, batch_size=4), set_gradients(there, copied, batch_size=4)
    close(sets[1].cosine(), sets[0].cosine())
    close(
        contributions(there, copied, sets[1].mean(), batch_size=4),
        contributions(model, some, sets[0].mean(), batch_size=4),
    )


@pytest.mark.parametrize("name", ["mlp", "vgg11", "cvt"])
@pytest.mark.parametrize("observed", [False, True])
def test_training_gives_the_weights_of_the_cpu_and_never_waits(name: str, observed: bool) -> None:
    """After the first step, which may set things up, anything that makes the CPU wait for the GPU raises."""
    model, some, there, copied = both(name)
    taken = [0]

    def strict() -> None:
        taken[0] += 1
        torch.cuda.set_sync_debug_mode("error" if taken[0] % 3 else "default")  # the end of an epoch may wait

    for network, examples, on_step in ((model, some, lambda: None), (there, copied, strict)):
        everything = torch.ones(len(examples), dtype=torch.bool, device=examples.device)
        observer = Updates(network, {"all": everything}, lambda epoch: True) if observed else None
        optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
        try:
            for _ in train(
                network,
                examples,
                optimizer,
                lambda step: 0.1,
                epochs=2,
                batch_size=2,
                seed=0,
                on_step=on_step,
                observers=[observer] if observer else [],
            ):
                if observer:
                    observer.means()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert taken[0] == 6
    for weights, others in zip(model.parameters(), there.parameters(), strict=True):
        close(others.detach(), weights.detach(), 1e-9)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_is_that_of_the_cpu(precision: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A whole score run: config, checkpoint, tables; equal on both devices up to the rounding of its precision."""
    tables: list[pd.DataFrame] = []
    for device in ("cpu", "cuda"):
        monkeypatch.setenv("TURNOVER_OUTPUTS", str(tmp_path / device))
        config = digits(f"device={device}", f"precision={precision}")
        folder = execute(config)
        assert Run(config).finished
        assert Run(config).manifest["device"].startswith(device)
        tables.append(pd.read_parquet(folder / "scores.parquet"))
    difference = (tables[0]["score"] - tables[1]["score"]).abs().max()
    assert difference < (1e-3 if precision == "float32" else 0.2)
