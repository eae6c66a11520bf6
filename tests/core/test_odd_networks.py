"""Networks that do what few do: masks go where they would be multiplied in by hand, or the network is refused."""

import copy
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import turnover
from turnover.checks.verify import _warned
from turnover.errors import TurnOverError

IDS = torch.arange(6)
X = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
Masked = Callable[[Tensor], Tensor]


class Net(nn.Module):
    """Its forward pass is a function of itself, the inputs and what follows an activation if masks are made by hand."""

    def __init__(self, run: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs: Tensor, by: Masked = lambda h: h) -> Any:
        return self.run(self, by, *inputs)


def lin(inputs: int = 8, outputs: int = 16) -> nn.Linear:
    return nn.Linear(inputs, outputs)


def by_hand(channel: int, seed: int = 0) -> Masked:
    layers = iter(range(9))

    def multiply(h: Tensor) -> Tensor:
        shape = [len(IDS)] + [1] * (h.dim() - 1)
        shape[channel] = h.shape[channel]
        return h * turnover.mask(IDS, h.shape[channel], next(layers), seed).reshape(shape) * 2

    return multiply


def joints(net: Any, by: Masked, x: Tensor) -> Tensor:
    n, _, t, v = x.shape
    x = torch.einsum("nkctv,kvw->nctw", net.conv(x).view(n, 3, 8, t, v), net.graph)
    return cast(Tensor, net.head(by(F.relu(net.norm(x)))).mean((2, 3)))


class Scale(nn.Module):
    """No activation of units: what it takes the sigmoid of is a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.randn(16))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.gate)


class Acon(nn.Module):
    """An activation with parameters of every feature map."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.b = nn.Parameter(torch.randn(1, 16, 1, 1)), nn.Parameter(torch.ones(1, 16, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        d = self.p * x
        return d * torch.sigmoid(self.b * d) + x


TOKENS, MAPS = torch.randn(6, 7, 8), torch.randn(6, 3, 5, 9)
RIGHT: dict[str, tuple[Callable[[], Net], list[Any], int]] = {
    "a graph of joints": (
        lambda: Net(
            joints,
            conv=nn.Conv2d(3, 24, 1),
            graph=nn.Buffer(torch.rand(3, 9, 9)),
            norm=nn.BatchNorm2d(8).eval(),
            head=nn.Conv2d(8, 4, 1),
        ),
        [MAPS],
        1,
    ),
    "a matrix from the left": (
        lambda: Net(
            lambda s, by, x: s.h(by(F.relu(s.w @ x)).mean(2)), w=nn.Parameter(torch.randn(12, 8)), h=lin(12, 3)
        ),
        [torch.randn(6, 8, 7)],
        1,
    ),
    "an einsum from the left": (
        lambda: Net(
            lambda s, by, x: s.h(by(F.relu(torch.einsum("oc,bct->bot", s.w, x))).mean(2)),
            w=nn.Parameter(torch.randn(12, 8)),
            h=lin(12, 3),
        ),
        [torch.randn(6, 8, 7)],
        1,
    ),
    "an einsum over positions": (
        lambda: Net(
            lambda s, by, x: s.h(by(F.relu(torch.einsum("btc,st->bsc", x, s.w))).mean(2)),
            w=nn.Parameter(torch.randn(12, 7)),
            h=lin(12, 3),
        ),
        [TOKENS],
        1,
    ),
    "an einsum from the right": (
        lambda: Net(
            lambda s, by, x: s.h(by(F.relu(torch.einsum("btc,co->bto", x, s.w))).mean(1)),
            w=nn.Parameter(torch.randn(8, 12)),
            h=lin(12, 3),
        ),
        [TOKENS],
        2,
    ),
    "a norm after a transpose": (
        lambda: Net(
            lambda s, by, x: s.h(by(F.relu(s.n(s.a(x.mT).mT))).mean(2)),
            a=lin(),
            n=nn.BatchNorm1d(16).eval(),
            h=lin(16, 3),
        ),
        [torch.randn(6, 8, 16)],
        1,
    ),
    "packed gates": (
        lambda: Net(lambda s, by, x: s.h(by(F.glu(s.a(x)))).mean(1), a=lin(8, 24), h=lin(12, 3)),
        [TOKENS],
        2,
    ),
    "packed gates by hand": (
        lambda: Net(
            lambda s, by, x: s.h(by(F.silu((z := s.a(x).chunk(2, -1))[0])) * z[1]).mean(1), a=lin(8, 24), h=lin(12, 3)
        ),
        [TOKENS],
        2,
    ),
    "an activation with parameters": (
        lambda: Net(
            lambda s, by, x: s.h(by(s.act(s.a(x)))).mean((2, 3)),
            a=nn.Conv2d(3, 16, 3),
            act=Acon(),
            h=nn.Conv2d(16, 3, 1),
        ),
        [MAPS],
        1,
    ),
    "a gate that is a module": (
        lambda: Net(lambda s, by, x: s.h(s.g(s.b(by(F.relu(s.a(x)))))), a=lin(), b=lin(16), g=Scale(), h=lin(16, 3)),
        [X],
        1,
    ),
    "a gate of parameters": (
        lambda: Net(
            lambda s, by, x: s.h(by(F.relu(s.a(x))) * torch.sigmoid(s.g)),
            a=lin(),
            h=lin(16, 3),
            g=nn.Parameter(torch.randn(1, 16)),
        ),
        [X],
        1,
    ),
    "a bounded divisor": (
        lambda: Net(
            lambda s, by, x: s.h((h := by(F.relu(s.a(x)))) / h.norm(dim=1, keepdim=True).clamp_min(1e-6)),
            a=lin(),
            h=lin(16, 3),
        ),
        [X],
        1,
    ),
    "positions as long as the batch": (
        lambda: Net(lambda s, by, x, p: s.h(by(F.relu(s.a(x + p)))).mean(1), a=lin(), h=lin(16, 3)),
        [torch.randn(6, 6, 8), torch.randn(6, 8)],
        2,
    ),
    "a distance as the head": (
        lambda: Net(lambda s, by, x: torch.cdist(by(F.relu(s.a(x))), s.p), a=lin(), p=nn.Parameter(torch.randn(3, 16))),
        [X],
        1,
    ),
    "a recurrent head": (
        lambda: Net(lambda s, by, x: s.r(by(F.relu(s.a(x))))[0][:, -1], a=lin(), r=nn.LSTM(16, 3, batch_first=True)),
        [TOKENS],
        2,
    ),
    "gradients inside": (
        lambda: Net(
            lambda s, by, x: torch.autograd.grad(
                s.b(by(torch.tanh(s.a(z := x.detach().requires_grad_())))).sum(), z, create_graph=True
            )[0],
            a=lin(),
            b=lin(16, 1),
        ),
        [X],
        1,
    ),
    "a keyword": (lambda: Net(lambda s, by, x: s.h(by(F.relu(input=s.a(x)))), a=lin(), h=lin(16, 3)), [X], 1),
    "all by keywords": (
        lambda: Net(
            lambda s, by, x: F.linear(input=by(F.relu(F.linear(input=x, weight=s.a.weight))), weight=s.h.weight),
            a=lin(),
            h=lin(16, 3),
        ),
        [X],
        1,
    ),
    "another name": (lambda: Net(lambda s, by, x: s.h(by(torch.special.expit(s.a(x)))), a=lin(), h=lin(16, 3)), [X], 1),
    "a hand-written norm": (
        lambda: Net(
            lambda s, by, x: s.h((h := by(F.relu(s.a(x)))) * (h.pow(2).mean(1, keepdim=True) + 1e-5).rsqrt()),
            a=lin(),
            h=lin(16, 3),
        ),
        [X],
        1,
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_masks_go_where_they_would_by_hand(name: str) -> None:
    make, inputs, channel = RIGHT[name]
    torch.manual_seed(0)
    network = make().double()
    inputs = [each.double() for each in inputs]
    expected = network(*inputs, by=by_hand(channel))
    (expected * torch.arange(expected.numel()).view_as(expected)).sum().backward()
    right = [each.grad for each in network.parameters()]
    network.zero_grad()
    turnover.attach(network)
    assert len(turnover.verify(network, tuple(inputs), IDS).activations) >= 1
    with turnover.own(network, IDS):
        logits = network(*inputs)
    (logits * torch.arange(logits.numel()).view_as(logits)).sum().backward()
    assert torch.allclose(logits, expected, rtol=1e-11, atol=1e-12)
    for ours, theirs in zip((each.grad for each in network.parameters()), right, strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or theirs is None or torch.allclose(ours, theirs, rtol=1e-10, atol=1e-10)


class Recycles(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.h = nn.Linear(11, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor, before: Tensor | None = None) -> Tensor:
        if before is None:
            before = self(x, torch.zeros(len(x), 3))
        return self.h(F.relu(self.a(torch.cat([x, before], 1))))


def in_a_view(s: Any, by: Masked, x: Tensor) -> Tensor:
    h = s.c(F.relu(s.a(x)))
    h[:, :8].relu_()
    return cast(Tensor, s.h(h))


REFUSED: dict[str, tuple[Callable[[], nn.Module], list[Any], str]] = {
    "channels exchanged, of the length of time": (
        lambda: Net(lambda s, by, x: s.h(F.relu(s.c(x).mT)).mean(1), c=nn.Conv1d(8, 16, 1), h=lin(16, 3)),
        [torch.randn(6, 8, 16)],
        "which dimension of the activation",
    ),
    "an output among others": (
        lambda: Net(
            lambda s, by, x: (torch.tanh(s.pi(h := F.relu(s.t(x)))), s.v(h)), t=lin(), pi=lin(16, 4), v=lin(16, 1)
        ),
        [X],
        "an output of Net is masked",
    ),
    "an activation in place, of a view": (
        lambda: Net(in_a_view, a=lin(8, 64), c=lin(64, 16), h=lin(16, 3)),
        [X],
        "in place and drops its result",
    ),
    "a call of itself": (Recycles, [X], "calls itself"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_go_wrong_is_refused(name: str) -> None:
    make, inputs, message = REFUSED[name]
    network = turnover.attach(make())
    with pytest.raises(TurnOverError, match=message), turnover.own(network, IDS):
        network(*inputs)


def test_a_layer_that_runs_again_before_another_mask_is_told(caplog: pytest.LogCaptureFixture) -> None:
    class Siamese(Net):
        pass

    head = lin(32, 3)
    network = turnover.attach(
        Siamese(lambda s, by, x: s.h(torch.cat([F.gelu(s.a(x)), F.gelu(s.a(-x))], 1)), a=lin(), h=head)
    )
    with turnover.own(network, IDS):
        network(X)
    assert "Siamese runs a.weight several times in a pass" in "".join(caplog.messages)
    report = turnover.verify(network, X, IDS)
    assert report.shared == ("a.weight",)
    assert "a.weight several times" in str(report)
    both = turnover.mask(IDS[:2], 16, 0, 0) | turnover.mask(IDS[:2], 16, 1, 0)
    own = report.parameters.set_index("name")["own"]
    assert own["a.bias"] == pytest.approx(float(both.double().mean()))
    gates = Net(
        lambda s, by, x: s.h(torch.tanh((z := s.a(x).chunk(2, 1))[0]) * torch.sigmoid(z[1])), a=lin(), h=lin(8, 3)
    )
    assert turnover.verify(turnover.attach(gates), X, IDS).shared == (), "these are different units of one call"


@pytest.mark.parametrize(
    "function", [lambda x: torch.clip(x, 0), lambda x: x.clamp(min=0), torch.sin, torch.ops.aten.relu]
)
def test_what_may_be_an_activation_and_is_not_masked_is_told(function: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Clips(Net):
        pass

    _warned.clear()
    network = turnover.attach(
        Clips(lambda s, by, x: s.h(function(s.c(F.relu(s.a(x))))), a=lin(8, 64), c=lin(64, 16), h=lin(16, 3))
    )
    with turnover.own(network, IDS):
        network(X)
    [hidden] = turnover.verify(network, X, IDS).hidden
    assert any("Clips" in each and hidden in each for each in caplog.messages)


def test_an_output_without_its_last_activation_is_right_as_the_messages_say() -> None:
    parts: dict[str, nn.Module] = {"a": lin(), "h": lin(16, 3)}
    probabilities = Net(lambda s, by, x: torch.sigmoid(s.h(F.relu(s.a(x)))), **parts)
    with pytest.raises(TurnOverError, match="let it give logits"), turnover.own(turnover.attach(probabilities), IDS):
        probabilities(X)
    logits = turnover.attach(Net(lambda s, by, x: s.h(F.relu(s.a(x))), **parts))
    assert len(turnover.verify(logits, X, IDS).activations) == 1
    parts = {"t": nn.Sequential(lin(), nn.ReLU()), "pi": lin(16, 4), "v": lin(16, 1)}
    hidden = Net(lambda s, by, x: (torch.tanh(s.pi(h := s.t(x))), s.v(h)), **parts)
    assert len(turnover.verify(turnover.attach(hidden, layers=["t"]), X, IDS).activations) == 1


def sorted_by_length(s: Any, by: Masked, x: Tensor, lengths: Tensor) -> Tensor:
    order = lengths.argsort(stable=True, descending=s.descending)
    return cast(Tensor, s.h(F.relu(s.a(x[order]))))[order.argsort()]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("lengths", [range(6), range(6, 0, -1), [1, 1, 1, 2, 2, 2], [2, 2, 1, 1, 1, 1]])
def test_a_batch_that_is_sorted_inside_is_refused_in_whatever_order_it_comes(descending: bool, lengths: Any) -> None:
    network = turnover.attach(Net(sorted_by_length, a=lin(), h=lin(16, 3), descending=descending))
    with pytest.raises(TurnOverError, match=r"mixes the examples|reorders its batch"), turnover.own(network, IDS):
        network(X, torch.tensor(lengths))


def test_a_part_that_runs_by_itself_is_refused() -> None:
    encoder = nn.Sequential(lin(), nn.ReLU(), lin(16, 16))
    network = turnover.attach(nn.Sequential(encoder, nn.ReLU(), lin(16, 3)))
    with turnover.own(network, IDS):
        network(X)
        assert torch.sigmoid(network(X)).shape == (6, 3), "activations of what is outside are no business of masks"
        with pytest.raises(TurnOverError, match="a part of Sequential runs outside of its forward pass"):
            encoder(X)
    assert encoder(X).shape == (6, 16)


def test_lists_of_modules_are_named_by_what_is_in_them() -> None:
    def make() -> nn.Module:
        def run(s: Any, by: Masked, x: Tensor) -> Tensor:
            x = s.stem(x)
            for block in s.blocks:
                x = block(x)
            return cast(Tensor, s.h(x))

        blocks = nn.ModuleList(nn.Sequential(lin(16), nn.ReLU()) for _ in range(2))
        unused = nn.Sequential(lin(), nn.ReLU())
        return Net(run, stem=nn.Sequential(lin(), nn.ReLU()), blocks=blocks, unused=unused, h=lin(16, 3))

    with pytest.raises(TurnOverError, match=r"name them: blocks\.0, blocks\.1$"):
        turnover.attach(make(), layers=["stem", "blocks"])
    network = turnover.attach(make(), layers=["stem", "blocks.0", "blocks.1"])
    assert turnover.verify(network, X, IDS).activations["module"].tolist() == ["stem.1", "blocks.0.1", "blocks.1.1"]
    with pytest.raises(TurnOverError, match="unused of Net did not run"):
        turnover.verify(turnover.attach(make(), layers=["stem", "unused"]), X, IDS)


def test_two_parts_of_a_network_are_not_masked_by_one_context() -> None:
    whole = nn.Sequential(nn.Sequential(lin(), nn.ReLU(), lin(16)), nn.Sequential(lin(16), nn.ReLU(), lin(16, 3)))
    for part in whole:
        turnover.attach(part)
    with pytest.raises(TurnOverError, match=r"2 parts of Sequential \(0, 1\)"), turnover.own(whole, IDS):
        whole(X)
    for part in whole:
        turnover.detach(part)
    with turnover.own(turnover.attach(whole), IDS):
        assert whole(X).shape == (6, 3)


def test_a_copy_made_inside_of_a_context_is_outside_of_it() -> None:
    network = turnover.attach(nn.Sequential(lin(), nn.ReLU(), lin(16, 3)))
    with turnover.own(network, IDS):
        expected = network(X)
        twin = copy.deepcopy(network)
    assert torch.equal(twin(X), network(X))
    with turnover.own(twin, IDS):
        assert torch.equal(twin(X), expected)


def test_gradients_of_functions() -> None:
    network = turnover.attach(nn.Sequential(lin(), nn.ReLU(), lin(16, 3)))

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        with turnover.own(network, IDS):
            return cast(Tensor, torch.func.functional_call(network, parameters, (X,)).square().sum())

    found = torch.func.grad(loss)(dict(network.named_parameters()))
    loss(dict(network.named_parameters())).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(found[name], parameter.grad, rtol=1e-5, atol=1e-6)


def test_a_pass_that_collects_and_updates_does_so_once() -> None:
    class Collects(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.h = lin(), lin(16, 3)
            self.slow = nn.Parameter(torch.ones(16), requires_grad=False)
            self.losses: list[Tensor] = []

        def forward(self, x: Tensor) -> Tensor:
            self.losses.append(self.q.weight.square().sum())
            with torch.no_grad():
                self.slow.mul_(0.9)
            return self.h(F.relu(self.q(x)))

    network = turnover.attach(Collects())
    with turnover.own(network, IDS):
        network(X)
    assert len(network.losses) == 1
    assert torch.allclose(network.slow, torch.full((16,), 0.9))


def test_sorted_lengths_stay_sorted_while_looking() -> None:
    def run(s: Any, by: Masked, x: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return cast(Tensor, s.h(F.relu(s.f(s.r(packed)[1][0]))))

    network = turnover.attach(Net(run, r=nn.GRU(8, 16, batch_first=True), f=lin(16), h=lin(16, 3)))
    assert turnover.verify(network, (TOKENS, torch.tensor([7, 6, 5, 4, 3, 2])), IDS).hidden == ("r",)


def test_what_cannot_be_looked_at_is_trained_and_told(caplog: pytest.LogCaptureFixture) -> None:
    network = turnover.attach(
        Net(lambda s, by, x: s.h(F.relu(torch.sparse.mm(x, s.a.weight.T))), a=lin(), h=lin(16, 3))
    )
    for _ in range(2):
        with turnover.own(network, IDS):
            assert network(X.relu().to_sparse()).shape == (6, 3)
    assert len([each for each in caplog.messages if "could not be looked at" in each]) == 1


def test_a_deep_elementwise_stream_is_looked_at_in_linear_time() -> None:
    def run(s: Any, by: Masked, x: Tensor) -> Tensor:
        x = s.a(x)
        for layer in s.layers:
            x = F.relu(layer(x) + x)
        return cast(Tensor, s.h(x))

    asked = []
    for depth in (10, 20):
        network = turnover.attach(Net(run, a=lin(), layers=nn.ModuleList(lin(16) for _ in range(depth)), h=lin(16, 3)))
        grad, count = torch.autograd.grad, [0]

        def counted(*args: Any, grad: Any = grad, count: list[int] = count, **kwargs: Any) -> Any:
            count[0] += 1
            return grad(*args, **kwargs)

        with pytest.MonkeyPatch.context() as patch, turnover.own(network, IDS):
            patch.setattr(torch.autograd, "grad", counted)
            network(X)
        asked.append(count[0])
    assert asked[1] < 2.5 * asked[0]
