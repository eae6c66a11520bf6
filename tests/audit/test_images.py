"""Image files of every format and depth, as the audit sees them."""

from pathlib import Path

import numpy as np
import pytest
from pictures import GREY, save
from PIL import Image, ImageOps

from turnover.audit.images import Unusable, header, read_image


def test_a_photograph_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    image = Image.fromarray(GREY[0])
    exif = image.getexif()
    for orientation, expected in ((3, GREY[0][::-1, ::-1]), (6, np.rot90(GREY[0], -1))):
        exif[0x0112] = orientation
        image.save(tmp_path / "a.png", exif=exif)
        np.testing.assert_array_equal(read_image(tmp_path / "a.png", None)[0], expected)
        assert header(tmp_path / "a.png")[:2] == expected.shape[::-1]
        image.save(tmp_path / "a.jpg", exif=exif)
        assert header(tmp_path / "a.jpg")[:2] == expected.shape[::-1]


@pytest.mark.parametrize("ink", [0, 255])
@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_a_drawing_in_the_alpha_channel_is_seen(tmp_path: Path, ink: int, mode: str) -> None:
    drawn = Image.new("RGBA", (2, 1), (ink, ink, ink, 0))
    drawn.putpixel((1, 0), (ink, ink, ink, 255))
    drawn.convert(mode).save(tmp_path / "drawn.png")
    pixels = read_image(tmp_path / "drawn.png", None)
    np.testing.assert_array_equal(pixels, np.broadcast_to([128, ink], (1 if mode == "LA" else 3, 1, 2)))


@pytest.mark.parametrize("suffix", ["png", "tif", "tiff", "bmp", "webp", "pgm", "jp2"])
def test_formats_without_loss_give_the_pixels(tmp_path: Path, suffix: str) -> None:
    pixels = np.arange(32 * 32, dtype=np.uint32).reshape(32, 32).astype(np.uint8)
    path = save(tmp_path / f"a.{suffix}", pixels, **({"lossless": True} if suffix == "webp" else {}))
    found = read_image(path, None)
    np.testing.assert_array_equal(found, np.broadcast_to(pixels, found.shape))
    assert header(path)[:2] == (32, 32)


def test_an_animation_gives_its_first_picture_and_a_document_its_first_page(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 4), value, dtype=np.uint8)) for value in (10, 200)]
    for name in ("a.gif", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert (read_image(tmp_path / name, None) == 10).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    deep = GREY[0].astype(np.uint16) * 257
    path = save(tmp_path / f"a.{suffix}", deep)
    assert header(path) == (4, 5, 1, 16)
    np.testing.assert_array_equal(read_image(path, None)[0], GREY[0])


def test_images_of_twelve_bits_use_the_whole_range(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[0, 1000, 4095]], dtype=np.uint16))
    assert header(path).bits == 12
    assert read_image(path, None, header(path).bits).tolist() == [[[0, 62, 255]]]


def test_numbers_without_a_known_range_are_unusable(tmp_path: Path) -> None:
    for kind, value in ((np.float32, 0.5), (np.int32, 70_000), (np.int32, -1)):
        path = save(tmp_path / "a.tif", np.full((2, 2), value, dtype=kind))
        with pytest.raises(Unusable, match="no known range"):
            header(path)


def test_a_large_jpeg_is_decoded_near_the_size_that_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 1024).astype(np.uint8)[:, None], (1024, 1024))
    path = save(tmp_path / "a.jpg", ramp, quality=95)
    sizes: list[tuple[int, int]] = []
    turn = ImageOps.exif_transpose

    def noted(image: Image.Image) -> Image.Image:
        sizes.append(image.size)
        return turn(image)

    monkeypatch.setattr(ImageOps, "exif_transpose", noted)
    found = read_image(path, 32)[0]
    assert sizes == [(128, 128)]
    np.testing.assert_allclose(found, ramp.reshape(32, 32, 32, 32).mean((1, 3)), atol=2)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "bomb.png", np.zeros((8000, 8000), dtype=np.uint8))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail("unpacked"))
    with pytest.raises(Unusable, match="50,000,000"):
        header(path)
