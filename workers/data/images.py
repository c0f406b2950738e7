"""An image folder: one sub-folder per class, PNG or JPEG files in it, read through Pillow."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import numpy as np

from workers.data.raw import Array, RawArrays, files_fingerprint
from workers.errors import InvalidOrderError

_SUFFIXES = (".png", ".jpg", ".jpeg")


def load_folder(folder: Path, *, size: int, channels: int) -> RawArrays:
    """Every image, scaled to size × size with 1 (grey) or 3 (RGB) channels; classes in the order of their names.

    Raises:
        InvalidOrderError: Pillow is missing, fewer than two classes, or an image that cannot be read.
    """
    if importlib.util.find_spec("PIL") is None:
        raise InvalidOrderError(
            f"an image folder is read through Pillow, which is not installed, but got {folder}; install pillow"
        )
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = [
        (path, number)
        for number, directory in enumerate(classes)
        for path in sorted(directory.iterdir())
        if path.suffix.lower() in _SUFFIXES
    ]
    if len({number for _, number in files}) < 2:
        raise InvalidOrderError(
            f"an image folder must hold at least two sub-folders with PNG or JPEG files, but {folder} does not; "
            "make one sub-folder per class"
        )
    x = np.stack([_read(path, size=size, channels=channels) for path, _ in files])
    return RawArrays(
        name=str(folder),
        x=x.astype(np.float32),
        y=np.array([number for _, number in files], dtype=np.int64),
        classes=len(classes),
        fingerprint=f"{files_fingerprint(path for path, _ in files)}-{size}x{size}x{channels}",
    )


def _read(path: Path, *, size: int, channels: int) -> Array:
    image_module = importlib.import_module("PIL.Image")  # lazy: optional

    try:
        with image_module.open(path) as image:
            scaled = image.convert("L" if channels == 1 else "RGB").resize((size, size))
    except OSError as error:
        raise InvalidOrderError(
            f"every image must be readable, but {path} is not: {error}; replace or remove it"
        ) from error
    pixels: Array = np.asarray(scaled)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
