"""Which nodes are emitted inverted, where the digits of a carry chain take plain signals only.

An adder is its own dual: with all operands and the carry inverted it gives the inverted sum. So each segment may be emitted
flipped, each table and each sum inverted, and what must agree is a system of parities. It is solved by growing a forest; an
equation that closes a cycle wrongly costs an inverter (or a second table).
"""

from .circuit import Lut, Segment, Sum

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


def polarities(circuit, live):
    """Whether each node is emitted inverted (table, sum) or flipped (segment), as a dict.

    A digit of a segment with flip f takes the literal's node at polarity ``inverted ^ f``; where that is not the node's own,
    an inverter is needed.
    """
    parities = _Parities()
    segments = [node for node in live if isinstance(circuit.nodes[node], Segment)]

    def operands(node):
        carry, positions = circuit.nodes[node]
        for literal in (carry, *(literal for position in positions if len(position.inputs) == 2 for literal in position.inputs)):
            if literal > 1:
                yield literal
    movable = (Lut, Sum)
    for fixed in (True, False):
        for node in segments:
            for literal in operands(node):
                source = literal >> 1
                if isinstance(circuit.nodes[source], movable) != fixed:
                    parities.join(node, source if isinstance(circuit.nodes[source], movable) else 0, literal & 1)
    result = {}
    for node in live:
        root, parity = parities.find(node)
        zero, base = parities.find(0)
        result[node] = parity ^ base if root == zero else parity
    return result
