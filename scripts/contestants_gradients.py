"""Contestants of the benchmark: the length of the gradient of each example of a batch, which DP-SGD and GraNd need."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from contestants_language import BATCH, CONTEXT, VOCABULARY, network
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from turnover.core.losses import CLASSES, TOKENS, Loss
from turnover.gradients.per_example import gradients
from turnover.models.conv import vgg11
from turnover.models.gpt import GPT
from turnover.models.mlp import mlp

Norms = Callable[[], Tensor]  # of a batch  # [batch]


class Untied(GPT):
    """A GPT whose every parameter is used once, by a module: the form that hooks on modules take."""

    def __init__(self, vocabulary: int, context: int, *, dim: int, **sizes: int) -> None:
        super().__init__(vocabulary, context, dim=dim, **sizes)
        self.head = nn.Linear(dim, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits of the token that follows each place.  # int64 [batch, n] -> [batch, n, vocabulary]"""
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1]).repeat(len(tokens), 1))
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x))
        return logits


def norms(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> dict[str, Norms]:
    """Return every library's way to them; lengths where one has a formula, else from gradients that are built."""
    from backpack import backpack, extend, extensions
    from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping

    ghost, built = (
        kind(copy.deepcopy(model).train(), loss_reduction="sum")
        for kind in (GradSampleModuleFastGradientClipping, GradSampleModule)
    )
    twin, criterion = extend(copy.deepcopy(model)), extend(nn.CrossEntropyLoss(reduction="sum"))

    def by_factors() -> Tensor:
        return gradients(model, x, y, check=False, loss=loss).squared_norms().sqrt()

    def by_ghost_clipping() -> Tensor:
        ghost.zero_grad()
        loss(ghost(x), y).sum().backward()
        return ghost.get_norm_sample().detach()

    def by_samples() -> Tensor:
        built.zero_grad()
        loss(built(x), y).sum().backward()
        return total([parameter.grad_sample.flatten(1).square().sum(1) for parameter in built.parameters()])

    def by_vmap() -> Tensor:
        def of_one(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return loss(functional_call(model, parameters, (x[None],)), y[None])[0]

        parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
        with sdpa_kernel(SDPBackend.MATH):  # the attention that it has a rule for
            each = vmap(grad(of_one), in_dims=(None, 0, 0))(parameters, x, y)
        return total([gradient.flatten(1).square().sum(1) for gradient in each.values()])

    def by_backpack() -> Tensor:
        twin.zero_grad()
        value = criterion(twin(x), y)  # takes no other loss
        with backpack(extensions.BatchL2Grad()):
            value.backward()
        return total([parameter.batch_l2 for parameter in twin.parameters()])

    return {
        "factored": by_factors,
        "Opacus, ghost clipping": by_ghost_clipping,
        "Opacus, GradSampleModule": by_samples,
        "torch.func.vmap": by_vmap,
        "BackPACK, BatchL2Grad": by_backpack,
    }


def total(squares: list[Tensor]) -> Tensor:
    """Return lengths from squared lengths by parameter.  # [batch] each -> [batch]"""
    return torch.stack(squares).sum(0).sqrt()


def lengths() -> dict[str, dict[str, Norms]]:
    """Return every comparison: images, and texts whose loss is the mean over their tokens."""
    torch.manual_seed(0)
    images = {"256, MLP 784-512-10": (mlp(784, [512], 10), (256, 784)), "64, VGG-11": (vgg11(3, 10), (64, 3, 32, 32))}
    tokens = torch.randint(VOCABULARY, (BATCH, CONTEXT + 1))
    x, y, sizes = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), {"layers": 2, "dim": 64, "heads": 4}
    own_output = "GPT with an output layer of its own"
    texts = {"GPT": network(torch.device("cpu")), own_output: Untied(VOCABULARY, CONTEXT, **sizes, mlp_ratio=8)}
    return {
        f"lengths of gradients, a batch of {name}": norms(
            model, torch.randn(shape), torch.randint(10, shape[:1]), CLASSES
        )
        for name, (model, shape) in images.items()
    } | {
        f"lengths of gradients, a batch of {BATCH}, {name}": norms(model, x, y, TOKENS) for name, model in texts.items()
    }


def agreeing(contestants: Mapping[str, Any]) -> dict[str, Norms | None]:
    """Return contestants, None for one that cannot do this network.

    Raises:
        AssertionError: one gives other numbers than the first, by more than the rounding of sums in float32.
    """
    first, able = next(iter(contestants.values()))(), dict[str, Norms | None]()
    for name, function in contestants.items():
        try:
            found = function()
        except (AttributeError, NotImplementedError, RuntimeError):
            able[name] = None  # a parameter without a gradient, a loss that is not taken
            continue
        if not torch.allclose(found.to(first.dtype), first, rtol=1e-4, atol=0):
            raise AssertionError(f"{name} gives other lengths than the first contestant")
        able[name] = function
    return able
