"""Registers in a circuit, so that no way between two of them is long."""

from .circuit import Circuit, Lut, Register, Segment, Sum

__all__ = ["pipelined"]


def _early(circuit, live):
    """The first level at which each table and chain can stand, from 1; of inputs 0."""
    level = {0: 0}
    for number in live:
        node = circuit.nodes[number]
        below = max((level[source] for source in circuit.fanin(number)), default=0)
        level[number] = below + isinstance(node, (Lut, Segment))
    return level


def _late(circuit, live, last):
    """The last level at which each can stand if ``last`` is the last one of all; inputs stay at 0."""
    level = dict.fromkeys([0, *live], last)
    for number in reversed(live):
        node = circuit.nodes[number]
        here = level[number] - isinstance(node, (Lut, Segment))
        for source in circuit.fanin(number):
            level[source] = min(level[source], here)
    for number in live:
        node = circuit.nodes[number]
        if isinstance(node, Sum):           # all sums of a chain come at its own level
            level[number] = level[node.segment]
    return {number: level[number] if circuit.fanin(number) else 0 for number in level}


def _inserted(circuit, live, level, depth):
    """``circuit`` with registers between stages of ``depth`` levels, and behind the outputs."""
    made = Circuit(circuit.n_in)
    last = max([(level[number] - 1) // depth for number in live if level[number]], default=0)
    stage = {number: max(level[number] - 1, 0) // depth for number in level}
    delayed = {}        # (node, stages) -> node of the new circuit
    new = {0: 0} | {number: number for number in range(1, circuit.n_in + 1)}

    def moved(literal, to):
        """``literal`` of ``circuit``, as it arrives in stage ``to``."""
        if literal <= 1:
            return literal
        node, late = literal >> 1, to - stage[literal >> 1]
        for k in range(1, late + 1):
            if (node, k) not in delayed:
                delayed[node, k] = made.add(Register(delayed[node, k - 1] if k > 1 else new[node]))
        return 2 * (delayed[node, late] if late else new[node]) + (literal & 1)
    for number in live:
        node, here = circuit.nodes[number], stage[number]
        match node:
            case Lut(inputs, table):
                new[number] = made.lut([moved(2 * source, here) for source in inputs], table) >> 1
            case Segment(carry, positions):
                positions = [position._replace(inputs=tuple(moved(literal, here) for literal in position.inputs))
                             for position in positions]
                new[number] = made.add(Segment(moved(carry, here), tuple(positions)))
            case Sum(segment, at):
                new[number] = made.add(Sum(new[segment], at))
    made.outputs = [moved(literal, last + 1) for literal in circuit.outputs]
    made.latency = last + 1
    return made


def pipelined(circuit, depth, needed=None):
    """``circuit`` with registers.

    Parameters
    ----------
    circuit : Circuit
        Without registers.
    depth : int
        At most so many tables and chains stand between registers, inputs or outputs. Each chain counts as one.
    needed : int, optional
        So many of the outputs are of hardware, the others for simulation: their registers cost nothing.

    Returns
    -------
    Circuit
        Its ``latency`` is the number of clock edges from inputs to outputs, at least 1; a vector per clock. Tables and
        chains stand as early or as late as they can, whichever takes fewer registers.
    """
    live = circuit.live()
    early = _early(circuit, live)
    late = _late(circuit, live, max(early.values()))
    made = [_inserted(circuit, live, level, depth) for level in (early, late)]

    def registers(one):
        wanted = one if needed is None else one.only(needed)
        return sum(isinstance(one.nodes[number], Register) for number in wanted.live())
    return min(made, key=registers)
