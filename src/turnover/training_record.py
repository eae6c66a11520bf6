"""Which examples a network was trained on under `own`: what scores can be had of, and what only looks like a score."""

import torch
from torch import Tensor, nn

from turnover.interception import attached_to

_SIZE = 1 << 20  # ids that are told apart; larger ones share a place, so that one may pass for seen, never for unseen
_STEPS = 2  # updates after the last pass under `own` that are nothing special; with accumulated gradients none comes


class TrainingRecord:
    """The ids of all passes under `own` that had gradients, in one piece of memory and without a wait for a GPU."""

    def __init__(self) -> None:
        self.seen: dict[torch.device, Tensor] = {}  # bool [_SIZE], by the device that ids came from
        self.version = 0  # of a parameter's values, which every update raises, in the last such pass
        self.most = 0  # by how much at most from one pass to the next

    def note(self, ids: Tensor, parameter: nn.Parameter) -> None:
        """Note a pass."""
        if ids.device not in self.seen:
            self.seen[ids.device] = torch.zeros(_SIZE, dtype=torch.bool, device=ids.device)
        else:
            self.most = max(self.most, parameter._version - self.version)
        self.seen[ids.device].index_fill_(0, ids.long() % _SIZE, True)
        self.version = parameter._version

    def unseen(self, ids: Tensor) -> Tensor:
        """Whether none of these passes had the example.  # bool [n]"""
        found = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        for places in self.seen.values():
            found |= places.to(ids.device)[ids.long() % _SIZE]
        return ~found


def untrained(model: nn.Module, ids: Tensor) -> str | None:
    """Why the scores of these examples say nothing, if they do not: they were not trained on under `own`."""
    network, state = attached_to(model)
    record: TrainingRecord = state.record
    if not record.seen:
        return (
            f"{state.network} was not trained under turnover.own since turnover.attach, so its scores are noise: "
            "attach before training, and run every training pass inside of turnover.own(model, ids). (If its weights "
            "are those of such a training, loaded from a file, and p, seed, layers, groups and balance are as they "
            "were there, all is well.)"
        )
    missing = record.unseen(ids)
    count = int(missing.sum())
    if count:
        some = ", ".join(map(str, ids[missing][:3].tolist()))
        return (
            f"{count} of {len(ids)} ids were never given to turnover.own in training (for example {some}), so their "
            "scores are noise: an id is the permanent number of an example in its data set, not its position in a batch"
        )
    parameter = next((each for each in network.parameters() if each.requires_grad), None)
    if parameter is not None and parameter._version - record.version > _STEPS * max(record.most, 2):
        return (
            f"{state.network} was updated without turnover.own since its last pass under it, so flipped units have "
            "learnt from the examples too and scores are too low: train inside of turnover.own alone"
        )
    return None
