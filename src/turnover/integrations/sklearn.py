"""Memorization scores as an estimator of scikit-learn, with parameters to be read, set and cloned."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from sklearn.base import BaseEstimator
from torch import Tensor, nn

from turnover.common.device import Precision
from turnover.estimators.memorization import memorization


class MemorizationScorer(BaseEstimator):
    """Scores how much each example's label is memorized; parameters and their defaults are `turnover.memorization`'s.

    Attributes:
        scores_: the score of each example.  # [n]
        table_: the table that `turnover.memorization` returns.
    """

    def __init__(
        self,
        make_model: Callable[[], nn.Module],
        epochs: int | None = None,
        lr: float | None = None,
        batch_size: int | None = None,
        seeds: int | Sequence[int] | None = None,
        device: str = "auto",
        *,
        p: float = 0.5,
        layers: list[str] | None = None,
        groups: int | None = None,
        dropout: float = 0.0,
        momentum: float | None = None,
        weight_decay: float = 0.0,
        precision: Precision | Literal["auto"] = "float32",
        progress: bool = True,
        estimator: str = "turnover",
        options: Mapping[str, Any] | None = None,
        predictions: bool = False,
        loss: str | Callable[[Tensor, Tensor], Tensor] = "class",
        training: Mapping[str, Any] | None = None,
        shared: float = 0.0,
        distributed: bool = False,
    ) -> None:
        self.make_model, self.epochs, self.lr, self.batch_size = make_model, epochs, lr, batch_size
        self.seeds, self.device, self.p, self.layers, self.groups = seeds, device, p, layers, groups
        self.momentum, self.weight_decay, self.precision, self.progress = momentum, weight_decay, precision, progress
        self.estimator, self.options, self.predictions, self.loss = estimator, options, predictions, loss
        self.dropout, self.shared, self.training, self.distributed = dropout, shared, training, distributed

    def fit(self, X: Any, y: Any = None, ids: Any = None) -> "MemorizationScorer":  # noqa: N803
        """Score all examples and return self; arguments as in `turnover.memorization`."""
        self.table_ = memorization(x=X, y=y, ids=ids, **self.get_params(deep=False))
        self.scores_ = self.table_["score"].to_numpy()
        return self
