"""Data sets that are read batch by batch: the same bits as in memory, in constant memory, or refused by name."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

import turnover
from turnover.errors import RefusedInput

N = 50
X = torch.randn(N, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N) % 3


class Rows(Dataset[Any]):
    """Items made when they are asked for."""

    def __init__(self, *parts: Any, whole: Callable[..., Any] = lambda *item: item) -> None:
        self.parts, self.whole = parts, whole

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, i: int) -> Any:
        return self.whole(*(part[i] for part in self.parts))


def make_model() -> nn.Module:
    """With dropout, so that what PyTorch's generator gives matters; not stacked."""
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, 3))


def run(x: Any, y: Any = None, network: Callable[[], nn.Module] = make_model, **given: Any) -> pd.DataFrame:
    usual: dict[str, Any] = {"epochs": 2, "lr": 0.1, "batch_size": 16, "seeds": 2, "progress": False}
    return turnover.memorization(network, x, y, **usual | given)


@pytest.mark.parametrize(
    ("estimator", "options"),
    [
        ("turnover", None),
        ("one_run", {"scores": ["cumulative_loss", "aum", "forgetting", "final_loss", "el2n", "grand", "vog"]}),
        ("second_split", None),
        ("subsampling", {"models": 20}),
        ("blocks", {"blocks": 6}),
    ],
)
def test_streamed_and_in_memory_the_bits_are_the_same(estimator: str, options: dict[str, Any] | None) -> None:
    expected = run(X, Y, estimator=estimator, options=options)
    pd.testing.assert_frame_equal(run(Rows(X, Y), estimator=estimator, options=options), expected, check_exact=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_of_a_loader_the_data_set_is_read_whatever_its_order(workers: int) -> None:
    ids = torch.arange(N) * 3 + 1
    loader = DataLoader(Rows(X, Y, ids), batch_size=7, shuffle=True, num_workers=workers, drop_last=True)
    pd.testing.assert_frame_equal(run(loader, seeds=1), run(X, Y, ids=ids, seeds=1), check_exact=True)
    torch.manual_seed(0)
    model = turnover.attach(make_model(), seed=2)
    streamed, whole = turnover.score(model, loader), turnover.score(model, X, Y, ids)
    pd.testing.assert_frame_equal(streamed, whole, check_exact=True)
    assert streamed.attrs == whole.attrs


def doubled(items: list[Any]) -> Any:
    x, y = default_collate(items)
    return 2 * x, y


@pytest.mark.parametrize("estimator", ["turnover", "subsampling"])
def test_items_that_seed_the_generator_leave_the_network_its_own(estimator: str) -> None:
    def seeding(x: Tensor, y: Tensor) -> Any:
        torch.manual_seed(0)
        return x, y

    given: dict[str, Any] = {"estimator": estimator, "options": {"models": 20} if estimator == "subsampling" else None}
    torch.manual_seed(5)
    streamed = run(Rows(X, Y, whole=seeding), **given)
    pd.testing.assert_frame_equal(streamed, run(X, Y, **given), check_exact=True)


def test_of_a_loader_with_batches_of_its_own_the_collate_fn_is_taken() -> None:
    batches = BatchSampler(RandomSampler(range(N)), 7, drop_last=False)
    loader = DataLoader(Rows(X, Y), batch_sampler=batches, collate_fn=doubled)
    pd.testing.assert_frame_equal(run(loader), run(2 * X, Y), check_exact=True)
    with pytest.raises(RefusedInput, match="whose collate_fn takes single items: give a batch_size"):
        run(DataLoader(Rows(X, Y), batch_size=None, collate_fn=lambda item: (2 * item[0], item[1])))


def test_items_of_arrays_and_numbers_are_those_of_tensors() -> None:
    rows = Rows(X.double().numpy(), Y.tolist(), np.arange(N))
    pd.testing.assert_frame_equal(run(rows), run(X, Y), check_exact=True)


def test_tensors_of_a_data_set_are_taken_as_they_are() -> None:
    pd.testing.assert_frame_equal(run(TensorDataset(X, Y)), run(X, Y), check_exact=True)


def test_a_part_of_a_data_set_is_one() -> None:
    some = list(range(0, N, 2))
    pd.testing.assert_frame_equal(run(Subset(Rows(X, Y), some)), run(X[some], Y[some]), check_exact=True)


def test_names_may_come_with_the_items() -> None:
    names = [f"images/{i:03d}.png" for i in range(N)]
    streamed = run(Rows(X, Y, names))
    assert streamed.index.tolist() == names
    pd.testing.assert_frame_equal(streamed, run(X, Y, ids=names), check_exact=True)
    pd.testing.assert_frame_equal(run(Rows(X, Y), ids=names), streamed, check_exact=True)


def test_numbers_to_be_predicted_stream_too() -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, 1))

    y = X.sum(1)
    streamed = run(Rows(X, y), network=network, loss="squared")
    pd.testing.assert_frame_equal(streamed, run(X, y, network, loss="squared"), check_exact=True)
    numbers = [1] * 64 + [1.5] * 6  # the labels of the first batch are whole numbers
    x = X.repeat(2, 1)[:70]
    streamed = run(Rows(x, numbers), network=network, loss="squared")
    pd.testing.assert_frame_equal(streamed, run(x, numbers, network, loss="squared"), check_exact=True)


class TwoInputs(nn.Module):
    """Takes two arguments, by place or by name."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 12), nn.Linear(12, 3)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head(torch.relu(self.body(torch.cat([left, right], 1))))


@pytest.mark.parametrize("estimator", ["turnover", "cumulative_loss", "grand", "subsampling"])
def test_arguments_in_a_tuple_or_by_name_stream_too(estimator: str) -> None:
    left, right = X[:, :2], X[:, 2:]
    options = {"models": 20} if estimator == "subsampling" else None
    expected = run((left, right), Y, TwoInputs, estimator=estimator, options=options)
    stack: Any = StackDataset
    for x, y in (
        ({"right": right, "left": left.numpy()}, Y),
        (Rows(left, right, Y, whole=lambda a, b, y: ((a, b), y)), None),
        (Rows(left, right, Y, whole=lambda a, b, y: ({"left": a, "right": b}, y)), None),
        (stack(left=left, right=right, labels=Y), None),
    ):
        found = run(x, y, TwoInputs, estimator=estimator, options=options)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


# --- constant memory ---

LARGE = """
import sys
import torch
from torch import nn
from torch.utils.data import Dataset
import turnover

class Made(Dataset):
    def __len__(self):
        return 6000
    def __getitem__(self, i):
        x = torch.full((25_000,), (i % 100) / 100)  # 100 kB an item, 600 MB together
        x[i % 25_000] += 1
        return x, i % 2, i

def megabytes(name):
    [line] = [line for line in open("/proc/self/status") if line.startswith(name)]
    return int(line.split()[1]) / 1000

model = turnover.attach(nn.Sequential(nn.Linear(25_000, 16), nn.ReLU(), nn.Linear(16, 2)))
few = torch.stack([Made()[i][0] for i in range(4)])
turnover.score(model, few, [0, 1, 0, 1])  # whatever is loaded at first use
before = megabytes("VmRSS")
if sys.argv[1] == "stream":
    table = turnover.score(model, Made(), batch_size=32)
else:
    rows = [Made()[i] for i in range(6000)]
    table = turnover.score(model, torch.stack([row[0] for row in rows]), [row[1] for row in rows], batch_size=32)
print(len(table), table["score"].notna().all(), megabytes("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what a process takes is read from Linux")
@pytest.mark.parametrize("how", ["stream", "memory"])
def test_a_data_set_of_ten_times_the_memory_is_scored(how: str) -> None:
    """600 MB of items take 60 MB at most, and in memory all of 600."""
    command = [sys.executable, "-W", "ignore", "-c", LARGE, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, scored, megabytes = done.stdout.split()
    assert (count, scored) == ("6000", "True")
    assert (float(megabytes) < 60) == (how == "stream")
    assert float(megabytes) < 60 or float(megabytes) > 600


# --- what cannot be read ---


class Endless(IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(X, Y, strict=True)


def test_rows_without_positions_are_refused_with_tensors_of_them() -> None:
    for x in (Endless(), DataLoader(Endless(), batch_size=None)):
        with pytest.raises(RefusedInput, match="its items cannot be read in another order") as refused:
            run(x)
        scope: dict[str, Any] = {"x": x, "torch": torch}
        exec(str(refused.value).partition("as tensors: ")[2].partition("; or a data set")[0], scope)
        pd.testing.assert_frame_equal(run(scope["x"], scope["y"]), run(X, Y), check_exact=True)


@pytest.mark.parametrize("in_batches", [False, True])
@pytest.mark.parametrize(
    "sampler",
    [
        SubsetRandomSampler([4, 8, 15, 16, 23, 42]),
        WeightedRandomSampler([1.0] * N, 5, replacement=False),
        SequentialSampler(range(8)),
        RandomSampler(range(8)),
    ],
)
def test_a_loader_of_some_items_is_refused_with_these_alone(sampler: Any, in_batches: bool) -> None:
    drawn: Any = {"batch_size": 2, "sampler": sampler}
    if in_batches:
        drawn = {"batch_sampler": BatchSampler(sampler, 2, drop_last=False)}
    loader = DataLoader(Rows(X, Y), **drawn)
    with pytest.raises(RefusedInput, match="which need not give every item once") as refused:
        run(loader)
    x = eval(str(refused.value).partition("x = ")[2], {"torch": torch, "loader": loader})
    assert len(run(x)) == len(sampler)


def test_items_that_change_are_refused() -> None:
    noisy = Rows(X, Y, whole=lambda x, y: (x + torch.rand(()), y))
    with pytest.raises(RefusedInput, match="not the same when they are read again"):
        run(noisy)
    readings = iter(range(10**6))

    def shuffled(i: int) -> Any:
        i = (i + next(readings) // (N + 16)) % N  # after the first reading, of which the first 8 are read twice more
        return X[i], Y[i]

    with pytest.raises(RefusedInput, match="have other labels than before"):
        run(Rows(range(N), whole=shuffled))


def test_a_batch_that_lacks_a_row_is_refused() -> None:
    def without_the_last(items: list[Any]) -> Any:
        return default_collate(items[:-1] or items)

    with pytest.raises(RefusedInput, match=r"items 0 to 49 .* come as 49 rows, .*: collate_fn must give a row for"):
        run(DataLoader(Rows(X, Y), batch_size=8, collate_fn=without_the_last))


@pytest.mark.parametrize(
    ("x", "y", "ids", "message"),
    [
        (Rows(X, Y), Y, None, "whose items hold y too: leave y out, y = None"),
        (Rows(X, Y, Y + torch.arange(N) * 3), None, torch.arange(N), "by the items of the data set too: leave one out"),
        (X, None, None, "y is missing: give a label for each row of x"),
        (Rows(X, whole=lambda x: x), None, None, "batches that are a Tensor: its items must be"),
        (
            Rows(X, Y, whole=lambda x, y: {"x": x, "y": y}),
            None,
            None,
            "batches that are a dict of x, y: its items must",
        ),
        (Rows(X, Y, whole=lambda x, y: (object(), y)), None, None, "the first item of the data set cannot be read"),
        (Rows(X[:0], Y[:0]), None, None, "is empty or has no length"),
        (Rows(X, Y - 1), None, None, "it holds -1: .* leave these items of the data set out"),
        (Rows(X, Y, torch.zeros(N, dtype=torch.int64)), None, None, "ids must differ, .*: 0 come more than once"),
        (Rows(X, Y, ["a"] * N), None, None, "ids must differ, .*: a come more than once"),
        (Rows(X, ["cat", "dog"] * 25), None, None, r"labels .* are texts, such as 'cat': .* names.index\(label\)"),
        (Rows(X, Y, whole=lambda x, y: (x, {"a": y})), None, None, "labels .* come as a dict .*: the label of an item"),
        (Rows(["some text"] * N, Y), None, None, "hold 'some text', a str: .* must be tokens"),
        (
            Rows(X, range(N), whole=lambda x, i: (x[: 6 - i // 40], i % 3)),
            None,
            None,
            r"items 0 to 49 .*, of shapes \(6,\) and \(\) \(item 0\), \(5,\) and \(\) \(item 40\), .* collate_fn",
        ),
    ],
)
def test_what_is_no_data_set_is_refused(x: Any, y: Any, ids: Any, message: str) -> None:
    with pytest.raises(RefusedInput, match=message):
        run(x, y, ids=ids)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_item_that_cannot_be_read_is_named_and_left_out(workers: int) -> None:
    def broken(i: int) -> Any:
        if i == 17:
            raise OSError("truncated file")
        return X[i], Y[i]

    dataset = Rows(range(N), whole=broken)
    with pytest.raises(RefusedInput, match=r"item 17 .* OSError: truncated file; mend it, or leave it out") as refused:
        run(DataLoader(dataset, num_workers=workers))
    scope: dict[str, Any] = {"torch": torch, "dataset": dataset}
    exec(str(refused.value).partition("leave it out: ")[2], scope)
    assert len(run(scope["x"])) == N - 1


def test_items_that_are_not_finite_are_named_and_left_out() -> None:
    x = X.clone()
    x[7, 3], x[31, 0] = torch.nan, torch.inf
    dataset = Rows(x, Y)
    with pytest.raises(RefusedInput, match=r"NaN or infinite, .*, in items 7, 31: leave such items out") as refused:
        run(dataset)
    scope: dict[str, Any] = {"torch": torch, "dataset": dataset}
    exec(str(refused.value).partition("for example ")[2], scope)
    kept = [i for i in range(N) if i not in (7, 31)]
    pd.testing.assert_frame_equal(run(scope["x"]), run(X[kept], Y[kept]), check_exact=True)
