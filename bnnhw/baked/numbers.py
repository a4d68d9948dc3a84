"""Numbers made of literals, and the few operations on them from which a layer is built."""

from typing import NamedTuple

from .circuit import FALSE, TRUE, Position

__all__ = ["Number", "add", "at_least", "butterfly", "negate", "pair", "top"]

XOR, SECOND = 0b0110, 0b1100        # tables of two inputs


class Number(NamedTuple):
    """``code + offset``, where ``code`` has ``bits`` (literals, least significant first) and ``least <= code <= most``."""
    bits: tuple
    most: int
    offset: int = 0
    least: int = 0


def pair(a, b):
    """The digit of an adder."""
    return Position((a, b), XOR, SECOND)


def top(literal):
    """The last digit of an adder, to which nothing but the carry is added."""
    return Position((), 0, 0) if literal == FALSE else Position((literal,), 0b10, 0)


def digit(number, k):
    return number.bits[k] if k < len(number.bits) else FALSE


def add(circuit, a, b, carry=FALSE):
    """``a + b + carry``, one segment."""
    most = a.most + b.most + (carry != FALSE)
    width, both = most.bit_length(), max(len(a.bits), len(b.bits))
    low = []
    while carry == FALSE and len(low) < both and FALSE in (digit(a, len(low)), digit(b, len(low))):
        low.append(max(digit(a, len(low)), digit(b, len(low))))         # the one that is not the constant 0
    positions = [pair(digit(a, k), digit(b, k)) for k in range(len(low), both)]
    if width > both:
        positions.append(top(FALSE))
    elif positions and FALSE in positions[-1].inputs:
        positions[-1] = top(max(positions[-1].inputs))
    if len(positions) == 1 and not (positions[0].inputs and carry):
        sums = [*positions[0].inputs, carry][:1]        # one literal alone
    else:
        sums = circuit.segment(carry, positions) if positions else []
    return Number((*low, *sums)[:max(width, 1)], most, a.offset + b.offset, a.least + b.least)


def negate(a):
    """``-a``; no logic."""
    full = (1 << len(a.bits)) - 1
    return Number(tuple(literal ^ 1 for literal in a.bits), full - a.least, -full - a.offset, full - a.most)


def butterfly(circuit, a, b, carry=FALSE):
    """``a + b + carry`` and ``a - b + carry``.

    The difference is made from the sum: both have the same last bit, and (a - b) >> 1 = ((a + b) >> 1) - b, of which the
    operands have opposite polarity. So nothing is inverted where an adder may invert its sums, and one digit is saved.
    """
    p = add(circuit, a, b, carry)
    a = a._replace(most=a.most + (carry != FALSE))
    half = p.bits[1:]
    digits = max(len(half), len(b.bits), 1)
    if max(a.most // 2, (b.most + 1) // 2 - 1) >= 1 << digits - 1:
        digits += 1
    subtrahend = Number(tuple(literal ^ 1 for literal in half) + (TRUE,) * (digits - len(half)), 0)
    positions = [pair(digit(subtrahend, k), digit(b, k)) for k in range(digits)]
    if FALSE in positions[-1].inputs:
        positions[-1] = top(subtrahend.bits[-1])
    *sums, sign = circuit.segment(FALSE, positions)
    bits = (p.bits[0], *(literal ^ 1 for literal in sums), sign)       # the sign, inverted twice: an offset instead
    bias = 1 << digits
    return p, Number(bits, a.most - b.least + bias, a.offset - b.offset - bias, a.least - b.most + bias)


def at_least(circuit, a, threshold, inputs):
    """Literal of ``a >= threshold``, in tables of up to ``inputs`` inputs, the least significant bits first."""
    threshold -= a.offset
    if threshold <= 0:
        return TRUE
    if threshold > a.most:
        return FALSE
    low = (threshold & -threshold).bit_length() - 1     # bits below the threshold's last one do not matter
    bits, threshold, reached = a.bits[low:], threshold >> low, TRUE
    while bits:
        taken = inputs - (reached != TRUE)
        now, bits = bits[:taken], bits[taken:]
        bound, threshold = threshold & (1 << len(now)) - 1, threshold >> len(now)
        full = 1 << len(now)
        table = sum(1 << m for m in range(2 * full) if (m % full) + (m >= full) > bound)
        reached = circuit.lut((*now, reached), table)
    return reached
