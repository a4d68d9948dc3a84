"""Tables of result files in pages of docs: between a line that names the command, and one that ends it."""

__all__ = ["insert"]


def insert(page, script, text):
    """Put ``text`` into ``page`` (Path), between the markers of ``benchmarks/SCRIPT``."""
    begin, end = f"<!-- python benchmarks/{script} --write -->\n", f"<!-- end of {script} -->\n"
    before, _, rest = page.read_text().partition(begin)
    _, found, after = rest.partition(end)
    assert found, f"{page}: it lacks {begin.strip()} or {end.strip()}"
    page.write_text(before + begin + text + end + after)
