"""Turn-over dropout in a `lightning.Trainer`: training steps run in own sub-networks of the examples."""

from functools import wraps
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from turnover.core.dropout import own
from turnover.errors import RefusedInput


class OwnSubnetworks(Callback):
    """Runs `training_step` inside of `turnover.own`; attach turn-over dropout to the network that it calls.

    Args:
        ids: where a batch keeps the permanent ids of its examples: a position in a tuple, or a name in a dict.
    """

    def __init__(self, ids: int | str) -> None:
        self.ids = ids

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        step = pl_module.training_step

        @wraps(step)
        def training_step(batch: Any, *args: Any, **kwargs: Any) -> Any:
            with own(pl_module, self._of(batch)):
                return step(batch, *args, **kwargs)

        vars(pl_module)["training_step"] = training_step  # before the method of the class

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        vars(pl_module).pop("training_step", None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "fit")  # which Lightning does not call then

    def _of(self, batch: Any) -> Any:
        try:
            return batch[self.ids]
        except (LookupError, TypeError) as error:
            holds = f"the names {', '.join(batch)}" if isinstance(batch, dict) else f"a {type(batch).__name__}"
            size = f" of {len(batch)}" if isinstance(batch, list | tuple) else ""
            raise RefusedInput(
                f"ids = {self.ids!r}: a batch of the training data is {holds}{size}; name the place where it keeps the "
                "permanent number of each example, which the data set gives beside inputs and labels"
            ) from error
