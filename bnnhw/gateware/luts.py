"""Small look-up tables over named bits: built, folded, shared, then written into an Amaranth module."""

from amaranth import *

__all__ = ["FALSE", "TRUE", "Tables", "expression"]

FALSE, TRUE = 0, 1  # literals of the constants


class Tables:
    """A network of look-up tables without loops, in which equal tables are one.

    A bit is a *literal*: ``2 * node + inverted``. Node 0 is the constant, so :data:`FALSE` is 0 and :data:`TRUE` is 1,
    and ``literal ^ 1`` is the opposite bit. Inversions and constants are folded into the tables that read them, inputs
    without influence are dropped, and where a table or its complement exists already, no new one is made: this is how
    neurons over the same inputs come to share logic.

    Attributes
    ----------
    nodes : list of (int, tuple of int)
        Truth table and input nodes of every node. Bit ``k`` of the table is the output where bit ``j`` of ``k`` is the
        value of the ``j``-th input; bit 0 is always 0. A source has the table ``None``.
    levels : list of int
        Tables in a row from the sources up to and with the node.
    """
    def __init__(self):
        self.nodes = [(None, ())]
        self.levels = [0]
        self._known = {}

    def source(self):
        """A new free bit, as a literal."""
        self.nodes.append((None, ()))
        self.levels.append(0)
        return 2 * len(self.nodes) - 2

    def level(self, *literals):
        """The most tables in a row that lead to any of ``literals``."""
        return max(self.levels[literal >> 1] for literal in literals)

    def __len__(self):
        """Number of tables."""
        return len(self._known)

    def table(self, function, *literals):
        """The literal of ``function(*literals)``.

        ``function`` takes and returns the integers 0 and 1; it is evaluated on all combinations.
        """
        nodes = sorted({literal >> 1 for literal in literals} - {0})
        places = [nodes.index(literal >> 1) if literal >> 1 else None for literal in literals]
        outputs = []
        for k in range(1 << len(nodes)):
            bits = [(0 if at is None else k >> at & 1) ^ (literal & 1)
                    for literal, at in zip(literals, places, strict=True)]
            outputs.append(function(*bits))
        # Drop inputs without influence: both halves of the table are equal.
        for at in reversed(range(len(nodes))):
            low = [out for k, out in enumerate(outputs) if not k >> at & 1]
            if low == [out for k, out in enumerate(outputs) if k >> at & 1]:
                outputs = low
                del nodes[at]
        if not nodes:
            return outputs[0]
        inverted = outputs[0]
        if len(nodes) == 1:
            return 2 * nodes[0] + inverted
        bits = sum((out ^ inverted) << k for k, out in enumerate(outputs))
        key = bits, tuple(nodes)
        if key not in self._known:
            self._known[key] = len(self.nodes)
            self.nodes.append(key)
            self.levels.append(1 + max(self.levels[node] for node in nodes))
        return 2 * self._known[key] + inverted

    def emit(self, m, sources, outputs, *, name, cuts=(), enable=None, domain="sync"):
        """Write the tables that ``outputs`` need into ``m``.

        Parameters
        ----------
        m : Module
        sources : list of Value
            The bits of the sources, in the order in which they were made.
        outputs : list of int
            Literals.
        name : str
            Prefix of the signals' names.
        cuts : tuple of int, rising
            Pipeline registers stand after these levels: a path with ``levels`` 0 up to a cut is in the first stage, and
            so on. Without reset. Every output is delayed by ``len(cuts)`` cycles.
        enable : Value or None
            The registers move when it is 1. Needed if there are cuts.
        domain : str

        Returns
        -------
        list of Value, one bit each
        """
        free = [node for node, (table, _) in enumerate(self.nodes) if node and table is None]
        signals = dict(zip(free, sources, strict=True))
        delayed = {}

        def stage(node):
            return self._stage(node, cuts)

        def at(node, when):
            if when == stage(node):
                return signals[node]
            if (node, when) not in delayed:
                register = Signal(name=f"{name}_t{node}_r{when}", reset_less=True)
                before = at(node, when - 1)
                with m.If(enable):
                    m.d[domain] += register.eq(before)
                delayed[node, when] = register
            return delayed[node, when]

        needed, todo = set(), [literal >> 1 for literal in outputs]
        while todo:
            node = todo.pop()
            if node not in needed:
                needed.add(node)
                todo.extend(self.nodes[node][1])
        for node in sorted(needed - {0} - set(free)):
            table, inputs = self.nodes[node]
            signals[node] = Signal(name=f"{name}_t{node}")
            m.d.comb += signals[node].eq(expression(table, [at(source, stage(node)) for source in inputs]))
        results = []
        for literal in outputs:
            bit = at(literal >> 1, len(cuts)) if literal >> 1 else Const(0, 1)
            results.append(bit ^ 1 if literal & 1 else bit)
        return results

    def held(self, outputs, cuts):
        """How many flip-flops :meth:`emit` puts into the tables that ``outputs`` need, with such ``cuts``."""
        until, todo = {}, [(literal >> 1, len(cuts)) for literal in outputs]
        while todo:
            node, when = todo.pop()
            if node not in until:
                todo += [(source, self._stage(node, cuts)) for source in self.nodes[node][1]]
            until[node] = max(until.get(node, 0), when)
        return sum(when - self._stage(node, cuts) for node, when in until.items() if node)

    def _stage(self, node, cuts):
        """How many of the ``cuts`` are in front of ``node``."""
        return sum(self.levels[node] > cut for cut in cuts)

    def evaluate(self, sources, literals):
        """The values of ``literals``: ``sources`` holds integers of any width, one per source, computed bitwise.

        Returns integers, of which only the bits that the sources use (a mask of the caller's) mean anything.
        """
        values, free = [0], iter(sources)
        for table, inputs in self.nodes[1:]:
            if table is None:
                values.append(next(free))
            else:
                values.append(_bitwise(table, [values[node] for node in inputs]))
        return [values[literal >> 1] ^ -(literal & 1) for literal in literals]


def _bitwise(table, inputs):
    """``table`` over integers, bit by bit."""
    out = 0
    for k in range(1 << len(inputs)):
        if table >> k & 1:
            term = -1
            for j, value in enumerate(inputs):
                term &= value if k >> j & 1 else ~value
            out |= term
    return out


def expression(table, inputs):
    """``table`` over one-bit Values: Shannon's expansion from the last input on, simplified."""
    if not inputs:
        return Const(table & 1, 1)
    half = 1 << (len(inputs) - 1)
    full = (1 << half) - 1
    low, high = table & full, table >> half
    *rest, last = inputs
    if low == high:
        return expression(low, rest)
    if low == high ^ full:
        return last if low == 0 else ~last if low == full else expression(low, rest) ^ last
    if low == 0:
        return last & expression(high, rest)
    if low == full:
        return ~last | expression(high, rest)
    if high == 0:
        return ~last & expression(low, rest)
    if high == full:
        return last | expression(low, rest)
    either = low ^ high
    if _is_parity(either, len(rest)):
        # A majority, written so that it shares the parity with a full adder's sum.
        if low & high == low:
            return expression(low, rest) | (last & expression(either, rest))
        if low & high == high:
            return expression(high, rest) | (~last & expression(either, rest))
    return Mux(last, expression(high, rest), expression(low, rest))


def _is_parity(table, inputs):
    """Whether ``table`` is the parity of all its inputs, or its opposite."""
    parity = sum((k.bit_count() & 1) << k for k in range(1 << inputs))
    return table in (parity, parity ^ (1 << (1 << inputs)) - 1)
