"""What synthesis made of an accelerator, simulated with the vendor's cell models: rung L3 of verification.

The netlist has the ports of the Verilog it came from, so it runs in the same harness (:mod:`bnnhw.simulator`), to the
same cycle. There is nothing to see between the stages: they are gone.
"""

from pathlib import Path

from . import tools
from .errors import UserError
from .families import FAMILIES
from .simulator import Simulator, encode

__all__ = ["NetlistError", "cell_models", "run"]

CELLS = Path(__file__).with_name("cells")


class NetlistError(UserError):
    """yosys' cell models are not as they should be."""


def cell_models(device):
    """The Verilog of the cells of ``device``: yosys', and ours where yosys only names a cell.

    Raises
    ------
    NetlistError
        This yosys lacks a file.
    ToolMissing
        yosys' folder of cell models is nowhere.
    """
    family, share = FAMILIES[device.family], tools.yosys_share()
    files = [*(CELLS / name for name in family.own_models), *(share / name for name in family.models)]
    try:
        return "\n".join(file.read_text() for file in files)
    except FileNotFoundError as error:
        raise NetlistError(f"device {device.name!r}: this yosys has no cell models {error.filename}: "
                           "pip install 'bnnhw[fpga]'") from None


def run(plan, netlist, x, device, *, p_valid=1.0, p_ready=1.0, seed=0, say=lambda text: None, progress=None):
    """Send inputs through a netlist.

    Parameters
    ----------
    plan : Plan
        What the accelerator was made from.
    netlist : str
        Synthesized accelerator as Verilog.
    x : int array (N, *shape)
    device : Device
    p_valid, p_ready, seed, progress
        As of :meth:`Simulator.run`.
    say : callable (str)
        Told when a long compilation starts.

    Returns
    -------
    Result
        Its ``edges`` are empty.

    Raises
    ------
    NetlistError, SimulationError
    """
    simulator = Simulator.of_plan(plan, cell_models(device) + "\n" + netlist, optimize="-O1", say=say)
    return simulator.run(encode(plan.network, x), p_valid=p_valid, p_ready=p_ready, seed=seed, progress=progress)
