"""What a network says of right and of wrong labels: whether they are fitted, and whether wrong ones become right."""

from collections.abc import Iterator, Sequence

from turnover.core.dropout import is_attached
from turnover.core.evaluation import Units, all_units, evaluate, flipped_units, own_units
from turnover.probes.trained import Row, Trained


def measure(networks: Sequence[Trained]) -> Iterator[Row]:
    """Yield the share right in each group of examples: of labels given, and of noisy examples of the true ones.

    Measures full_given and full_true: by all units. With turn-over dropout also own_ and flipped_: by the units that an
    example trains, and by the others, which of example-tied dropout are those that all examples share. Test examples
    trained no units and have no own ones.
    """
    for network in networks:
        masked = is_attached(network.model)
        for group, examples in network.groups.items():
            kinds: dict[str, Units] = {"full": all_units}
            if masked:
                kinds |= {"flipped": flipped_units} if group == "test" else {"own": own_units, "flipped": flipped_units}
            for kind, outcome in zip(kinds, evaluate(network.model, examples, [*kinds.values()]), strict=True):
                right = {"given": outcome.right}
                if group == "noisy":
                    right["true"] = outcome.prediction == network.truth[group]
                for label, which in right.items():
                    share = float(which.double().mean())
                    yield Row(network.name, f"{kind}_{label}", share, network.epoch, group=group)
