"""A Trainer of transformers trains as a loop by hand does."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import turnover
from turnover.errors import RefusedInput

pytest.importorskip("accelerate", reason="the Trainer needs it")
transformers = pytest.importorskip("transformers")

from turnover.integrations.huggingface import TurnOverTrainer  # noqa: E402

N = 44
IMAGES = torch.randn(N, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(N) % 3
IDS = torch.arange(N) * 5 + 2


def items(*without: str) -> list[dict[str, Any]]:
    rows = zip(IMAGES, LABELS.tolist(), IDS.tolist(), strict=True)
    whole = [{"pixel_values": image, "label": label, "id": number} for image, label, number in rows]
    return [{name: value for name, value in item.items() if name not in without} for item in whole]


def classifier() -> nn.Module:
    config = transformers.ViTConfig(
        image_size=8,
        patch_size=4,
        num_channels=1,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(0)
    model: nn.Module = transformers.ViTForImageClassification(config)
    return turnover.attach(model.double(), seed=3)


class Collator:
    """The Trainer's own, with a record of the ids of batches."""

    def __init__(self) -> None:
        self.ids: list[torch.Tensor] = []

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch: dict[str, torch.Tensor] = transformers.default_data_collator(rows)
        self.ids.append(batch["id"])
        return batch


def trainer(folder: Path, model: nn.Module, kind: type = TurnOverTrainer, **given: Any) -> Any:
    arguments = {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 8,
        "learning_rate": 0.1,
        "optim": "sgd",
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "remove_unused_columns": False,
    }
    others = {name: given.pop(name) for name in ("train_dataset", "eval_dataset", "data_collator") if name in given}
    return kind(
        model=model,
        args=transformers.TrainingArguments(output_dir=str(folder), **arguments | given),
        **{"train_dataset": items()} | others,
    )


@pytest.mark.parametrize(("accumulated", "smoothing"), [(1, 0.0), (3, 0.0), (1, 0.2)])
def test_weights_and_scores_are_those_of_a_loop_by_hand(tmp_path: Path, accumulated: int, smoothing: float) -> None:
    model, collator = classifier(), Collator()
    trainer(
        tmp_path,
        model,
        gradient_accumulation_steps=accumulated,
        label_smoothing_factor=smoothing,
        data_collator=collator,
    ).train()
    twin = classifier()
    optimizer = torch.optim.SGD(twin.parameters(), 0.1)
    assert len(collator.ids) == 12
    for start in range(0, 12, 6):  # an epoch, whose last batch has 4 examples
        epoch = collator.ids[start : start + 6]
        for first in range(0, 6, accumulated):
            batches = epoch[first : first + accumulated]
            for ids in batches:
                rows = (ids - 2) // 5
                with turnover.own(twin, ids):
                    logits = twin(pixel_values=IMAGES[rows]).logits
                    losses = nn.functional.cross_entropy(
                        logits, LABELS[rows], reduction="none", label_smoothing=smoothing
                    )
                (losses.sum() / sum(map(len, batches))).backward()
            optimizer.step()
            optimizer.zero_grad()
    for parameter, expected in zip(model.parameters(), twin.parameters(), strict=True):
        # the Trainer sums smoothed losses in float32
        torch.testing.assert_close(parameter, expected, rtol=0, atol=1e-9 if smoothing else 1e-12)
    found = turnover.score(model, DataLoader(items(), 8, collate_fn=transformers.default_data_collator))  # type: ignore[arg-type]
    expected_table = turnover.score(twin, {"pixel_values": IMAGES}, LABELS, IDS)
    assert found.index.tolist() == IDS.tolist()
    pd.testing.assert_frame_equal(found, expected_table, rtol=0, atol=1e-6)
    assert found["score"].abs().max() > 1e-2


def test_evaluation_is_that_of_all_units(tmp_path: Path) -> None:
    model = classifier()
    found = trainer(tmp_path, model, eval_dataset=items()).evaluate()["eval_loss"]
    model.eval()
    with torch.no_grad():
        expected = nn.functional.cross_entropy(model(pixel_values=IMAGES).logits, LABELS)
    assert found == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("given", [{"train_dataset": items("id")}, {"remove_unused_columns": True}])
def test_batches_without_ids_are_refused(tmp_path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(RefusedInput, match=r"no 'id'.*remove_unused_columns=False"):
        trainer(tmp_path, classifier(), **given).train()


def test_it_can_be_mixed_into_another_trainer(tmp_path: Path) -> None:
    class Doubled(transformers.Trainer):  # type: ignore[name-defined]
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            return 2 * super().compute_loss(*args, **kwargs)

    class Both(TurnOverTrainer, Doubled):
        pass

    plain, doubled = classifier(), classifier()
    given: dict[str, Any] = {"num_train_epochs": 1, "per_device_train_batch_size": N}
    trainer(tmp_path, plain, learning_rate=0.2, **given).train()
    trainer(tmp_path, doubled, Both, **given).train()
    for parameter, expected in zip(doubled.parameters(), plain.parameters(), strict=True):
        np.testing.assert_allclose(parameter.detach(), expected.detach(), rtol=0, atol=1e-12)
