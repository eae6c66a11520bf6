"""Where a network keeps its turn-over dropout."""

from torch import nn

from turnover.core.activations import TurnOverDropout
from turnover.errors import TurnOverError

ATTRIBUTE = "_turnover"  # of a network


def attached_to(model: nn.Module) -> tuple[nn.Module, TurnOverDropout]:
    """The network, perhaps inside of a wrapper (torch.compile, DistributedDataParallel), and its turn-over dropout."""
    for module in model.modules():
        if ATTRIBUTE in vars(module):
            return module, vars(module)[ATTRIBUTE]
    raise TurnOverError(f"{type(model).__name__} has no turn-over dropout: call turnover.attach(model) first")
