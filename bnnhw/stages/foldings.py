"""PE and SIMD of layers with weights: which there are to choose from, and how many cycles they take.

Any PE from 1 to the neurons of a layer and any SIMD from 1 to its inputs can be built; where one does not divide its size the
last group is filled up (:mod:`bnnhw.gateware.padding`), and narrower words go in and out. Most of these pairs are of no use: 64
neurons take 6 turns with PE 12 as with PE 11.
"""

import bisect
import functools
from dataclasses import dataclass

from ..gateware.padding import Grouping

__all__ = ["Sizes", "foldings"]


@dataclass(frozen=True)
class Sizes:
    """What the cycles of a layer depend on: ``n_out`` neurons over ``taps`` vectors of ``n_in`` inputs each, for each of
    ``results`` vectors of results and ``arrivals`` vectors of inputs of a frame."""
    n_out: int
    n_in: int
    taps: int = 1
    results: int = 1
    arrivals: int = 1

    def cycles(self, pe, simd):
        """Per frame: of the unit, or of the narrow words that go in or out, if those are more."""
        (folds, give), (words, want) = _words(self.n_out, pe), _words(self.n_in, simd)
        return max(self.results * folds * self.taps * words, self.arrivals * (self.n_in // want),
                   self.results * (self.n_out // give))


@functools.lru_cache(1 << 14)
def _words(size, lanes):
    """(words of ``lanes`` elements, elements of narrow words) of a vector."""
    grouping = Grouping(size, lanes)
    return grouping.words, grouping.narrow


@functools.lru_cache(256)
def _lanes(size):
    """The least lanes for each number of words, and more where they have a greater common divisor with ``size``."""
    found, widest = [], {}
    for lanes in range(1, size + 1):
        words, narrow = _words(size, lanes)
        if narrow > widest.get(words, 0):
            widest[words] = narrow
            found.append(lanes)
    return found


class _Beaten:
    """Whether a pair of numbers has been given one by one that was no more in either."""
    def __init__(self):
        self.first, self.second = [], []        # the first rises, the second falls

    def __call__(self, first, second):
        place = bisect.bisect_right(self.first, first)
        if place and self.second[place - 1] <= second:
            return True
        end = place
        while end < len(self.second) and self.second[end] >= second:
            end += 1
        self.first[place:end], self.second[place:end] = [first], [second]
        return False


@functools.lru_cache(256)
def foldings(sizes):
    """The pairs (PE, SIMD) to choose from: all divisors, and of the others those that no pair beats.

    A pair is beaten by another one that has neither more cycles nor more lanes (PE * SIMD) nor more PE; of two that are equal in
    these the divisors are taken, or the first.
    """
    pairs = []
    for pe in _lanes(sizes.n_out):
        for simd in _lanes(sizes.n_in):
            uneven = bool(sizes.n_out % pe or sizes.n_in % simd)
            pairs.append((sizes.cycles(pe, simd), pe * simd, pe, uneven, simd))
    beaten = _Beaten()
    return tuple(sorted((pe, simd) for _, lanes, pe, uneven, simd in sorted(pairs) if not beaten(lanes, pe) or not uneven))
