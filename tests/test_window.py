# amaranth: UnusedElaboratable=no
"""The window buffer: every word of every window, to the cycle of its model; its two depths are the least."""
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw.gateware.window import ChannelWindows, Geometry, Windows, border_classes
from bnnhw.stages import window_timing

from .beside import drive

WIDTH, FILL = 9, 0b101010101


def expected(images, geometry, repeats, channels):
    """(word, places cut off at top, bottom, left, right) of all windows, from images with -1 around them."""
    top, bottom, left, right = geometry.padding
    (kh, kw), (down, across) = geometry.kernel, geometry.stride
    found = []
    for image in images:
        padded = np.pad(image, ((top, bottom), (left, right), (0, 0)), constant_values=-1)
        for y in range(0, padded.shape[0] - kh + 1, down):
            for x in range(0, padded.shape[1] - kw + 1, across):
                window = padded[y:y + kh, x:x + kw]
                order = window.transpose(2, 0, 1) if channels else window
                cut = (max(0, top - y), max(0, y + kh - top - image.shape[0]),
                       max(0, left - x), max(0, x + kw - left - image.shape[1]))
                found += [(FILL if word < 0 else int(word), cut) for word in order.ravel()] * repeats
    return found


def make(geometry, repeats, depth):
    facts = dict(image=geometry.image, groups=geometry.groups, kernel=geometry.kernel, stride=geometry.stride,
                 padding=geometry.padding, depth=depth)
    if repeats is None:
        return ChannelWindows(width=WIDTH, fill=FILL, **facts), window_timing.Window(**facts)
    return Windows(width=WIDTH, fill=FILL, repeats=repeats, **facts), window_timing.Window(repeats=repeats, **facts)


def check(geometry, repeats, depth, images=3, p_valid=1.0, p_ready=1.0, seed=0):
    """Run random images through a window buffer and compare everything; the cycles it took."""
    pixels = np.random.default_rng(seed).integers(0, 1 << WIDTH, (images, *geometry.image, geometry.groups))
    want = expected(pixels, geometry, repeats or 1, repeats is None)
    dut, model = make(geometry, repeats, depth)
    got, times = drive(dut, model, pixels.ravel().tolist(), len(want), p_valid=p_valid, p_ready=p_ready, seed=seed)
    assert [payload.word for payload in got] == [word for word, _ in want]
    (rows, _), (columns, _) = geometry.borders
    borders = [divmod(payload.border, len(columns)) for payload in got]
    assert [(*rows[row], *columns[column]) for row, column in borders] == [cut for _, cut in want]
    return times[-1] + 1


@st.composite
def geometries(draw, most=6):
    image = draw(st.tuples(st.integers(1, most), st.integers(1, most)))
    padding, kernel = [], []
    for size in image:
        k = draw(st.integers(1, size + 2))
        before, after = draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))
        if size + before + after < k:
            before = after = k - 1
        kernel.append(k)
        padding += [before, after]
    return Geometry(image, draw(st.integers(1, 3)), kernel, draw(st.tuples(st.integers(1, 4), st.integers(1, 4))), padding)


def live_of(geometry, repeats):
    return window_timing.live_depth(**facts_of(geometry, repeats))


def facts_of(geometry, repeats):
    return dict(image=geometry.image, groups=geometry.groups, kernel=geometry.kernel, stride=geometry.stride,
                padding=geometry.padding, repeats=repeats)


@settings(max_examples=25, deadline=None)
@given(geometry=geometries(), repeats=st.sampled_from([None, 1, 2, 3]), more=st.integers(0, 9),
       p_valid=st.sampled_from([1.0, 0.6, 0.2]), p_ready=st.sampled_from([1.0, 0.6, 0.2]), seed=st.integers(0, 99))
def test_any_geometry(geometry, repeats, more, p_valid, p_ready, seed):
    check(geometry, repeats, live_of(geometry, repeats) + more, 3, p_valid, p_ready, seed)


CORNERS = [
    Geometry((1, 1), 1, (1, 1), (1, 1), (0, 0, 0, 0)), Geometry((1, 1), 3, (3, 3), (1, 1), (1, 1, 1, 1)),
    Geometry((4, 5), 2, (4, 5), (1, 1), (0, 0, 0, 0)), Geometry((7, 7), 1, (2, 2), (3, 3), (0, 0, 0, 0)),
    Geometry((7, 6), 1, (1, 1), (4, 4), (0, 0, 0, 0)), Geometry((3, 3), 1, (3, 3), (1, 1), (2, 2, 2, 2)),
    Geometry((2, 5), 1, (3, 3), (2, 1), (2, 2, 1, 0)), Geometry((5, 1), 4, (3, 1), (2, 2), (1, 1, 0, 0)),
]


@pytest.mark.parametrize("geometry", CORNERS)
@pytest.mark.parametrize("repeats", [None, 1, 3])
def test_corners(geometry, repeats):
    facts = facts_of(geometry, repeats)
    for depth in (live_of(geometry, repeats), window_timing.rate_depth(**facts)):
        check(geometry, repeats, depth)
        check(geometry, repeats, depth, p_valid=0.5, p_ready=0.5)


@settings(max_examples=100, deadline=None)
@given(geometry=geometries(), repeats=st.sampled_from([None, 1, 2, 4]))
def test_depths_are_the_least(geometry, repeats):
    """Below `live` nothing comes out in the end, below `rate` images take longer, and from there on they do not."""
    facts = facts_of(geometry, repeats)
    live, rate = window_timing.live_depth(**facts), window_timing.rate_depth(**facts)
    best = max(geometry.words, len(window_timing.Window(depth=1, **facts).needs))
    assert live <= rate
    for depth in range(1, rate + 3):
        found = window_timing.interval(depth=depth, **facts)
        if depth < live:
            assert found is None
        else:
            assert found > best if depth < rate else found == best


@pytest.mark.parametrize("depth, interval", [(111, 6084), (110, 6085), (59, 6136), (58, None)])
def test_depths_of_a_row_of_28(depth, interval):
    """3x3 windows over 28x28: 676 windows of 9 words; a ring that waits for whole windows needs 118 words for 6,084 cycles."""
    facts = facts_of(Geometry((28, 28), 1, (3, 3), (1, 1), (0, 0, 0, 0)), 1)
    assert (window_timing.live_depth(**facts), window_timing.rate_depth(**facts)) == (59, 111)
    assert window_timing.interval(depth=depth, **facts) == interval


@pytest.mark.parametrize("repeats", [None, 2])
@pytest.mark.parametrize("geometry", [
    Geometry((5, 6), 2, (3, 3), (1, 1), (1, 1, 1, 1)), Geometry((6, 7), 3, (2, 2), (2, 2), (0, 0, 0, 0)),
    Geometry((7, 6), 2, (1, 1), (2, 3), (0, 0, 0, 0)),
])
def test_interval(geometry, repeats):
    """From one image to the next, the component takes as long as computed: with `rate`, one word less, and `live`."""
    facts = facts_of(geometry, repeats)
    live, rate = window_timing.live_depth(**facts), window_timing.rate_depth(**facts)
    for depth in {live, max(live, rate - 1), rate}:
        # Whole periods, should images not all take equally long.
        times = [check(geometry, repeats, depth, images) for images in (3, 3 + 2)]
        assert times[1] - times[0] == 2 * window_timing.interval(depth=depth, **facts)


@pytest.mark.slow
@pytest.mark.parametrize("depth, interval", [(111, 6084), (110, 6085), (59, 6136)])
def test_interval_of_28(depth, interval):
    geometry = Geometry((28, 28), 1, (3, 3), (1, 1), (0, 0, 0, 0))
    assert check(geometry, 1, depth, 4) - check(geometry, 1, depth, 3) == interval


def small_geometries(most):
    """All of images up to ``most`` by ``most``."""
    along = [(size, kernel, stride, before, after) for size in range(1, most + 1) for kernel in range(1, size + 2)
             for stride in range(1, min(size, kernel) + 2) for before in range(kernel) for after in range(kernel)
             if size + before + after >= kernel]
    for (h, kh, down, top, bottom), (w, kw, right, *sides) in itertools.product(along, along):
        yield Geometry((h, w), 1, (kh, kw), (down, right), (top, bottom, *sides))


def stuck(geometry, repeats, depth, images=3):
    """Whether a component with ``depth`` does not bring ``images`` to an end."""
    dut, model = make(geometry, repeats, depth)
    count = images * len(model.needs)
    got, _ = drive(dut, model, [1] * (images * geometry.words), count, patience=10)
    return len(got) < count


def test_component_with_too_little_hangs():
    """20 of all small ones."""
    hangs = [geometry for geometry in small_geometries(3) if live_of(geometry, 1) > 1]
    for geometry in hangs[::len(hangs) // 20]:
        assert stuck(geometry, 1, live_of(geometry, 1) - 1)
        assert not stuck(geometry, None, live_of(geometry, None))


@pytest.mark.slow
def test_model_with_too_little_hangs():
    """All small ones."""
    for geometry in small_geometries(3):
        facts = facts_of(geometry, 1)
        live = window_timing.live_depth(**facts)
        assert window_timing.interval(depth=live, **facts) is not None
        assert live == 1 or window_timing.interval(depth=live - 1, **facts) is None


def test_timing_is_independent_of_data():
    geometry, taken = Geometry((4, 4), 1, (3, 3), (1, 1), (1, 1, 1, 1)), []
    for value in (0, 511):
        dut, model = make(geometry, 2, 20)
        taken.append(drive(dut, model, [value] * 48, 3 * 16 * 18, p_valid=0.7, p_ready=0.7, seed=5)[1])
    assert taken[0] == taken[1]


def test_border_classes():
    assert border_classes(5, 3, 1, 1, 1) == ([(1, 0), (0, 0), (0, 1)], [0, 1, 1, 1, 2])
    assert border_classes(1, 3, 1, 1, 1) == ([(1, 1)], [0])
    assert border_classes(6, 2, 2, 0, 0) == ([(0, 0)], [0, 0, 0])


@pytest.mark.parametrize("change, message", [
    (dict(width=0), "width must be a positive integer, not 0"), (dict(depth=0), "depth must be a positive integer, not 0"),
    (dict(fill=512), "fill must have 9 bits, not 512"), (dict(kernel=(9, 3)), r"a kernel of \(9, 3\) does not fit into \(4, 4\)"),
    (dict(padding=(3, 0, 0, 0)), r"padding must be at least 0 and less than the kernel \(3, 3\), not \(3, 0, 0, 0\)"),
    (dict(stride=(0, 1)), r"stride must be positive, not \(0, 1\)"),
])
def test_refusals(change, message):
    facts = dict(width=WIDTH, image=(4, 4), groups=1, kernel=(3, 3), stride=(1, 1), padding=(0,) * 4, fill=0, repeats=1, depth=9)
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        Windows(**(facts | change))
