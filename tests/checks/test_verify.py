"""What every example trains, looked at: networks of many families, what is refused, and that a look leaves no trace."""

import copy
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
import transformers
from torch import Tensor, nn

import turnover
import turnover.checks.look
from turnover.checks.verify import _warned
from turnover.core.dropout import attached
from turnover.errors import TurnOverError

WORDS: dict[str, Any] = {"vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
IDS = torch.tensor([11, 5, 8, 2**40, 3, 7])


class Logits(nn.Module):
    """A network of transformers that gives its logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, words: Tensor) -> Tensor:
        logits: Tensor = self.network(input_ids=words).logits
        return logits


def gpt2(**options: Any) -> nn.Module:
    config = transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=16, **WORDS, **options)
    return transformers.GPT2LMHeadModel(config)


def sized(kind: str, heads: str = "num_attention_heads", **options: Any) -> dict[str, Any]:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, heads: 2, "intermediate_size": 32}
    return sizes | WORDS | options


TEXT: dict[str, Callable[[], nn.Module]] = {
    "gpt2": gpt2,
    "gpt2 eager": lambda: gpt2(attn_implementation="eager"),
    "gpt-neox": lambda: transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**sized(""))),
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**sized("", num_key_value_heads=2))),
    "bert": lambda: transformers.BertForSequenceClassification(transformers.BertConfig(**sized("", num_labels=4))),
    "albert": lambda: transformers.AlbertForSequenceClassification(
        transformers.AlbertConfig(**sized("", num_labels=4, embedding_size=8))
    ),
}
models = torchvision.models
IMAGES: dict[str, Callable[[], nn.Module]] = {
    "resnet": lambda: models.resnet18(num_classes=4),
    "mobilenet v2": lambda: models.mobilenet_v2(num_classes=4),
    "mobilenet v3": lambda: models.mobilenet_v3_small(num_classes=4),
    "googlenet": lambda: models.googlenet(num_classes=4, aux_logits=False, init_weights=False),
    "densenet": lambda: models.DenseNet(8, (2, 2), 16, num_classes=4),
    "memory-efficient densenet": lambda: models.DenseNet(8, (2, 2), 16, num_classes=4, memory_efficient=True),
    "vit": lambda: models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=4),
    "efficientnet": lambda: models.efficientnet_b0(num_classes=4),
    "convnext": lambda: models.ConvNeXt([models.convnext.CNBlockConfig(12, None, 2)], num_classes=4),
    "regnet": lambda: models.regnet_y_400mf(num_classes=4),
}


def family(name: str) -> tuple[nn.Module, Tensor]:
    """The network in float64 and evaluation mode, and six inputs."""
    torch.manual_seed(0)
    network: nn.Module = Logits(TEXT[name]()) if name in TEXT else IMAGES[name]()
    for parameter in network.parameters():  # some begin with zeros, behind which nothing could be seen
        parameter.data += 0.02 * torch.randn_like(parameter)
    size = 64 if name in ("googlenet", "convnext") else 32
    x = torch.randint(3, 60, (6, 9)) if name in TEXT else torch.randn(6, 3, size, size, dtype=torch.float64)
    return network.double().eval(), x


@contextmanager
def multiplied_by_hand(network: nn.Module, ids: Tensor, flipped: bool = False) -> Iterator[None]:
    """Inside, every activation module, or call of F.relu, is followed by a multiplication with its mask."""
    count = iter(range(1000))
    relu = F.relu

    def masked(h: Tensor) -> Tensor:
        channel = 1 if h.dim() == 4 and h.shape[1] in widths else h.dim() - 1
        mask = turnover.mask(ids, h.shape[channel], next(count), 0) ^ flipped
        shape = [len(ids)] + [1] * (h.dim() - 1)
        shape[channel] = h.shape[channel]
        return h * mask.reshape(shape) * 2

    widths = {each.num_features for each in network.modules() if isinstance(each, nn.BatchNorm2d)}
    widths |= {each.out_channels for each in network.modules() if isinstance(each, nn.Conv2d)}
    names = {"GELU", "ReLU6", "Hardswish", "Hardsigmoid", "SiLU", "Sigmoid", "Tanh", "SiLUActivation", "GELUActivation"}
    names |= {"NewGELUActivation", "GELUTanh"}
    handles = [
        each.register_forward_hook(lambda module, inputs, output: masked(output))
        for each in network.modules()
        if type(each).__name__ in names
    ]
    with patch("torch.nn.functional.relu", lambda x, inplace=False: masked(relu(x))):
        yield
    for handle in handles:
        handle.remove()


def gradients(network: nn.Module, logits: Tensor) -> dict[str, Tensor]:
    network.zero_grad()
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1), dtype=logits.dtype)
    (logits * weights).sum().backward()
    return {name: each.grad.clone() for name, each in network.named_parameters() if each.grad is not None}


def economical(network: nn.Module, checkpointed: bool) -> None:
    for module in network.modules():
        if hasattr(module, "memory_efficient"):
            module.memory_efficient = checkpointed  # type: ignore[assignment]


@pytest.mark.parametrize("name", [*TEXT, *IMAGES])
def test_a_family_trains_as_if_masks_were_multiplied_in_by_hand(name: str) -> None:
    network, x = family(name)
    for context, flipped in ((turnover.own, False), (turnover.flipped, True)):
        economical(network, False)  # the hooks know nothing of checkpoints
        with multiplied_by_hand(network, IDS, flipped):
            expected = network(x)
        right = gradients(network, expected)
        economical(network, name.startswith("memory"))
        turnover.attach(network)
        with context(network, IDS):
            logits = network(x)
        ours = gradients(network, logits)
        turnover.detach(network)
        assert torch.allclose(logits, expected, rtol=1e-10, atol=1e-12)
        assert ours.keys() == right.keys()
        for key in right:
            assert (ours[key] - right[key]).norm() <= 1e-11 * right[key].norm() + 1e-13, key


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("inside", [True, False])
def test_checkpointed_transformers_train_as_plain_ones(reentrant: bool, inside: bool) -> None:
    found = []
    for checkpointed in (False, True):
        network, x = family("gpt2")
        if checkpointed:
            inner = cast(Any, network.network)
            inner.gradient_checkpointing_enable({"use_reentrant": reentrant})
            inner.enable_input_require_grads()
        turnover.attach(network.train())
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        with turnover.own(network, IDS):
            logits = network(x)
            if inside:
                found.append(gradients(network, logits))
        if not inside:
            found.append(gradients(network, logits))
    plain, ours = found
    assert plain.keys() == ours.keys()
    for key in plain:
        assert (ours[key] - plain[key]).norm() <= 1e-12 * plain[key].norm() + 1e-15, key


class Checkpointed(nn.Module):
    """The whole network may be checkpointed from outside as well."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh())
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_network_checkpointed_from_outside_trains_as_a_plain_one(reentrant: bool) -> None:
    torch.manual_seed(0)
    network = turnover.attach(Checkpointed().double())
    x = torch.randn(6, 8, dtype=torch.float64, requires_grad=True)
    with turnover.own(network, IDS):
        right = gradients(network, network(x))
    with turnover.own(network, IDS):
        logits = torch.utils.checkpoint.checkpoint(network, x, use_reentrant=reentrant)
    with turnover.flipped(network, IDS + 1):  # another context is open while it is computed again
        network(x)
        ours = gradients(network, logits)
    assert all(torch.equal(ours[key], right[key]) for key in right)


def test_checkpoints_outside_of_turn_over_dropout_are_as_before() -> None:
    torch.manual_seed(0)
    network = turnover.attach(Checkpointed().double())
    x = torch.randn(6, 8, dtype=torch.float64, requires_grad=True)
    right = gradients(network, network(x))
    for reentrant in (True, False):
        ours = gradients(network, torch.utils.checkpoint.checkpoint(network, x, use_reentrant=reentrant))
        assert all(torch.equal(ours[key], right[key]) for key in right)


# --- what verify reports ---


class Smooth(nn.Module):
    """No unit of it is ever dead, so that reach is decided by masks alone."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.middle, self.leave = nn.Linear(5, 32), nn.Linear(32, 24), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(torch.tanh(self.middle(torch.sigmoid(self.enter(x)))))


def test_the_report_counts_what_an_example_cannot_reach() -> None:
    network = turnover.attach(Smooth(), seed=3)
    report = turnover.verify(network, torch.randn(9, 5), torch.arange(9))
    first, second = (turnover.mask(torch.arange(2), units, layer, 3).double() for layer, units in enumerate((32, 24)))
    both = (second[:, :, None] * first[:, None]).mean((1, 2))
    expected = {
        "enter.weight": first.mean(1),
        "enter.bias": first.mean(1),
        "middle.weight": both,
        "middle.bias": second.mean(1),
        "leave.weight": second.mean(1),
        "leave.bias": torch.ones(2),
    }
    table = report.parameters.set_index("name")
    assert table["full"].eq(1).all()
    for name, share in expected.items():
        assert table["own"][name] == pytest.approx(float(share.mean()), rel=1e-12)
    entries = torch.tensor([each.numel() for each in network.parameters()]).double()
    reached = sum(e * float(s.mean()) for e, s in zip(entries, expected.values(), strict=True))
    assert report.shielded == pytest.approx(1 - float(reached / entries.sum()), rel=1e-12)
    assert report.unshielded == ["leave.bias"]
    assert report.activations.values.tolist() == [[0, "", 32], [1, "", 24]]
    assert "out of reach of one example" in str(report)
    assert "leave.bias" in str(report)


def test_it_takes_arguments_as_a_network_does(caplog: pytest.LogCaptureFixture) -> None:
    network = turnover.attach(gpt2())
    words, keep = torch.randint(3, 60, (6, 9)), torch.ones(6, 9, dtype=torch.long)
    by_name = turnover.verify(network, {"input_ids": words, "attention_mask": keep}, np.arange(6))
    in_order = turnover.verify(network, (words, None, keep), torch.arange(6))
    assert by_name.parameters.equals(in_order.parameters)
    assert by_name.activations["module"].tolist() == ["transformer.h.0.mlp.act", "transformer.h.1.mlp.act"]
    assert "transformer.wte.weight" in by_name.unshielded
    assert not caplog.messages, "only the first pass of a training warns"
    with pytest.raises(TurnOverError, match="has no turn-over dropout"):
        turnover.verify(gpt2(), words, torch.arange(6))


def test_a_mask_of_few_parameters_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.hidden, self.head = nn.LSTM(5, 16, batch_first=True), nn.Linear(16, 16), nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(F.relu(self.hidden(self.inner(x)[0][:, -1])))

    for seed in range(2):
        network = turnover.attach(Recurrent(), seed=seed)
        with turnover.own(network, IDS):
            network(torch.randn(6, 7, 5))
    [message] = [each for each in caplog.messages if "Recurrent" in each]
    assert "those inside of inner cannot be seen" in message
    assert "inner.weight_ih_l0" in message
    assert turnover.verify(network, torch.randn(6, 7, 5), IDS).hidden == ("inner",)
    chosen = turnover.attach(nn.Sequential(Recurrent(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)), layers=["2"])
    with turnover.own(chosen, IDS):
        chosen(torch.randn(6, 7, 5))
    assert not [each for each in caplog.messages if "Sequential" in each], "who chooses layers knows"


class Normalised(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.enter, self.norm, self.leave = nn.Conv2d(3, 16, 3), norm, nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(F.relu(self.norm(self.enter(x))).mean((2, 3)))


def learnt_by_flipped_units(network: nn.Module) -> float:
    """How much another image of the first example changes the gradient of the units that it never trains."""
    torch.manual_seed(1)
    x = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    other = torch.cat([torch.randn(1, 3, 8, 8, dtype=torch.float64), x[1:]])
    found = []
    for images in (x, other):
        with turnover.own(network, IDS):
            found.append(gradients(network, network(images))["enter.weight"])
    outside = ~turnover.mask(IDS[:1], 16, 0, 0)[0]
    return float((found[0] - found[1])[outside].norm() / found[0][outside].norm())


def test_batch_statistics_are_told_once_and_their_advice_helps(caplog: pytest.LogCaptureFixture) -> None:
    x = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    network = turnover.attach(Normalised(nn.BatchNorm2d(16)).double())
    assert learnt_by_flipped_units(network) > 1e-3
    [message] = [each for each in caplog.messages if "statistics" in each]
    assert "Normalised normalises by the statistics of the batch in norm" in message
    assert "(module.eval() after model.train())" in message
    assert "nn.InstanceNorm2d" in message
    assert turnover.verify(network, x, IDS).mixing == ("norm",)
    network.norm.eval()
    alone = turnover.attach(Normalised(nn.InstanceNorm2d(16)).double())
    for advised in (network, alone):
        assert turnover.verify(advised, x, IDS).mixing == ()
        assert learnt_by_flipped_units(advised) < 1e-12
    grouped = turnover.verify(turnover.attach(Normalised(nn.GroupNorm(4, 16)).double()), x, IDS)
    assert grouped.mixing == ()
    assert "enter.weight" in grouped.unshielded, "its units learn through the statistics of their group"
    y = torch.arange(6) % 4
    assert turnover.score(network, x, y, IDS).attrs["leakage"]["batch_statistics"] == ("norm",)
    assert "statistics of a batch" in turnover.score(network, x, y, IDS).attrs["leakage"]["message"]


# --- what is refused, and that the advice works ---


class Sequences(nn.Module):
    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.enter = nn.Linear(1, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=batch_first)
        self.layers, self.leave, self.batch_first = nn.TransformerEncoder(layer, 1), nn.Linear(16, 4), batch_first

    def forward(self, x: Tensor) -> Tensor:
        if self.batch_first:
            return self.leave(self.layers(self.enter(x[:, :, None])).mean(1))
        return self.leave(self.layers(self.enter(x.T[:, :, None])).mean(0))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("length", [3, 4, 6, 8])  # of a look's batch, of the whole batch, of neither
def test_a_batch_in_second_place_is_refused(length: int, training: bool) -> None:
    x, ids = torch.randn(6, length), torch.arange(6)
    for batch_first in (False, True):
        network = turnover.attach(Sequences(batch_first)).train(training)
        refused = nullcontext() if batch_first else pytest.raises(TurnOverError, match="batch_first=True")
        with torch.set_grad_enabled(training), refused, turnover.own(network, ids):
            network(x)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_memorization_refuses_it_before_any_training() -> None:
    steps: list[int] = []
    x, y = torch.randn(64, 8), torch.arange(64) % 4
    with (
        patch("torch.optim.SGD.step", lambda *_: steps.append(1)),
        pytest.raises(TurnOverError, match="batch_first=True"),
    ):
        turnover.memorization(lambda: Sequences(False), x, y, epochs=1, lr=0.1, batch_size=8, progress=False)
    assert not steps


class Odd(nn.Module):
    """Networks that masks cannot follow, by what they do."""

    def __init__(self, habit: str) -> None:
        super().__init__()
        self.habit = habit
        self.enter, self.leave = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.enter(x)
        match self.habit:
            case "reorders":
                return self.leave(F.relu(h.flip(0))).flip(0)
            case "averages":
                return self.leave(F.relu(h - h.mean(0)))
            case "attends":
                return self.leave(F.relu(torch.softmax(h @ h.T, 1) @ h))
            case "hooks":
                with torch.autograd.graph.saved_tensors_hooks(lambda saved: saved, lambda saved: torch.relu(saved)):
                    return self.leave(F.relu(h).exp())
        raise AssertionError


@pytest.mark.parametrize(
    ("habit", "message"),
    [
        ("reorders", "mixes the examples|reorders its batch"),
        ("averages", "Odd mixes the examples of a batch"),
        ("attends", "Odd mixes the examples of a batch"),
        ("hooks", "computes activations again in its backward pass|is bent again"),
    ],
)
def test_what_masks_cannot_follow_is_refused(habit: str, message: str) -> None:
    network = turnover.attach(Odd(habit))
    with pytest.raises(TurnOverError, match=message), turnover.own(network, IDS):
        network(torch.randn(6, 8))


def test_an_activation_by_hand_is_right_as_a_module_as_the_message_says() -> None:
    class Activation(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * (1 + torch.sigmoid(x))

    network = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 4))

    class ByHand(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.activation = network, Activation()

        def forward(self, x: Tensor) -> Tensor:
            h = network[0](x)
            return network[1](self.activation(h) if self.training else h * (1 + torch.sigmoid(h)))

    model = turnover.attach(ByHand()).eval()
    with (
        pytest.raises(TurnOverError, match=r"(?s)only a part .* class Activation\(nn.Module\)"),
        turnover.own(model, IDS),
    ):
        model(torch.randn(6, 8))
    module = turnover.attach(nn.Sequential(network[0], Activation(), network[1]))
    assert turnover.verify(module, torch.randn(6, 8), IDS).activations.values.tolist() == [[0, "1", 16]]


def test_a_module_without_weights_that_is_named_is_masked_at_its_output() -> None:
    class Clamp(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.clamp(0, 1)

    torch.manual_seed(0)
    for act in (Clamp(), nn.MaxPool1d(2), nn.ReLU()):
        network = nn.Sequential(
            nn.Linear(8, 16), act, nn.Linear(8 if isinstance(act, nn.MaxPool1d) else 16, 4)
        ).double()
        x = torch.randn(6, 8, dtype=torch.float64)
        h = act(network[0](x))
        expected = network[2](h * turnover.mask(IDS, h.shape[1], 0, 0) * 2)
        turnover.attach(network, layers=["1"])
        with turnover.own(network, IDS):
            assert torch.allclose(network(x), expected, rtol=1e-12)


def test_auxiliary_classifiers_are_refused_and_the_advice_works() -> None:
    x = torch.randn(6, 3, 64, 64)
    network = turnover.attach(models.googlenet(num_classes=4, aux_logits=True, init_weights=False))
    with pytest.raises(TurnOverError, match=r"aux_logits=False"), turnover.own(network, IDS):
        network(x)
    without = turnover.attach(models.googlenet(num_classes=4, aux_logits=False, init_weights=False))
    with turnover.own(without, IDS):
        assert without(x).shape == (6, 4)


def test_an_output_that_would_be_masked_is_refused_and_the_advice_works() -> None:
    network = models.squeezenet1_1(num_classes=4)
    with pytest.raises(TurnOverError, match="name the hidden layers"), turnover.own(turnover.attach(network), IDS):
        network(torch.randn(6, 3, 64, 64))
    turnover.attach(turnover.detach(network), layers=["features"])
    assert len(turnover.verify(network, torch.randn(6, 3, 64, 64), IDS).activations) == 25


def test_compiled_networks_know_their_activation_modules() -> None:
    network, x = family("gpt2")
    turnover.attach(network)
    torch._dynamo.reset()
    compiled = cast(nn.Module, torch.compile(network, backend="aot_eager"))
    with pytest.raises(TurnOverError, match="run one forward pass"), turnover.own(compiled, IDS):
        compiled(x)
    with turnover.own(network, IDS):
        expected = network(x)
    with turnover.own(compiled, IDS):
        assert torch.allclose(compiled(x), expected, rtol=1e-10)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_a_network_that_is_only_ever_compiled_is_looked_at_too() -> None:
    network = turnover.attach(Sequences(False))
    torch._dynamo.reset()
    compiled = cast(nn.Module, torch.compile(network, backend="aot_eager"))
    with pytest.raises(TurnOverError, match="batch_first=True"), turnover.own(compiled, torch.arange(8)):
        compiled(torch.randn(8, 8))


@pytest.mark.parametrize("reentrant", [True, False])
def test_compiling_hides_a_checkpoint_which_is_refused(reentrant: bool) -> None:
    class Inside(Checkpointed):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.utils.checkpoint.checkpoint(self.body, x, use_reentrant=reentrant))

    torch.manual_seed(0)
    network = turnover.attach(Inside().double())
    x = torch.randn(6, 8, dtype=torch.float64, requires_grad=True)
    torch._dynamo.reset()
    compiled = cast(nn.Module, torch.compile(network, backend="aot_eager"))
    with (
        pytest.raises(TurnOverError, match=r"hides 2 of the 2 .* outside of checkpoints, or do not compile"),
        turnover.own(compiled, IDS),
    ):
        compiled(x)
    with turnover.own(network, IDS):
        assert gradients(network, network(x)).keys() == {name for name, _ in network.named_parameters()}


# --- a look leaves no trace ---


class Stateful(nn.Module):
    """Statistics, dropout, a counter, random numbers of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.norm, self.drop = nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.5)
        self.leave = nn.Linear(16, 4)
        self.seen = nn.Buffer(torch.zeros((), dtype=torch.long))
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.seen.add_(1)
        self.noise = torch.randn(3) + random.random() + np.random.rand()
        return self.leave(self.drop(F.relu(self.norm(self.enter(x)))))


def test_a_look_leaves_no_trace() -> None:
    torch.manual_seed(0)
    network = turnover.attach(Stateful())
    network.norm.eval()
    network.leave(torch.randn(6, 16)).sum().backward()
    before = copy.deepcopy(network.state_dict())
    grads = [None if each.grad is None else each.grad.clone() for each in network.parameters()]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)
    calls: list[int] = []
    network.enter.register_forward_hook(lambda *_: calls.append(1))
    turnover.verify(network, torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), IDS)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert repr(states[2]) == repr(np.random.get_state(legacy=False))
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())
    for parameter, grad in zip(network.parameters(), grads, strict=True):
        assert (parameter.grad is None) == (grad is None)
        assert grad is None or parameter.grad is None or torch.equal(parameter.grad, grad)
    assert network.count == 0
    assert not hasattr(network, "noise")
    assert not calls
    assert [each.training for each in (network, network.norm, network.drop)] == [True, False, True]


def test_the_first_pass_is_as_every_other() -> None:
    outcomes = []
    for looked in (False, True):
        torch.manual_seed(0)
        network = turnover.attach(Stateful())
        x = torch.randn(6, 8)
        if looked:
            attached(network).verified.add((True, (torch.float32, 8)))
        unlooked = patch("turnover.checks.verify.examine", side_effect=AssertionError) if looked else nullcontext()
        with unlooked, turnover.own(network, IDS):
            logits = network(x)
        outcomes.append((logits, cast(Tensor, network.norm.running_mean).clone(), torch.rand(3), network.count))
    for plain, ours in zip(*outcomes, strict=True):
        assert torch.equal(torch.as_tensor(plain), torch.as_tensor(ours))


def test_a_network_is_looked_at_once_a_mode_and_shape() -> None:
    network = turnover.attach(Checkpointed())
    with patch("turnover.checks.verify.examine", wraps=turnover.checks.look.examine) as examine:
        for training in (True, False, True):
            network.train(training)
            for batch in (6, 5):
                with turnover.own(network, IDS[:batch]):
                    network(torch.randn(batch, 8))
        assert examine.call_count == 2
        turnover.score(network, torch.randn(6, 8), torch.arange(6) % 4, IDS)
        assert examine.call_count == 2


def test_half_precision_is_looked_at_without_spoiling_the_graph() -> None:
    network = turnover.attach(Checkpointed())
    with torch.autocast("cpu", dtype=torch.bfloat16), turnover.own(network, IDS):
        logits = network(torch.randn(6, 8))
    assert gradients(network, logits.float()).keys() == {name for name, _ in network.named_parameters()}


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_small_batch_is_looked_at_too(batch: int) -> None:
    network = turnover.attach(Odd("averages"))
    with pytest.raises(TurnOverError, match="mixes"), turnover.own(network, IDS[:batch]):
        network(torch.randn(batch, 8))


# --- score knows what was trained ---


def train(network: nn.Module, x: Tensor, y: Tensor, ids: Tensor | None, steps: int = 6) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for step in range(steps):
        index = torch.arange(len(x))[step % 3 :: 3]
        given = None if ids is None else ids[index] if len(ids) == len(x) else ids[: len(index)]
        with nullcontext() if given is None else turnover.own(network, given):
            loss = F.cross_entropy(network(x[index]), y[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[nn.Module], list[str]]:
    x, y = torch.randn(30, 8), torch.arange(30) % 4

    def score(network: nn.Module) -> list[str]:
        caplog.clear()
        turnover.score(network, x, y, torch.arange(30))
        turnover.influence(network, x[:2], y[:2], torch.arange(30))
        messages = [message for message in caplog.messages if "image of another example" not in message]  # the verdict
        assert len(set(messages)) * 2 == len(messages), "score and influence say the same"
        return messages

    return score


def test_score_knows_what_was_trained(told: Callable[[nn.Module], list[str]]) -> None:
    x, y = torch.randn(30, 8), torch.arange(30) % 4
    network = turnover.attach(Checkpointed())
    train(network, x, y, torch.arange(30))
    assert told(network) == []
    assert told(copy.deepcopy(network)) == []
    train(network, x, y, None, steps=20)
    assert "20 of 26 training passes of Checkpointed ran outside of turnover.own" in told(network)[0]

    never = turnover.attach(Checkpointed())
    train(never, x, y, None)
    assert "was not trained under turnover.own" in told(never)[0]

    positions = turnover.attach(Checkpointed())
    train(positions, x, y, torch.arange(10))
    assert "20 of 30 ids were never given to turnover.own in training (for example 10, 11, 12)" in told(positions)[0]

    evaluated = turnover.attach(Checkpointed())
    with torch.no_grad(), turnover.own(evaluated, torch.arange(30)):
        evaluated(x)
    assert "was not trained under" in told(evaluated)[0], "a pass without gradients trains nothing"


def test_every_step_of_an_optimizer_is_told_from_training_outside(told: Callable[[nn.Module], list[str]]) -> None:
    x, y = torch.randn(30, 8), torch.arange(30) % 4
    for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop):
        network = turnover.attach(Checkpointed())
        optimizer = kind(network.parameters(), lr=0.01, weight_decay=0.1)
        for accumulate in (1, 1, 4):
            for _ in range(accumulate):
                with turnover.own(network, torch.arange(30)):
                    loss = F.cross_entropy(network(x), y)
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        assert told(network) == [], kind


@pytest.fixture(autouse=True)
def said() -> None:
    _warned.clear()
    logging.getLogger("turnover").setLevel(logging.WARNING)
