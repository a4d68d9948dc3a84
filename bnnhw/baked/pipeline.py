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


def _inserted(made, circuit, live, level, depth, first=0):
    """Copy ``circuit`` into ``made``, with registers between stages of ``depth`` levels; its own first stage is stage ``first``.

    Returns its outputs as literals of ``made``, and the stage in which each is there.
    """
    stage = {number: first + max(level[number] - 1, 0) // depth if circuit.fanin(number) else 0 for number in level}
    delayed = {}        # (node, stages) -> node of ``made``
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
    return [(2 * new[literal >> 1] + (literal & 1), stage.get(literal >> 1, 0)) for literal in circuit.outputs]


def _registered(blocks, levels, depth):
    """One circuit of ``blocks``, each at its ``levels``: block k takes the inputs k registers later than the first."""
    made, found = Circuit(blocks[0].n_in), []
    for k, (circuit, level) in enumerate(zip(blocks, levels, strict=True)):
        made.borders += [len(made.nodes)] if k else []
        found += _inserted(made, circuit, circuit.live(), level, depth, k)
    made.latency = 1 + max((stage for _, stage in found), default=0)
    for literal, stage in found:
        if literal > 1:
            for _ in range(stage, made.latency):
                literal = 2 * made.add(Register(literal >> 1)) + (literal & 1)
        made.outputs.append(literal)
    return made


def pipelined(blocks, depth, needed=None):
    """One circuit of ``blocks``, with registers.

    Parameters
    ----------
    blocks : list of Circuit
        Without registers, of the same inputs. The inputs go from one to the next with a register between, so that none is
        far from where it is used.
    depth : int
        At most so many tables and chains stand between registers, inputs or outputs. Each chain counts as one.
    needed : int, optional
        Of one block only: so many of the outputs are of hardware, the others for simulation, their registers cost nothing.

    Returns
    -------
    Circuit
        Its outputs are those of all blocks, in order. Its ``latency`` is the number of clock edges from inputs to outputs, at
        least 1; a vector per clock. Tables and chains of a block stand as early or as late as they can, whichever takes fewer
        registers by itself.
    """
    def registers(one):
        wanted = one if needed is None else one.only(needed)
        return sum(isinstance(one.nodes[number], Register) for number in wanted.live())
    levels = []
    for block in blocks:
        live = block.live()
        early = _early(block, live)
        late = _late(block, live, max(early.values()))
        levels.append(min((early, late), key=lambda level: registers(_registered([block], [level], depth))))
    return _registered(blocks, levels, depth)
