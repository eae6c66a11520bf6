"""A narrower network of the same form, for estimators that train many small ones."""

import copy
from typing import Any

import torch
from torch import nn

from turnover.errors import RefusedInput

_SIZES = {nn.Linear: ("in_features", "out_features"), nn.Conv2d: ("in_channels", "out_channels")}
_OTHERS = (nn.Flatten, nn.ReLU, nn.GELU, nn.Tanh, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Dropout)


def narrower(model: nn.Module, factor: int) -> nn.Module:
    """Build a network with `factor` times fewer units in every hidden layer, as `make_model` of blocks returns.

    Its weights are some of the network's, larger by the square root of how many times fewer inputs a unit has, so that
    the initialisation of a new network keeps its form.

    Args:
        model: layers in a row, linear ones, convolutions, activations and pools, as the MLP, the convolutional network
            and VGG-11 of `turnover.models` are. It is not changed.

    Raises:
        RefusedInput: it has other layers, or fewer hidden units than `factor`.
    """
    # a subclass may have a forward pass of its own
    layers = [module for module in model.modules() if type(module).forward is not nn.Sequential.forward]
    unknown = [type(module).__name__ for module in layers if type(module) not in (*_SIZES, *_OTHERS)]
    unknown += ["grouped Conv2d" for module in layers if isinstance(module, nn.Conv2d) and module.groups > 1]
    sized = [name for name, module in model.named_modules() if type(module) in _SIZES]
    if unknown or len(sized) < 2:
        what = f"a layer of type {unknown[0]}" if unknown else "no hidden layer"
        raise RefusedInput(f"the network has {what}: give a function that makes one with smaller hidden layers instead")
    if factor < 1:
        raise RefusedInput(f"factor = {factor}: must be a whole number, 1 or more")
    result = copy.deepcopy(model)
    before = after = 1  # units of the layer below, in the network and in the result
    for name in sized:
        layer: Any = result.get_submodule(name)
        of_inputs, of_outputs = _SIZES[type(layer)]
        inputs, outputs = getattr(layer, of_inputs), getattr(layer, of_outputs)
        kept = inputs if name == sized[0] else inputs // before * after  # of every map a linear layer has some inputs
        before, after = outputs, outputs if name == sized[-1] else outputs // factor
        if not after:
            raise RefusedInput(f"factor = {factor}: layer {name} has {outputs} units, so take at most {outputs}")
        larger = (inputs / kept) ** 0.5
        with torch.no_grad():
            layer.weight = nn.Parameter((layer.weight[:after, :kept] * larger).clone())
            if layer.bias is not None:
                layer.bias = nn.Parameter((layer.bias[:after] * larger).clone())
        setattr(layer, of_inputs, kept)
        setattr(layer, of_outputs, after)
    return result
