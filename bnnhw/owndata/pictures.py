"""Pictures of the user's: a folder with a folder for each class, or single files."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .encoding import OwnDataError, PictureEncoding

__all__ = ["SUFFIXES", "Pictures", "folder", "pixels"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
NO_PICTURES = ("thumbs.db", "desktop.ini")      # that systems leave in folders
GREY = ("1", "L", "LA", "La")      # the latter two with transparent places
PARTS = ("train", "test")


@dataclass(frozen=True)
class Pictures:
    """Files of pictures.

    Attributes
    ----------
    files : list of Path
    labels : list of str or None
        Each one's class.
    test : bool array (N,) or None
        Which the folder says are for the test.
    size : (rows, columns) or None
        To which all are scaled and cut; without it they must have the same size.
    grey : bool
        Whether colours are to be left out; they are, too, where no picture has any.
    """
    files: list
    labels: object = None
    test: object = None
    size: object = None
    grey: bool = False
    classes = None

    def __len__(self):
        return len(self.files)

    def where(self, row):
        return str(self.files[row])

    def learn(self, rows):
        """The :class:`PictureEncoding`. Raises :exc:`OwnDataError`, naming a file that cannot be read or has another size."""
        return _survey(self.files, self.size, self.grey)

    def encode(self, encoding):
        """Bytes (N, rows, columns, channels); see :func:`pixels`."""
        return pixels(self.files, encoding)


def _inside(path):
    return sorted(entry for entry in path.iterdir() if not entry.name.startswith(".") and entry.name.lower() not in NO_PICTURES)


def _classes(path):
    """(file, class) of each picture below ``path``."""
    found = []
    for entry in _inside(path):
        if not entry.is_dir():
            raise OwnDataError(f"{entry}: pictures must lie in a folder of their class: {path / 'CLASS' / entry.name}")
        for file in _inside(entry):
            if file.suffix.lower() not in SUFFIXES:
                raise OwnDataError(f"{file}: it is no picture ({', '.join(SUFFIXES)})")
            found.append((file, entry.name))
    return found


def folder(path, size=None, grey=False):
    """The :class:`Pictures` of a folder: ``CLASS/*.png``, or ``train/CLASS/*.png`` and ``test/CLASS/*.png``.

    Raises
    ------
    OwnDataError
        A file that is no picture or not in a folder of a class, or none at all.
    """
    path = Path(path)
    if {entry.name for entry in _inside(path)} == set(PARTS):
        train, test = (_classes(path / part) for part in PARTS)
        found, mask = train + test, np.arange(len(train) + len(test)) >= len(train)
    else:
        found, mask = _classes(path), None
    if not found:
        raise OwnDataError(f"{path}: there are no pictures in it: it must have a folder for each class")
    return Pictures([file for file, _ in found], [label for _, label in found], mask, size, grey)


def _opened(file):
    """The picture, turned as its camera was held.

    Raises :exc:`OwnDataError` where it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                return ImageOps.exif_transpose(image)
    except FileNotFoundError:
        raise OwnDataError(f"{file}: there is no such file") from None
    except UnidentifiedImageError:
        raise OwnDataError(f"{file}: it is no picture that can be read") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise OwnDataError(f"{file}: it cannot be read: {error}") from None


def _survey(files, size, grey):
    grey_ones, first = True, None
    for file in files:
        image = _opened(file)
        grey_ones &= image.mode in GREY
        if size is None:
            first = first or image.size
            if image.size != first:
                raise OwnDataError(f"{file}: it has {image.height}x{image.width} pixels, {files[0]} {first[1]}x{first[0]}: "
                                   "--image-size ROWSxCOLUMNS scales all to one size")
    rows, columns = size or (first[1], first[0])
    return PictureEncoding(rows=rows, columns=columns, channels=1 if grey or grey_ones else 3, fitted=size is not None)


def pixels(files, encoding):
    """Bytes (N, rows, columns, channels) of ``files``; transparent places become black.

    Scaled, where the encoding says so, with each pixel the mean of the area that it covers, and what is too wide or too high
    is cut off at both sides alike.

    Raises
    ------
    OwnDataError
        Naming the file that cannot be read, or has the wrong size where nothing is scaled.
    """
    found = np.empty((len(files), *encoding.shape), np.uint8)
    size = encoding.columns, encoding.rows
    for place, file in zip(found, files, strict=True):
        image = _opened(file)
        if image.mode.startswith(("I", "F")):
            raise OwnDataError(f"{file}: its pixels have more than 8 bits (mode {image.mode})")
        if "A" in image.mode or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
        image = image.convert("L" if encoding.channels == 1 else "RGB")
        if image.size != size:
            if not encoding.fitted:
                raise OwnDataError(f"{file}: it has {image.height}x{image.width} pixels, the network takes "
                                   f"{encoding.rows}x{encoding.columns}")
            image = ImageOps.fit(image, size, Image.Resampling.BOX)
        place[:] = np.asarray(image).reshape(encoding.shape)
    return found
