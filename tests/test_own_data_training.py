"""Networks trained on data of the user's own: what the file knows, its Verilog, its decisions, wrong usage."""
import json

import numpy as np
import pytest

from bnnhw import artifact, cli, owndata, reference, verify
from bnnhw.artifact import Artifact
from bnnhw.owndata import OwnDataError
from bnnhw.owndata.encoding import Number, TableEncoding

from .own_files import Image, flowers, pictures, write_csv


def train(*arguments):
    pytest.importorskip("torch")
    return cli.main(["train", *arguments, "--threads", "1"])


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """f.csv and f.bnn, trained on it, in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "f.csv", flowers(200))
    assert train("own-table", "--data", "f.csv", "-o", "f.bnn", "--epochs", "12") == 0


def test_a_table_trained_on(trained, tmp_path, capsys):
    """The file knows its columns and classes, and which rows are the test's."""
    found, own = artifact.load("f.bnn"), owndata.load("f.csv")
    assert found.encoding == own.encoding and found.classes == ("big", "small") and found.provenance["data"] == own.facts
    assert found.provenance["dataset"] == "own" and found.provenance["test_right"] >= 38
    assert reference.accuracy(found.network, own.test.images, own.test.labels) == (found.provenance["test_right"], 40)
    levels = found.network.operations["bits"].levels
    assert levels.shape[0] == 3 and found.network.types["row"].shape == (3,)
    capsys.readouterr()
    assert cli.main(["evaluate", "f.bnn"]) == 1
    assert capsys.readouterr().err == "error: the network was trained on data of its user's: --data PATH\n"
    assert cli.main(["evaluate", "f.bnn", "--data", "f.csv"]) == 0
    assert f"{found.provenance['test_right']}/40 " in capsys.readouterr().out
    write_csv(tmp_path / "new.csv", [row[::-1] for row in flowers(30, seed=5)])     # columns go by name
    assert cli.main(["evaluate", "f.bnn", "--data", "new.csv", "--json"]) == 0
    new = owndata.inputs(found, "new.csv")
    facts = json.loads(capsys.readouterr().out)
    assert (facts["total"], facts["split"]) == (30, "all")
    assert facts["right"] == reference.accuracy(found.network, new.x, new.labels)[0] >= 25
    x, labels = verify.images_for(found.network, 30, new)
    assert np.array_equal(x, new.x) and np.array_equal(labels, new.labels)


@pytest.mark.slow
def test_a_table_in_hardware(trained, tmp_path, capsys):
    """The same test rows in Verilog, with names of classes in the report; rows without a class through the virtual board."""
    found = artifact.load("f.bnn")
    assert cli.main(["build", "f.bnn", "--verify", "40", "--data", "f.csv", "-o", "out"]) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["verified"]["right"] == found.provenance["test_right"] and report["model"]["classes"] == ["big", "small"]
    assert ">big<" in (tmp_path / "out/report.html").read_text()
    write_csv(tmp_path / "rows.csv", [row[:3] for row in flowers(3, seed=6)])
    capsys.readouterr()
    assert cli.main(["run", "--virtual", "--target", "f.bnn", "rows.csv"]) == 0
    said = reference.run(found.network, owndata.inputs(found, "rows.csv").x)["class"]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("rows.csv, line ")]
    assert lines == [f"rows.csv, line {k}: {found.classes[label]}" for k, label in enumerate(said, 2)]


def test_from_pictures_to_a_decision(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "p", count=15, shape=(8, 8))
    assert train("own-images", "--data", "p", "-o", "p.bnn", "--epochs", "3") == 0
    found = artifact.load("p.bnn")
    assert found.classes == ("cat", "dog") and found.network.types["image"].shape == (8, 8, 1)
    one = owndata.inputs(found, "p/dog/3.png")
    assert one.x.shape == (1, 8, 8, 1) and one.labels is None
    assert owndata.inputs(found, "p").part == "test" and len(owndata.inputs(found, "p").x) == 6
    capsys.readouterr()
    assert cli.main(["evaluate", "p.bnn", "--data", "p/dog/3.png"]) == 1
    assert capsys.readouterr().err == "error: p/dog/3.png: there are no classes in it to compare with\n"
    pytest.importorskip("matplotlib")
    assert cli.main(["info", "p.bnn", "--plot", "p.png", "--data", "p"]) == 0
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert cli.main(["info", "p.bnn", "--plot", "q.png", "--data", "p/dog/3.png"]) == 1 and not (tmp_path / "q.png").exists()
    assert capsys.readouterr().err == "error: p/dog/3.png: there are no classes in it whose scores could be tried\n"
    Image.new("L", (9, 8)).save("wide.png")
    with pytest.raises(OwnDataError, match=r"^wide.png: it has 8x9 pixels, the network takes 8x8$"):
        owndata.inputs(found, "wide.png")


def test_levels_of_pixels(tmp_path):
    """One recipe for both: each pixel at levels of its own, learned from the training part."""
    pytest.importorskip("torch")
    from bnnhw.train.tabular import pixel_levels
    rows = np.array([[0, 7, 10], [100, 7, 10], [200, 7, 10], [200, 7, 11]], np.uint8)
    assert pixel_levels(rows, 1, 256).tolist() == [[100], [256], [11]]
    assert pixel_levels(rows, 3, 256).tolist() == [[50, 100, 150], [256, 256, 256], [11, 11, 11]]
    many = np.zeros((1000, 1), np.uint8)
    many[:15] = 255     # fewer than count: the middle 96 % are equal
    assert pixel_levels(many, 1, 256).tolist() == [[128]]
    many[100:500] = 40
    assert pixel_levels(many, 1, 256).tolist() == [[20]]


@pytest.mark.parametrize("arguments, status, message", [
    (["own-table"], 1, "recipe 'own-table' is for data of your own: --data PATH"),
    (["own-images", "--data", "f.csv"], 1, "recipe 'own-images' takes images, but f.csv holds a table: 'own-table' takes it"),
    (["credit-lut4", "--data", "p"], 1, "recipe 'credit-lut4' takes tables, but p holds images: 'own-images' takes it"),
    (["own-table", "--label", "x"], 2, "--label belongs to --data"),
    (["own-images", "--grey"], 2, "--grey belongs to --data"),
    (["own-table", "--data", "f.csv", "--image-size", "8x8"], 2,
     "--image-size goes with a folder of pictures, which f.csv is not"),
    (["own-table", "--data", "f.csv", "--grey"], 2, "--grey goes with a folder of pictures, which f.csv is not"),
    (["own-images", "--data", "p", "--label", "x"], 2, "--label goes with a CSV file, which p is not"),
    (["own-images", "--data", "p", "--image-size", "28"], 2,
     "argument --image-size: it must be ROWSxCOLUMNS, 1 to 1024 each, for instance 28x28, not '28'"),
    (["own-images", "--data", "p", "--image-size", "2x2"], 1,
     "recipe 'own-images': block 2: images of 2x2 are too small for it"),
])
def test_wrong_usage(tmp_path, capsys, monkeypatch, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "f.csv", flowers())
    pictures(tmp_path / "p")
    try:
        found = train(*arguments, "-o", "f.bnn")
    except SystemExit as exit:
        found = exit.code
    assert found == status and message in capsys.readouterr().err
    assert not (tmp_path / "f.bnn.train").exists()


def test_encoding_in_the_file(tmp_path):
    """It is part of what the file's digest covers; files without one are as before."""
    network = artifact.load(cli.importlib.import_module("bnnhw.models").path("mnist-tfc")).network
    encoding = TableEncoding(columns=[Number(name="x", least=0.5, scale=10.0)], label="y").model_dump()
    plain, own = artifact.dumps(Artifact(network)), artifact.dumps(Artifact(network, encoding=encoding))
    assert artifact.loads(own).encoding == encoding and artifact.loads(plain).encoding == {}
    assert b"encoding" not in plain.partition(b"}}}")[0]
    spoilt = own.replace(b'least\\":0.5', b'least\\":0.6')
    assert spoilt != own
    with pytest.raises(artifact.ArtifactError, match="digest does not match"):
        artifact.loads(spoilt)
