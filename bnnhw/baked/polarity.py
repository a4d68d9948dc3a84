"""Which nodes are emitted inverted, where the digits of a carry chain take plain signals only.

An adder is its own dual: with all operands and the carry inverted it gives the inverted sum. So each segment may be emitted
flipped, each table and each sum inverted, and what must agree is a system of parities. It is solved by growing a forest; an
equation that closes a cycle wrongly costs an inverter (or a second table).
"""

from .circuit import TRUE, Input, Register, Segment, Sum

__all__ = ["polarities"]


class _Parities:
    """Disjoint sets of nodes whose bits are known relative to each other; node 0 and the inputs stand fast at 0."""
    def __init__(self):
        self.parent = {}

    def find(self, node):
        """Root of ``node`` and its parity to it."""
        path = []
        parity = 0
        while (up := self.parent.get(node)) is not None:
            path.append((node, up[1]))
            node = up[0]
        for child, bit in reversed(path):
            parity ^= bit
            self.parent[child] = node, parity
        return node, parity

    def join(self, a, b, parity):
        """Make ``a ^ b == parity`` if that is still free; False if the contrary already holds."""
        (a, p), (b, q) = self.find(a), self.find(b)
        if a == b:
            return p ^ q == parity
        self.parent[max(a, b)] = min(a, b), p ^ q ^ parity
        return True


def polarities(circuit, live, free):
    """Whether each node is emitted inverted (table, sum) or flipped (segment), as a dict.

    A digit of a segment with flip f takes the literal's node at polarity ``inverted ^ f``; where that is not the node's own,
    an inverter is needed.

    Parameters
    ----------
    circuit : Circuit
    live : list of int
    free : int
        0: both operands of a digit must be plain, and a sum may come out inverted at no cost (iCE40).
        1: one operand may be inverted at no cost, and sums are what they are (Gowin).
    """
    parities = _Parities()
    segments = [node for node in live if isinstance(circuit.nodes[node], Segment)]

    def parity(node):
        """Where a node stands; inputs stand fast."""
        return parities.find(0 if isinstance(circuit.nodes[node], Input) else node)

    def fast(node):
        """Whether it is an input, or registers behind one."""
        while isinstance(circuit.nodes[node], Register):
            node = circuit.nodes[node].source
        return isinstance(circuit.nodes[node], Input)

    def agree(segment, literal):
        """Try to have ``literal`` plain in ``segment``."""
        source = literal >> 1
        return parities.join(segment, 0 if fast(source) else source, literal & 1)

    def known(segment, literal):
        """Whether that is decided: True, False, or None."""
        (a, p), (b, q) = parity(segment), parity(literal >> 1)
        return p ^ q == literal & 1 if a == b else None
    digits = [(node, [literal for literal in position.inputs if literal > 1])
              for node in segments for position in circuit.nodes[node].positions if len(position.inputs) == 2]
    carries = [(node, [circuit.nodes[node].carry]) for node in segments if circuit.nodes[node].carry > 1]
    for number in live:
        node = circuit.nodes[number]
        if isinstance(node, Register):
            parities.join(number, 0 if fast(number) else node.source, 0)
        elif isinstance(node, Sum) and free:        # the complement of a carry comes out as the carry
            parities.join(number, node.segment, int(circuit.position(node).inputs == (TRUE,)))
    # what stands fast first; then whatever is still open
    for fixed in (True, False):
        for node, literals in carries + digits * (1 - free):
            for literal in literals:
                if fast(literal >> 1) == fixed:
                    agree(node, literal)
    if free:
        for node, literals in digits:
            if len(literals) == 2 and not any(known(node, literal) for literal in literals):
                any(known(node, literal) is None and agree(node, literal) for literal in literals)
    result = {}
    for node in live:
        root, bit = parity(node)
        zero, base = parities.find(0)
        result[node] = bit ^ base if root == zero else bit
    return result
