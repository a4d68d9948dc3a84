"""The boards that bnnhw builds for. Adding one is a short file here: see icestick.py and docs/boards.md."""

if __name__ == "boards":        # run from the checkout, where the folder is called so
    raise ImportError("import bnnhw.boards, not boards")

from .base import Board, BoardError
from .colorlight import COLORLIGHT
from .ecpix5 import ECPIX5
from .hx8k import HX8K
from .icebreaker import ICEBREAKER
from .icestick import ICESTICK
from .orangecrab import ORANGECRAB
from .tang_nano import TANG_NANO
from .ulx3s import ULX3S

__all__ = ["BOARDS", "Board", "BoardError", "find", "names"]

BOARDS = {board.name: board for board in (ICEBREAKER, ICESTICK, HX8K, *ULX3S, ORANGECRAB, COLORLIGHT, ECPIX5, *TANG_NANO)}


def names():
    """Names of all boards."""
    return list(BOARDS)


def find(name):
    """The board ``name``. Raises :exc:`BoardError`, which lists the known ones."""
    if name not in BOARDS:
        raise BoardError(f"unknown board {name!r}; known are {', '.join(names())}")
    return BOARDS[name]
