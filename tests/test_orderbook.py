"""The order book: replay against a plain list of orders, integers without a look at the future, parts with gaps."""
import copy
import dataclasses
import json
import random

import numpy as np
import pytest

from bnnhw import bookmoves, datasets
from bnnhw.bookmoves import (
    FEATURES,
    SIDED,
    WARM_UP,
    balanced,
    features,
    labels,
    mirrored,
    parts,
    split_in_time,
)
from bnnhw.datasets import DatasetError
from bnnhw.orderbook import ASK, BID, CANCEL, CHANGE, MATCH, OPEN, Book, BookError, replay

SIDES, KEYS = ("buy", "sell"), ("bids", "asks")
DEPTH = 20


def cents(price):
    return f"{price // 100}.{price % 100:02}"


def coins(size):
    return f"{size // 10**8}.{size % 10**8:08}"


class Plain:
    """A book as one list of orders [side, price, size, id] in the order of their coming, and a market that makes messages."""
    def __init__(self, seed, depth=DEPTH + 5):
        self.rng, self.count = random.Random(seed), 0
        self.orders, self.messages = [], []
        for k in range(depth):
            for side, price in ((BID, 600_000 - 1 - 2 * k), (ASK, 600_000 + 1 + 2 * k)):
                for _ in range(self.rng.randint(1, 3)):
                    self.rest(side, price)

    def rest(self, side, price):
        self.count += 1
        self.orders.append([side, price, self.rng.randint(1, 10**8), f"order-{self.count}"])
        return self.orders[-1]

    def best(self, side):
        prices = [order[1] for order in self.orders if order[0] == side]
        return max(prices) if side == BID else min(prices)

    def snapshot(self):
        found = {"sequence": 1000 + len(self.messages)}
        for side, key in enumerate(KEYS):
            own = [order for order in self.orders if order[0] == side]
            own.sort(key=lambda order: order[1] if order[0] == ASK else -order[1])      # stable: who came first stays first
            found[key] = [[cents(price), coins(size), order] for _, price, size, order in own]
        return found

    def say(self, type, **fields):
        number = 1001 + len(self.messages)
        time = f"2018-07-13T20:47:{number // 100 % 60:02}.{number % 100:02}0000Z"
        self.messages.append({"type": type, "sequence": number, "time": time} | fields)

    def step(self):
        """One message or two; what the tape should have: a list of (kind, side, price, size)."""
        what = self.rng.choice(("open", "open", "cancel", "match", "match", "change", "received", "done"))
        side = self.rng.randint(0, 1)
        own = [order for order in self.orders if order[0] == side]
        enough = len({order[1] for order in own}) > DEPTH + 1
        if what == "open":
            reach = self.rng.choice((1, 3, 60))
            price = self.best(1 - side) + (self.rng.randint(1, reach) if side == ASK else -self.rng.randint(1, reach))
            _, price, size, name = self.rest(side, price)
            self.say("open", order_id=name, side=SIDES[side], price=cents(price), remaining_size=coins(size))
            return [(OPEN, side, price, size)]
        if what == "cancel" and enough:
            order = self.rng.choice(own)
            self.orders.remove(order)
            self.say("done", reason="canceled", order_id=order[3], side=SIDES[side], remaining_size=coins(order[2]))
            return [(CANCEL, *order[:3])]
        if what == "match" and enough:
            order = next(order for order in own if order[1] == self.best(side))
            size = self.rng.choice((order[2], self.rng.randint(1, order[2])))
            order[2] -= size
            self.say("match", maker_order_id=order[3], side=SIDES[side], price=cents(order[1]), size=coins(size))
            if not order[2]:
                self.orders.remove(order)
                self.say("done", reason="filled", order_id=order[3], side=SIDES[side], remaining_size="0.0")
            return [(MATCH, *order[:2], size)]
        if what == "change":
            order = self.rng.choice(own)
            less = self.rng.randint(0, order[2] - 1)
            old, order[2] = order[2], order[2] - less
            self.say("change", order_id=order[3], side=SIDES[side], old_size=coins(old), new_size=coins(order[2]))
            return [(CHANGE, *order[:2], less)]
        self.say("received" if what == "received" else "done", order_id="never rested", reason="canceled", side=SIDES[side])
        return []


def market(seed, steps):
    """(beginning, messages, ending, events, levels): of each event the sides' 20 best (price, size), and orders at the best."""
    plain = Plain(seed)
    beginning, events, levels = plain.snapshot(), [], []
    for _ in range(steps):
        for event in plain.step():
            events.append(event)
            seen = []
            for side in (BID, ASK):
                own = [order for order in plain.orders if order[0] == side]
                prices = sorted({order[1] for order in own}, reverse=side == BID)[:DEPTH]
                seen.append(([(price, sum(order[2] for order in own if order[1] == price)) for price in prices],
                             sum(order[1] == prices[0] for order in own)))
            levels.append(seen)
    return beginning, plain.messages, plain.snapshot(), events, levels


@pytest.mark.parametrize("seed", range(4))
def test_replay(seed):
    beginning, messages, ending, events, levels = market(seed, 400)
    book = Book(beginning)
    tape = replay(book, messages, DEPTH)
    assert book == Book(ending)
    assert list(zip(tape.kind.tolist(), tape.side.tolist(), tape.price.tolist(), tape.size.tolist(), strict=True)) == events
    for k, seen in enumerate(levels):
        for side, (best, orders) in enumerate(seen):
            assert list(zip(tape.prices[k, side].tolist(), tape.sizes[k, side].tolist(), strict=True)) == best
            assert tape.orders[k, side] == orders
    first, last = ([m["time"][17:19], m["time"][20:26]] for m in (messages[0], messages[-1]))
    assert 0 < tape.time[-1] - tape.time[0] <= (int(last[0]) - int(first[0])) * 10**6 + int(last[1]) - int(first[1])


@pytest.mark.parametrize("change", ["size", "order", "price", "sequence", "serving"])
def test_books_that_differ(change):
    """What `==` sees, so that the comparison with the supplied book means something."""
    beginning = Plain(0).snapshot()
    other = copy.deepcopy(beginning)
    place = next(k for k in range(30) if beginning["asks"][k][0] == beginning["asks"][k + 1][0])
    if change == "sequence":
        other["sequence"] += 1
    elif change == "serving":
        other["asks"][place:place + 2] = other["asks"][place:place + 2][::-1]
    else:
        column, value = {"price": (0, "6500.01"), "size": (1, "0.00000001"), "order": (2, "x")}[change]
        other["asks"][place][column] = value
    assert Book(beginning) == Book(copy.deepcopy(beginning)) != Book(other)


@pytest.mark.parametrize("message, reason", [
    ({"sequence": 1002}, "message 1002: comes after 1000: messages are missing"),
    ({}, "message 1001: there is no 'type'"), ("text", "message ?: it has not the form of the feed"),
    ({"type": "auction"}, "message 1001: type 'auction' is unknown"),
    ({"type": "open", "order_id": "order-1", "side": "buy", "price": "1.00", "remaining_size": "1"},
     "message 1001: order order-1 is there already"),
    ({"type": "open", "order_id": "x", "side": "buy", "price": "1.001", "remaining_size": "1"},
     "message 1001: '1.001' is not a multiple of 1/100 from 0 up"),
    ({"type": "open", "order_id": "x", "side": "buy", "price": "1", "remaining_size": "0"}, "message 1001: order x has no size"),
    ({"type": "open", "order_id": "x", "side": "buy", "price": "a", "remaining_size": "1"}, "message 1001: 'a' is not a number"),
    ({"type": "open", "order_id": "x", "side": "buy", "price": "7000", "remaining_size": "1"},
     "message 1001: the best bid, 700000 cents, is not below the best ask, 600001"),
    ({"type": "match", "maker_order_id": "x", "side": "buy", "price": "1", "size": "1"},
     "message 1001: order x does not rest at 1"),
    ({"type": "match", "maker_order_id": "order-1", "side": "buy", "price": "5999.99", "size": "10"},
     "message 1001: order order-1 has 500000000, not 1000000000"),
    ({"type": "done", "order_id": "order-1", "reason": "filled"},
     "message 1001: order order-1 is done, but 500000000 of it still rest"),
    ({"type": "done", "order_id": "order-1", "reason": "canceled", "remaining_size": "1"},
     "message 1001: order order-1 has 500000000, not 100000000"),
    ({"type": "change", "order_id": "order-1", "old_size": "5", "new_size": "6"},
     "message 1001: order order-1 has 500000000 and cannot go from 500000000 to 600000000"),
    ({"type": "change", "order_id": "order-1", "old_size": "5", "new_size": "4", "time": "soon"},
     "message 1001: time must be like 2018-07-13T20:47:11.025000Z, not 'soon'"),
])
def test_wrong_messages(message, reason):
    beginning = Plain(0).snapshot()
    assert beginning["bids"][0][2] == "order-1"
    beginning["bids"][0][1] = "5"
    if isinstance(message, dict):
        message = {"sequence": 1001, "time": "2018-07-13T20:47:11.025000Z"} | message
    with pytest.raises(BookError) as refusal:
        replay(Book(beginning), [message], DEPTH)
    assert str(refusal.value) == reason


@pytest.mark.parametrize("snapshot, reason", [
    ({}, "there is no 'sequence'"), ([], "it has not the form of the feed"),
    ({"sequence": 1, "bids": [["1"]]}, "it has not the form of the feed"),
    ({"sequence": 1, "bids": [["1", "1", "a"], ["1", "1", "a"]], "asks": []}, "order a is there already"),
])
def test_wrong_snapshots(snapshot, reason):
    with pytest.raises(BookError, match=f"^snapshot: {reason}$"):
        Book(snapshot)


def test_too_few_levels():
    beginning, messages, *_ = market(0, 5)
    with pytest.raises(BookError, match="^message 100[1-9]: there are 2[0-9] levels of bids, but 40 are needed$"):
        replay(Book(beginning), messages, 40)


def tape(seed, steps=900):
    beginning, messages, *_ = market(seed, steps)
    return replay(Book(beginning), messages, DEPTH)


def cut(tape, count):
    return dataclasses.replace(tape, **{field.name: getattr(tape, field.name)[:count] for field in dataclasses.fields(tape)})


def row_of(tape, n):
    """Row ``n`` of `features`, in plain Python."""
    def at(k):
        return [int(v) for v in tape.prices[k, :, 0]]

    def middle(k):
        return sum(at(k))

    found = {}
    for side, key in enumerate(KEYS):
        prices, sizes = tape.prices[n, side].tolist(), tape.sizes[n, side].tolist()
        own = {"size at best": sizes[0] // 10**5, "size of level 2": sizes[1] // 10**5, "size of level 3": sizes[2] // 10**5,
               "orders at best": int(tape.orders[n, side])}
        own |= {f"size of {k} levels": sum(sizes[:k]) // 10**5 for k in (5, 10, 20)}
        own |= {f"ticks to level {k}": abs(prices[k - 1] - prices[0]) for k in (2, 5, 20)}
        for window in (50, 500):
            taken, opened, cancelled = 0, 0, 0
            for k in range(max(0, n - window + 1), n + 1):
                best = at(max(k - 1, 0))[side]
                if tape.side[k] == side and (tape.price[k] >= best if side == BID else tape.price[k] <= best):
                    taken += int(tape.size[k]) // 10**5 if tape.kind[k] == MATCH else 0
                    opened += int(tape.kind[k] == OPEN)
                    cancelled += int(tape.kind[k] == CANCEL)
            own |= {f"size taken in {window} events": taken, f"opened at best in {window} events": opened,
                    f"cancelled at best in {window} events": cancelled}
        found |= {f"{name}, {key}": value for name, value in own.items()}
    for what, count in (("best", 1), ("5 levels", 5), ("20 levels", 20)):
        bids, asks = (sum(tape.sizes[n, side, :count].tolist()) for side in (BID, ASK))
        found[f"imbalance of {what}"] = 32768 + (bids > asks or -1) * (abs(bids - asks) * 1000 // (bids + asks))
    for window in (50, 500):
        back = max(n - window, 0)
        found[f"move of the middle in {window} events"] = 32768 + middle(n) - middle(back)
        found[f"milliseconds for {window} events"] = int(tape.time[n] - tape.time[back]) // 1000
    trades = [k for k in range(n + 1) if tape.kind[k] == MATCH]
    found["side of the last trade"] = 32768 + (0 if not trades else 1 if tape.side[trades[-1]] == ASK else -1)
    found["spread"] = at(n)[1] - at(n)[0]
    moves = [k for k in range(1, n + 1) if middle(k) != middle(k - 1)]
    found["events since the middle moved"] = n - (moves[-1] if moves else 0)
    return [min(max(found[name], 0), 65535) for name in FEATURES]


def test_features():
    whole = tape(1)
    rows = features(whole)
    assert rows.dtype == np.int32 and rows.shape == (len(whole.time), len(FEATURES)) and len(set(FEATURES)) == len(FEATURES)
    for n in [0, 1, 2, 49, 50, 51, 499, 500, 501, *range(510, len(rows), 7)]:
        assert rows[n].tolist() == row_of(whole, n), n
    constant = {name for name, reach in zip(FEATURES, np.ptp(rows[WARM_UP:], axis=0), strict=True) if not reach}
    assert all(name.startswith("ticks") for name in constant)


@pytest.mark.parametrize("count", [1, 2, 60, 540])
def test_no_look_ahead(count):
    """A row is what it would be had the feed ended there."""
    whole = tape(2)
    assert np.array_equal(features(cut(whole, count)), features(whole)[:count])


def exchanged(tape):
    """The same feed with buyers and sellers exchanged, prices counted from the other end."""
    top = 2 * 600_000
    return dataclasses.replace(tape, side=1 - tape.side, price=top - tape.price, prices=top - tape.prices[:, ::-1],
                               sizes=tape.sizes[:, ::-1], orders=tape.orders[:, ::-1])


def test_mirrored():
    whole = tape(3)
    other = exchanged(whole)
    assert np.array_equal(mirrored(features(whole)), features(other))
    assert np.array_equal(mirrored(mirrored(features(whole))), features(whole))
    assert np.array_equal(2 - labels(whole, 10), labels(other, 10)) and set(labels(whole, 10)) == {0, 1, 2}
    assert mirrored(np.zeros((1, len(FEATURES)), np.int32))[0, 2 * len(SIDED)] == 65535


@pytest.mark.parametrize("horizon", [1, 7, 100])
def test_labels(horizon):
    whole = tape(4, 300)
    middle = [int(bid) + int(ask) for bid, ask in whole.prices[:, :, 0]]
    want = [1 + (after > now) - (after < now) for now, after in zip(middle, middle[horizon:], strict=False)]
    assert labels(whole, horizon).tolist() == want


@pytest.mark.parametrize("count, horizon, starts", [
    (1000, 100, [50, 500, 700]), (30, 1, [0, 10]), (30, 12, [0, 10, 25]), (5, 5, [0])])
def test_parts(count, horizon, starts):
    """Labels look at events of their own part; all rows that can be are there."""
    found = parts(count, horizon, starts)
    for part, start, end in zip(found, starts, [*starts[1:], count], strict=True):
        assert part.tolist() == [n for n in range(start, end) if n + horizon < end]


@pytest.mark.parametrize("downs, sames, ups", [(3, 20, 5), (1, 1, 1), (4, 2, 4), (0, 9, 0), (2, 0, 1)])
def test_balanced(downs, sames, ups):
    found = np.random.default_rng(downs).permutation(np.repeat([0, 1, 2], (downs, sames, ups)))
    chosen = balanced(found)
    assert (np.diff(chosen) > 0).all() and set(np.flatnonzero(found != 1)) <= set(chosen)
    assert np.count_nonzero(found[chosen] == 1) == min(sames, (downs + ups) // 2)


def test_split_in_time():
    """The training part is that of a feed that ends before the test part begins; it has each class as often."""
    whole = tape(6, 1800)
    count, horizon = len(whole.time), 40
    start = round(count * 2 / 3)
    found = split_in_time(whole, horizon)
    rows, truth = found["test"]
    assert np.array_equal(rows, features(whole)[start:count - horizon])
    assert np.array_equal(truth, labels(whole, horizon)[start:])
    rows, truth = found["train"]
    half = len(rows) // 2
    assert np.array_equal(mirrored(rows[:half]), rows[half:]) and np.array_equal(2 - truth[:half], truth[half:])
    down, same, up = np.bincount(truth)
    assert down == up and up - 1 <= same <= up
    early = {tuple(row) for row in features(cut(whole, start))[WARM_UP:-horizon].tolist()}
    assert {tuple(row) for row in rows[:half].tolist()} <= early
    seen = labels(cut(whole, start), horizon)[WARM_UP:]        # of the first two thirds alone
    assert np.array_equal(truth[:half], seen[balanced(seen)])


def test_the_real_feed():
    """The replay gives the supplied book (else `tape_of` fails); figures of docs/orderbook.md."""
    try:
        files = datasets.files("order-book", "test")
    except DatasetError as error:
        pytest.skip(f"the order book cannot be had here: {error}")
    whole = bookmoves.tape_of(files)
    middle = whole.prices[:, :, 0].sum(axis=1)
    assert len(json.loads(files["messages.json"])) == 36743 and len(whole.time) == 23926
    assert np.count_nonzero(np.diff(middle)) == 138 and np.abs(np.diff(middle)).max() == 2 * 177
    found = split_in_time(whole)
    assert found["train"][0].shape == (4878, len(FEATURES)) and found["test"][0].shape == (7875, len(FEATURES))
    assert np.bincount(found["train"][1]).tolist() == [1626] * 3 and np.bincount(found["test"][1]).tolist() == [293, 6843, 739]
    part = datasets.DATASETS["order-book"].part("test", files)
    assert np.array_equal(part.images, found["test"][0]) and part.classes == ("down", "same", "up") and part.greatest == 65535


def test_another_closing_book():
    beginning, messages, ending, *_ = market(5, 50)
    ending["bids"][3][1] = "0.5"
    files = {name: json.dumps(what).encode() for name, what in zip(bookmoves.FILES, (beginning, messages, ending), strict=True)}
    with pytest.raises(BookError, match="^ending_level_3.json: the book of the replay is another$"):
        bookmoves.tape_of(files)
