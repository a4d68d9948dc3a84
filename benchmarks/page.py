"""Tables of result files in pages of docs: between a line that names the command, and one that ends it."""

import argparse
from pathlib import Path

__all__ = ["DOCS", "insert", "run_or_write"]

DOCS = Path(__file__).parent.parent / "docs"


def insert(page, script, text):
    """Put ``text`` into ``page`` (Path), between the markers of ``benchmarks/SCRIPT``."""
    begin, end = f"<!-- python benchmarks/{script} --write -->\n", f"<!-- end of {script} -->\n"
    before, _, rest = page.read_text().partition(begin)
    _, found, after = rest.partition(end)
    assert found, f"{page}: it lacks {begin.strip()} or {end.strip()}"
    page.write_text(before + begin + text + end + after)


def run_or_write(what, page, script, text, run):
    """The command line of ``benchmarks/SCRIPT``: ``run()``, or with ``--write`` put ``text()`` into ``docs/PAGE``."""
    arguments = argparse.ArgumentParser(description=what.partition("\n")[0])
    arguments.add_argument("--write", action="store_true", help=f"write the table into docs/{page}")
    if arguments.parse_args().write:
        insert(DOCS / page, script, text())
    else:
        run()
