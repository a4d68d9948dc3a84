"""The path from Python that the package's docstring shows, run as it stands there."""
import textwrap

import bnnhw


def test_docstring(capsys):
    lines = bnnhw.__doc__.split("::\n\n")[1]
    code = textwrap.dedent(lines)
    assert len([line for line in code.splitlines() if line.strip()]) == 10
    exec(compile(code, "docstring", "exec"), {})
    accuracy, rate = map(float, capsys.readouterr().out.split())
    assert accuracy > 0.9 and rate > 100_000
