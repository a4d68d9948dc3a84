"""Trained networks that ship with the package, and real images to try them on."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file

from .. import artifact
from ..errors import UserError

__all__ = ["DEFAULT", "IMAGES", "ModelError", "names", "path", "load", "test_images"]

FOLDER = Path(__file__).parent
DEFAULT = "mnist-tfc"
IMAGES = {name: FOLDER / f"{name}-test-{count}.safetensors"        # of each data set, a part of its 10,000 test images
          for name, count in (("mnist", 1_000), ("fashion-mnist", 1_000), ("cifar10", 100))}


class ModelError(UserError, ValueError):
    """A model that is neither a file nor a shipped network."""


def names():
    """Names of the shipped networks."""
    return sorted(file.stem for file in FOLDER.glob("*.bnn"))


def path(model):
    """The file of ``model``: a path to a .bnn file, or the name of a shipped network.

    Raises
    ------
    ModelError
        It is neither; the message lists the shipped ones.
    """
    shipped = FOLDER / f"{model}.bnn"
    if str(model) in names():
        return shipped
    if not Path(model).exists():
        raise ModelError(f"model {str(model)!r}: there is no such file, and the shipped networks are {', '.join(names())}")
    return Path(model)


def load(model):
    """The :class:`~bnnhw.artifact.Artifact` of ``model``, a file or a shipped name."""
    return artifact.load(path(model))


def test_images(dataset="mnist"):
    """Test images of ``dataset``, one of :data:`IMAGES`: number 0, 10, 20, ..., 9990, of CIFAR-10 0, 100, 200, ..., 9900.

    Returns
    -------
    images : uint8 array (1000, 28, 28) or (100, 32, 32, 3)
    labels : uint8 array (1000,) or (100,)
    """
    file = IMAGES[dataset]
    try:
        tensors = load_file(file)
        return tensors["images"], tensors["labels"]
    except (SafetensorError, KeyError, FileNotFoundError) as error:
        raise ModelError(f"{file}: the shipped test images are missing or damaged ({error})") from None
