"""What synthesis made of an accelerator, simulated with the vendor's cell models: rung L3 of verification.

The netlist has the ports of the Verilog it came from, so it runs in the same harness (:mod:`bnnhw.simulator`), to the
same cycle. There is nothing to see between the stages: they are gone.
"""

from . import tools
from .errors import UserError
from .simulator import Simulator, encode

__all__ = ["MODELS", "NetlistError", "cell_models", "run"]

# Cell models that behave, by family, in yosys' folder of them. ECP5's lack the block RAM.
MODELS = {"ice40": "ice40/cells_sim.v"}


class NetlistError(UserError, ValueError):
    """A device for whose cells there are no models."""


def cell_models(device):
    """The Verilog of the cells of ``device``.

    Raises
    ------
    NetlistError
        There are none that behave.
    ToolMissing
        yosys' folder of cell models is nowhere.
    """
    if device.family not in MODELS:
        raise NetlistError(f"device {device.name!r}: a netlist can be simulated for {', '.join(MODELS)}, not for {device.family}")
    return (tools.yosys_share() / MODELS[device.family]).read_text()


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
