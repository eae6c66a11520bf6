"""VGG-11: its size and initialisation by formula, its sub-networks against networks that are really cut out."""

import math
from itertools import pairwise

import oracles
import pytest
import torch
from torch import Tensor, nn

import turnover
from turnover.config.options import VGG11Config
from turnover.core.evaluation import all_units, evaluate, flipped_units, own_units
from turnover.core.examples import Examples
from turnover.errors import RefusedInput
from turnover.models import build
from turnover.models.conv import vgg11

MULTIPLES = (1, 2, 4, 4, 8, 8, 8, 8)  # feature maps of each convolution, in multiples of the width
WIDTH = 8


def network(seed: int = 0, *, bias: bool = True, channels_last: bool = False, side: int = 32) -> nn.Sequential:
    """A narrow one in double precision, with biases that are not 0."""
    torch.manual_seed(seed)
    model = vgg11(3, 10, width=WIDTH, bias=bias, side=side).double()
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.3)
    return model.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def data(n: int = 6, side: int = 32) -> Examples:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(n, 3, side, side, generator=generator, dtype=torch.float64)
    ids = torch.tensor([3, 59_999, 0, 2**24 + 1, 2**40, 17])[:n]
    return Examples(images, torch.randint(10, (n,), generator=generator), ids)


def masks_of(id: Tensor, seed: int, p: float) -> list[Tensor]:
    return [turnover.mask(id.view(1), multiple * WIDTH, layer, seed, p)[0] for layer, multiple in enumerate(MULTIPLES)]


# --- the network ---


def parameters(channels: int, classes: int, width: int, *, bias: bool) -> int:
    maps = [channels, *(multiple * width for multiple in MULTIPLES)]
    convolutions = sum(9 * before * after + bias * after for before, after in pairwise(maps))
    return convolutions + (maps[-1] + 1) * classes


@pytest.mark.parametrize(
    ("classes", "width", "bias"), [(10, 64, True), (10, 64, False), (100, 16, True), (3, 1, False)]
)
def test_the_number_of_parameters(classes: int, width: int, bias: bool) -> None:
    with torch.device("meta"):
        model = vgg11(3, classes, width=width, bias=bias)
    assert sum(each.numel() for each in model.parameters()) == parameters(3, classes, width, bias=bias)


def test_every_layer_has_its_shape() -> None:
    model = vgg11(3, 10)
    seen: list[tuple[int, ...]] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.MaxPool2d):
            module.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[1:])))
    with torch.no_grad():
        model(torch.zeros(1, 3, 32, 32))
    assert seen == [
        *[(64, 32, 32), (64, 16, 16)],
        *[(128, 16, 16), (128, 8, 8)],
        *[(256, 8, 8), (256, 8, 8), (256, 4, 4)],
        *[(512, 4, 4), (512, 4, 4), (512, 2, 2)],
        *[(512, 2, 2), (512, 2, 2), (512, 1, 1)],
        (10,),
    ]
    kinds = [type(module) for module in model.modules()]
    assert [kinds.count(kind) for kind in (nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Linear)] == [8, 8, 5, 1]
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {
        *(f"block{number}" for number in range(1, 6)),
        "logits",
    }


def test_weights_are_drawn_as_he_et_al_say() -> None:
    torch.manual_seed(3)
    model = vgg11(3, 10)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan = 9 * module.out_channels if isinstance(module, nn.Conv2d) else module.in_features
            weight, n = module.weight.detach().double(), module.weight.numel()
            expected = math.sqrt(2 / fan)
            assert abs(float(weight.mean())) < 4 * expected / math.sqrt(n), name
            assert float(weight.std()) == pytest.approx(expected, abs=4 * expected / math.sqrt(2 * n)), name
            assert float((weight.abs() > 2 * expected).double().mean()) == pytest.approx(0.0455, abs=0.02), name
            assert module.bias is not None
            assert not module.bias.any()


def test_gradients_keep_their_size_on_the_way_down() -> None:
    torch.manual_seed(0)
    model = vgg11(3, 10)
    model(torch.randn(16, 3, 32, 32)).square().sum().backward()
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    sizes = [float(module.bias.grad.norm()) for module in convolutions]  # type: ignore[union-attr]
    assert max(sizes) < 20 * min(sizes), sizes


@pytest.mark.parametrize("side", [8, 28, 31])
def test_images_that_are_too_small_are_refused(side: int) -> None:
    with pytest.raises(RefusedInput, match=f"{side} x {side} pixels are too small, at least 32 x 32"):
        vgg11(1, 10, side=side)
    config = VGG11Config(name="vgg11", width=8, bias=True, dropout=0.0, channels_last=True)
    with pytest.raises(RefusedInput, match="too small"):
        build(config, (1, side, side), 10)


def test_the_memory_layout_is_as_configured_and_changes_nothing_but_rounding() -> None:
    outputs: list[Tensor] = []
    for channels_last in (False, True):
        torch.manual_seed(0)
        config = VGG11Config(name="vgg11", width=WIDTH, bias=True, dropout=0.0, channels_last=channels_last)
        model = build(config, (3, 32, 32), 10).double()
        weight = model.get_parameter("block2.conv1.weight")
        assert weight.is_contiguous(memory_format=torch.channels_last) == channels_last
        outputs.append(model(data().inputs))
    assert torch.allclose(outputs[0], outputs[1], rtol=1e-12, atol=1e-12)


# --- its sub-networks ---


@pytest.mark.parametrize("p", [0.5, 0.7])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("channels_last", [False, True])
def test_scores_equal_networks_that_are_really_cut_out(p: float, bias: bool, channels_last: bool) -> None:
    examples = data()
    model = turnover.attach(network(bias=bias, channels_last=channels_last), p=p, seed=4)
    table = turnover.score(model, examples.inputs, examples.labels, examples.ids, batch_size=4)
    for i, id in enumerate(examples.ids):
        losses = {}
        for name, turned in (("own", False), ("flipped", True)):
            small = oracles.cut_out_vgg(model, masks_of(id, 4, p), flipped=turned, p=round(p * 2**16) / 2**16)
            logits = small(examples.inputs[i : i + 1])[0]
            losses[name] = oracles.cross_entropy(logits, int(examples.labels[i]))
            assert table[f"{name}_prediction"].iloc[i] == int(logits.argmax())
            assert abs(table[f"{name}_loss"].iloc[i] - losses[name]) < 1e-10
        assert abs(table["score"].iloc[i] - (losses["flipped"] - losses["own"])) < 1e-10
    assert table["score"].abs().min() > 1e-3, "own and flipped differ"


def test_larger_images_keep_whole_feature_maps_in_the_last_layer() -> None:
    examples = data(2, side=64)
    model = turnover.attach(network(side=64), seed=2)
    [found] = evaluate(model, examples, (own_units,))
    for i, id in enumerate(examples.ids):
        small = oracles.cut_out_vgg(model, masks_of(id, 2, 0.5), flipped=False, p=0.5)
        logits = small(examples.inputs[i : i + 1])[0]
        assert abs(float(found.loss[i]) - oracles.cross_entropy(logits, int(examples.labels[i]))) < 1e-10


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_training_step_is_that_of_the_cut_out_networks(channels_last: bool) -> None:
    """Gradients of a batch: each example's own network alone, put back in its place."""
    examples = data(3)
    model = turnover.attach(network(channels_last=channels_last), seed=4)
    with turnover.own(model, examples.ids):
        nn.functional.cross_entropy(model(examples.inputs), examples.labels).backward()
    found = model.get_parameter("block5.conv2.bias").grad
    assert found is not None
    expected = torch.zeros_like(found)
    for i, id in enumerate(examples.ids):
        masks = masks_of(id, 4, 0.5)
        small = oracles.cut_out_vgg(model, masks, flipped=False, p=0.5)
        nn.functional.cross_entropy(small(examples.inputs[i : i + 1]), examples.labels[i : i + 1]).backward()
        last = [module for module in small if isinstance(module, nn.Conv2d)][-1]
        assert last.bias is not None
        assert last.bias.grad is not None
        expected[masks[-1]] += last.bias.grad / 3
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-13)


def test_a_shared_pass_keeps_the_memory_layout() -> None:
    """Else the layers above the first mask would run in the slower one."""
    seen: list[bool] = []
    model = turnover.attach(network(channels_last=True), seed=4)
    for name in ("block2.conv1", "block5.conv2"):
        model.get_submodule(name).register_forward_pre_hook(
            lambda module, inputs: seen.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
        )
    images = data().inputs.to(memory_format=torch.channels_last)
    evaluate(model, Examples(images, data().labels, data().ids), (own_units, flipped_units, all_units), batch_size=6)
    with turnover.own(model, data().ids):  # and while it trains
        model(images)
    assert seen
    assert all(seen)


def test_masks_of_the_last_block_alone() -> None:
    examples = data(3)
    model = turnover.attach(network(), seed=4, layers=["block5"])
    [found] = evaluate(model, examples, (own_units,))
    for i, id in enumerate(examples.ids):
        everything = [torch.ones(multiple * WIDTH, dtype=torch.bool) for multiple in MULTIPLES[:6]]
        small = oracles.cut_out_vgg(model, [*everything, *masks_of(id, 4, 0.5)[6:]], flipped=False, p=0.5)
        # a map that is not masked is not scaled either: 2 ** 6 of the first six layers undone at the seventh's input
        for number, module in enumerate(each for each in small if isinstance(each, nn.Conv2d)):
            if 1 <= number <= 6:
                module.weight.data /= 2
        logits = small(examples.inputs[i : i + 1])[0]
        assert abs(float(found.loss[i]) - oracles.cross_entropy(logits, int(examples.labels[i]))) < 1e-10
