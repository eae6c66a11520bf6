"""Turn-over dropout on real networks: what is masked, where it works, and what it refuses."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any, cast

import oracles
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

import turnover
from turnover.core.dropout import attached, subnetworks
from turnover.core.masked import Subnetwork
from turnover.errors import TurnOverError
from turnover.models.mlp import mlp


class OwnNet(nn.Module):
    """What users write: functional activations, a reused module, pooling, a flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.fc1 = nn.Linear(8 * 4 * 4, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = self.conv2(x).relu_()
        return self.fc2(self.fc1(x.flatten(1)).tanh())


class Tokens(nn.Module):
    """A transformer block: channels last, one bit a channel for all tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 16)
        self.block = nn.TransformerEncoderLayer(16, 4, 64, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.embed(x.flatten(2).transpose(1, 2))).mean(1))


class ChannelsLast(nn.Module):
    """A convolution, then Linear and GELU on [batch, height, width, channels], as in ConvNeXt."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.up = nn.Linear(5, 12)
        self.head = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.up(self.conv(x).permute(0, 2, 3, 1)))
        self.hidden = x.detach()
        return self.head(x.mean((1, 2)))


NETS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: mlp(3 * 8 * 8, [16, 12], 10),
    "own net": OwnNet,
    "transformer": Tokens,
    "channels last": ChannelsLast,
    "resnet": lambda: ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10),
}
ACTIVATIONS = {"mlp": 2, "own net": 3, "transformer": 1, "channels last": 1, "resnet": 9}


@pytest.fixture
def x() -> Tensor:
    return torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def ids() -> Tensor:
    return torch.tensor([3, 7, 2**24 + 1, 0, 59_999, 2**40])


@pytest.fixture(params=NETS)
def net(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    name: str = request.param
    model = NETS[name]().double().eval()
    model.name = name  # type: ignore[assignment]
    return model


def compiled_version(model: nn.Module, **options: Any) -> nn.Module:
    torch._dynamo.reset()
    return cast(nn.Module, torch.compile(model, backend="aot_eager", **options))


def outputs(model: nn.Module, x: Tensor, ids: Tensor) -> Tensor:
    """Own, flipped and full logits.  # [3, batch, classes]"""
    with turnover.own(model, ids):
        own = model(x)
    with turnover.flipped(model, ids):
        flipped = model(x)
    return torch.stack([own, flipped, model(x)]).detach()


def test_full_network_is_untouched_and_detach_gives_it_back(net: nn.Module, x: Tensor, ids: Tensor) -> None:
    before = net(x)
    keys = list(net.state_dict())
    turnover.attach(net)
    own, flipped, full = outputs(net, x, ids)
    assert torch.equal(full, before)
    assert not torch.allclose(own, before)
    assert not torch.allclose(own, flipped)
    assert attached(net).layer == ACTIVATIONS[str(net.name)]
    assert list(net.state_dict()) == keys
    assert turnover.detach(net) is net
    assert torch.equal(net(x), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    with pytest.raises(TurnOverError, match="no turn-over dropout"), turnover.own(net, ids):
        net(x)


def test_an_example_does_not_depend_on_its_batch(net: nn.Module, x: Tensor, ids: Tensor) -> None:
    turnover.attach(net, p=0.3, seed=4)
    whole = outputs(net, x, ids)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    assert torch.allclose(outputs(net, x[order], ids[order]), whole[:, order], rtol=1e-12)
    one_by_one = torch.cat([outputs(net, x[i : i + 1], ids[i : i + 1]) for i in range(6)], dim=1)
    assert torch.allclose(one_by_one, whole, rtol=1e-10, atol=1e-14)


def test_one_pass_over_several_branches_equals_separate_passes(net: nn.Module, x: Tensor, ids: Tensor) -> None:
    if net.name == "transformer":
        pytest.skip("a skip connection runs around its first mask; evaluate() then makes separate passes")
    turnover.attach(net)
    with subnetworks(net, [Subnetwork(ids), Subnetwork(ids, flipped=True), Subnetwork(None)]):
        together = net(x).unflatten(0, (3, 6))
    assert torch.allclose(together, outputs(net, x, ids), rtol=1e-10, atol=1e-14)


def test_mlp_equals_a_really_cut_out_network(x: Tensor, ids: Tensor) -> None:
    torch.manual_seed(1)
    model = turnover.attach(mlp(192, [40, 30], 10).double(), seed=2)
    own, flipped, _ = outputs(model, x, ids)
    for i in range(len(ids)):
        masks = [turnover.mask(ids[i : i + 1], units, layer, 2)[0] for layer, units in enumerate((40, 30))]
        for found, turned in ((own, False), (flipped, True)):
            small = oracles.cut_out(model, masks, flipped=turned, p=0.5)
            assert torch.allclose(found[i], small(x[i : i + 1])[0], rtol=1e-10, atol=1e-13)


def test_layers_are_chosen_by_name_and_keep_their_masks(x: Tensor, ids: Tensor) -> None:
    torch.manual_seed(0)
    resnet = NETS["resnet"]().double().eval()
    everywhere, last = turnover.attach(copy.deepcopy(resnet)), turnover.attach(resnet, layers=["layer4", "layer3.0"])
    seen: dict[str, list[Tensor]] = {"everywhere": [], "last": []}
    for name, model in (("everywhere", everywhere), ("last", last)):
        handle = model.layer4[0].conv2.register_forward_pre_hook(lambda m, a, n=name: seen[n].append(a[0]))  # type: ignore
        with turnover.own(model, ids):
            model(x)
        handle.remove()
    dead = [torch.stack([m.ne(0).flatten(2).any(2) for m in maps]) for maps in seen.values()]
    mask = turnover.mask(ids, 512, 7, 0)  # the eighth activation in both networks
    assert not (dead[0][0] & ~mask).any()
    assert not (dead[1][0] & ~mask).any()


def test_copies_pickles_and_state_dicts_keep_the_masks(net: nn.Module, x: Tensor, ids: Tensor) -> None:
    expected = outputs(turnover.attach(net, seed=9), x, ids)
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    copies = [
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        torch.load(file, weights_only=False),
        turnover.attach(NETS[str(net.name)]().double().eval(), seed=9),
    ]
    copies[-1].load_state_dict(net.state_dict())
    for other in copies:
        assert torch.equal(outputs(other, x, ids), expected)
    turnover.detach(copies[0])
    assert torch.equal(outputs(net, x, ids), expected), "detaching a copy touched the original"


@pytest.mark.parametrize("name", ["own net", "resnet", "transformer"])
def test_compiled_networks(name: str, x: Tensor, ids: Tensor) -> None:
    torch.manual_seed(0)
    model = turnover.attach(NETS[name]().double().eval())
    expected = outputs(model, x, ids)
    compiled = compiled_version(model, fullgraph=name != "transformer")
    assert torch.allclose(outputs(compiled, x, ids), expected, rtol=1e-10, atol=1e-13)
    with torch._dynamo.config.patch(error_on_recompile=True):  # other ids need no new graph
        assert torch.allclose(outputs(compiled, x, ids + 5), outputs(model, x, ids + 5), rtol=1e-10, atol=1e-13)


class Hidden(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.a, self.b, self.c = nn.Linear(4, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(F.hardswish(self.b(F.relu(self.a(self.norm(x))))))


def test_an_activation_that_compiling_hides_is_refused() -> None:
    model = turnover.attach(Hidden())
    compiled = compiled_version(model)
    with turnover.own(model, torch.arange(8)):
        model(torch.randn(8, 4))
    assert attached(model).layer == 2
    for _ in range(2):
        with (
            pytest.raises(TurnOverError, match="hides 1 of the 2 activations of Hidden"),
            turnover.own(compiled, torch.arange(8)),
        ):
            compiled(torch.randn(8, 4))
    assert model.norm.num_batches_tracked == 3, "the check must not touch the network"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_keeps_the_masks(dtype: torch.dtype, x: Tensor, ids: Tensor) -> None:
    model = turnover.attach(ChannelsLast())
    with torch.autocast("cpu", dtype=dtype), turnover.own(model, ids):
        model(x.float()).sum().backward()
    assert model.hidden.dtype == dtype
    assert torch.equal(model.hidden.ne(0).flatten(1, 2).any(1), turnover.mask(ids, 12, 0, 0))


class Unusual(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


def test_what_would_give_wrong_numbers_is_refused(x: Tensor, ids: Tensor) -> None:
    model = turnover.attach(OwnNet().double())
    x = x.double()
    for wrong, message in [
        (None, "got NoneType"),
        (ids[:4], "length 4, but the batch in the network has 6"),
        (ids.float(), "integer dtype"),
        (-ids, "negative"),
    ]:
        for context in (turnover.own, turnover.flipped):
            with pytest.raises(TurnOverError, match=message), context(model, wrong):
                model(x)
    with turnover.own(model, ids):
        model(x)
        with pytest.raises(TurnOverError, match="cannot be nested"), turnover.flipped(model, ids):
            model(x)
    with pytest.raises(TurnOverError, match="attached already"):
        turnover.attach(model)
    with pytest.raises(TurnOverError, match="no module is named 'fc9'; there are conv1, conv2"):
        turnover.attach(OwnNet(), layers=["fc9"])
    with pytest.raises(TurnOverError, match="at least one module"):
        turnover.attach(OwnNet(), layers=[])
    with pytest.raises(TurnOverError, match="compile afterwards"):
        turnover.attach(compiled_version(OwnNet()))
    with pytest.raises(TurnOverError, match="p = 2"):
        turnover.attach(OwnNet(), p=2)


def test_a_network_without_masked_activations_is_refused(x: Tensor, ids: Tensor) -> None:
    for model in (nn.Sequential(Unusual(), nn.Flatten()), turnover.detach(turnover.attach(nn.Sequential(Unusual())))):
        with pytest.raises(TurnOverError, match="masked nothing"), turnover.own(turnover.attach(model), ids):
            model(x)
    conv_only = turnover.attach(OwnNet().double(), layers=["conv1"])  # F.relu runs outside of conv1
    with pytest.raises(TurnOverError, match="masked nothing"), turnover.own(conv_only, ids):
        conv_only(x)
    linear = turnover.attach(nn.Linear(4, 3))
    with pytest.raises(TurnOverError, match=r"needs one, such as nn\.ReLU"), turnover.own(linear, ids):
        linear(torch.zeros(len(ids), 4))


def test_an_output_is_never_masked(x: Tensor, ids: Tensor) -> None:
    model = turnover.attach(nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.ReLU(), nn.Linear(5, 1), nn.Sigmoid()))
    with (
        pytest.raises(TurnOverError, match="follows the last masked activation of Seq"),
        turnover.own(model, ids),
    ):
        model(x.float())
    hidden = turnover.attach(turnover.detach(model), layers=["2"])
    with turnover.own(hidden, ids):
        assert hidden(x.float()).gt(0).all()


def test_an_error_inside_leaves_the_network_usable(x: Tensor, ids: Tensor) -> None:
    model = turnover.attach(OwnNet().double())
    before = outputs(model, x, ids)
    with pytest.raises(RuntimeError), turnover.own(model, ids):
        model(x[:, :2])
    with turnover.own(model, ids):
        model(x)
        assert F.relu(torch.ones(6, 4)).eq(1).all(), "only the network's own forward pass is masked"
    assert torch.equal(outputs(model, x, ids), before)


class Switches(nn.Module):
    """Nets whose masks would go wrong, by the name of what they do."""

    def __init__(self, habit: str) -> None:
        super().__init__()
        self.habit = habit
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.gate = nn.Linear(8, 8)
        self.hidden, self.auxiliary, self.head = nn.Linear(8, 16), nn.Linear(16, 4), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        maps = F.relu(self.conv(x))
        if self.habit == "gate":
            maps = torch.relu(maps * torch.sigmoid(self.gate(maps.mean((2, 3))))[:, :, None, None] + maps)
            self.maps = maps.detach()
        if self.habit == "reshape":
            maps = F.relu(self.gate(maps.mean((2, 3))).view(len(x), 2, 4)).flatten(1)[:, :, None, None]
        x = self.hidden(maps.mean((2, 3)))
        if self.habit.startswith("drops"):
            F.relu_(x)
            return self.head(x + 1 if self.habit == "drops, and adds" else x)
        x = F.relu(x)
        if self.habit == "training only" and self.training:
            x = x + F.relu(self.auxiliary(x)).mean(1, keepdim=True)
        return torch.sigmoid(self.head(x)).squeeze(1) if self.habit == "output" else self.head(x)


@pytest.mark.parametrize(
    ("habit", "message"),
    [
        ("training only", "ran 2 activations, an earlier one 3"),
        ("drops", "in place and drops its result"),
        ("drops, and adds", "in place and drops its result"),
        ("reshape", "cannot tell which dimension"),
        ("output", "no layer with weights follows"),
    ],
)
def test_habits_that_would_spoil_the_masks_are_refused(habit: str, message: str, ids: Tensor) -> None:
    model = turnover.attach(Switches(habit))

    def train_then_evaluate() -> None:
        for training in (True, False):
            model.train(training)
            with turnover.own(model, ids):
                model(torch.randn(6, 3, 8, 8))

    with pytest.raises(TurnOverError, match=message):
        train_then_evaluate()


def test_a_linear_gate_beside_a_convolution_leaves_feature_maps_whole(ids: Tensor) -> None:
    model = turnover.attach(Switches("gate"))
    with pytest.raises(TurnOverError, match="cannot tell which dimension"), turnover.own(model, ids):
        model(torch.randn(6, 3, 8, 8))  # 8 columns, 8 maps
    with turnover.own(model, ids):
        model(torch.randn(6, 3, 7, 7))
    maps = model.maps
    masks = turnover.mask(ids, 8, 0, 0) & turnover.mask(ids, 8, 2, 0)
    assert not (maps.flatten(2).ne(0).any(2) & ~masks).any()
    assert maps.flatten(2).ne(0).any(2).any()


def test_a_context_without_a_forward_pass_of_the_network_is_refused(x: Tensor, ids: Tensor) -> None:
    model = turnover.attach(OwnNet().double())

    def by_its_method() -> None:
        with turnover.own(model, ids):
            model.forward(x)

    with pytest.raises(TurnOverError, match="no forward pass of OwnNet ran inside"):
        by_its_method()


def test_an_activation_before_the_first_layer_gets_the_same_masks_in_every_pass(ids: Tensor) -> None:
    model = turnover.attach(nn.Sequential(nn.Tanh(), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 6), nn.Flatten()))
    x = torch.randn(6, 3, 8, 8)
    assert torch.equal(outputs(model, x, ids), outputs(model, x, ids))


class Watched(nn.Module):
    """An activation that keeps what it gave, and a penalty on it."""

    def forward(self, x: Tensor) -> Tensor:
        self.seen = F.gelu(x)
        self.penalty = self.seen.square().mean()
        return self.seen


def test_what_an_activation_of_ones_own_keeps_is_not_masked(ids: Tensor) -> None:
    model, x = nn.Sequential(nn.Linear(6, 64), Watched(), nn.Linear(64, 3)), torch.randn(len(ids), 6)
    before = F.gelu(model[0](x))
    turnover.attach(model, layers=["1"])
    with turnover.own(model, ids):
        loss = model(x).sum() + model[1].penalty
    loss.backward()
    torch.testing.assert_close(model[1].seen, before)
