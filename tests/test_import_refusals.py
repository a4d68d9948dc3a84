"""What cannot be taken in is refused in one clear line, soon, with little memory, and with nothing written."""
import os
import pickle
import resource
import time
import zipfile

import numpy as np
import pytest

from bnnhw import cli
from bnnhw.importers import kinds, onnx_wire, qonnx
from bnnhw.importers.problems import Problem, Refusal

from .broken_graphs import CASES, SIGNS, ended, external, maps, model_of, small

SECONDS, BYTES = 10, 1.5e9      # that a refusal may take


@pytest.mark.parametrize("case", CASES)
def test_one_clear_line(case, tmp_path, capsys):
    make, message = CASES[case]
    path = tmp_path / "net.onnx"
    path.write_bytes(make())
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    status = cli.main(["import", str(path), "-o", str(tmp_path / "net.bnn")])
    assert time.process_time() - start < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < BYTES
    captured = capsys.readouterr()
    assert status == 1
    assert captured.out == ""
    assert captured.err.startswith(f"error: {path}: ") and captured.err.count("\n") == 1, captured.err
    assert message in captured.err
    assert sorted(os.listdir(tmp_path)) == ["net.onnx"]


def test_the_small_graph_itself_is_taken(tmp_path):
    """So that each case above is refused for its own reason."""
    assert qonnx.read(small().save(tmp_path / "net.onnx")).network.outputs == ("class",)
    graph = maps()
    graph.add("Conv", SIGNS, pads=[1, 1, 1, 1], shape=(1, 2, 6, 6))
    assert qonnx.read(ended(graph, 72).save(tmp_path / "net.onnx")).network.outputs == ("class",)


def test_zip_bomb(tmp_path, capsys):
    """An archive that would unpack to a gigabyte is not unpacked."""
    with zipfile.ZipFile(tmp_path / "net.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 2**24)
    assert cli.main(["import", str(tmp_path / "net.pt")]) == 1
    assert "it is a zip archive, as PyTorch and newer Keras write them" in capsys.readouterr().err


def test_pickles_are_never_loaded(tmp_path, capsys):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)
    (tmp_path / "net.pkl").write_bytes(pickle.dumps(Bomb()))
    assert cli.main(["import", str(tmp_path / "net.pkl")]) == 1
    assert not (tmp_path / "ran").exists()
    capsys.readouterr()


def test_large_files(tmp_path, capsys):
    with open(tmp_path / "net.onnx", "wb") as file:
        file.write(b"\x08\x08")
        file.truncate(2**36)
    assert cli.main(["import", str(tmp_path / "net.onnx")]) == 1
    assert f"it has {2**36} bytes; accepted: up to {2**28}" in capsys.readouterr().err


def test_a_link_out_of_the_folder(tmp_path, capsys):
    (tmp_path / "secret").write_bytes(bytes(48))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "w.bin").symlink_to(tmp_path / "secret")
    (tmp_path / "models" / "net.onnx").write_bytes(external("w.bin")())
    assert cli.main(["import", str(tmp_path / "models" / "net.onnx")]) == 1
    assert "its data lie in 'w.bin'; accepted: a file inside the model's folder" in capsys.readouterr().err


def test_folders_and_what_is_not_there(tmp_path, capsys):
    assert cli.main(["import", str(tmp_path)]) == 1
    assert cli.main(["import", str(tmp_path / "none")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"error: {tmp_path}: it is a folder without BNN-PYNQ's parameter files")
    assert lines[1:] == [f"error: {tmp_path / 'none'}: there is no such file or folder"]


def test_every_cut_and_many_damaged_bytes(tmp_path):
    """Whatever happens to a file, it is taken or refused, never a traceback."""
    graph = maps()
    graph.add("Conv", SIGNS, pads=[1, 1, 1, 1], shape=(1, 2, 6, 6))
    graph.add("BatchNormalization", *[np.float32([1, 2])] * 4)
    whole = model_of(ended(graph, 72))
    path, rng, refused = tmp_path / "net.onnx", np.random.default_rng(0), 0
    damaged = [whole[:n] for n in range(0, len(whole), 13)]
    for _ in range(300):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(0, 256)
        damaged.append(bytes(data))
    for data in damaged:
        path.write_bytes(data)
        try:
            kinds.read(path)
        except Refusal as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > len(damaged) // 2


def test_check_lists_all_problems(tmp_path, capsys):
    graph = maps()
    graph.add("Conv", SIGNS * np.arange(1, 10, dtype=np.float32).reshape(3, 3), pads=[1, 1, 1, 1], shape=(1, 2, 6, 6))
    graph.add("Sigmoid")
    graph.add("MaxPool", kernel_shape=[2, 2], pads=[1, 1, 1, 1], shape=(1, 2, 7, 7))
    graph.add("Flatten")
    graph.add("MatMul", np.ones((98, 5)), shape=(1, 5))
    graph.add("BatchNormalization", *[np.full(5, np.nan, np.float32)] * 4)
    path = graph.save(tmp_path / "net.onnx")
    assert cli.main(["import", str(path), "--check"]) == 1
    captured = capsys.readouterr()
    assert [line.split(":")[0] for line in captured.out.splitlines()] == [
        "node 'Conv_1' (Conv)", "node 'Sigmoid_2' (Sigmoid)", "node 'MaxPool_3' (MaxPool)",
        "node 'BatchNormalization_6' (BatchNormalization)"]
    assert captured.err == f"error: {path}: 4 problems\n"
    assert cli.main(["import", str(path)]) == 1
    assert capsys.readouterr().err.endswith("(and 3 more problems: --check lists them)\n")


def test_words_of_a_problem():
    assert str(Problem("a", "Conv", "why", "what")) == "node 'a' (Conv): why; accepted: what"
    assert str(Problem("", "", "why")) == "why"
    assert str(Refusal("f", [Problem("", "", "why"), Problem("", "", "more")])) == (
        "f: why (and 1 more problem: --check lists them)")


def test_counting_entries():
    data = model_of(small())
    n = onnx_wire.count(data, 1000)
    assert n > 20
    with pytest.raises(onnx_wire.WireError, match=f"^it has more than {n - 1} entries$"):
        onnx_wire.count(data, n - 1)
