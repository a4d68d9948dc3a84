"""The picture of a store: images per second against logic cells, routed beside estimated, the best ones joined."""

import math
from pathlib import Path

import jinja2

__all__ = ["frontier", "svg"]

TEMPLATES = Path(__file__).with_name("templates")
# Sizes in the units of the SVG: of the field of a panel, and what is left around it.
WIDTH, HEIGHT = 380, 270
LEFT, TOP, RIGHT, BOTTOM = 66, 40, 16, 46
ACROSS = 2              # panels beside each other
LINE = 20               # of the legend
KEY = 150               # width of an entry of the legend
ROOM = 0.08             # of the field, kept free at its edges
LEAST = 0.3             # decades that an axis shows
MOST_TICKS = 6          # about, on an axis that shows less than a decade
# Of boards, in their order. Shapes differ so that the picture can be read without colours (which are Okabe and Ito's).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#806000", "#56b4e9", "#444444")
SHAPES = ("circle", (4, 45), (3, 0), (4, 0), (3, 180), (5, 0), (3, 90), "star", (6, 0), (3, 270), "cross")
RADIUS = 6.5


def frontier(rows):
    """The rows that no other one beats: none has both fewer cells and more images per second, or one of them with the other
    equal. By cells, ascending."""
    best, found = -math.inf, []
    for row in sorted(rows, key=lambda row: (row["cells"], -row["images_per_s"])):
        if row["images_per_s"] > best:
            best = row["images_per_s"]
            found.append(row)
    return found


def _corners(radii, turn):
    return " ".join(f"{radius * math.sin(angle):.2f},{-radius * math.cos(angle):.2f}" for k, radius in enumerate(radii)
                    for angle in [math.radians(turn) + 2 * math.pi * k / len(radii)])


def _shape(number):
    """Corners around the origin, for a polygon; None is a circle."""
    shape = SHAPES[number % len(SHAPES)]
    if shape == "circle":
        return None
    if shape == "star":
        return _corners([1.35 * RADIUS, 0.6 * RADIUS] * 5, 0)
    if shape == "cross":
        arm, half = 1.25 * RADIUS, 0.4 * RADIUS
        return " ".join(f"{x:.2f},{y:.2f}" for x, y in (
            (-half, -arm), (half, -arm), (half, -half), (arm, -half), (arm, half), (half, half), (half, arm), (-half, arm),
            (-half, half), (-arm, half), (-arm, -half), (-half, -half)))
    corners, turn = shape
    return _corners([RADIUS * (1.3 if corners == 3 else 1.15)] * corners, turn)


class _Axis:
    """A logarithmic scale that shows all of ``values`` on ``length`` units."""
    def __init__(self, values, length):
        logs = [math.log10(value) for value in values]
        middle, half = (min(logs) + max(logs)) / 2, max(max(logs) - min(logs), LEAST) / 2
        self.low, self.high, self.length = middle - half, middle + half, length

    def __call__(self, value):
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round((ROOM + (1 - 2 * ROOM) * share) * self.length, 2)

    def ticks(self):
        """(place, text) of round numbers."""
        edge = (self.high - self.low) * ROOM / (1 - 2 * ROOM)
        first, last = 10 ** (self.low - edge), 10 ** (self.high + edge)
        if last < 10 * first:
            step = _round((last - first) / MOST_TICKS)
            return [(self(k * step), _short(k * step)) for k in range(math.ceil(first / step), math.floor(last / step) + 1)]
        digits = (1, 2, 5) if last < 100 * first else (1, 3) if last < 10_000 * first else (1,)
        decades = range(math.floor(math.log10(first)), math.ceil(math.log10(last)) + 1)
        return [(self(value), _short(value)) for decade in decades for digit in digits
                if first <= (value := digit * 10.0 ** decade) <= last]


def _round(least):
    """The least of 1, 2, 5, 10, ... that is at least so much."""
    decade = 10.0 ** math.floor(math.log10(least))
    return next(digit * decade for digit in (1, 2, 5, 10) if digit * decade >= least)


def _short(value):
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _point(row, x, y, key):
    place, guess = (x(row["cells"]), y(row["images_per_s"])), row["estimated_cells"]
    return {"x": place[0], "y": place[1], "guess": x(guess) if guess else None, **key[row["board"]], "text": (
        f"{row['board']}: {row['images_per_s']:,.0f} images/s in {row['cells']:,} cells"
        + (f" (estimated {guess:,})" if guess else "") + f", {row['fmax_hz'] / 1e6:.1f} MHz routed")}


def _panel(name, rows, number, key):
    x = _Axis([row[column] for row in rows for column in ("cells", "estimated_cells") if row[column]], WIDTH)
    y = _Axis([row["images_per_s"] for row in rows], HEIGHT)
    best = frontier(rows)
    line = [(x(row["cells"]), y(row["images_per_s"])) for row in best]
    steps = [f"M{line[0][0]},0 V{line[0][1]}", *(f"H{across} V{up}" for across, up in line[1:]), f"H{WIDTH}"]
    column, down = number % ACROSS, number // ACROSS
    return {"name": name, "left": LEFT + column * (LEFT + WIDTH + RIGHT), "top": TOP + down * (TOP + HEIGHT + BOTTOM),
            "x_ticks": x.ticks(), "y_ticks": y.ticks(), "frontier": " ".join(steps),
            "points": [_point(row, x, y, key) for row in rows if row not in best] + [_point(row, x, y, key) for row in best]}


def svg(rows):
    """The picture of the rows of a store that are done, a panel for each network.

    Returns
    -------
    str or None
        An SVG file; None if no row is done. The same rows give the same text.
    """
    rows = [row for row in rows if row["status"] == "done"]
    if not rows:
        return None
    names, boards = sorted({row["name"] for row in rows}), sorted({row["board"] for row in rows})
    key = {board: {"board": board, "corners": _shape(number), "colour": COLOURS[number % len(COLOURS)]}
           for number, board in enumerate(boards)}
    panels = [_panel(name, [row for row in rows if row["name"] == name], number, key) for number, name in enumerate(names)]
    columns, deep = min(len(names), ACROSS), math.ceil(len(names) / ACROSS)
    width, below = columns * (LEFT + WIDTH + RIGHT), deep * (TOP + HEIGHT + BOTTOM)
    each = width // KEY
    entries = [entry | {"x": 24 + number % each * KEY, "y": below + 16 + number // each * LINE}
               for number, entry in enumerate(key.values())]
    legend = below + 16 + math.ceil(len(entries) / each) * LINE
    found = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
                               trim_blocks=True, lstrip_blocks=True)
    return found.get_template("plot.svg").render(
        width=width, height=legend + 2 * LINE, field_width=WIDTH, field_height=HEIGHT, panels=panels, entries=entries,
        legend=legend, radius=RADIUS)
