"""README and docs: their commands parse, the files and benchmarks that they name are there, their links lead somewhere."""

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

from bnnhw import boards
from bnnhw.cli import VERBS, main

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
COMMAND = re.compile(r"(?:^|`)(?:\.venv/bin/)?(?:bnnhw|python -m bnnhw\.|(?:torchrun .*)-m bnnhw\.) ?([a-z]+\b[^`#\n]*)", re.M)
SHOWN = re.compile(r"^\$ (bnnhw .*)\n((?:(?!```).*\n)+)", re.M)
BENCHMARK = re.compile(r"python (benchmarks/\w+\.py)([^`#\n]*)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def identity(page):
    return page.name


def commands(text):
    """(verb, arguments) of every ``bnnhw VERB ...`` and ``python -m bnnhw.VERB ...`` of a text."""
    for found in COMMAND.findall(text):
        verb, *words = shlex.split(found)
        if verb in VERBS:
            yield verb, words


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise ValueError(message)


def parser(verb):
    name, _ = VERBS[verb]
    if name.startswith("bnnhw.train"):
        pytest.importorskip("torch")
    parser = Parser(prog=verb)
    importlib.import_module(name).add_arguments(parser)
    return parser


def wrong(verb, words):
    """What is wrong with a whole command, or nothing."""
    try:
        args = parser(verb).parse_args(words)
    except ValueError as error:
        return f"bnnhw {verb} {' '.join(words)}: {error}"
    if getattr(args, "board", None) not in (None, *boards.names()):
        return f"bnnhw {verb}: no board {args.board!r}"


@pytest.mark.parametrize("page", PAGES, ids=identity)
def test_commands_parse(page):
    """Those of blocks, whole."""
    text = "".join(BLOCK.findall(page.read_text()))
    found = [wrong(verb, words) for verb, words in commands(text)]
    assert not any(found), found


@pytest.mark.parametrize("page", PAGES, ids=identity)
def test_options_are_known(page):
    """Those of running text, which need not be whole."""
    for verb, words in commands(page.read_text().replace("\\|", "|")):
        known = parser(verb)._option_string_actions
        for word in words:
            option = word.strip("[]").split("=")[0]
            assert not option.startswith("-") or option in known, f"bnnhw {verb} {word}"


@pytest.mark.parametrize("page", PAGES, ids=identity)
def test_benchmarks_are_there(page):
    """And know each option that the page gives them."""
    for name, options in BENCHMARK.findall(page.read_text()):
        assert (ROOT / name).exists(), name
        source = (ROOT / name).read_text()
        for option in re.findall(r"--[\w-]+", options):
            assert option in source or option == "--write" and "run_or_write" in source, f"{name}: {option}"


def samples(page):
    """(words, lines shown) of every ``$ bnnhw ...`` of a page."""
    return [(shlex.split(command)[1:], lines.splitlines()) for command, lines in SHOWN.findall(page.read_text())]


@pytest.mark.parametrize("page", [page for page in PAGES if samples(page)], ids=identity)
def test_samples_are_what_is_said(page, tmp_path, monkeypatch, capsys):
    """``$ bnnhw ...`` in a page says the lines under it; ``...`` stands for any number of others."""
    monkeypatch.setenv("BNNHW_CACHE", str(tmp_path))
    for words, shown in samples(page):
        main([*words, "-o", str(tmp_path / "out")])
        said = "".join(capsys.readouterr())
        pattern = "".join(r"(.*\n)*" if line == "..." else re.escape(line) + r"\s*\n" for line in shown)
        assert re.fullmatch(pattern, said), f"bnnhw {' '.join(words)}:\n{said}"


def anchors(text):
    """GitHub's names of a page's headings."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, re.M)}


@pytest.mark.parametrize("page", PAGES, ids=identity)
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text()):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def test_wrong_ones_are_seen():
    text = "```sh\nbnnhw build --boord x   # y\n```\n\n`bnnhw run --virtual`, `.venv/bin/python -m bnnhw.flash DIR`"
    found = list(commands(text))
    assert found == [("build", ["--boord", "x"]), ("run", ["--virtual"]), ("flash", ["DIR"])]
    assert "--boord" in wrong(*found[0]) and wrong("build", ["--board", "icebraker"]) and not wrong(*found[1])
    assert sum(len(samples(page)) for page in PAGES) >= 4
    assert sum(len(list(commands(page.read_text()))) for page in PAGES) > 50
