"""A limit order book from Coinbase's level-3 feed: all orders, and after every event what stands near the middle.

A snapshot of the book has ``sequence``, ``bids`` and ``asks``, lists of [price, size, order id] as text; a message of the feed is
an object with ``type`` and ``sequence``, as the exchange's "full" channel sends it. Prices are cents here, sizes 1e-8 of a coin.
"""

import bisect
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation

import numpy as np

from .errors import UserError

__all__ = ["BID", "ASK", "OPEN", "CANCEL", "MATCH", "CHANGE", "Book", "BookError", "Tape", "replay"]

BID, ASK = 0, 1
OPEN, CANCEL, MATCH, CHANGE = range(4)      # kinds of events: an order comes, goes, is taken (a part of it), is made smaller
CENTS, COINS = 100, 10**8                   # units of a price, of a size
SIDES = {"buy": BID, "sell": ASK}
KEYS = {BID: "bids", ASK: "asks"}
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class BookError(UserError, ValueError):
    """A feed that does not fit the book, or is not a feed; the message names the message by its sequence number."""


def _units(text, unit):
    try:
        value = Decimal(text) * unit
        whole = int(value)
    except (InvalidOperation, TypeError, ValueError, OverflowError):
        raise BookError(f"{text!r} is not a number") from None
    if whole != value or whole < 0:
        raise BookError(f"{text!r} is not a multiple of 1/{unit} from 0 up")
    return whole


class Book:
    """All orders that rest, level by level in the order in which they will be served.

    Parameters
    ----------
    snapshot : dict
        Of the book, at some sequence number.

    Raises
    ------
    BookError
        An order is there twice, or something is missing or not a number.
    """
    def __init__(self, snapshot):
        self._where = {}            # order id -> (side, price)
        self._queues = ({}, {})     # of each side: price -> {order id: size}
        self._totals = ({}, {})     # of each side: price -> size of all its orders
        self._ranks = ([], [])      # of each side: prices as :meth:`_rank` counts them, the best first
        try:
            self.sequence = snapshot["sequence"]
            for side, key in KEYS.items():
                for price, size, order in snapshot[key]:
                    self._add(order, side, _units(price, CENTS), _units(size, COINS))
        except (KeyError, TypeError, ValueError, UserError) as error:
            raise BookError(f"snapshot: {_reason(error)}") from None

    @staticmethod
    def _rank(side, price):
        return price if side == ASK else -price

    def _add(self, order, side, price, size):
        if order in self._where:
            raise BookError(f"order {order} is there already")
        if not size:
            raise BookError(f"order {order} has no size")
        self._where[order] = side, price
        if price not in self._queues[side]:
            self._queues[side][price], self._totals[side][price] = {}, 0
            bisect.insort(self._ranks[side], self._rank(side, price))
        self._queues[side][price][order] = size
        self._totals[side][price] += size

    def _take(self, order, size):
        """Make an order smaller, or, where nothing is left of it, remove it."""
        side, price = self._where[order]
        queue = self._queues[side][price]
        if size > queue[order]:
            raise BookError(f"order {order} has {queue[order]}, not {size}")
        queue[order] -= size
        self._totals[side][price] -= size
        if not queue[order]:
            del queue[order], self._where[order]
        if not queue:
            del self._queues[side][price], self._totals[side][price]
            ranks = self._ranks[side]
            del ranks[bisect.bisect_left(ranks, self._rank(side, price))]
        return side, price, size

    def apply(self, message):
        """Let one message change the book.

        Returns
        -------
        (kind, side, price, size) or None
            The event: what became of an order of ``side`` at ``price``, and by how much the level's size changed. None where the
            book stays as it is (an order is received, or is done that never rested, or whose last part was taken before).

        Raises
        ------
        BookError
            A message is missing in front of this one, or this one does not fit the book.
        """
        try:
            if message["sequence"] != self.sequence + 1:
                raise BookError(f"comes after {self.sequence}: messages are missing")
            self.sequence += 1
            return getattr(self, f"_on_{message['type']}", self._on_unknown)(message)
        except (KeyError, TypeError, AttributeError, UserError) as error:
            number = message.get("sequence", "?") if isinstance(message, dict) else "?"
            raise BookError(f"message {number}: {_reason(error)}") from None

    def _on_received(self, message):
        return None

    _on_activate = _on_received

    def _on_unknown(self, message):
        raise BookError(f"type {message['type']!r} is unknown")

    def _on_open(self, message):
        event = SIDES[message["side"]], _units(message["price"], CENTS), _units(message["remaining_size"], COINS)
        self._add(message["order_id"], *event)
        return OPEN, *event

    def _on_match(self, message):
        order, price = message["maker_order_id"], _units(message["price"], CENTS)
        if self._where.get(order) != (SIDES[message["side"]], price):
            raise BookError(f"order {order} does not rest at {message['price']}")
        return MATCH, *self._take(order, _units(message["size"], COINS))

    def _on_done(self, message):
        order = message["order_id"]
        if order not in self._where:
            return None
        if message["reason"] != "canceled":
            raise BookError(f"order {order} is done, but {self._size(order)} of it still rest")
        if (left := _units(message["remaining_size"], COINS)) != self._size(order):
            raise BookError(f"order {order} has {self._size(order)}, not {left}")
        return CANCEL, *self._take(order, left)

    def _on_change(self, message):
        order = message["order_id"]
        if order not in self._where:
            return None
        old, new = (_units(message[key], COINS) for key in ("old_size", "new_size"))
        if old != self._size(order) or new > old:
            raise BookError(f"order {order} has {self._size(order)} and cannot go from {old} to {new}")
        return CHANGE, *self._take(order, old - new)

    def _size(self, order):
        side, price = self._where[order]
        return self._queues[side][price][order]

    def orders(self, side):
        """All orders of a side, the best price first, at a price in the order of serving: list of (price, size, order id)."""
        prices = (abs(rank) for rank in self._ranks[side])
        return [(price, size, order) for price in prices for order, size in self._queues[side][price].items()]

    def __eq__(self, other):
        """Whether sequence number, orders, sizes, prices and order of serving are the same."""
        return isinstance(other, Book) and self.sequence == other.sequence and all(
            self.orders(side) == other.orders(side) for side in KEYS)

    __hash__ = None

    def best(self, side, count):
        """The ``count`` best levels of a side: prices, sizes, and how many orders stand at the first.

        Raises
        ------
        BookError
            There are fewer levels.
        """
        prices = [abs(rank) for rank in self._ranks[side][:count]]
        if len(prices) < count:
            raise BookError(f"message {self.sequence}: there are {len(prices)} levels of {KEYS[side]}, but {count} are needed")
        return prices, [self._totals[side][price] for price in prices], len(self._queues[side][prices[0]])


def _reason(error):
    """What is wrong with an object of the feed, in our words."""
    if isinstance(error, KeyError):
        return f"there is no {error}"
    return str(error) if isinstance(error, UserError) else "it has not the form of the feed"


@dataclass(frozen=True)
class Tape:
    """What a feed of N events did to the book; in all arrays row n belongs to event n, the book is that after it.

    Attributes
    ----------
    time : int64 array (N,)
        Microseconds since 1970, as the exchange stamped them.
    kind, side : int8 arrays (N,)
        :data:`OPEN`, :data:`CANCEL`, :data:`MATCH` or :data:`CHANGE`; :data:`BID` or :data:`ASK`, of the resting order.
    price, size : int64 arrays (N,)
    prices, sizes : int64 arrays (N, 2, depth)
        The best levels of both sides, bids first, the best first.
    orders : int64 array (N, 2)
        How many stand at the best level.
    """
    time: np.ndarray
    kind: np.ndarray
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray
    prices: np.ndarray
    sizes: np.ndarray
    orders: np.ndarray


def replay(book, messages, depth):
    """Apply all ``messages`` to ``book``, which is the one of the end afterwards.

    Parameters
    ----------
    book : Book
        Of the beginning.
    messages : list of dict
        In order, without gaps.
    depth : int
        Levels of each side to write down.

    Returns
    -------
    Tape
        One row for each message that changed the book.

    Raises
    ------
    BookError
        A message that is missing or does not fit; fewer levels than ``depth``; bids not below asks.
    """
    rows, prices, sizes, orders = [], [], [], []
    for message in messages:
        event = book.apply(message)
        if event is None:
            continue
        (bids, bid_sizes, bid_orders), (asks, ask_sizes, ask_orders) = (book.best(side, depth) for side in (BID, ASK))
        if bids[0] >= asks[0]:
            raise BookError(f"message {book.sequence}: the best bid, {bids[0]} cents, is not below the best ask, {asks[0]}")
        rows.append((_microseconds(message), *event))
        prices.append((bids, asks))
        sizes.append((bid_sizes, ask_sizes))
        orders.append((bid_orders, ask_orders))
    time, kind, side, price, size = np.array(rows, np.int64).reshape(-1, 5).T
    shape = (-1, 2, depth)
    return Tape(time, kind.astype(np.int8), side.astype(np.int8), price, size, np.array(prices, np.int64).reshape(shape),
                np.array(sizes, np.int64).reshape(shape), np.array(orders, np.int64).reshape(-1, 2))


def _microseconds(message):
    try:
        return (datetime.fromisoformat(message["time"]) - EPOCH) // timedelta(microseconds=1)
    except (KeyError, TypeError, ValueError):
        raise BookError(f"message {message['sequence']}: time must be like 2018-07-13T20:47:11.025000Z, "
                        f"not {message.get('time')!r}") from None
