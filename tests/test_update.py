"""`bnnhw update`: another network in a bitstream, compared with what the tools make of it."""
import json
import re
import shutil

import pytest

from bnnhw import accelerator, artifact, boards, cli, devices, estimate, implement, planfile, tools
from bnnhw.anchors import anchor
from bnnhw.artifact import Artifact
from bnnhw.bitstream import identity
from bnnhw.boards.base import TOP as BOARD_TOP
from bnnhw.lower import lower
from bnnhw.updating.cells import FORMATS
from bnnhw.updating.contents import Memory, memories, with_placeholders
from bnnhw.updating.patch import patched

from .networks import dense_network
from .test_updating import contents, plan_of, retrained

BOARD = "icebreaker"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Networks of one shape, one with another input, one of another shape; an updatable build of the first."""
    folder = tmp_path_factory.mktemp("update")
    for name, network in (("first", retrained((16, 3), 1)), ("second", retrained((16, 3), 2)),
                          ("other", retrained((16, 3), 2, binarize=8)), ("wider", retrained((18, 3), 1)),
                          ("deeper", dense_network([16, 3, 3], (4, 4, 1)))):
        artifact.save(folder / f"{name}.bnn", Artifact(network, ("a", "b", "c")))
    arguments = ["build", str(folder / "first.bnn"), "--board", BOARD, "--updatable", "--bitstream", "--fps", "5000", "--scores"]
    assert cli.main([*arguments, "-o", str(folder / "built")]) == 0
    return folder


def ram_data(asc):
    """The design but for its block RAMs, and what these hold."""
    blocks = re.findall(r"\.ram_data (\d+ \d+)\n((?:[0-9a-f]{64}\n)+)", asc)
    return re.sub(r"(\.ram_data .*\n)(?:[0-9a-f]{64}\n)+", r"\1", asc), dict(blocks)


def test_update(folder, capsys, monkeypatch):
    """The new bitstream is the old one but for its block RAMs; its netlist computes what the new network's golden model does."""
    monkeypatch.setattr(implement, "synthesize", None)
    monkeypatch.setattr(implement, "route", None)
    out = folder / "updated"
    assert cli.main(["update", str(folder / "built"), str(folder / "second.bnn"), "-o", str(out), "--verify-netlist", "12"]) == 0
    said = capsys.readouterr().out
    assert "12 images in the synthesized netlist, 0 mismatches" in said and re.search(r"written to \S+ in [\d.]+ s; ", said)
    old, new = (json.loads((where / "report.json").read_text()) for where in (folder / "built", out))
    assert new["netlist"]["images"] == 12 and new["device"] == old["device"] and new["tools"] == old["tools"]
    assert old["model"]["network_sha256"] != new["model"]["network_sha256"] == artifact.load(folder / "second.bnn").network.digest
    assert new["base_sha256"] == old["base_sha256"]
    network, board = artifact.load(folder / "first.bnn").network, boards.find(BOARD)
    plan = planfile.loads((folder / "built" / "plan.toml").read_text(), network, lower)
    device = devices.find(board.device)
    assert old["device"]["brams"] == estimate.of_plan(plan, device).brams + estimate.of_wrapper(board, plan).brams
    (rest, ours), (others_rest, theirs) = (ram_data((where / file).read_text()) for where, file in
                                           ((out, "second.asc"), (folder / "built", "first.asc")))
    assert rest == others_rest and ours.keys() == theirs.keys() and ours != theirs
    # What was packed is read back by a tool of its own.
    tools.find("iceunpack").run(["second.bin", "back.asc"], cwd=out)
    _, back = ram_data((out / "back.asc").read_text())
    assert {place: data for place, data in back.items() if place in ours and data.strip("0\n")} == {
        place: data for place, data in ours.items() if data.strip("0\n")}
    # Once more, and back again: the first bitstream, to the byte.
    assert cli.main(["update", str(out), str(folder / "first.bnn"), "-o", str(folder / "again")]) == 0
    for file in ("first.bin", "first.asc", "first_netlist.v", "first.v"):
        assert (folder / "again" / file).read_bytes() == (folder / "built" / file).read_bytes(), file


@pytest.mark.parametrize("model, message", [
    ("other", "layer 'binarize': what is in logic differs (shape, kinds of values, thresholds of a layer without weights, "
              "scales), and only block RAM can be updated: build anew"),
    ("wider", "layers 'class', 'fc1', 'fc2': what is in logic differs"), ("deeper", "deeper has not the shape of first: "),
    ("missing", "there is no such file"),
])
def test_refused_networks(folder, model, message, capsys):
    assert cli.main(["update", str(folder / "built"), str(folder / f"{model}.bnn"), "-o", str(folder / "refused")]) == 1
    assert message in capsys.readouterr().err and not (folder / "refused").exists()


def test_refused_folders(folder, capsys, tmp_path):
    def refused(message, where=tmp_path / "build"):
        assert cli.main(["update", str(where), str(folder / "second.bnn"), "-o", str(tmp_path / "out")]) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1 and not (tmp_path / "out").exists(), error
    refused("it is not a folder that `bnnhw build` wrote", tmp_path / "nothing")
    shutil.copytree(folder / "built", tmp_path / "build")
    for file, message in (("first_base.asc", "a file of first_base.v, first_base_board.v, first_base_netlist.v, first_base.asc "
                                             "was altered: build it again"),
                          ("plan.toml", "report.json or plan.toml is missing or damaged"), ("report.json", "damaged")):
        kept = (tmp_path / "build" / file).read_bytes()
        (tmp_path / "build" / file).write_bytes(kept[:200])
        refused(message)
        (tmp_path / "build" / file).write_bytes(kept)
    (tmp_path / "build" / "first_base.asc").unlink()
    refused("first_base.asc is missing: build it again")
    facts = json.loads((tmp_path / "build" / "report.json").read_text())
    (tmp_path / "build" / "report.json").write_text(json.dumps({key: facts[key] for key in facts if key != "why"}))
    refused("report.json or plan.toml is missing or damaged")
    del facts["base_sha256"]
    (tmp_path / "build" / "report.json").write_text(json.dumps(facts))
    refused("its weights and thresholds are in logic: build it with --updatable --bitstream")


@pytest.mark.parametrize("arguments, message", [
    (["build", "mnist-tfc", "--updatable"], "--updatable needs --board"),
    (["build", "mnist-tfc", "--board", BOARD, "--updatable", "--plan", "p.toml"], "--updatable cannot change them"),
    (["update", "x", "y", "--verify", "-1"], "--verify must not be negative, not -1"),
])
def test_wrong_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2 and message in capsys.readouterr().err


def test_tables_cannot_be_updated(capsys, tmp_path):
    assert cli.main(["build", "mnist-lut4", "--board", "hx8k", "--updatable", "-o", str(tmp_path / "out")]) == 1
    assert "error: --updatable: there is no layer with weights" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", [BOARD, "ulx3s-25f", "tang-nano-9k"])
def test_routed_designs(name, tmp_path):
    """A routed design with its words changed is, byte for byte, what the tools make where these words are from the start."""
    plan, board = plan_of(1), boards.find(name)
    device, family = devices.find(board.device), board.family
    texts = [with_placeholders(text) for text in (accelerator.verilog(plan), board.verilog(identity(plan)))]
    before = {key: memory for text in texts for key, memory in memories(text).items()}
    after = {key: Memory(key, memory.width, Memory(f"{key} again", memory.width, memory.words).placeholder.words)
             for key, memory in before.items()}
    (tmp_path / "pins").write_text(board.constraints(board))
    made = []
    for words in (before, after):
        for k, text in enumerate(texts):
            for key, memory in memories(text).items():
                text = with_words(text, key, memory, words[key])
            (tmp_path / f"{k}.v").write_text(text)
        counts = implement.synthesize([tmp_path / "0.v", tmp_path / "1.v"], BOARD_TOP, device, netlist=tmp_path / "n.json",
                                      part=accelerator.TOP, part_verilog=tmp_path / "n.v")
        anchor(tmp_path / "n.json", device)
        routed = tmp_path / f"r{family.routed}"
        implement.route(tmp_path / "n.json", device, package=board.package, constraints=tmp_path / "pins", clock_hz=plan.clock_hz,
                        output=routed, counts=counts)
        made.append(((tmp_path / "n.v").read_text(), routed.read_text()))
    inside = [{key: memory for key, memory in words.items() if key.startswith(accelerator.TOP)} for words in (before, after)]
    netlist, routed = FORMATS[device.family]
    assert made[0][1] != made[1][1] == patched(made[0][1], routed, before, after)
    assert contents(patched(made[0][0], netlist, *inside)) == contents(made[1][0])


def with_words(text, name, memory, other):
    """Verilog in which a memory holds the words of another."""
    module, _, own = name.rpartition(".")
    start = text.index(f"module \\{module} (")
    end = text.index("endmodule", start)
    body = text[start:end]
    for k, (old, new) in enumerate(zip(memory.words, other.words, strict=True)):
        body = body.replace(f"    {own}[{k}] = {memory.width}'h{old:x};\n", f"    {own}[{k}] = {memory.width}'h{new:x};\n")
    return text[:start] + body + text[end:]
