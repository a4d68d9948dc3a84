"""What a job is: one network built, placed and routed for one board with certain options, by certain versions of everything."""

import functools
import hashlib
import itertools
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import boards, report
from ..files import sha256_of

__all__ = ["FASTEST", "Job", "jobs", "made_by"]

FASTEST = "max"         # for images per second: as `bnnhw build --fps` has it

PACKAGE = Path(__file__).parent.parent
SOURCES = ("*.py", "*.v", "*.cpp", "*.h", "*.json")     # what a result may depend on


@dataclass(frozen=True)
class Job:
    """A build of ``bnnhw build --bitstream``.

    Attributes
    ----------
    name : str
        The network's, for people; it is no part of the key.
    network_sha256 : str
    board : str
    fps : float, str or None
        As of ``--fps``.
    clock : float, str or None
        As of ``--clock``.
    scores : bool
    verify : int
        Images that go through the Verilog.
    made_by : dict
        From :func:`made_by`.
    """
    name: str
    network_sha256: str
    board: str
    fps: float | str | None
    clock: float | str | None
    scores: bool
    verify: int
    made_by: dict

    @functools.cached_property
    def key(self):
        """SHA-256 of everything that the result depends on: the same job has the same key on every machine."""
        what = {name: value for name, value in asdict(self).items() if name != "name"}
        return hashlib.sha256(json.dumps(what, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def options(self):
        """Its arguments for ``bnnhw build``, but for the network and the folder."""
        found = ["--board", self.board, "--bitstream"]
        for option, value in (("--fps", self.fps), ("--clock", self.clock), ("--verify", self.verify)):
            found += [option, str(value)] if value else []
        return found + (["--scores"] if self.scores else [])


@functools.cache
def _source_sha256():
    return sha256_of((PACKAGE, Path(boards.__file__).parent), SOURCES)


@functools.cache
def made_by(board):
    """Versions of what makes a bitstream for ``board`` (its name) on this machine: bnnhw and its own source, tools.

    Raises
    ------
    ToolMissing
    """
    family = boards.find(board).family
    return report.versions(["yosys", family.router[0], family.packer[0]]) | {"source_sha256": _source_sha256()}


def jobs(networks, names, *, rates=(FASTEST,), clocks=(None,), scores=False, verify=0):
    """A job for each network, board, rate and clock; what is the same is there once.

    Parameters
    ----------
    networks : dict name -> Network
    names : iterable of str
        Of boards.
    rates, clocks : iterables
        Values of :class:`Job`'s ``fps`` and ``clock``.

    Returns
    -------
    list of Job

    Raises
    ------
    BoardError, ToolMissing
    """
    found = {}
    for (name, network), board, fps, clock in itertools.product(networks.items(), names, rates, clocks):
        job = Job(name, network.digest, board, fps, clock, scores, verify, made_by(board))
        found.setdefault(job.key, job)
    return list(found.values())
