"""The order book as a data set: integers that describe the book after an event, and where the middle stands some events later.

No row knows anything of the future: its integers come from the book after its event and from events before. Only its label does.
"""

import json

import numpy as np

from .orderbook import ASK, BID, CANCEL, MATCH, OPEN, Book, BookError, replay

__all__ = ["CLASSES", "DEPTH", "FEATURES", "FILES", "HORIZON", "WARM_UP", "balanced", "features", "labels", "mirrored",
           "order_book", "parts", "split_in_time", "tape_of"]

FILES = ("beginning_level_3.json", "messages.json", "ending_level_3.json")     # of the data set
CLASSES = ("down", "same", "up")
SAME = CLASSES.index("same")
DEPTH = 20              # levels of each side that are looked at
HORIZON = 100           # events from a row to the middle that its label compares with
WINDOWS = (50, 500)     # events that flows look back on
WARM_UP = max(WINDOWS)  # events before the first row: its windows are full
GREATEST = 65535        # of an integer
MIDDLE = 32768          # 0 of those that have a sign
MILLI = 10**5           # a thousandth of a coin, in the feed's 1e-8
TRAINED = 2 / 3         # of all events: the training part, in time the first

# One of each side, bids first.
SIDED = ("size at best", "size of level 2", "size of level 3", "size of 5 levels", "size of 10 levels", "size of 20 levels",
         "ticks to level 2", "ticks to level 5", "ticks to level 20", "orders at best",
         *(f"{what} in {window} events" for window in WINDOWS for what in ("size taken", "opened at best", "cancelled at best")))
SIGNED = (*(f"imbalance of {what}" for what in ("best", "5 levels", "20 levels")),
          *(f"move of the middle in {window} events" for window in WINDOWS), "side of the last trade")
PLAIN = ("spread", "events since the middle moved", "milliseconds for 50 events", "milliseconds for 500 events")
FEATURES = (*(f"{name}, {side}" for name in SIDED for side in ("bids", "asks")), *SIGNED, *PLAIN)


def _middle(tape):
    """Twice the middle, in cents: the best bid plus the best ask."""
    return tape.prices[:, :, 0].sum(axis=1)


def _windowed(values, window):
    """(N,): of ``values`` (N,) the sum of the last ``window``."""
    total = np.concatenate([np.zeros(window, np.int64), np.cumsum(values)])
    return total[window:] - total[:-window]


def _sided(tape):
    """(N, len(SIDED), 2)"""
    sizes, prices = tape.sizes // MILLI, tape.prices
    reached = np.cumsum(tape.sizes, axis=2) // MILLI
    columns = [sizes[:, :, k] for k in range(3)] + [reached[:, :, k - 1] for k in (5, 10, 20)]
    columns += [np.abs(prices[:, :, k - 1] - prices[:, :, 0]) for k in (2, 5, 20)] + [tape.orders]
    before = np.concatenate([prices[:1, :, 0], prices[:-1, :, 0]])     # best prices before the event
    for window in WINDOWS:
        for kind, what in ((MATCH, tape.size // MILLI), (OPEN, 1), (CANCEL, 1)):
            sides = []
            for side, better in ((BID, 1), (ASK, -1)):
                here = (tape.kind == kind) & (tape.side == side) & ((tape.price - before[:, side]) * better >= 0)
                sides.append(_windowed(here * what, window))
            columns.append(np.stack(sides, axis=1))
    return np.stack(columns, axis=1)


def _signed(tape):
    """(N, len(SIGNED)): 0 where both sides are the same, more where bids are stronger or the middle rose."""
    reached = np.cumsum(tape.sizes, axis=2)
    columns = []
    for count in (1, 5, 20):
        bids, asks = reached[:, :, count - 1].T
        columns.append(np.sign(bids - asks) * (np.abs(bids - asks) * 1000 // (bids + asks)))
    middle = _middle(tape)
    for window in WINDOWS:
        columns.append(middle - middle[np.maximum(np.arange(len(middle)) - window, 0)])
    trade = np.where(tape.kind == MATCH, np.where(tape.side == ASK, 1, -1), 0)     # an ask is taken by who buys
    last = np.maximum.accumulate(np.where(trade != 0, np.arange(len(trade)), -1))
    columns.append(np.where(last >= 0, trade[last], 0))
    return np.stack(columns, axis=1)


def _plain(tape):
    """(N, len(PLAIN))"""
    middle, index = _middle(tape), np.arange(len(tape.time))
    moved = np.concatenate([[True], middle[1:] != middle[:-1]])
    columns = [tape.prices[:, ASK, 0] - tape.prices[:, BID, 0], index - np.maximum.accumulate(np.where(moved, index, 0))]
    columns += [(tape.time - tape.time[np.maximum(index - window, 0)]) // 1000 for window in WINDOWS]
    return np.stack(columns, axis=1)


def features(tape):
    """Integers that describe the book after each event, int32 (N, len(FEATURES)), 0 to 65,535, named by :data:`FEATURES`.

    Sizes are thousandths of a coin, distances cents, imbalances thousandths; what has a sign has 32,768 for 0. What is more than
    65,535, or less than 0, is taken as that. Rows before :data:`WARM_UP` look back on fewer events than the others.
    """
    sided = _sided(tape)
    whole = np.concatenate([sided.reshape(len(sided), -1), _signed(tape) + MIDDLE, _plain(tape)], axis=1)
    return np.clip(whole, 0, GREATEST).astype(np.int32)


def mirrored(rows):
    """The same market with buyers and sellers exchanged: rows of :func:`features` of which the labels are turned over."""
    sided, signed = 2 * len(SIDED), 2 * len(SIDED) + len(SIGNED)
    found = rows.copy()
    found[:, :sided] = rows[:, :sided].reshape(len(rows), -1, 2)[:, :, ::-1].reshape(len(rows), -1)
    found[:, sided:signed] = np.minimum(2 * MIDDLE - rows[:, sided:signed], GREATEST)
    return found


def labels(tape, horizon):
    """0, 1 or 2 of :data:`CLASSES` for each event but the last ``horizon``: whether the middle stands lower, as high, or higher
    ``horizon`` events later. int64 (N - horizon,)."""
    middle = _middle(tape)
    return np.sign(middle[horizon:] - middle[:-horizon]) + 1


def parts(count, horizon, starts):
    """Events of each part, in time: list of int arrays.

    Parameters
    ----------
    count : int
        Events of the tape.
    horizon : int
    starts : list of int
        Where parts begin, rising. A part ends ``horizon`` events before the next one begins, or the tape ends: the event that a
        row's label looks at is one of the same part.
    """
    ends = [*starts[1:], count]
    return [np.arange(start, max(start, end - horizon)) for start, end in zip(starts, ends, strict=True)]


def tape_of(files):
    """The tape of the feed whose three files are given, {name: bytes}; at its end stands the very book that was supplied.

    Raises
    ------
    BookError
        It does not.
    """
    beginning, messages, ending = (json.loads(files[name]) for name in FILES)
    book = Book(beginning)
    tape = replay(book, messages, DEPTH)
    if book != Book(ending):
        raise BookError(f"{FILES[2]}: the book of the replay is another")
    return tape


def balanced(found):
    """Indices, rising: all rows whose label in ``found`` is not "same", and half as many of the others, evenly spaced, so that
    with their :func:`mirrored` ones there are as many of each class. Neighbouring rows say nearly the same; none is lost."""
    moved, still = np.flatnonzero(found != SAME), np.flatnonzero(found == SAME)
    count = min(len(still), len(moved) // 2)
    return np.sort(np.concatenate([moved, still[np.arange(count) * len(still) // max(count, 1)]]))


def split_in_time(tape, horizon=HORIZON):
    """{"train": (features, labels), "test": (features, labels)}.

    The training part is the first two thirds, :func:`balanced`, and behind that the same :func:`mirrored`; nothing says that
    a market falls more often than it rises. The test part is the last third, every event; ``horizon`` events before it are in
    neither.
    """
    rows, found = features(tape), labels(tape, horizon)
    train, test = parts(len(rows), horizon, [WARM_UP, round(len(rows) * TRAINED)])
    train = train[balanced(found[train])]
    return {"train": (np.concatenate([rows[train], mirrored(rows[train])]), np.concatenate([found[train], 2 - found[train]])),
            "test": (rows[test], found[test])}


def order_book(files):
    """The data set's parts, of its files {name: bytes}: see :func:`split_in_time`."""
    return split_in_time(tape_of(files))
