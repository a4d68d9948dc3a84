"""Jobs, their store, subprocesses that end with their parent, the picture."""
import dataclasses
import json
import random
import signal
import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as xml
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnhw import cli, models, tools
from bnnhw.exploring import command, plot, pools, worker
from bnnhw.exploring.jobs import Job, jobs, made_by
from bnnhw.exploring.store import COLUMNS, FORMAT, Store, StoreError

from . import cluster

JOB = Job("mnist-tfc", "ab" * 32, "icebreaker", 1000.0, None, False, 0, {})
KEY = "366e5d8820e4635f7de51cfca517325cf5d98522603c380bb8881e193b131877"      # on every machine
DONE = {"key": JOB.key, "status": "done", "reason": None, "seconds": 1.5, "worker": "here:1", "finished": "2026-01-01T00:00:00Z",
        "images_per_s": 1200.0, "cells": 2600, "cycles": 25_000}
TOOLS = ("YOSYS", "NEXTPNR_ICE40", "ICEPACK", "NEXTPNR_ECP5", "ECPPACK")
FAILED = DONE | {"status": "failed", "reason": "yosys failed", "images_per_s": None, "cells": None, "cycles": None}


@pytest.fixture(autouse=True)
def quick_tools(tmp_path, monkeypatch):
    """Tools of which nothing is asked but their version."""
    program = tmp_path / "tool"
    program.write_text("#!/bin/sh\necho tool 1.0\n")
    program.chmod(0o755)
    tools.find.cache_clear()
    made_by.cache_clear()
    for name in TOOLS:
        monkeypatch.setenv(f"BNNHW_{name}", str(program))
    yield program
    tools.find.cache_clear()
    made_by.cache_clear()


def some(count):
    """So many jobs, alike but for the rate, and their network's file."""
    return [(dataclasses.replace(JOB, fps=float(k), made_by=made_by(JOB.board)), b"a network") for k in range(1, count + 1)]


def test_the_key_is_what_the_job_is():
    assert JOB.key == KEY
    assert dataclasses.replace(JOB, name="another").key == JOB.key
    changed = {"network_sha256": "cd" * 32, "board": "hx8k", "fps": "max", "clock": "auto", "scores": True, "verify": 10,
               "made_by": {"yosys": "0.66"}}
    keys = {dataclasses.replace(JOB, **{name: value}).key for name, value in changed.items()}
    assert len(keys | {JOB.key}) == 1 + len(changed) == len(dataclasses.fields(Job))
    both = [dataclasses.replace(JOB, made_by=dict(order)).key for order in ([("a", "1"), ("b", "2")], [("b", "2"), ("a", "1")])]
    assert both[0] == both[1]


def test_every_combination_once():
    network = models.load("mnist-tfc").network
    found = jobs({"a": network, "b": network}, ["icebreaker", "ulx3s-25f"], rates=[1000.0, "max"], clocks=[None, 24e6])
    assert len(found) == len({job.key for job in found}) == 8
    assert {job.name for job in found} == {"a"} and {job.network_sha256 for job in found} == {network.digest}
    assert found[0].made_by["nextpnr-ice40"] == "tool 1.0" and found[-1].made_by["nextpnr-ecp5"] == "tool 1.0"
    assert {len(job.made_by["source_sha256"]) for job in found} == {64}
    assert found[1].options == ["--board", "icebreaker", "--bitstream", "--fps", "1000.0", "--clock", "24000000.0"]
    assert dataclasses.replace(JOB, fps=None, scores=True, verify=3).options == [
        "--board", "icebreaker", "--bitstream", "--verify", "3", "--scores"]


def test_one_row_whatever_happens(tmp_path):
    path = tmp_path / "runs.sqlite"
    other = dataclasses.replace(JOB, board="hx8k")
    with Store(path) as store, Store(path) as second:
        store.add(JOB, FAILED)
        assert store.finished() == set() and store.rows()[0]["reason"] == "yosys failed"
        second.add(JOB, DONE)
        store.add(JOB, FAILED)
        store.add(JOB, DONE | {"cells": 1})
        store.add(other, DONE | {"key": other.key, "status": "refused", "reason": "too small"})
        assert store.finished() == {JOB.key, other.key}
    with Store(path) as store:
        rows = store.rows()
    assert [(row["board"], row["status"], row["cells"]) for row in rows] == [
        ("hx8k", "refused", 2600), ("icebreaker", "done", 2600)]
    assert set(rows[0]) == set(COLUMNS) and rows[1]["fps"] == 1000.0 and json.loads(rows[1]["made_by"]) == {}


def test_what_is_no_store(tmp_path):
    (tmp_path / "text").write_text("not a database, but a text that is long enough to be one, if one looks at it quickly" * 9)
    (tmp_path / "empty").write_bytes(b"")
    with sqlite3.connect(tmp_path / "other") as db:
        db.execute("CREATE TABLE people (name)")
    with sqlite3.connect(tmp_path / "newer") as db:
        db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    db.close()
    for name, message in (("text", "file is not a database"), ("other", "it is a SQLite file, but not one of `bnnhw explore`"),
                          ("newer", f"it has format {FORMAT + 1}, and this bnnhw knows formats up to {FORMAT}"),
                          ("missing/file", "unable to open database file"), ("", "unable to open database file")):
        with pytest.raises(StoreError, match=f"{name}: {message}"):
            Store(tmp_path / name)
    with Store(tmp_path / "empty") as store:
        assert store.rows() == []


def test_a_job_that_goes_wrong(tmp_path):
    (job, model), = some(1)
    assert worker.perform(job, model, cluster.child(tmp_path, 0))["status"] == "done"
    for code, reason in (("sys.exit(3)", "exit status 3: it said nothing"), ("sys.exit('no luck')", "exit status 1: no luck"),
                         ("os.kill(os.getpid(), 9)", "signal 9: it said nothing"),
                         ("open(sys.argv[1] + '/outcome.json', 'w').write('{\"stat')", "exit status 0: it said nothing")):
        row = worker.perform(job, model, (sys.executable, "-c", f"import os, sys; {code}"))
        assert (row["status"], row["reason"], row["key"]) == ("failed", f"its process ended with {reason}", job.key)
    row = worker.perform(dataclasses.replace(job, made_by=job.made_by | {"yosys": "0.66"}), model)
    assert row["status"] == "failed" and row["reason"].endswith(": yosys is tool 1.0 here, the job asks for 0.66")


def test_the_network_that_arrives_is_checked(tmp_path):
    """By the real child."""
    (job, _), = some(1)
    row = worker.perform(job, models.path("mnist-tfc").read_bytes())
    assert (row["status"], row["reason"]) == ("failed", "another network has arrived than was sent")


def test_outcomes_of_the_real_child(tmp_path, quick_tools):
    """A network that does not fit is a result; tools that fail are not."""
    path = models.path("mnist-tfc")
    for board, fps, status, reason in (("icestick", "max", "refused", "the network does not fit hx1k: "),
                                       ("ulx3s-25f", 1000.0, "failed", "yosys failed with exit status 1:\n  crashed")):
        job, = jobs({"mnist-tfc": models.load(path).network}, [board], rates=[fps])
        quick_tools.write_text('#!/bin/sh\n[ "$1" = -V ] || { echo crashed; exit 1; }\necho tool 1.0\n')
        row = worker.perform(job, path.read_bytes())
        assert row["status"] == status and row["reason"].startswith(reason), row


@pytest.mark.slow
def test_figures_of_a_real_job(tmp_path, monkeypatch):
    """By the real child and the real tools: every column is set, those of place and route as the report has them."""
    for name in TOOLS:
        monkeypatch.delenv(f"BNNHW_{name}")
    made_by.cache_clear()
    tools.find.cache_clear()
    path = models.path("mnist-tfc")
    job, = jobs({"mnist-tfc": models.load(path).network}, ["hx8k"], rates=[1000.0], clocks=[24e6], scores=True, verify=3)
    row = worker.perform(job, path.read_bytes())
    with Store(tmp_path / "s.sqlite") as store:
        store.add(job, row)
        row, = store.rows()
    assert [name for name in COLUMNS if row[name] is None] == ["reason"] and row["status"] == "done", row["reason"]
    facts = json.loads(row["report"])
    for name in ("clock_hz", "images_per_s", "link_images_per_s", "cycles"):
        assert row[name] == facts[{"images_per_s": "core_fps", "link_images_per_s": "link_fps",
                                   "cycles": "cycles_per_inference"}.get(name, name)], name
    routed = facts["device"]
    for name in ("device", "cells", "cells_limit", "ffs", "brams", "brams_limit", "fmax_hz"):
        assert row[name] == routed[name.replace("cells", "luts")], name
    assert row["latency_s"] == facts["latency_cycles"] / facts["clock_hz"] and row["right"] == facts["verified"]["right"]
    assert row["images_per_s"] >= 1000 and row["fmax_hz"] >= row["clock_hz"] == 24e6
    assert row["estimated_brams"] == row["brams"]
    assert row["estimated_cells"] == pytest.approx(row["cells"], rel=0.1)
    assert row["estimated_fmax_hz"] == pytest.approx(row["fmax_hz"], rel=0.2)


@pytest.mark.parametrize("pool", [pools.subprocesses, pools.local])
def test_jobs_on_this_machine(tmp_path, pool):
    work, child = some(5), cluster.child(tmp_path, 0.3)
    found = list(pool(work, 2, partial(worker.perform, command=child)))
    assert sorted(job.fps for job, _ in found) == [1, 2, 3, 4, 5]
    assert all(row["status"] == "done" and row["key"] == job.key for job, row in found)


def test_without_dask(tmp_path, monkeypatch):
    monkeypatch.setattr(pools.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "distributed", None)
    (found,) = pools.local(some(1), 1, partial(worker.perform, command=cluster.child(tmp_path, 0)))
    assert found[1]["status"] == "done"


PARENT = """\
import sys
from functools import partial
from bnnhw.exploring import pools, worker
from bnnhw.exploring.jobs import Job
work = [(Job("n", "ab", "icebreaker", float(k), None, False, 0, {}), b"") for k in range(1, 7)]
for job, row in getattr(pools, sys.argv[1])(work, 2, partial(worker.perform, command=tuple(sys.argv[2:]))):
    print(job.fps, row["status"], flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("pool", ["subprocesses", "local"])
def test_tools_end_with_their_parent(tmp_path, pool, how):
    """Though each runs in a session of its own, and though nobody could tell them."""
    process = subprocess.Popen([sys.executable, "-c", PARENT, pool, *cluster.child(tmp_path, 60)], stderr=subprocess.DEVNULL)
    try:
        running = cluster.until(lambda: len(found := cluster.attempts(tmp_path)) == 2 and found, "two tools")
        assert all(cluster.alive(tool) for _, _, tool, _ in running)
        process.send_signal(how)
        cluster.until(lambda: not any(cluster.alive(tool) for _, _, tool, _ in running), "end of the tools", 10)
        cluster.until(lambda: not any(folder.exists() for *_, folder in running), "end of their folders", 10)
        assert process.wait(20) != 0
    finally:
        process.kill()
        process.wait()


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=12))
def test_frontier(points):
    rows = [{"cells": cells, "images_per_s": rate} for cells, rate in points]
    best = {(a, b) for a, b in points if not any((c, d) != (a, b) and c <= a and d >= b for c, d in points)}
    assert [(row["cells"], row["images_per_s"]) for row in plot.frontier(rows)] == sorted(best)


def some_rows(boards, networks=("one", "<two>", "three")):
    rng = random.Random(1)
    return [FAILED | {"name": "one", "board": "none"}] + [
        {"name": name, "board": board, "status": "done", "images_per_s": 10 ** rng.uniform(2, 6), "fmax_hz": 5e7,
         "cells": rng.randrange(900, 30_000), "estimated_cells": rng.choice([None, 1000, 20_000])}
        for board in boards for name in networks]


@pytest.mark.parametrize("count", [1, 3, 14])
def test_the_picture_shows_every_row(count):
    rows = some_rows([f"board-{k:02}" for k in range(count)])
    text = plot.svg(rows)
    assert text == plot.svg(rows)
    root = xml.fromstring(text)
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == 3 * count and sum("(estimated" in title for title in titles) == text.count("scale(0.62") > 0
    for row in rows[1:]:
        assert any(title.startswith(f"{row['board']}: {row['images_per_s']:,.0f} images/s in {row['cells']:,} cells")
                   for title in titles)
    x = plot._Axis([row["cells"] for row in rows[1:]], 100)
    assert all(0 < x(row["cells"]) < 100 for row in rows[1:]) and x.ticks()
    assert len({plot._shape(number) for number in range(11)}) == 11


def test_no_picture_of_nothing():
    assert plot.svg([FAILED | {"name": "one", "board": "none"}]) is None
    one = plot.svg(some_rows(["icebreaker"], ["one"])[1:])     # a single point, whose axes have no extent
    assert xml.fromstring(one) is not None and "nan" not in one


def test_the_command(tmp_path, monkeypatch, capsys):
    """What is there is not done again; what failed is."""
    child = cluster.child(tmp_path, 0)
    monkeypatch.setattr(command.pools, "local", lambda work, count: pools.subprocesses(
        work, count, lambda job, model: result(worker.perform(job, model, child), job)))
    broken = {"hx8k"}

    def result(row, job):
        if job.board in broken:
            return row | {"status": "failed", "reason": "yosys failed"}
        return row | {"brams": 3, "fmax_hz": 4e7, "estimated_cells": 99, "estimated_brams": 3, "estimated_fmax_hz": 5e7}
    monkeypatch.chdir(tmp_path)
    arguments = "explore mnist-tfc --route --boards icebreaker,hx8k --fps 7,9 --jobs 2 -o r.sqlite".split()
    assert cli.main(arguments) == 1
    first = capsys.readouterr()
    assert "4 jobs, 0 done before" in first.err and "mnist-tfc on hx8k --fps 7: failed: yosys failed" in first.out
    assert first.out.splitlines()[1].split() == "network board images/s cells RAMs MHz".split()
    assert first.out.splitlines()[2].split() == "mnist-tfc icebreaker 7 107 (99) 3 (3) 40.0 (50.0)".split()
    assert first.out.endswith("written to r.sqlite and r.svg\n") and xml.parse(tmp_path / "r.svg")
    broken.clear()
    assert cli.main(arguments) == 0
    assert "4 jobs, 2 done before" in capsys.readouterr().err
    assert cli.main(arguments) == 0
    assert "4 jobs, 4 done before" in capsys.readouterr().err
    assert len(cluster.attempts(tmp_path)) == 6
    with Store("r.sqlite") as store:
        assert [row["status"] for row in store.rows()] == ["done"] * 4


@pytest.mark.parametrize("arguments, message", [
    (["--jobs", "2"], "--jobs needs --route"), (["-o", "x"], "--output needs --route"), (["--fps", "1,x"], "separated by commas"),
    (["--scheduler", "tcp://127.0.0.1:1"], "--scheduler needs --route"), (["--fps", "0"], "it must be positive, not 0"),
    (["--route", "--jobs", "0"], "--jobs must be at least 1, not 0"), (["--route", "--clock", ""], "separated by commas"),
    (["--route", "--verify", "-1"], "--verify must be at least 0, not -1"),
    (["--route", "--jobs", "2", "--scheduler", "tcp://127.0.0.1:1"], "--jobs is for this machine"),
    (["--route", "-o", "x.svg"], "the picture would take its place; call it x.sqlite"),
    (["--boards", "arduino"], "arduino"), (["mnist-tfc", "--route"], "two networks are called 'mnist-tfc'"),
])
def test_wrong_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["explore", "mnist-tfc", *arguments])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_no_scheduler(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pools, "CONNECT_S", 1)
    for address in ("tcp://127.0.0.1:1", "nonsense", "nonsense:", "foo://x"):
        assert cli.main(["explore", "mnist-tfc", "--route", "--boards", "icebreaker", "--scheduler", address]) == 1
        assert f"error: no Dask scheduler answers at {address}" in capsys.readouterr().err
