"""The design with random words, and what becomes of it with a network's own."""

import hashlib
import shutil
from pathlib import Path

from ..errors import UserError
from .cells import FORMATS
from .contents import differing, memories, with_placeholders
from .patch import patched

__all__ = ["Base", "UpdateError", "file_names"]


class UpdateError(UserError):
    """A network that a design cannot take without being synthesized anew; the message says why."""


def file_names(name, routed):
    """Names of a base's files: both Verilog texts, the netlist, the routed design (its ending is ``routed``)."""
    return f"{name}_base.v", f"{name}_base_board.v", f"{name}_base_netlist.v", f"{name}_base{routed}"


class Base:
    """The files of a design with random words in its memories.

    Parameters
    ----------
    folder : Path
    name : str
        The network's, with which all names of files begin.
    device : Device
    routed : str
        Ending of a routed design's file.

    Attributes
    ----------
    verilog, board, netlist, routed : Path
        The accelerator, the board's part, the accelerator's cells, and the whole design after routing.
    """
    def __init__(self, folder, name, device, routed):
        self.device = device
        self.verilog, self.board, self.netlist, self.routed = (Path(folder, file) for file in file_names(name, routed))

    @property
    def files(self):
        return self.verilog, self.board, self.netlist, self.routed

    def write_sources(self, accelerator, board):
        """Write what is to be synthesized: two texts of Verilog with random words."""
        self.verilog.write_text(with_placeholders(accelerator))
        self.board.write_text(with_placeholders(board))

    def digests(self):
        """SHA-256 of each file, in order."""
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in self.files]

    def copy(self, other):
        """Copy the files to those of another base."""
        for mine, theirs in zip(self.files, other.files, strict=True):
            shutil.copyfile(mine, theirs)

    def check(self, accelerator, board):
        """Raise :exc:`UpdateError` unless this is the base of two such texts, but for what is in block RAM."""
        for file, text in ((self.verilog, accelerator), (self.board, board)):
            mine, wanted = file.read_text(), with_placeholders(text)
            if mine != wanted:
                raise UpdateError(_difference(differing(mine, wanted)))

    def fill_netlist(self, accelerator, netlist):
        """Write the accelerator's cells with the contents that its Verilog text has."""
        self._fill(self.netlist, netlist, FORMATS[self.device.family][0], memories(accelerator))

    def fill_routed(self, accelerator, board, routed):
        """Write the routed design with the contents that the two texts have."""
        self._fill(self.routed, routed, FORMATS[self.device.family][1], memories(accelerator) | memories(board))

    @staticmethod
    def _fill(source, target, format, after):
        before = {name: memory.placeholder for name, memory in after.items()}
        target.write_text(patched(source.read_text(), format, before, after))


def _difference(modules):
    """What is to be said of modules that differ."""
    layers = dict.fromkeys(name.split(".")[2] for name in modules if name.startswith("bnnhw_top.core."))
    if not layers:
        return "the design is another: another version of bnnhw, or another board, made it; build anew"
    names = ", ".join(map(repr, layers))
    return (f"layer{'s' * (len(layers) > 1)} {names}: what is in logic differs (shape, kinds of values, thresholds of a layer "
            "without weights, scales), and only block RAM can be updated: build anew")
