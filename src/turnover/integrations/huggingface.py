"""Turn-over dropout in a `transformers.Trainer`: training steps run in own sub-networks of the examples."""

from typing import Any

from torch import nn
from transformers import Trainer

from turnover.core.dropout import own
from turnover.errors import RefusedInput


class TurnOverTrainer(Trainer):
    """A Trainer for a model with turn-over dropout attached; batches hold the permanent ids of their examples as "id".

    The loss stays that of the Trainer, or of one that it is mixed into: `class Mine(TurnOverTrainer, YourTrainer)`.
    Give `remove_unused_columns=False`, as "id" is no argument of the model.
    """

    def compute_loss(self, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the Trainer's loss of a batch, or (loss, outputs): in training of own sub-networks, else of all units.

        Raises:
            RefusedInput: a batch in training holds no "id".
        """
        given = {name: value for name, value in inputs.items() if name != "id"}
        if not model.training:
            return super().compute_loss(model, given, *args, **kwargs)
        if "id" not in inputs:
            raise RefusedInput(
                f"the batch holds {', '.join(given)} and no 'id': give every item of the training data its permanent "
                "number as 'id', and TrainingArguments(remove_unused_columns=False), or the Trainer drops it"
            )
        with own(model, inputs["id"]):
            return super().compute_loss(model, given, *args, **kwargs)
