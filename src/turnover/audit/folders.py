"""Reading of untrusted folders of images, a subfolder for each class."""

import logging
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from turnover.errors import RefusedInput

log = logging.getLogger("turnover")

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_BEHIND = 128  # what shows through a transparent pixel: a grey on which black and white ink can both be seen
MOST_PIXELS = 50_000_000  # of one image, unpacked; a small file may hold far more, to fill the memory


def files_of(folder: Path) -> list[Path]:
    """Return every image of every subfolder, sorted; hidden files are skipped, other files are logged.

    Raises:
        RefusedInput: there are no subfolders or no images, a subfolder has folders of its own, or a link leads out.
    """
    root = folder.resolve()
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    files, skipped = [], Counter[str]()
    for kind in classes:
        _refuse_outside(kind, root)
        for path in sorted(kind.iterdir()):
            if path.name.startswith("."):
                continue
            _refuse_outside(path, root)
            if path.is_dir():
                raise RefusedInput(
                    f"data = {folder}: {path.relative_to(folder)} is a folder within a class; "
                    "put the images themselves into one folder for each class, or, if this one holds the classes, give "
                    f"data={folder / kind.name}"
                )
            if path.suffix.lower() in FORMATS:
                files.append(path)
            else:
                skipped[path.suffix.lower() or "no suffix"] += 1
    if not files:
        raise RefusedInput(
            f"data = {folder}: has no images; put those of each class into a subfolder named like the class, "
            f"as {', '.join(FORMATS)}"
        )
    if skipped:
        counts = ", ".join(f"{count} of {suffix}" for suffix, count in sorted(skipped.items()))
        log.warning("%d files are no %s and are left out: %s", skipped.total(), "/".join(FORMATS), counts)
    return files


def read_image(path: Path, size: int | None) -> np.ndarray | str:
    """Read an image: its pixels, 1 channel if grey and 3 if not, or a line that says why it cannot be used.

    Args:
        size: resize it to size * size pixels, averaged where it becomes smaller.

    Returns:
        uint8 [channels, height, width]
    """
    name = f"{path.parent.name}/{path.name}"
    try:
        with Image.open(path, formats=sorted(set(FORMATS.values()))) as image:  # reads the size, not yet the pixels
            width, height = image.size
            if width * height > MOST_PIXELS:
                return f"{name}: {width} x {height} pixels are more than {MOST_PIXELS:,}; make it smaller"
            if image.mode.startswith(("I", "F")):
                return f"{name}: has more than 8 bits for each pixel; save it with 8"
            grey = image.mode in ("1", "L", "LA")
            turned = _opaque(ImageOps.exif_transpose(image)).convert("L" if grey else "RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"{name}: {error}".replace(str(path), "it")
    if size is not None:
        turned = turned.resize(
            (size, size), Image.Resampling.BOX if min(turned.size) > size else Image.Resampling.BICUBIC
        )
    pixels = np.asarray(turned, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _opaque(image: Image.Image) -> Image.Image:
    """Compose an image over grey; a drawing may be all in its alpha channel, with one colour below it."""
    if not image.has_transparency_data:
        return image
    seen = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, (_BEHIND, _BEHIND, _BEHIND, 255)), seen)


def _refuse_outside(path: Path, root: Path) -> None:
    if path.is_symlink() and not path.resolve().is_relative_to(root):
        raise RefusedInput(f"data: {path} is a link that leads out of the folder; copy what it leads to, or remove it")
