"""`estimator=one_run`: records of every training example while an ordinary network trains, and scores from them.

Losses, margins and hits are those of the pass that trains, so most scores cost nothing. What must be measured on one
and the same network (el2n, grand, vog) takes passes of its own after an epoch.
"""

import errno
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from turnover.common.files import keep, kept
from turnover.config.estimators import OneRunEstimator
from turnover.config.run import Training
from turnover.core.evaluation import evaluate, full_logits
from turnover.core.examples import Examples
from turnover.estimators.estimator import Task
from turnover.estimators.gradient_scores import GradientVariance, grand, window
from turnover.estimators.logit_scores import el2n, final_loss, margin, unconfidence
from turnover.estimators.one_run_scores import SCORES, Seen
from turnover.estimators.suited import rows_at_once
from turnover.training.loop import Epoch, Observer


class Watch(Observer):
    """Observer of every update of a run, with records in a folder, so that a killed run goes on with them."""

    def __init__(self, task: Task, config: Training, folder: Path) -> None:
        assert isinstance(config.estimator, OneRunEstimator)
        self.task, self.config, self.folder, self.estimator = task, config, folder, config.estimator
        n = len(task.train)
        self._margins = torch.zeros(n, device=task.train.device)
        self._loss = task.train.loss
        self._variance = GradientVariance(n, self.estimator.vog_of) if "vog" in self.estimator.scores else None
        self._window = window(config.epochs, self.estimator.vog_epochs)

    def update(self, logits: Tensor, labels: Tensor, index: Tensor) -> None:
        """Note the margins of a mini-batch, if there are classes."""
        if self._loss.of_classes:
            margins = margin(*self._loss.as_classes(logits.detach(), labels))
            self._margins[index] = margins.to(self._margins.dtype)

    def state_dict(self) -> dict[str, Any]:
        """Return the records of an incomplete epoch."""
        return {"margins": self._margins}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        self._margins.copy_(state["margins"])

    def epoch_end(self, epoch: Epoch) -> None:
        """Note an epoch; written before its checkpoint."""
        records = {"losses": epoch.losses, "margins": self._margins, "correct": epoch.correct}
        if epoch.number in self.estimator.moments:
            if "el2n" in self.estimator.scores:
                records["el2n"] = el2n(*self._last())
            if "grand" in self.estimator.scores:
                records["grand"] = grand(self.task.model, self.task.train)
            if "learning" in self.estimator.scores:
                records["learning"] = self._losses()
        keep(self._path(epoch.number), **records)
        if self._variance is not None and epoch.number in self._window:
            self._variance.update(self.task.model, self.task.train)
            keep(self._variances(epoch.number), **{k: torch.as_tensor(v) for k, v in self._variance.state().items()})
            self._variances(epoch.number - 3).unlink(missing_ok=True)  # those of both checkpoints may be needed yet

    def resume(self, epoch: int) -> None:
        """Go on after a checkpoint of `epoch`.

        Raises:
            FileNotFoundError: the records of an epoch are lost.
        """
        for number in range(1, epoch + 1):
            self._noted(self._path(number))
        if self._variance is not None and epoch >= self._window[0]:
            state = self._noted(self._variances(min(epoch, self._window[-1])))
            self._variance.load({name: value.to(self.task.train.device) for name, value in state.items()})

    def _noted(self, path: Path) -> dict[str, Tensor]:
        records = kept(path)
        if records is None:
            raise FileNotFoundError(errno.ENOENT, "missing or damaged", str(path))
        return records

    def columns(self) -> dict[str, Tensor]:
        """Return the scores asked for, after the last epoch, by the names of their columns.  # [examples] each"""
        epochs = range(1, self.config.epochs + 1)
        files = [self._noted(self._path(number)) for number in epochs]
        losses, margins, correct = (
            torch.stack([file[name] for file in files]) for name in ("losses", "margins", "correct")
        )  # [epochs, examples] each
        if self._loss.of_classes:
            if self.task.train.repeats is not None:  # of several visits in an epoch one counts, as of all examples
                correct = margins > 0  # of the last visit
            logits, labels = self._last()
            seen = Seen(losses, margins, correct, final_loss(logits, labels), unconfidence(logits, labels))
        else:
            seen = Seen(losses, margins, correct, self._losses())
        columns = {score: SCORES[score](seen) for score in self.estimator.scores if score in SCORES}
        for score in self.estimator.scores:
            early = ((name, epoch) for name, epoch in self.estimator.columns(score).items() if epoch is not None)
            after = seen.final if score == "learning" else 0
            columns |= {name: files[epoch - 1][score] - after for name, epoch in early}
        if self._variance is not None:
            columns["vog"] = self._variance.score(self.task.train.labels)
        return columns

    def _last(self) -> tuple[Tensor, Tensor]:
        """Return logits that the network gives now, and class numbers.  # [examples, classes], [examples]"""
        return self._loss.as_classes(full_logits(self.task.model, self.task.train), self.task.train.labels)

    def _losses(self) -> Tensor:
        """Return the loss of every example in the network as it is now.  # [examples]"""
        if self._loss.of_classes:
            return final_loss(*self._last())
        size = rows_at_once(self.config, self.task.train)
        return evaluate(self.task.model, self.task.train, batch_size=size)[0].loss

    def _path(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:05d}.npz"

    def _variances(self, epoch: int) -> Path:
        return self.folder / f"variances-{epoch:05d}.npz"


class Predictions(Observer):
    """Observer of every update of a training, which sums the probabilities given to each example.

    They are those of the pass that trains, from before the update. So a wrong label shows as long as it is not learnt
    by heart: the mean over epochs still names the other class when the last epoch no longer does.
    """

    def __init__(self, examples: Examples) -> None:
        self._examples = examples
        self._sums: Tensor | None = None  # float32 [n, classes]; made with the first logits
        self._counts = torch.zeros(len(examples), device=examples.device)

    def update(self, logits: Tensor, labels: Tensor, index: Tensor) -> None:
        """Add the probabilities of a mini-batch."""
        logits, _ = self._examples.loss.as_classes(logits, labels)
        if self._sums is None:
            self._sums = torch.zeros(len(self._examples), logits.shape[1], device=logits.device)
        self._sums[index] += logits.detach().float().softmax(1)  # no example comes twice in a batch
        self._counts[index] += 1

    def mean(self) -> Tensor:
        """Return the mean probability of each class for each example.  # float32 [n, classes]"""
        assert self._sums is not None, "asked before any update"
        return self._sums / self._counts[:, None]
