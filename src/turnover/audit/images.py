"""Reading of one untrusted image file: its header, then its pixels at the size that is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# no formats for which Pillow starts other programs
FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pbm": "PPM",
    ".jp2": "JPEG2000",
    ".avif": "AVIF",
}
MOST_PIXELS = 50_000_000  # of one image, unpacked; a small file may hold far more, to fill the memory
_BEHIND = 128  # what shows through a transparent pixel: a grey on which black and white ink can both be seen
_SIDEWAYS = (5, 6, 7, 8)  # orientations in EXIF that exchange width and height
_ORIENTATION = 0x0112
_DEPTHS = (8, 10, 12, 16)  # bits of a grey pixel, as cameras and scanners have them


class Unusable(Exception):
    """An image file cannot be used; the text is the reason, and details behind a colon."""


class Header(NamedTuple):
    """What is known of an image before its pixels are needed."""

    width: int
    height: int
    channels: int  # 1 if grey, 3 if not
    bits: int  # the depth that its largest value needs


def header(path: Path) -> Header:
    """Read the size of an image as it is shown; only an image of more than 8 bits is decoded, for its largest value.

    Raises:
        Unusable: the file is no image, or too large.
    """
    with _opened(path) as image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise Unusable(f"too large: {width} x {height} pixels are more than {MOST_PIXELS:,}; make it smaller")
        exif = image.getexif() if image.format != "PNG" else Image.Exif()  # of a PNG, it may be behind the pixels
        if image.format == "PNG" and "exif" in image.info:
            exif.load(image.info["exif"])
        if exif.get(_ORIENTATION) in _SIDEWAYS:
            width, height = height, width
        bits = 8
        if image.mode[0] in "IF":
            low, high = map(float, (np.asarray(image).min(), np.asarray(image).max()))
            if image.mode == "F" or not 0 <= low <= high < 2 ** _DEPTHS[-1]:
                raise Unusable(f"no known range: its pixels are from {low:g} to {high:g}; save it with 8 or 16 bits")
            bits = next(depth for depth in _DEPTHS if high < 2**depth)
        return Header(width, height, 1 if _grey(image) else 3, bits)


def read_image(path: Path, size: int | None, bits: int = _DEPTHS[-1], *, within: int | None = None) -> np.ndarray:
    """Read the pixels of an image, of an animation its first; 1 channel if grey and 3 if not.

    Args:
        size: resize it to size * size pixels, averaged where it becomes smaller.
        within: or make it smaller, with its proportions, until no side has more pixels.
        bits: an image of more than 8 bits is scaled so that the largest value of so many becomes 255.

    Returns:
        uint8 [channels, height, width]

    Raises:
        Unusable: the file is damaged.
    """
    with _opened(path) as image:
        if (least := size or within) is not None:
            image.draft(None, (2 * least, 2 * least))  # a large JPEG is decoded at a fraction of its size
        grey = _grey(image)
        turned = ImageOps.exif_transpose(image)
        if turned.mode[0] == "I":
            turned = Image.fromarray(np.rint(np.asarray(turned) * (255 / (2**bits - 1))).astype(np.uint8))
        turned = _opaque(turned).convert("L" if grey else "RGB")
    if size is not None:
        averaged = min(turned.size) > size
        turned = turned.resize((size, size), Image.Resampling.BOX if averaged else Image.Resampling.BICUBIC)
    if within is not None:
        turned.thumbnail((within, within))
    pixels = np.asarray(turned, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA") or image.mode[0] in "IF"


def _opaque(image: Image.Image) -> Image.Image:
    """Compose an image over grey; a drawing may be all in its alpha channel, with one colour below it."""
    if not image.has_transparency_data:
        return image
    seen = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, (_BEHIND, _BEHIND, _BEHIND, 255)), seen)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image; whatever is wrong with the file, also where its pixels are read, is an Unusable."""
    Image.init()
    if not path.exists():
        raise Unusable("dead link" if path.is_symlink() else "missing")
    if not path.is_file():
        raise Unusable("no regular file")
    try:
        with Image.open(path, formats=sorted(set(FORMATS.values()) & set(Image.OPEN))) as image:
            yield image
    except (Unusable, MemoryError):
        raise
    except PermissionError:
        raise Unusable("not readable: permission denied") from None
    except UnidentifiedImageError:
        raise Unusable("no image, whatever its name says" if path.stat().st_size else "empty") from None
    except Exception as error:  # a damaged file raises anything
        raise Unusable(f"damaged: {error}".replace(str(path), "it")) from None
