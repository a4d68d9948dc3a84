"""Packing of short carry chains into long ones.

Between two segments stands a guard digit: its sum is the carry of the segment below, and its carry is the carry input of the
segment above. One cell does both. A last digit to which only the carry is added is its segment's own guard.
Segments that share a chain have the same level and block, so no path runs from one to another and there are no loops through
guards, but a timing analysis sees paths through guards that do not exist: hence the cap on length.
"""

from typing import NamedTuple

from .circuit import TRUE, Segment, Sum

__all__ = ["Cell", "chains"]


class Cell(NamedTuple):
    """One cell of a chain, over literals: the next carry is the majority of ``a``, ``b`` and the carry.

    The node ``sum`` (None: it is not used) is ``a ^ b ^ carry``, of a guard ``extra ^ carry``; where the segment is flipped
    it comes out inverted. ``a``, ``b`` are flipped here, ``extra`` is not. A guard has a == b.
    """
    a: int
    b: int
    extra: int
    sum: int | None
    guard: bool


def chains(circuit, live, flips, cap, own_guard):
    """Lists of :class:`Cell`, each a chain of at most ``cap`` cells (or one segment) that begins with any carry.

    Parameters
    ----------
    circuit : Circuit
    live : list of int
    flips : dict
        Of each segment: whether its operands and sums are inverted.
    cap : int
    own_guard : bool
        Whether the last digit of a segment can be its guard even where its operand is no constant. If so a segment without a
        guard ends its chain; else a guard is put behind it.

    Returns
    -------
    list of (int, list of Cell)
        The constant carry into the chain (0 or 1), and its cells.
    """
    level, sums = [0] * len(circuit.nodes), {}
    by_level = {}
    for number in live:
        node = circuit.nodes[number]
        if isinstance(node, Segment):
            level[number] = 1 + max((level[source] for source in circuit.fanin(number)), default=0)
            by_level.setdefault((level[number], circuit.block(number)), []).append(number)
        elif isinstance(node, Sum):
            level[number] = level[node.segment]
            sums[node] = number
        else:
            level[number] = max((level[source] for source in circuit.fanin(number)), default=0)
    packed = []
    for _, segments in sorted(by_level.items()):
        chain, first = [], 0
        for number in segments:
            carry, positions = circuit.nodes[number]
            flip = flips[number]
            carry ^= flip
            here = len(positions) + 1
            if chain and (len(chain) + here > cap or own_guard and not chain[-1].guard):
                packed.append((first, chain))
                chain = []
            if chain and chain[-1].guard:           # the last digit of the segment below hands on our carry
                chain[-1] = chain[-1]._replace(a=carry, b=carry)
            elif chain or carry > 1:
                first = first if chain else 0
                chain.append(Cell(carry, carry, 0, None, True))
            else:
                first = carry
            for at, position in enumerate(positions):
                made = sums.get(Sum(number, at))
                if len(position.inputs) == 2:
                    a, b = position.inputs
                    chain.append(Cell(a ^ flip, b ^ flip, 0, made, False))
                elif made is not None:
                    extra = position.inputs[0] if position.inputs else 0
                    assert at == len(positions) - 1
                    if own_guard or extra <= TRUE:
                        chain.append(Cell(0, 0, extra, made, True))
                    else:
                        chain.append(Cell(extra ^ flip, flip, 0, made, False))
        if chain:
            packed.append((first, chain))
    return packed
