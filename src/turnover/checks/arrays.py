"""Conversion of x, y and ids to tensors, with errors that say what to do."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from turnover.checks.missing import Given, as_code, refuse_masked, refuse_missing, remove, some
from turnover.core.masks import check_ids
from turnover.core.names import numbers
from turnover.errors import RefusedInput


def inputs_of(given: Given, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the inputs x as a tensor, floats in the dtype.  # [n, ...]

    Raises:
        RefusedInput: they are no array of finite numbers.
    """
    x = given["x"]
    if isinstance(x, pd.DataFrame | pd.Series):
        raise RefusedInput(f"x is a {type(x).__name__}: give its numbers as an array, {_of_pandas(x)}")
    refuse_masked("x", x, partial(remove, given))
    inputs = tensor_of("x", array_of("x", x), device)
    if inputs.dim() == 0:
        raise RefusedInput("x must hold a row for each example, got a single number")
    if inputs.dtype.is_complex:
        given_as = "x" if isinstance(x, Tensor) else "torch.as_tensor(x)"
        raise RefusedInput(f"x must hold real numbers, got {inputs.dtype}: give torch.view_as_real({given_as})")
    if inputs.is_floating_point():
        inputs = inputs.to(dtype)
        if inputs.numel() and not torch.stack(inputs.aminmax()).isfinite().all():  # without a copy of the inputs
            finite = inputs.isfinite()
            rows = (~finite).flatten(1).any(1) if inputs.dim() > 1 else ~finite
            keep = f"torch.as_tensor({as_code('x', x)}).to({dtype}).isfinite().reshape(len(x), -1).all(1).cpu().numpy()"
            raise RefusedInput(
                f"x has {int((~finite).sum())} values that are NaN or infinite, in {int(rows.sum())} rows, the first "
                f"of them {some(rows.nonzero()[:, 0])}: {remove(given, keep)}; or fill them in, or scale "
                f"what {dtype} cannot hold"
            )
    return inputs


def labels_of(given: Given, device: torch.device) -> Tensor:
    """Return the labels y as a tensor.  # int64 [n]

    Raises:
        RefusedInput: some are missing, or are no class numbers from 0.
    """
    y = given["y"]
    if isinstance(y, pd.DataFrame):
        column = f"give the column of class numbers alone, y[{y.columns[-1]!r}].to_numpy() for example"
        raise RefusedInput(f"y is a DataFrame: {_one_hot('y.to_numpy()', y.to_numpy(), given) or column}")
    code, array = as_code("y", y), array_of("y", y)
    if array.ndim != 1:
        raise RefusedInput(
            f"y must be of one dimension, [n], got shape {tuple(array.shape)}: {one_column(code, array, given)}"
        )
    array = _all_there("y", array, given)
    if isinstance(array, np.ndarray) and array.dtype.kind not in "biuf":  # strings, objects, dates
        raise RefusedInput(
            f"y must hold class numbers, integers from 0; it holds {array[:3].tolist()} ({array.dtype}): number the "
            f"classes: classes, y = {_unique('y', array)}"
        )
    labels = tensor_of("y", array, device)
    number_them = f"number the classes: classes, y = {_unique('y', array)}"
    if labels.is_complex():
        raise RefusedInput(f"y must hold class numbers, integers from 0; its dtype is {labels.dtype}: give y.real")
    if labels.dtype == torch.bool or labels.is_floating_point():
        whole = labels.dtype == torch.bool or bool(((labels == labels.round()) & (labels.abs() < 2**53)).all())
        integers = "y.long()" if isinstance(y, Tensor) else f"{code}.astype('int64')"
        raise RefusedInput(
            f"y must hold class numbers, integers from 0; its dtype is {labels.dtype}: "
            + (f"give {integers}" if whole else f"for numbers to be predicted give loss='squared'; else {number_them}")
        )
    labels = labels.long()
    if len(labels) and (lowest := int(labels.min())) < 0:
        rows = (labels < 0).nonzero()[:, 0]
        keep = "(y >= 0).cpu().numpy()" if isinstance(y, Tensor) else "numpy.asarray(y) >= 0"
        raise RefusedInput(
            f"y must hold class numbers, integers from 0; it holds {lowest}: {number_them}; but if a negative number "
            f"is a missing label, as pandas' -1 and PyTorch's -100 are, in rows {some(rows)}, {remove(given, keep)}"
        )
    return labels


def ids_of(given: Given, device: torch.device) -> Tensor:
    """Return the ids as a tensor, one for each row of x if there is an x.  # int64 [n]

    Raises:
        RefusedInput: some are missing or no integers, or there are more or fewer than rows.
        TurnOverError: they cannot be ids, as in `check_ids`.
    """
    ids = array_of("ids", given["ids"])
    if "y" in given and ids.shape != (len(given["y"]),):
        raise RefusedInput(
            f"ids must be of one length with x: x has {len(given['y'])} rows, ids has shape {tuple(ids.shape)}; "
            "leave ids out to number the examples by their position"
        )
    if ids.ndim == 1:
        ids = _all_there("ids", ids, given)
        if names_of(ids) is not None:
            return numbers(ids.tolist()).to(device)
    if isinstance(ids, np.ndarray) and ids.dtype.kind not in "iu":
        whole = ids.dtype.kind == "f" and bool(((ids == ids.round()) & (abs(ids) < 2**53)).all())
        raise RefusedInput(
            f"ids must be integers; they are {ids.ravel()[:3].tolist()} ({ids.dtype}): "
            + (
                f"give {as_code('ids', given['ids'])}.astype('int64')"
                if whole
                else f"number them once for all examples: names, ids = {_unique('ids', ids)}"
            )
        )
    return check_ids(tensor_of("ids", ids, device))


def names_of(ids: Any) -> np.ndarray | None:
    """Return ids that are texts as an array of objects; None: they are something else.  # [n]"""
    array = None if ids is None or isinstance(ids, Tensor) else np.asarray(ids)
    texts = array is not None and array.ndim == 1 and len(array) and all(isinstance(name, str) for name in array.flat)
    return array.astype(object) if array is not None and texts else None


def _all_there(name: str, values: Tensor | np.ndarray, given: Given) -> Tensor | np.ndarray:
    # none is missing; integers that came as objects are integers
    refuse_missing(name, given)
    if isinstance(values, np.ndarray) and values.dtype == object and pd.api.types.infer_dtype(values) == "integer":
        return pd.to_numeric(values)
    return values


def array_of(name: str, data: Any) -> Tensor | np.ndarray:
    """Return an argument as an array or tensor of any dtype.

    Raises:
        RefusedInput: it is neither, and cannot be made one.
    """
    kind = type(data).__name__
    if isinstance(data, Tensor):
        if data.layout != torch.strided or data.is_nested:
            dense = f"torch.nested.to_padded_tensor({name}, 0)" if data.is_nested else f"{name}.to_dense()"
            raise RefusedInput(f"{name} must have a number everywhere, got a {data.layout} tensor: give {dense}")
        return data.detach()
    if hasattr(data, "toarray"):  # of scipy, which need not be installed
        raise RefusedInput(f"{name} must have a number everywhere, got the sparse {kind}: give {name}.toarray()")
    if isinstance(data, Mapping):
        raise RefusedInput(
            f"{name} is a {kind} of {', '.join(map(str, data))}: give one tensor, {name}[{next(iter(data), '')!r}] "
            "for example"
        )
    try:
        array = np.asarray(data)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: tensors with gradients, say
        tensors = isinstance(data, list | tuple) and isinstance(data[0], Tensor)
        give = f"give torch.stack(list({name}))" if tensors else "give rows of one shape"
        raise RefusedInput(f"{name} must be an array or tensor of numbers, got {kind}: {error}; {give}") from None
    if array.dtype == object and array.ndim == 0:
        give = f"give list({name})" if hasattr(data, "__iter__") else "give one"
        raise RefusedInput(
            f"{name} must be an array or tensor of numbers, got {kind}: {give}, in the order of the examples"
        )
    return array


def tensor_of(name: str, data: Tensor | np.ndarray, device: torch.device) -> Tensor:
    """Return an array or tensor of numbers as a tensor on the device."""
    tensor = (data if isinstance(data, Tensor) else _from_numpy(name, data)).to(device)
    return tensor.clone() if tensor.is_inference() else tensor  # which no gradient can pass


def _from_numpy(name: str, data: np.ndarray) -> Tensor:
    data = np.require(data, requirements="W")  # a copy only of what cannot be written to, as pandas gives
    data = data.astype(data.dtype.newbyteorder("="), copy=False)
    if any(step < 0 or step % data.itemsize for step in data.strides):  # reversed, or a field of records
        data = data.copy()
    try:
        return torch.from_numpy(data)
    except TypeError:
        if data.dtype == object and isinstance(data.flat[0], np.ndarray | list | Tensor):
            give = f"numpy.stack({name})"
        elif data.dtype.names:
            give = f"numpy.lib.recfunctions.structured_to_unstructured({name}, 'float32')"
        else:
            give = f"numpy.asarray({name}).astype('float32'), after turning what is no number into one"
        raise RefusedInput(
            f"{name} must be an array or tensor of numbers, got ndarray of {data.dtype}: give {give}"
        ) from None


def one_column(y: str, labels: Tensor | np.ndarray, given: Given) -> str:
    """Return the advice for labels y that are not of one dimension."""
    if labels.ndim != 2:
        return "give one class number for each row of x"
    if labels.shape[1] == 1:
        return f"give {y}.ravel()"
    return _one_hot(y, labels, given) or f"give the column of class numbers alone, {y}[:, -1] for example"


def _one_hot(y: str, labels: Tensor | np.ndarray, given: Given) -> str | None:
    # advice for labels whose columns may be the classes; None: they are not
    if labels.shape[1] == 1 or not (isinstance(labels, Tensor) or labels.dtype.kind in "biuf"):
        return None
    rows = torch.as_tensor(labels).double()
    not_one_hot = ~((rows.sum(1) - 1).abs() < 1e-3)  # probabilities are rounded
    if not not_one_hot.any() and (rows >= 0).all():
        return f"for one-hot rows give {y}.argmax(1)"
    if not ((rows == 0) | (rows == 1) | rows.isnan()).all():
        return None
    keep = f"({y}.sum(1) == 1)" + (".cpu().numpy()" if isinstance(labels, Tensor) else "")
    where = some(not_one_hot.nonzero()[:, 0])
    return f"as one-hot rows, rows {where} have no class or several: {remove(given, keep)}"


def _of_pandas(x: pd.DataFrame | pd.Series) -> str:
    if isinstance(x, pd.Series) and len(x) and isinstance(x.iloc[0], np.ndarray | list | Tensor):
        return "numpy.stack(x)"
    text = any(not pd.api.types.is_numeric_dtype(dtype) for dtype in pd.DataFrame(x).dtypes)
    return ("pandas.get_dummies(x)" if text else "x") + ".to_numpy(dtype='float32')"


def _unique(name: str, values: Tensor | np.ndarray) -> str:
    if isinstance(values, Tensor):
        return f"{name}.unique(return_inverse=True)"
    try:
        np.unique(values if values.dtype == object else values[:0])
    except TypeError:  # kinds that have no order together
        return f"numpy.unique(numpy.asarray({name}).astype(str), return_inverse=True)"
    return f"numpy.unique({name}, return_inverse=True)"
