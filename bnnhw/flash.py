"""Load a bitstream into a board: ``bnnhw flash``."""

import json
from pathlib import Path

from rich.console import Console

from . import boards, tools
from .errors import UserError

__all__ = ["FlashError", "add_arguments", "programmer", "run"]


class FlashError(UserError):
    """A bitstream that is not there, or a board that cannot be reached; the message says what it would need."""


def add_arguments(parser):
    parser.add_argument("folder", metavar="DIR", help="a folder that `bnnhw build --board B --bitstream` wrote")


def programmer(board):
    """The first of the board's programmers that is installed: (Tool, arguments).

    Raises
    ------
    FlashError
        None is; the message names them all.
    """
    for name, arguments in board.programmers:
        try:
            return tools.find(name), arguments
        except tools.ToolMissing:
            continue
    names = " or ".join(name for name, _ in board.programmers)
    raise FlashError(f"{board.title}: it is flashed with {names}, which is not installed (Debian: apt install openfpgaloader)")


def run(args):
    folder = Path(args.folder)
    try:
        facts = json.loads((folder / "report.json").read_text())
        name, board_name = facts["model"]["name"], (facts["board"] or {}).get("name")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise FlashError(f"{folder}: it is not a folder that `bnnhw build` wrote: report.json is missing or damaged") from None
    board = boards.find(board_name) if board_name else None
    bitstream = board and folder / f"{name}{board.family.bitstream}"
    if not bitstream or not bitstream.exists():
        raise FlashError(f"{folder}: there is no bitstream: build with --board and --bitstream")
    tool, arguments = programmer(board)
    try:
        tool.run([*arguments, bitstream.resolve()], log=folder / "flash.log")
    except tools.ToolError as error:
        raise FlashError(f"{board.title}: {tool.name} could not load {bitstream}: {str(error).splitlines()[-2].strip()}. Is the "
                         f"board on USB, and may this user open it? (whole output: {folder / 'flash.log'})") from None
    Console().print(f"{board.title} holds {name} ({facts['model']['network_sha256'][:12]}); "
                    f"bnnhw run --port ... --target {folder} talks to it", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    from .cli import main_of
    main_of("flash")
