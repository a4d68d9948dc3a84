"""The picture of docs/report.md: the page of the build that `make demo` makes, in a headless browser.

    python -m benchmarks.report_picture

Builds, simulates, places and routes (a few minutes), then needs a Chromium or Chrome: on PATH, or named by BNNHW_BROWSER.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from bnnhw import cli
from tests import browser

PICTURE = Path(__file__).parent.parent / "docs" / "report.png"
BUILD = ["build", "mnist-tfc", "--board", "icebreaker", "--scores", "--verify", "1000", "--bitstream", "--verify-netlist", "20"]
WIDTH, HEIGHT = 1280, 1480      # of the page, in pixels: down to the area


def shot(page, file, scheme):
    """The top of a page as a picture."""
    page.open(file, width=WIDTH, scheme=scheme)
    return Image.open(io.BytesIO(page.picture(HEIGHT))).convert("RGB")


def main():
    program = browser.find()
    if program is None:
        sys.exit(f"error: no browser: none of {', '.join(browser.NAMES)} is on PATH, and {browser.SETTING} names none")
    with tempfile.TemporaryDirectory() as folder:
        if status := cli.main([*BUILD, "-o", folder]):
            sys.exit(status)
        with browser.Page(program) as page:
            light, dark = (shot(page, Path(folder, "report.html"), scheme) for scheme in ("light", "dark"))
    # Light on the left, dark on the right of a line across the page.
    across = Image.new("L", light.size)
    for y in range(HEIGHT):
        edge = round(WIDTH * (0.78 - 0.2 * y / HEIGHT))
        across.paste(255, (edge, y, WIDTH, y + 1))
    Image.composite(dark, light, across).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
