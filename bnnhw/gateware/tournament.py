"""The greatest of numbers that come all at once."""

from amaranth import *

__all__ = ["rounds_of", "tournament"]


def rounds_of(size):
    """Rounds of a tournament among ``size``."""
    return (size - 1).bit_length()


def tournament(m, numbers, valid, enable):
    """Index of the greatest of ``numbers``, the lowest one of equals, by comparing neighbours.

    A register stands behind every round and moves when ``enable`` is 1: latency ``rounds_of(len(numbers))`` cycles, none for
    one number.

    Parameters
    ----------
    m : Module
    numbers : list of Value
        Unsigned, equally wide.
    valid, enable : Value

    Returns
    -------
    index, valid : Value
    """
    field = [(number, Const(0, 0)) for number in numbers]
    for turn in range(rounds_of(len(numbers))):
        field = _round(m, turn, field)
        later = Signal(name=f"round{turn}_valid")
        held = [(Signal(len(number), name=f"round{turn}_{k}", reset_less=True),
                 Signal(len(index), name=f"round{turn}_{k}_index", reset_less=True))
                for k, (number, index) in enumerate(field)]
        with m.If(enable):
            m.d.sync += later.eq(valid)
            for registers, values in zip(held, field, strict=True):
                m.d.sync += [register.eq(value) for register, value in zip(registers, values, strict=True)]
        field, valid = held, later
    return field[0][1], valid


def _round(m, turn, field):
    """(number, index) of the winners: the second of two only if its number is greater."""
    winners = []
    for k in range(0, len(field) - 1, 2):
        (a, first), (b, second) = field[k:k + 2]
        wins = Signal(name=f"wins{turn}_{k}")
        m.d.comb += wins.eq(_greater(b, a))
        winners.append((Mux(wins, b, a), Cat(Mux(wins, second, first), wins) if turn else wins))
    if len(field) % 2:
        number, index = field[-1]
        winners.append((number, Cat(index, Const(0, 1))))
    return winners


def _greater(b, a):
    """Whether ``b > a``: halves of the numbers side by side, as many levels of logic as the number of bits has bits.

    A carry would wait for all lower bits in turn, which takes longer where a bit is a table and a wire away from the next.
    """
    parts = [(b[k] & ~a[k], b[k] == a[k]) for k in range(len(b))]      # of each run of bits: greater; equal
    while len(parts) > 1:
        pairs = [(high[0] | high[1] & low[0], high[1] & low[1]) for low, high in zip(parts[::2], parts[1::2], strict=False)]
        parts = pairs + parts[len(pairs) * 2:]
    return parts[0][0]
