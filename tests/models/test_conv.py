"""The small convolutional network: its size by formula, its sub-networks against networks that are really cut out."""

import oracles
import pytest
import torch
from torch import Tensor, nn

import turnover
from turnover.config.compose import sweep
from turnover.config.options import ConvConfig
from turnover.core.dropout import attached
from turnover.core.evaluation import evaluate, flipped_units, own_units
from turnover.core.examples import Examples
from turnover.models import build
from turnover.models.conv import conv
from turnover.runs.execute import execute
from turnover.runs.store.tables import read_metrics

WIDTH, SIDE = 8, 16
MAPS = (WIDTH, 2 * WIDTH, 4 * WIDTH)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return conv(3, 10, width=WIDTH, side=SIDE).double()


def data(n: int = 5) -> Examples:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(n, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    ids = torch.tensor([3, 59_999, 0, 2**24 + 1, 17])[:n]
    return Examples(images, torch.randint(10, (n,), generator=generator), ids)


def masks_of(id: Tensor, seed: int) -> list[Tensor]:
    return [turnover.mask(id.view(1), maps, layer, seed)[0] for layer, maps in enumerate(MAPS)]


# --- the network ---


def parameters(channels: int, classes: int, width: int, side: int) -> int:
    convolutions = [(channels, width), (width, 2 * width), (2 * width, 4 * width)]
    pixels = (-(-side // 8)) ** 2
    return sum((9 * before + 1) * after for before, after in convolutions) + (4 * width * pixels + 1) * classes


@pytest.mark.parametrize(
    ("channels", "classes", "width", "side"),
    [(3, 10, 32, 32), (1, 10, 16, 28), (1, 10, 4, 8), (3, 100, 8, 33), (1, 2, 4, 1)],
)
def test_the_number_of_parameters(channels: int, classes: int, width: int, side: int) -> None:
    with torch.device("meta"):
        model = conv(channels, classes, width=width, side=side)
    assert sum(each.numel() for each in model.parameters()) == parameters(channels, classes, width, side)


def test_the_default_network_has_113_738_parameters() -> None:
    assert sum(each.numel() for each in conv(3, 10).parameters()) == parameters(3, 10, 32, 32) == 113_738


def test_every_layer_has_its_shape_and_every_block_its_name() -> None:
    model = conv(3, 10)
    seen: dict[str, tuple[int, ...]] = {}
    for name, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(
                lambda module, inputs, output, name=name: seen.update({name: tuple(output.shape)})
            )
    with torch.no_grad():
        model(torch.zeros(2, 3, 32, 32))
    assert seen == {
        "block1.conv": (2, 32, 16, 16),
        "block1.relu": (2, 32, 16, 16),
        "block2.conv": (2, 64, 8, 8),
        "block2.relu": (2, 64, 8, 8),
        "block3.conv": (2, 128, 4, 4),
        "block3.relu": (2, 128, 4, 4),
        "flatten": (2, 2048),
        "logits": (2, 10),
    }
    assert [name for name, _ in model.named_children()] == ["block1", "block2", "block3", "flatten", "logits"]


@pytest.mark.parametrize("side", [1, 8, 15, 28])
def test_other_images_are_taken(side: int) -> None:
    model = build(ConvConfig(name="conv", width=4, dropout=0.0, channels_last=True), (1, side, side), 7)
    assert model(torch.zeros(2, 1, side, side)).shape == (2, 7)


def test_the_memory_layout_is_as_configured_and_changes_nothing_but_rounding() -> None:
    outputs: list[Tensor] = []
    for channels_last in (False, True):
        torch.manual_seed(0)
        model = build(
            ConvConfig(name="conv", width=WIDTH, dropout=0.0, channels_last=channels_last), (3, SIDE, SIDE), 10
        ).double()
        weight = model.get_parameter("block2.conv.weight")
        assert weight.is_contiguous(memory_format=torch.channels_last) == channels_last
        outputs.append(model(data().inputs))
    assert torch.allclose(outputs[0], outputs[1], rtol=1e-12, atol=1e-12)


def test_it_trains() -> None:
    fixed = ["dataset=digits", "scale=smoke", "logger=none", "device=cpu", "model=conv", "tracking.every=8"]
    [config] = sweep([*fixed, "model.width=16", "epochs=8", "optimizer.lr=0.2", "batch_size=64"])
    metrics = read_metrics(execute(config)).set_index(["epoch", "split", "metric"])["value"]
    assert metrics[8, "test", "full_accuracy"] > 0.7 > 0.2 > metrics[0, "test", "full_accuracy"]


# --- its sub-networks ---


def test_scores_equal_networks_that_are_really_cut_out() -> None:
    examples, model = data(), turnover.attach(network(), seed=4)
    its_own, turned = evaluate(model, examples, (own_units, flipped_units))
    assert attached(model).layer == 3
    for i, id in enumerate(examples.ids):
        for found, flip in ((its_own, False), (turned, True)):
            small = oracles.cut_out_vgg(model, masks_of(id, 4), flipped=flip, p=0.5)
            expected = oracles.cross_entropy(small(examples.inputs[i : i + 1])[0], int(examples.labels[i]))
            assert abs(float(found.loss[i]) - expected) < 1e-10
    assert not torch.allclose(its_own.loss, turned.loss)
