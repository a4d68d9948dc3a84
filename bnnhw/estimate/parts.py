"""The components of the gateware as counts of features that cost something.

Each function takes what fixes a component's size and gives its :class:`.figures.Parts`; ``benchmarks/calibrate.py`` fits what a
feature costs. Features are named ``COMPONENT.what``: ``.bit`` per bit of the payload, ``.counter`` per bit of its counters, and
the component's name alone is what one of them takes whatever its size.
"""

import functools
import math

from ..gateware.chunks import BANK_BYTES
from ..gateware.mvtu import STARTS_IN_MULTIPLEXER
from ..gateware.popcount import cuts_of, held_bits
from ..gateware.results import slots_of
from ..gateware.weights import style_for
from .figures import Parts
from .memory import mapped

__all__ = ["adder_of_streams", "affine", "comparators", "decision", "down", "fifo", "fill", "fork", "link", "matrix_vector",
           "pool", "registered", "replay", "rom", "slice_", "sliced", "thermometer", "top", "tournament", "trim", "up", "window"]

TABLE_BITS = 4              # address bits of a LUT4
IDENTITY_BYTES = 64         # of the link's answer about itself: its exact number decides nothing
CHUNK_WORDS = 2 * BANK_BYTES
SMALL_TURN = 0.55           # of the time in which the counters of larger windows turn: four routed designs took 0.54 to 0.58
GROUP = 8                   # words of which there is a table of three inputs: columns share them
KINDS = 2 ** GROUP // 2     # of such tables, opposites apart
FEW_WORDS = 12              # of a random table: fewer, and some columns are alike


def bits(largest):
    """Bits of a number from 0 to ``largest``."""
    return int(largest).bit_length()


@functools.lru_cache(maxsize=None)
def adders(inputs):
    """(full, half) adders that count so many bits, column by column as :class:`bnnhw.gateware.heap.Heap` does."""
    full = half = 0
    column = inputs
    while column > 1:
        full_here, rest = divmod(column - 1, 2)
        half_here = rest
        full, half, column = full + full_here, half + half_here, full_here + half_here
    return full, half


def slice_(width):
    """Register slice."""
    return Parts().add(slice=1, slice__bit=width).path(path=1, levels=1)


def ring(width, depth, family):
    """A memory that is written and read, as synthesis maps it."""
    found = mapped(family, width, depth)
    address = bits(depth - 1)
    if found.kind == "block":
        parts = Parts(brams=found.cells).add(ring=1, ring__bit=width, ring__address=address, ring__mux=(found.banks - 1) * width)
        return parts.path(path=1, bram=1, levels=2)
    if found.kind == "lut":
        return Parts().add(lutram=found.cells, lutram__bit=width, lutram__mux=(found.banks - 1) * width).path(path=1, levels=3)
    return Parts().add(words=width * depth, words__bit=width).path(path=1, levels=2 + address / 2)


@functools.lru_cache(maxsize=None)
def distinct(words, columns):
    """How many of so many ``columns`` of random bits, ``words`` deep, are neither trivial nor like another or its opposite."""
    if words == 1:
        return 0.0
    if words >= FEW_WORDS:
        return float(columns)
    kinds = 2 ** (words - 1)
    trivial = min(kinds, 1 + bits(words - 1))       # constants, and the bits of the address
    return (kinds - trivial) * (1 - (1 - 1 / kinds) ** columns)


@functools.lru_cache(maxsize=1 << 14)
def groups(words, columns):
    """How many different ones, or opposites, there are among all groups of 8 words of so many ``columns`` of random bits."""
    return KINDS * (1 - (1 - 1 / KINDS) ** (columns * words / GROUP))


@functools.lru_cache(maxsize=None)
def tables(words):
    """Tables of four inputs for a column of random bits: those of 16 words each, and the multiplexers that join them."""
    return max(1.0, 1.5 * words / 2**TABLE_BITS - 0.5)


def sliced(found, width):
    """``found``, a buffer, with a register slice of ``width`` bits behind its memory."""
    return Parts(found.counts, found.brams, [_to_register(path) for path in found.paths]) + slice_(width)


def registered(found, width):
    """``found``, a source of words, with a register of ``width`` bits behind its memory: a flip-flop of its own for each."""
    return Parts(found.counts, found.brams, [_to_register(path) for path in found.paths]).add(up__bit=width)


def _to_register(path):
    """``path``, but where it begins at a block RAM without the table that reads it."""
    return path | {"levels": path["levels"] - 1} if path.get("bram") else path


def rom(width, words, memory, family, columns=None):
    """Source of the words of a read-only memory, in turn. ``memory`` is ``"bram"`` or ``"lut"``. ``columns``: how many of its
    bits are neither trivial nor like another; as many as of random bits where it is not given."""
    parts = Parts().add(rom=1, rom__counter=bits(words - 1))
    if memory == "bram":
        found = mapped(family, width, words, rom=True, style="block")
        parts.brams += found.cells
        return parts.add(rom__mux=(found.banks - 1) * width).path(path=1, bram=1, levels=1 + math.log2(found.banks))
    columns = distinct(words, width) if columns is None else columns
    if words > 2**TABLE_BITS:
        parts.add(rom__column=columns, rom__table=columns * (words / 2**TABLE_BITS - 1), rom__group=groups(words, columns))
    else:
        parts.add(**{"rom__small" if words <= GROUP else "rom__whole": columns})
    return parts.path(path=1, levels=max(1, bits(words - 1) - TABLE_BITS + 1))


def replay(width, words, repeats, depth, family):
    """Buffer that emits each vector several times."""
    counters = bits(words - 1) + bits(repeats - 1)
    parts = Parts().add(replay=1, replay__address=bits(depth - 1), replay__level=bits(depth), replay__counter=counters)
    return parts.path(path=1, levels=3, carry=bits(depth)) + ring(width, depth, family)


def fifo(width, depth, family):
    """First-in first-out buffer."""
    return Parts().add(fifo=1, fifo__address=bits(depth - 1), fifo__level=bits(depth)) + ring(width, depth, family)


def up(width, ratio):
    """Joins ``ratio`` words of ``width`` bits."""
    return Parts().add(up=1, up__bit=width * (2 * ratio - 1), up__counter=bits(ratio - 1)).path(path=1, levels=2)


def down(width, ratio):
    """Splits a word into ``ratio`` words of ``width`` bits."""
    return Parts().add(down=1, down__bit=width * (ratio - 1), down__word=width, down__counter=bits(ratio - 1)).path(
        path=1, levels=2) + slice_(width)


def fill(width, ratio, words):
    """Joins ``ratio`` words of ``width`` bits, fewer at the end of ``words`` joined ones."""
    return Parts().add(fill=1, up__bit=width * (ratio - 1), up__counter=bits(ratio - 1) + bits(words - 1)).path(path=1, levels=3)


def trim(width, ratio, words):
    """Splits a word into ``ratio`` words of ``width`` bits, the last of ``words`` into fewer."""
    return Parts().add(trim=1, down__bit=width * (ratio - 1), down__word=width,
                       up__counter=bits(ratio - 1) + bits(words - 1)).path(path=1, levels=3)


def fork(width, depths, family):
    """One stream to several."""
    parts = Parts().add(fork=1, fork__branch=len(depths), fork__bit=width)
    for depth in depths:
        parts += fifo(width, depth, family) if depth else slice_(width)
    return parts


def tree_of_adders(values, width):
    """(adders, bits of their results) of a balanced tree."""
    count = total = 0
    while values > 1:
        width += 1
        pairs = values // 2
        count, total, values = count + pairs, total + pairs * width, values - pairs
    return count, total


def matrix_vector(*, pe, simd, bits_in, words, folds, accumulators, width, start_bits, start_columns, entries, scale, masked,
                  registers):
    """Matrix-vector unit. ``accumulators``: bits of all; ``start_bits``: those of their starts that change among ``entries``;
    ``start_columns``: how many of these are different."""
    parts = Parts().add(mvtu=1, mvtu__counter=bits(words - 1) + bits(folds - 1), mvtu__lane=pe * simd * bits_in,
                        accumulator=pe, accumulator__bit=accumulators)
    if masked:
        parts.add(mvtu__masked=pe * simd * bits_in)
    if bits_in == 1:
        full, half = adders(simd)
        total = bits(simd)
        held = held_bits(simd, registers) if registers else 0      # in the cells of the tables in front of them
        parts.add(count__full=pe * full, count__half=pe * half, count__bit=pe * total, held__bit=pe * held)
        parts.path(path=1, counting=math.log2(simd + 1) / (registers + 1))
    else:
        count, tree = tree_of_adders(simd, bits_in)
        total = bits_in + math.ceil(math.log2(simd))
        height = math.ceil(math.log2(simd))
        held = sum(-(-simd >> level) * (bits_in + level) for level in cuts_of(height, registers))
        parts.add(tree=pe * count, tree__bit=pe * tree, count__bit=pe * total, held__bit=pe * held)
        parts.path(path=1, levels=(math.log2(simd) + 1) / (registers + 1), carry=total)
    if scale > 1:
        parts.add(scale__bit=accumulators * (scale.bit_count() - 1))
    if entries > 2**TABLE_BITS:
        parts.add(start__column=start_columns, start__table=start_columns * (entries / 2**TABLE_BITS - 1),
                  start__group=groups(entries, start_columns))
    elif entries > STARTS_IN_MULTIPLEXER:
        parts.add(start__small=start_columns)
    else:
        parts.add(start__choice=start_bits)
    return parts.path(path=1, levels=1, carry=accumulators / pe) + slice_(pe * width)


def window(*, width, depth, loops, small, address_jump, ahead, room, freed, places, borders, family):
    """Sliding window. ``loops``: sizes of its nested counters; ``small``: whether those of its kernel have one bit; the others:
    bits of its registers and sums."""
    depth = 1 << bits(depth - 1)
    address = bits(depth - 1)
    parts = Parts().add(window=1, window__counter=sum(bits(size - 1) for size in loops))
    parts.add(window__loop=sum(size > 1 for size in loops))
    parts.add(window__address=address, window__jump=address_jump, window__ahead=ahead, window__room=room, window__freed=freed)
    if places:
        parts.add(window__padding=1, window__place=places, window__fill=width)
    if borders > 1:
        parts.add(window__border=bits(borders - 1))
    if places:
        parts.path(path=1, placing=1)
    return parts.path(path=1, turning=SMALL_TURN if small else 1, carry=ahead) + ring(width, depth, family)


def pool(*, bits_in, lanes, taps, width, mixed, groups, kind, slices):
    """Greatest or sum of ``taps`` words. ``mixed``: lanes that have channels of both kinds; ``slices``: whether its words come
    from a register slice, not a memory."""
    parts = Parts().add(pool=1, pool__counter=bits(taps - 1))
    if kind == "sumpool":
        parts.add(pool__sum=lanes * width, pool__adder=lanes)
    elif bits_in == 1:
        parts.add(pool__or=lanes)
    else:
        parts.add(pool__max=lanes * bits_in)
    if mixed:
        parts.add(pool__mixed=mixed * tables(groups), pool__groups=bits(groups - 1))
    carry = 0 if kind == "maxpool" and bits_in == 1 else width
    return parts.path(path=1, bram=int(not slices), levels=3, carry=carry) + slice_(lanes * width)


def comparators(*, bits_in, lanes, levels, turns, changing, columns, family, width):
    """Thresholds: ``levels`` comparisons for each of ``lanes``, with constants or, in ``turns``, with what a table says, of whose
    bits so many are ``changing``, in so many different ``columns``."""
    full, half = adders(levels)
    parts = Parts().add(threshold=1, count__full=lanes * full, count__half=lanes * half)
    if levels > 1:
        parts.add(threshold__reached=lanes * levels)
    if turns == 1:
        parts.add(threshold__constant=lanes * levels * bits_in)
    else:
        table = lanes * (levels * (bits_in + 1) + 1)
        parts.add(threshold__compare=lanes * levels * bits_in, threshold__comparator=lanes * levels)
        parts += rom(changing, turns, style_for(table * turns, turns), family, columns)
    return parts.path(path=1, levels=2, carry=bits_in) + slice_(lanes * width)


def thermometer(*, bits_in, lanes, levels, columns, changing, turns, family, memory):
    """Comparators, with what changes of their levels from a table of so many different ``columns``."""
    parts = Parts().add(thermometer=1, threshold__constant=lanes * levels * bits_in)
    if changing:
        parts.add(threshold__compare=changing)
        parts += rom(changing, turns, memory, family, columns)
    return parts.path(path=1, levels=2, carry=bits_in) + slice_(lanes * levels)


def affine(*, bits_in, width, lanes, partial, constant, scale_bits, added, columns, changing, turns, memory, family):
    """Scale and offset. ``partial``: bits of the scales that are not always 0, of all lanes; ``scale_bits``: of a scale;
    ``added``: bits of the offsets that change; ``columns``: of those in the table that are different."""
    parts = Parts().add(affine=1, affine__bit=lanes * width, affine__register=lanes * min(width, bits_in + scale_bits))
    parts.add(affine__added=added)
    parts.add(**{"affine__constant" if constant else "affine__product": (partial - lanes) * bits_in})
    if changing:
        parts += rom(changing, turns, memory, family, columns)
    return parts.path(path=1, levels=2 + math.log2(max(2, scale_bits)), carry=width) + slice_(lanes * width)


def adder_of_streams(*, bits_in, scales, width, lanes):
    """The sum of two streams."""
    parts = Parts().add(add=1, add__bit=lanes * width,
                        add__scale=lanes * sum(size * (scale.bit_count() - 1)
                                           for size, scale in zip(bits_in, scales, strict=True)))
    for size in bits_in:
        parts += slice_(lanes * size)
    return parts.path(path=1, levels=2, carry=width) + slice_(lanes * width)


def decision(*, score, classes, width, scores):
    """The class of a frame, one score after the other; with ``scores`` these, too."""
    index = bits(classes - 1)
    parts = Parts().add(decision=1, decision__bit=score, decision__index=index)
    if scores:
        parts.add(scores=1, scores__bit=score)
    return parts.path(path=1, levels=3, carry=score) + slice_((width if scores else index) + 1)


def tournament(*, score, classes):
    """The class of scores that come in one word."""
    return Parts().add(tournament=1, tournament__bit=(classes - 1) * score, tournament__pair=classes - 1).path(
        path=1, levels=3, carry=score) + slice_(bits(classes - 1))


def top(*, lanes, beats, result, frames):
    """AXI4-Stream ports: slices, the guard of frames, the queue of their flags."""
    return Parts().add(top=1, top__bit=8 * lanes, top__counter=bits(beats - 1), top__flag=frames).path(
        path=1, levels=2, carry=bits(beats - 1)) + slice_(8 * lanes + 1) + slice_(result + 2)


def link(*, lanes, result_beats, bytes_per_beat, family):
    """What a board has besides the network."""
    record = result_beats * bytes_per_beat + 1
    parts = Parts().add(link=1, link__beat=8 * (lanes + bytes_per_beat))
    memories = [mapped(family, 8, CHUNK_WORDS), mapped(family, 8, slots_of(record) << bits(record - 1)),
                mapped(family, 8, IDENTITY_BYTES, rom=True, style="block")]
    parts.brams = sum(found.cells for found in memories if found.kind == "block")
    return parts.path(path=1, levels=4, carry=8)
