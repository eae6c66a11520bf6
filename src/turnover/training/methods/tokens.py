"""The mean over all tokens of a batch, as language models are trained."""

from torch import Tensor

from turnover.core.losses import TOKENS
from turnover.training.methods.method import Method, Step


class MeanOverTokens(Method):
    """Minimise the mean over the tokens of a batch; that over its texts is what is observed."""

    def losses(self, step: Step) -> Tensor:
        """Return losses whose mean over a batch is the mean over its tokens.  # [batch]"""
        counts = TOKENS.label(step.y)  # [batch]
        return step.losses * counts / counts.to(step.losses.dtype).mean()
