"""What a message tells a user to write is written, word for word; then the call works and gives what it should."""

import copy
from collections import UserDict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.lib.recfunctions
import pandas as pd
import pytest
import scipy.sparse
import torch
from torch import Tensor, nn

import turnover
from turnover.audit.collection import collect
from turnover.audit.labelled import Collection
from turnover.common.device import resolve
from turnover.core.masks import MaskRule, check_ids
from turnover.errors import RefusedInput, TurnOverError
from turnover.gradients.per_example import gradients

N, GONE = 24, 7
X = np.random.default_rng(0).normal(size=(N, 8)).astype("float32")
Y = np.arange(N) % 3
NAMES = np.array(["ant", "bee", "cat"])[Y]  # sorted, so that their numbers are Y
BYTES = NAMES.astype(bytes)
REFUSED = (RefusedInput, TurnOverError)


def write(step: str, message: str, scope: dict[str, Any], name: str) -> None:
    """Find a statement, or a value for the argument of that name, in a message, and run it where a user would."""
    assert step in message, message
    scope |= {"numpy": np, "pandas": pd, "torch": torch, "copy": copy, "turnover": turnover}
    exec(step if " = " in step else f"{name} = {step}", scope)


class Flat(nn.Module):
    """Rows of any shape as vectors."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), -1)


def run(given: dict[str, Any], width: int) -> pd.DataFrame:
    def network() -> nn.Module:
        return nn.Sequential(Flat(), nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, 3))

    return turnover.memorization(network, **given, epochs=1, lr=0.1, seeds=1, progress=False)


def followed(given: dict[str, Any], steps: list[str], name: str, width: int = 8) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The scores when all of these steps have been taken, each because a message said so, and what was given then."""
    for step in steps:
        with pytest.raises(REFUSED) as refused:
            run(given, width)
        scope = dict(given)
        write(step, str(refused.value), scope, name)
        given = {each: scope[each] for each in given}
    return run(given, width), given


# --- labels ---


def without(values: Any, missing: Any, **options: Any) -> Any:
    """The values as objects, one of them missing."""
    objects = np.array(values, dtype=object)
    objects[GONE] = missing
    return objects


def onehot(row: float = 0.0) -> np.ndarray:
    rows = np.eye(3)[Y]
    rows[GONE] = row
    return rows


NUMBER = "classes, y = numpy.unique(y, return_inverse=True)"
AS_TEXT = "keep = pandas.Series(y, dtype=object).replace([{0}], None).notna().to_numpy(); x, y = x[keep], y[keep]"
OBJECTS = "keep = pandas.Series(y, dtype=object).notna().to_numpy(); x, y = x[keep], {}[keep]"
FLOATS = "keep = numpy.isfinite(numpy.asarray(y)); x, y = x[keep], {}[keep]"
DATES = np.array(["2020", "2021", "2022"], dtype="datetime64[D]")[Y]
FLOAT, HOLE = Y.astype(float), without(Y, np.nan).astype(float)
NO_DATE = np.where(np.arange(N) == GONE, np.datetime64("NaT"), DATES)
SMALLEST = np.where(np.arange(N) == GONE, np.iinfo(np.int64).min, Y)  # what NaN becomes
INTEGERS = "y.astype('int64')"
NOT_SMALLEST = "keep = numpy.asarray(y) != -9223372036854775808; x, y = x[keep], y[keep]"
FLOATS_OF_TENSOR = "keep = numpy.isfinite(numpy.asarray(y.tolist())); x, y = x[keep], y[keep]"
UNMASKED = "keep = ~numpy.ma.getmaskarray(y); x, y = x[keep], y[keep]"
MISSING: dict[str, tuple[Any, list[str]]] = {
    "NaN": (HOLE, [FLOATS.format("y"), INTEGERS]),
    "infinite": (np.where(np.arange(N) == GONE, np.inf, FLOAT), [FLOATS.format("y"), INTEGERS]),
    "NaN in a list": (HOLE.tolist(), [FLOATS.format("numpy.asarray(y)"), INTEGERS]),
    "NaN in a column": (pd.Series(HOLE), [FLOATS.format("y"), INTEGERS]),
    "nullable integers": (pd.array(without(Y, None), dtype="Int64"), [FLOATS.format("numpy.asarray(y)"), INTEGERS]),
    "a column of nullable integers": (pd.Series(without(Y, None), dtype="Int64"), [FLOATS.format("y")]),
    "a column of nullable floats": (pd.Series(without(FLOAT, None), dtype="Float64"), [FLOATS.format("y"), INTEGERS]),
    "a tensor": (torch.tensor(HOLE), [FLOATS_OF_TENSOR, "y.long()"]),
    "bfloat16": (torch.tensor(HOLE).bfloat16().requires_grad_(), [FLOATS_OF_TENSOR, "y.long()"]),
    "NaN as an integer": (SMALLEST, [NOT_SMALLEST]),
    "NaN as an integer of a tensor": (
        torch.from_numpy(np.where(np.arange(N) == GONE, np.iinfo(np.int32).min, Y)).int(),
        ["keep = numpy.asarray(y.tolist()) != -2147483648; x, y = x[keep], y[keep]"],
    ),
    "None among integers": (without(Y, None).tolist(), [OBJECTS.format("numpy.asarray(y)")]),
    "pandas.NA among integers": (without(Y, pd.NA), [OBJECTS.format("y")]),
    "None among names": (without(NAMES, None).tolist(), [OBJECTS.format("numpy.asarray(y)"), NUMBER]),
    "NaN among names": (without(NAMES, np.nan), [OBJECTS.format("y"), NUMBER]),
    "a column of names": (pd.Series(without(NAMES, None), dtype="str"), [OBJECTS.format("y"), NUMBER]),
    "categories": (pd.Categorical(without(NAMES, None)), [OBJECTS.format("numpy.asarray(y)"), NUMBER]),
    "a column of categories": (pd.Series(without(NAMES, None)).astype("category"), [OBJECTS.format("y"), NUMBER]),
    "NaT": (NO_DATE, [OBJECTS.format("y"), NUMBER]),
    "a column of dates": (pd.Series(without(DATES, None)).astype("datetime64[s]"), [OBJECTS.format("y"), NUMBER]),
    "masked": (np.ma.array(Y, mask=np.arange(N) == GONE), [UNMASKED]),
    "masked names": (np.ma.array(NAMES, mask=np.arange(N) == GONE), [UNMASKED, NUMBER]),
    "bytes": (without(BYTES, b"").astype(bytes), [AS_TEXT.format("b''"), NUMBER]),
    "bytes as objects": (without(BYTES, b"nan"), [AS_TEXT.format("b'nan'"), NUMBER]),
    "-1": (without(Y, -1).astype(int), ["keep = numpy.asarray(y) >= 0; x, y = x[keep], y[keep]"]),
    "-100 of a tensor": (
        torch.from_numpy(without(Y, -100).astype(int)),
        ["keep = (y >= 0).cpu().numpy(); x, y = x[keep], y[keep]"],
    ),
    "a row of zeros": (onehot(), ["keep = (y.sum(1) == 1); x, y = x[keep], y[keep]", "y.argmax(1)"]),
    "a row of NaN": (
        torch.from_numpy(onehot(np.nan)),
        ["keep = (y.sum(1) == 1).cpu().numpy(); x, y = x[keep], y[keep]", "y.argmax(1)"],
    ),
    "a table of zeros and ones": (
        pd.get_dummies(pd.Series(without(NAMES, None))),
        ["keep = (y.to_numpy().sum(1) == 1); x, y = x[keep], numpy.asarray(y)[keep]", "y.argmax(1)"],
    ),
    **{
        f"the text {text!r}": (without(NAMES, text).astype(str), [AS_TEXT.format(repr(text)), NUMBER])
        for text in ("", "nan", "NaN", "NaT", "<NA>", "None")
    },
}


@pytest.mark.parametrize("case", MISSING)
def test_a_missing_label_is_removed_and_never_becomes_a_class(case: str) -> None:
    y, steps = MISSING[case]
    table, given = followed({"x": X, "y": y}, steps, "y")
    assert table["label"].tolist() == np.delete(Y, GONE).tolist()
    np.testing.assert_array_equal(given["x"], np.delete(X, GONE, axis=0))


def test_missing_values_are_counted_and_their_rows_named() -> None:
    y: Any = without(Y, None)
    y[[1, 9]] = np.nan
    with pytest.raises(
        RefusedInput, match=r"^y has 3 missing values \(None, nan\), in rows 1, 7, 9: remove these rows"
    ):
        run({"x": X, "y": y}, 8)
    with pytest.raises(RefusedInput, match=r"^y has 1 missing value \(nan\), in row 7: remove .* from x, y and ids"):
        run({"x": torch.from_numpy(X), "y": HOLE, "ids": range(N)}, 8)


LABELS: dict[str, tuple[Any, list[str]]] = {
    "names": (NAMES, [NUMBER]),
    "a list of names": (NAMES.tolist(), [NUMBER]),
    "a column of names": (pd.Series(NAMES), [NUMBER]),
    "bytes": (BYTES, [NUMBER]),
    "bytes as objects": (BYTES.astype(object), [NUMBER]),
    "dates": (DATES, [NUMBER]),
    "records": (np.array([(each, 0) for each in Y], dtype=[("a", "i1"), ("b", "f4")]), [NUMBER]),
    "names and numbers": (
        np.array(["2c" if each == 2 else int(each) for each in Y], dtype=object),
        ["classes, y = numpy.unique(numpy.asarray(y).astype(str), return_inverse=True)"],
    ),
    "floats": (FLOAT, ["y.astype('int64')"]),
    "a list of floats": (FLOAT.tolist(), ["numpy.asarray(y).astype('int64')"]),
    "a tensor of floats": (torch.tensor(FLOAT), ["y.long()"]),
    "floats above all integers": (FLOAT * 1e300, [NUMBER]),
    "halves": (FLOAT / 2, [NUMBER]),
    "a tensor of halves": (torch.tensor(FLOAT / 2), ["classes, y = y.unique(return_inverse=True)"]),
    "complex": (torch.tensor(FLOAT + 0j), ["y.real", "y.long()"]),
    "negative": (Y - 1, [NUMBER]),
    "a tensor of negatives": (torch.from_numpy(Y - 1), ["classes, y = y.unique(return_inverse=True)"]),
    "one-hot": (np.eye(3)[Y], ["y.argmax(1)"]),
    "a tensor, one-hot": (torch.eye(3)[Y], ["y.argmax(1)"]),
    "a list, one-hot": (np.eye(3)[Y].tolist(), ["numpy.asarray(y).argmax(1)"]),
    "probabilities": (np.eye(3)[Y] * 0.5 + [0.25, 0.25, 0], ["y.argmax(1)"]),
    "rounded probabilities": (torch.softmax(torch.eye(3)[Y], dim=1), ["y.argmax(1)"]),
    "a table of zeros and ones": (pd.get_dummies(pd.Series(NAMES)), ["y.to_numpy().argmax(1)"]),
    "a column": (Y[:, None], ["y.ravel()"]),
    "a list of rows": (Y[:, None].tolist(), ["numpy.asarray(y).ravel()"]),
    "several columns": (np.stack([Y + 5, Y], axis=1), ["y[:, -1]"]),
    "a table": (pd.DataFrame({"label": Y}), ["y['label'].to_numpy()"]),
    "a wide table": (pd.DataFrame({"weight": FLOAT, 3: NAMES}), ["y[3].to_numpy()", NUMBER]),
    "sparse": (torch.from_numpy(Y).to_sparse(), ["y.to_dense()"]),
    "a dictionary": ({"labels": Y}, ["y['labels']"]),
    "a dictionary's values": (dict(enumerate(Y)).values(), ["list(y)"]),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_of_another_kind(case: str) -> None:
    y, steps = LABELS[case]
    table, _ = followed({"x": X, "y": y}, steps, "y")
    assert table["label"].tolist() == Y.tolist()


# --- inputs ---


def x_with(value: float) -> np.ndarray:
    x = X.copy()
    x[GONE, 3] = value
    return x


T = torch.from_numpy(X)
LESS = np.delete(X, GONE, axis=0)
FINITE = "keep = torch.as_tensor({0}).to(torch.float32).isfinite().reshape(len(x), -1).all(1).cpu().numpy(); "
FINITE_ROWS = FINITE.format("x") + "x, y = x[keep], y[keep]"
INPUTS: dict[str, tuple[Any, list[str], Any]] = {
    "a table": (pd.DataFrame(X), ["x.to_numpy(dtype='float32')"], X),
    "a table with text": (
        pd.DataFrame({"size": X[:, 0], "kind": NAMES}),
        ["pandas.get_dummies(x).to_numpy(dtype='float32')"],
        np.column_stack([X[:, 0], np.eye(3)[Y]]),
    ),
    "a table of nullable numbers": (
        pd.DataFrame(X).astype("Float64").where(np.broadcast_to(np.arange(N)[:, None] != GONE, X.shape)),
        ["x.to_numpy(dtype='float32')", FINITE_ROWS],
        LESS,
    ),
    "a column": (pd.Series(X[:, 0]), ["x.to_numpy(dtype='float32')"], X[:, 0]),
    "a column of arrays": (pd.Series(list(X)), ["numpy.stack(x)"], X),
    "masked": (np.ma.array(X, mask=x_with(9) == 9), ["x = x.filled(0)"], x_with(0)),
    "masked, removed": (
        np.ma.array(X, mask=x_with(9) == 9),
        ["keep = ~numpy.ma.getmaskarray(x).reshape(len(x), -1).any(1); x, y = x[keep], y[keep]"],
        LESS,
    ),
    "NaN": (x_with(np.nan), [FINITE_ROWS], LESS),
    "infinite": (torch.from_numpy(x_with(np.inf)), [FINITE_ROWS], LESS),
    "NaN in a list": (
        x_with(np.nan).tolist(),
        [FINITE.format("numpy.asarray(x)") + "x, y = numpy.asarray(x)[keep], y[keep]"],
        LESS,
    ),
    "more than float32 holds": (x_with(0) + (x_with(9) == 9) * 1e300, [FINITE_ROWS], LESS),
    "complex": (X + 1j, ["torch.view_as_real(torch.as_tensor(x))"], np.stack([X, X * 0 + 1], axis=-1)),
    "a complex tensor": (T + 1j, ["torch.view_as_real(x)"], np.stack([X, X * 0 + 1], axis=-1)),
    "a sparse tensor": (T.to_sparse(), ["x.to_dense()"], X),
    "a sparse tensor by rows": (T.to_sparse_csr(), ["x.to_dense()"], X),
    "a sparse matrix": (scipy.sparse.csr_matrix(X), ["x.toarray()"], X),
    "a sparse array": (scipy.sparse.coo_array(X), ["x.toarray()"], X),
    "rows of several lengths": (
        torch.nested.nested_tensor([row[: 7 + i % 2] for i, row in enumerate(T)]),
        ["torch.nested.to_padded_tensor(x, 0)"],
        np.where((np.arange(N)[:, None] % 2 == 0) & (np.arange(8) == 7), 0, X),
    ),
    "what a tokenizer gives": (UserDict(input_ids=X, mask=X > 0), ["x['input_ids']"], X),
    "a list of tensors with gradients": ([row.clone().requires_grad_() for row in T], ["torch.stack(list(x))"], X),
    "a generator": ((row for row in X), ["list(x)"], X),
    "long doubles": (X.astype(np.longdouble), ["numpy.asarray(x).astype('float32')"], X),
    "numbers as objects": (X.astype(object), ["numpy.asarray(x).astype('float32')"], X),
    "numbers as text": (X.astype(str).tolist(), ["numpy.asarray(x).astype('float32')"], X),
    "arrays as objects": (pd.Series(list(X)).to_numpy(), ["numpy.stack(x)"], X),
    "records": (
        numpy.lib.recfunctions.unstructured_to_structured(X, names=list("abcdefgh")),
        ["numpy.lib.recfunctions.structured_to_unstructured(x, 'float32')"],
        X,
    ),
}


@pytest.mark.parametrize("case", INPUTS)
def test_inputs_of_another_kind(case: str) -> None:
    x, steps, expected = INPUTS[case]
    table, given = followed({"x": x, "y": Y}, steps, "x", int(np.prod(expected.shape[1:])))
    found = np.asarray(given["x"].detach() if isinstance(given["x"], Tensor) else given["x"], dtype="float32")
    np.testing.assert_allclose(found, expected.astype("float32"))
    assert len(table) == len(expected)
    assert table["label"].tolist() == (Y if len(expected) == N else np.delete(Y, GONE)).tolist()


@pytest.mark.parametrize(
    "x",
    [X.astype(">f4"), X[::-1].copy()[::-1], np.asfortranarray(X), X.astype(float), T.clone().requires_grad_() * 1],
    ids=["big-endian", "reversed", "by columns", "float64", "with a gradient"],
)
@pytest.mark.parametrize("y", [Y.astype(">i4"), Y.astype("uint64"), Y.astype(object), list(torch.from_numpy(Y))])
def test_the_same_numbers_give_the_same_scores(x: Any, y: Any) -> None:
    pd.testing.assert_frame_equal(run({"x": x, "y": y}, 8), run({"x": X, "y": Y}, 8))


@pytest.mark.parametrize("writeable", [True, False])
def test_a_field_of_records_and_what_cannot_be_written_to(writeable: bool) -> None:
    records = np.zeros(N, dtype=[("a", "i1"), ("x", "f4", (8,)), ("y", "i8")])
    records["x"], records["y"] = X, Y
    records.flags.writeable = writeable
    pd.testing.assert_frame_equal(run({"x": records["x"], "y": records["y"]}, 8), run({"x": X, "y": Y}, 8))


# --- ids ---

IDS = np.arange(N) * 3 + 5
IDS_GONE = "keep = {}; x, y, ids = x[keep], y[keep], {}[keep]"
IDENTITIES: dict[str, tuple[Any, list[str], Any]] = {
    "NaN": (
        without(IDS, np.nan).astype(float),
        [IDS_GONE.format("numpy.isfinite(numpy.asarray(ids))", "ids"), "ids.astype('int64')"],
        np.delete(IDS, GONE),
    ),
    "None in a list": (
        without(IDS, None).tolist(),
        [IDS_GONE.format("pandas.Series(ids, dtype=object).notna().to_numpy()", "numpy.asarray(ids)")],
        np.delete(IDS, GONE),
    ),
    "masked": (
        np.ma.array(IDS, mask=np.arange(N) == GONE),
        [IDS_GONE.format("~numpy.ma.getmaskarray(ids)", "ids")],
        np.delete(IDS, GONE),
    ),
    "floats": (IDS.astype(float), ["ids.astype('int64')"], IDS),
    "records": (
        np.array([(each, 0) for each in IDS], dtype=[("a", "i4"), ("b", "f4")]),
        ["names, ids = numpy.unique(ids, return_inverse=True)"],
        np.arange(N),
    ),
}


@pytest.mark.parametrize("case", IDENTITIES)
def test_ids_of_another_kind(case: str) -> None:
    ids, steps, expected = IDENTITIES[case]
    table, _ = followed({"x": X, "y": Y, "ids": ids}, steps, "ids")
    assert table.index.tolist() == expected.tolist()
    assert table["label"].tolist() == (Y if len(expected) == N else np.delete(Y, GONE)).tolist()


@pytest.mark.parametrize("ids", [IDS[:, None], IDS[:5], [*IDS[1:], IDS[1]]], ids=["a column", "too few", "twice"])
def test_ids_can_be_left_out(ids: Any) -> None:
    with pytest.raises(RefusedInput, match="leave ids out to number the examples by their position"):
        run({"x": X, "y": Y, "ids": ids}, 8)
    assert run({"x": X, "y": Y}, 8).index.tolist() == list(range(N))


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32", "uint64", ">i4", "object"])
def test_ids_of_any_integers(kind: str) -> None:
    expected = run({"x": X, "y": Y, "ids": IDS}, 8)
    pd.testing.assert_frame_equal(run({"x": X, "y": Y, "ids": IDS.astype(kind)}, 8), expected)


@pytest.mark.parametrize(
    ("ids", "step"),
    [
        (None, "torch.arange(n)"),
        (IDS, "torch.as_tensor(ids)"),
        ([f"images/{number}.png" for number in range(N)], "turnover.core.names.numbers(ids)"),
        (torch.arange(float(N)), "torch.arange(n)"),
        (torch.ones(N, dtype=torch.bool), "torch.arange(n)"),
        (torch.arange(N)[None], "ids.ravel()"),
        (torch.arange(N) - 1, "torch.arange(n)"),
        (torch.tensor([2**63], dtype=torch.uint64), "torch.arange(n)"),
    ],
)
def test_ids_of_masks(ids: Any, step: str) -> None:
    with pytest.raises(TurnOverError) as refused:
        check_ids(ids)
    scope = {"ids": ids, "n": N}
    write(step, str(refused.value), scope, "ids")
    assert check_ids(scope["ids"]).shape == (N,)


@pytest.mark.parametrize(
    ("wrong", "told", "right"),
    [
        ({"p": 1e-6}, "between 0 and 1, at least 2^-16 away from both", {"p": 2**-16}),
        ({"p": 0.0}, "between 0 and 1, at least 2^-16 away from both", {"p": 2**-16}),
        ({"p": 1.0}, "between 0 and 1, at least 2^-16 away from both", {"p": 1 - 2**-16}),
        ({"groups": 0}, "at least 1, or None", {"groups": 1}),
        ({"groups": 0}, "at least 1, or None", {"groups": None}),
        ({"balance": "half"}, "allowed: bernoulli, exact", {"balance": "bernoulli"}),
        ({"balance": "half"}, "allowed: bernoulli, exact", {"balance": "exact"}),
        ({"seed": -1}, "at least 0 and less than 2^63", {"seed": 0}),
        ({"seed": 2**63}, "at least 0 and less than 2^63", {"seed": 2**63 - 1}),
    ],
)
def test_rules_of_masks(wrong: dict[str, Any], told: str, right: dict[str, Any]) -> None:
    with pytest.raises(TurnOverError) as refused:
        MaskRule(**{"p": 0.5, "seed": 0} | wrong)
    assert told in str(refused.value)
    own = MaskRule(**{"p": 0.5, "seed": 0} | right).own(torch.arange(N), 64, 0)
    assert own.shape == (N, 64)


# --- devices and networks ---


@pytest.mark.parametrize("name", ["mps", "xpu", "meta", "cpux", "", "cuda:99", "cuda:-1", None, 99])
def test_devices(name: Any) -> None:
    with pytest.raises(RefusedInput, match=r"device = .*: this machine has .*; try auto or cpu$"):
        resolve(name)
    assert resolve("auto").type in ("cpu", "cuda")
    assert resolve("cpu") == torch.device("cpu")


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 3))


with torch.inference_mode():
    UNTRAINABLE = mlp()
SHARED, STATISTICS = mlp(), nn.BatchNorm1d(8, affine=False)


def assigned() -> nn.Module:
    """Parameters of its own, in memory that all such networks share."""
    network = mlp()
    network.load_state_dict(SHARED.state_dict(), assign=True)
    return network


@pytest.mark.parametrize(
    ("make", "step"),
    [
        (SHARED, "def make_model(): return Sequential(...)"),
        (lambda: SHARED, "copy.deepcopy(model)"),
        (lambda: nn.Sequential(nn.Linear(8, 8), nn.ReLU(), SHARED), "copy.deepcopy(model)"),
        (assigned, "copy.deepcopy(model)"),
        (lambda: nn.Sequential(STATISTICS, mlp()), "copy.deepcopy(model)"),
        (lambda: mlp().requires_grad_(False), "model.requires_grad_(True)"),
        (lambda: UNTRAINABLE, "copy.deepcopy(model)"),
        (lazy, "model(torch.as_tensor(x[:2]))"),
    ],
)
@pytest.mark.parametrize("estimator", ["turnover", "aum", "blocks"])
def test_networks(make: Any, step: str, estimator: str) -> None:
    options: dict[str, Any] = {"epochs": 1, "lr": 0.1, "seeds": 1, "progress": False, "estimator": estimator}
    with pytest.raises(RefusedInput) as refused:
        turnover.memorization(make, X, Y, **options)
    assert step in str(refused.value)

    def mended() -> nn.Module:
        if isinstance(make, nn.Module):
            return mlp()
        model = make()
        scope = {"model": model, "x": X}
        write(step, str(refused.value), scope, "done")
        return scope["done"] if "deepcopy" in step else model

    found = turnover.memorization(mended, X, Y, **options)
    pd.testing.assert_frame_equal(found, turnover.memorization(mended, X, Y, **options))


def scripted(*names: str) -> nn.Module:
    """A network, or some parts of one, by torch.jit."""
    model = nn.Sequential(nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    for name in names:
        setattr(model, name, torch.jit.script(getattr(model, name)))
    return model if names else torch.jit.script(model)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("name", ["", "0"])
def test_a_scripted_network_hides_its_activations(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make = (lambda: scripted(name)) if name else scripted
    for layers in (None, ["2"]):
        with pytest.raises(
            TurnOverError, match=f"{name or 'the network'} is scripted .*: attach turn-over dropout to the"
        ):
            turnover.attach(make(), layers=layers)
    monkeypatch.setattr("turnover.estimators.one_seed.fit", lambda *arguments, **options: pytest.fail("trained"))
    with pytest.raises(TurnOverError, match=r"as it was before torch\.jit"):
        turnover.memorization(make, X, Y, epochs=1, lr=0.1, seeds=1, progress=False)


# --- where gradients are off ---


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("estimator", ["turnover", "grand", "vog", "subsampling"])
def test_training_turns_gradients_on(off: Any, estimator: str) -> None:
    options: dict[str, Any] = {"epochs": 1, "lr": 0.1, "seeds": 1, "progress": False, "estimator": estimator}
    options |= {"options": {"models": 20}} if estimator == "subsampling" else {}
    expected = turnover.memorization(mlp, X, Y, **options)
    with off():
        x, y = torch.from_numpy(X).clone(), torch.from_numpy(Y).clone()
        found = turnover.memorization(mlp, x, y, **options)
        assert not torch.is_grad_enabled()
    pd.testing.assert_frame_equal(found, expected)
    pd.testing.assert_frame_equal(turnover.memorization(mlp, x, y, **options), expected)


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_scores_influences_and_gradients_where_gradients_are_off(off: Any) -> None:
    torch.manual_seed(0)
    model = turnover.attach(mlp().eval())
    expected = [
        turnover.score(model, X, Y)["score"].to_numpy(),
        turnover.influence(model, X, Y, IDS),
        gradients(model, X, Y).gram(),
    ]
    with off():
        x, y = torch.from_numpy(X).clone(), torch.from_numpy(Y).clone()
        found = [
            turnover.score(model, x, y)["score"].to_numpy(),
            turnover.influence(model, x, y, IDS),
            gradients(model, x, y).gram(),
        ]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_influences_refuse_by_name() -> None:
    model = turnover.attach(mlp())
    with pytest.raises(RefusedInput, match="y holds class 3, but the network gives 3 logits"):
        turnover.influence(model, X, Y + 1, IDS)
    with pytest.raises(RefusedInput) as refused:
        turnover.influence(model, X, Y, without(IDS, np.nan).astype(float))
    scope = {"ids": without(IDS, np.nan).astype(float)}
    write("keep = numpy.isfinite(numpy.asarray(ids)); ids = ids[keep]", str(refused.value), scope, "ids")
    found = turnover.influence(model, X, Y, scope["ids"].astype("uint64"))
    assert torch.equal(found, turnover.influence(model, X, Y, torch.from_numpy(np.delete(IDS, GONE))))


# --- gradients ---


def test_gradients_take_arrays_and_any_integers() -> None:
    model = mlp().eval()
    expected = gradients(model, T, torch.from_numpy(Y)).gram()
    for x, y in (
        (X, Y),
        (X.astype(float), Y.astype("int32")),
        (X.tolist(), Y.tolist()),
        (T, torch.from_numpy(Y).int()),
    ):
        assert torch.equal(gradients(model, x, y).gram(), expected)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"y": Y + 1}, "y holds class 3, but the network gives 3 logits, of classes 0 to 2"),
        ({"x": X[:0], "y": Y[:0]}, "x and y have no rows"),
        ({"y": Y[:5]}, f"x has {N} rows and y 5"),
        ({"y": HOLE}, "y has 1 missing value"),
        ({"x": x_with(np.nan)}, "x has 1 values that are NaN"),
        ({"model": mlp().requires_grad_(False)}, r"without a trainable parameter.* model.requires_grad_\(True\)"),
        ({"model": nn.ReLU()}, "without a trainable parameter"),
        ({"model": UNTRAINABLE}, r"give copy.deepcopy\(model\)"),
        ({"model": nn.Sequential(nn.Linear(8, 3), nn.Flatten(0))}, r"it gives \(72,\)"),
    ],
)
def test_gradients_refuse_by_name(given: dict[str, Any], told: str) -> None:
    with pytest.raises(RefusedInput, match=told):
        gradients(given.get("model", mlp().eval()), given.get("x", X), given.get("y", Y))


# --- an npz file of the audit ---


def audited(path: Path, arrays: dict[str, Any]) -> Collection:
    np.savez(path, **arrays)
    return collect(path, None)


IMAGE = np.arange(N * 16).reshape(N, 4, 4).astype(np.uint8)
FINITE_IMAGES = "keep = numpy.isfinite(x.astype('float32')).reshape(len(x), -1).all(1); "
DIGITS, ANIMALS = ["0", "1", "2"], ["ant", "bee", "cat"]
NPZ: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "NaN": ({"y": HOLE}, [FLOATS.format("y"), INTEGERS], DIGITS),
    "NaN as an integer": ({"y": SMALLEST}, [NOT_SMALLEST], DIGITS),
    "objects with None": ({"y": without(NAMES, None)}, ["y.astype(str)", AS_TEXT.format("'None'")], ANIMALS),
    "objects with NaN": ({"y": without(Y, np.nan)}, ["y.astype(str)", AS_TEXT.format("'nan'")], DIGITS),
    "pandas.NA": ({"y": without(Y, pd.NA)}, ["y.astype(str)", AS_TEXT.format("'<NA>'")], DIGITS),
    "no text": ({"y": without(NAMES, "").astype(str)}, [AS_TEXT.format("''")], ANIMALS),
    "NaT": ({"y": NO_DATE}, [OBJECTS.format("y"), "y.astype(str)"], ["2020-01-01", "2021-01-01", "2022-01-01"]),
    "missing bytes": ({"y": without(BYTES, b"nan").astype(bytes)}, [AS_TEXT.format("b'nan'")], ANIMALS),
    "ids": (
        {"ids": without(IDS, np.nan).astype(float)},
        [IDS_GONE.format("numpy.isfinite(numpy.asarray(ids))", "ids")],
        DIGITS,
    ),
    "floats": ({"y": FLOAT}, ["y.astype('int64')"], DIGITS),
    "halves": ({"y": FLOAT / 2}, ["y.astype(str)"], ["0.0", "0.5", "1.0"]),
    "large floats": ({"y": FLOAT * 1e300}, ["y.astype(str)"], ["0.0", "1e+300", "2e+300"]),
    "complex": ({"y": FLOAT + 0j}, ["y.astype(str)"], ["0j", "(1+0j)", "(2+0j)"]),
    "bytes as objects": ({"y": np.array([b"\xc3\xa9", b"x"], dtype=object)[Y % 2]}, ["y.astype(bytes)"], ["é", "x"]),
    "bytes that are no UTF-8": (
        {"y": np.array([b"\xe9", b"x"])[Y % 2]},
        ["numpy.char.decode(y, 'latin-1')"],
        ["é", "x"],
    ),
    "one-hot": ({"y": np.eye(3)[Y]}, ["y.argmax(1)"], DIGITS),
    "a column": ({"y": NAMES[:, None]}, ["y.ravel()"], ANIMALS),
    "numbers as text": ({"x": IMAGE.astype(str)}, ["x.astype('float32')"], DIGITS),
    "whole numbers as objects": ({"x": IMAGE.astype(object)}, ["x.astype('uint8')"], DIGITS),
    "numbers as objects": ({"x": (IMAGE / 7).astype(object)}, ["x.astype('float32')"], DIGITS),
    "NaN in x": ({"x": x_with(np.nan)}, [FINITE_IMAGES + "x, y = x[keep], y[keep]"], DIGITS),
    "NaN in x, and ids": (
        {"x": x_with(np.nan), "ids": IDS},
        [FINITE_IMAGES + "x, y, ids = x[keep], y[keep], ids[keep]"],
        DIGITS,
    ),
}


@pytest.mark.parametrize("case", NPZ)
def test_arrays_of_an_npz_file(case: str, tmp_path: Path) -> None:
    arrays, steps, classes = NPZ[case]
    arrays = {"x": IMAGE, "y": Y} | arrays
    for step in steps:
        with pytest.raises(RefusedInput) as refused:
            audited(tmp_path / "data.npz", arrays)
        scope = dict(arrays)
        write(step, str(refused.value), scope, "x" if step.startswith("x") else "y")
        arrays = {name: scope[name] for name in arrays}
    found = audited(tmp_path / "data.npz", arrays)
    assert sorted(found.classes) == sorted(classes)
    expected = np.array([classes[each % len(classes)] for each in Y])
    expected = expected if len(found) == N else np.delete(expected, GONE)
    assert [found.classes[label] for label in found.labels] == expected.tolist()


def test_bytes_are_the_names_of_classes_and_examples(tmp_path: Path) -> None:
    y, ids = (
        np.char.encode(np.array(["año", "dog"])[Y % 2], "utf-8"),
        np.array([f"id {each}" for each in IDS]).astype(bytes),
    )
    found = audited(tmp_path / "data.npz", {"x": IMAGE, "y": y, "ids": ids})
    assert found.classes == ("año", "dog")
    assert found.names[:2] == ("id 5", "id 8")


def test_the_npz_file_that_a_message_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", images=IMAGE, labels=Y)
    for path in (Path("data.npz"), Path("missing")):
        with pytest.raises(RefusedInput) as refused:
            collect(path, None)
        assert "numpy.savez('data.npz', x=x, y=y)" in str(refused.value)
    exec("numpy.savez('data.npz', x=x, y=y)", {"numpy": np, "x": IMAGE, "y": Y})
    assert collect(Path("data.npz"), None).labels.tolist() == Y.tolist()
