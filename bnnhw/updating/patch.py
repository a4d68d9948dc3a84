"""Random columns found in block RAMs, and other contents put in their place."""

from dataclasses import dataclass

import numpy as np

from ..errors import UserError

__all__ = ["PatchError", "patched"]


class PatchError(UserError):
    """A memory that is not where it should be."""


@dataclass
class _Block:
    """A block RAM in a text: its words' spans there, its bits."""
    spans: list
    bits: np.ndarray


def _blocks(text, format):
    found = []
    for match in format.block.finditer(text):
        words = [(match.start() + start, match.start() + end, value, bits)
                 for start, end, value, bits in format.words(match[0])]
        values = [np.unpackbits(np.frombuffer(value.to_bytes(-(-bits // 8), "little"), np.uint8), count=bits, bitorder="little")
                  for _, _, value, bits in words]
        found.append(_Block([(start, end, bits) for start, end, _, bits in words], np.concatenate(values).astype(bool)))
    return found


def _columns(memory, depth):
    """Columns of a memory in block RAMs of so many addresses: bool array (block RAMs, bits, depth)."""
    bits = memory.bits
    rows = -(-len(bits) // depth)
    full = np.zeros((rows * depth, memory.width), bool)
    full[:len(bits)] = bits
    return full.reshape(rows, depth, memory.width).transpose(0, 2, 1)


def _known(memories, depth):
    """{column's bytes: (memory's name, block RAM, bit)}."""
    return {np.packbits(column).tobytes(): (memory.name, row, bit) for memory in memories
            for row, columns in enumerate(_columns(memory, depth)) for bit, column in enumerate(columns)}


def _located(block, layouts, known):
    """(layout, {data bit: (memory's name, block RAM, bit)}) of a block RAM that holds such columns; None for another."""
    for layout in layouts:
        if layout.size and layout.max() < len(block.bits):
            columns = block.bits[layout].T
            found = {pin: known[len(layout)].get(np.packbits(column).tobytes()) for pin, column in enumerate(columns)
                     if column.any()}
            if found and all(found.values()):
                return layout, found
    return None


def patched(text, format, before, after):
    """A netlist or routed design with other contents in its block RAMs.

    Parameters
    ----------
    text : str
    format : Format
        The text's.
    before, after : dict name -> Memory
        What its block RAMs hold, with random words, so that each column is known by its bits; what they are to hold.

    Returns
    -------
    str

    Raises
    ------
    PatchError
        A memory is not there, or not all of it.
    """
    depths = {len(layout) for layout in format.layouts}
    known = {depth: _known(before.values(), depth) for depth in depths}
    new = {depth: {name: _columns(memory, depth) for name, memory in after.items()} for depth in depths}
    missing = {name: memory.bits.size for name, memory in before.items()}
    written = []
    for block in _blocks(text, format):
        place = _located(block, format.layouts, known)
        if place is None:
            continue
        layout, found = place
        for pin, (name, row, bit) in found.items():
            block.bits[layout[:, pin]] = new[len(layout)][name][row, bit]
            missing[name] -= min(len(layout), len(before[name].words) - row * len(layout))
        first = 0
        for start, stop, bits in block.spans:
            value = int.from_bytes(np.packbits(block.bits[first:first + bits], bitorder="little").tobytes(), "little")
            written.append((start, stop, format.digits.format(value=value, bits=bits)))
            first += bits
    for name, bits in missing.items():
        if bits:
            raise PatchError(f"memory {name}: {abs(bits):,} of its {before[name].bits.size:,} bits "
                             f"{'were not found in' if bits > 0 else 'are more than once in'} the design")
    parts, end = [], 0
    for start, stop, word in sorted(written):
        parts += [text[end:start], word]
        end = stop
    return "".join([*parts, text[end:]])
