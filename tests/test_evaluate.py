"""``bnnhw evaluate``, ``import`` and ``export`` as a user runs them."""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from bnnhw import artifact, cli, datasets, evaluate, models, reference
from bnnhw.ir import ArgMax, Dense, Input, Network, TensorType

from .networks import dense_network
from .qonnx_graphs import DOMAIN, Graph

TFC = Path(__file__).parent.parent.parent / "shared" / "peers" / "qonnx_model_zoo" / "TFC_1W1A.onnx"


def run(capsys, *arguments):
    """Exit status, standard output, standard error."""
    try:
        status = cli.main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        status = stopped.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def split(shape, count=30, classes=3):
    rng = np.random.default_rng(0)
    return datasets.Split(rng.integers(0, 256, (count, *shape), dtype=np.uint8), rng.integers(0, classes, count),
                          tuple("abcdefgh"[:classes]))


def test_counts_what_the_golden_model_gets_right():
    network, images = dense_network([5, 3]), split((4, 3, 1), 1203)
    want = np.count_nonzero(reference.run(network, images.images)["class"] == images.labels)
    told = []
    assert evaluate.evaluate(network, images, progress=told.append) == (want, 1203)
    assert told == [500, 1000, 1203]
    first = np.count_nonzero(reference.run(network, images.images[:7])["class"] == images.labels[:7])
    assert evaluate.evaluate(network, images, 7) == (first, 7)
    assert 0 < want < 1203


def test_images_as_a_vector():
    def network(shape, n):
        return Network([Input("x", TensorType(shape, 0, 255)), Dense("fc", "x", np.eye(3, n)), ArgMax("class", "fc")], "class")
    images = split((2, 3, 1))
    assert evaluate.inputs_for(network((6,), 6), images).shape == (30, 6)
    message = r"^the network's input has shape \(12,\), the data set's images \(2, 2, 3\)$"
    with pytest.raises(evaluate.EvaluationError, match=message):
        evaluate.inputs_for(network((12,), 12), split((2, 2, 3)))   # which order would it be?


@pytest.mark.parametrize("type, outputs, message", [
    (TensorType((4,), -1, 1, 2), "class", "the network's input is -1 to 1 by 2, the data set's values are 0 to 255 by 1"),
    (TensorType((4,), 0, 255), "fc", "the network's output 'fc' is no class"),
])
def test_networks_that_do_not_fit(type, outputs, message):
    operations = [Input("x", type), Dense("fc", "x", np.ones((2, 4))), ArgMax("class", "fc")]
    network = Network(operations[:3 if outputs == "class" else 2], outputs)
    with pytest.raises(evaluate.EvaluationError) as caught:
        evaluate.evaluate(network, split((2, 2, 1)))
    assert str(caught.value) == message


def test_too_many_images():
    with pytest.raises(evaluate.EvaluationError, match="^there are 30 images, not 31$"):
        evaluate.evaluate(dense_network([3]), split((4, 3, 1)), 31)


def test_evaluate_a_shipped_network(capsys):
    status, out, err = run(capsys, "evaluate", "--images", "200", "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    network = models.load(models.DEFAULT).network
    test = datasets.load("mnist", "test")
    right = int(np.count_nonzero(reference.run(network, test.images[:200])["class"] == test.labels[:200]))
    assert found == {"model": models.DEFAULT, "network": network.digest, "dataset": "mnist", "split": "test",
                     "right": right, "total": 200}
    assert run(capsys, "evaluate", "--images", "200", "--split", "test")[1] == (
        f"{right}/200 ({right / 200:.2%}) of mnist's test images right\n")


def test_evaluate_as_a_module():
    done = subprocess.run([sys.executable, "-m", "bnnhw.evaluate", "--images", "10"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith(("10/10", "9/10")), done.stderr


def test_mistakes_of_evaluate(capsys, tmp_path):
    artifact.save(tmp_path / "net.bnn", artifact.Artifact(dense_network([3])))
    assert run(capsys, "evaluate", "--images", "0")[::2] == (
        2, "error: --images must be at least 1, not 0 (`bnnhw evaluate --help` tells more)\n")
    assert run(capsys, "evaluate", "--dataset", "imagenet")[0] == 2
    assert run(capsys, "evaluate", tmp_path / "net.bnn") == (
        1, "", "error: the network does not say what it was trained on: --dataset must be one of mnist, fashion-mnist, cifar10, "
        "german-credit, order-book\n")
    assert run(capsys, "evaluate", tmp_path / "net.bnn", "--dataset", "mnist") == (
        1, "", "error: the network's input has shape (4, 3, 1), the data set's images (28, 28, 1)\n")


@pytest.mark.skipif(not TFC.exists(), reason="the networks of other projects are not here")
def test_import_then_evaluate(capsys, tmp_path):
    output = tmp_path / "tfc.bnn"
    status, out, err = run(capsys, "import", TFC, "-o", output, "--dataset", "mnist")
    assert (status, err) == (0, "")
    assert "assumed: the graph's float input is taken to be pixel / 255 (--input-scale sets another)\n" in out
    assert out.endswith(f"written: {output}\n")
    found = artifact.load(output)
    assert (found.classes, found.provenance["dataset"]) == (tuple("0123456789"), "mnist")
    assert run(capsys, "evaluate", output)[1] == "9296/10000 (92.96%) of mnist's test images right\n"
    assert run(capsys, "import", TFC, "-o", output, "--dataset", "mnist", "--input-scale", "1")[0] == 0
    assert run(capsys, "evaluate", output, "--images", "100")[0] == 0
    assert artifact.load(output).network.digest != found.network.digest


def test_export_and_import_again(capsys, tmp_path):
    status, out, _ = run(capsys, "export", models.DEFAULT, "-o", tmp_path / "net.onnx")
    scores = models.load(models.DEFAULT).network.operations["class"].inputs[0]
    assert (status, out) == (0, f"written: {tmp_path / 'net.onnx'} (QONNX; outputs: class, {scores})\n")
    status, out, _ = run(capsys, "import", tmp_path / "net.onnx", "-o", tmp_path / "net.bnn")
    assert status == 0 and "it is the network that was exported\n" in out
    assert artifact.load(tmp_path / "net.bnn").network.digest == models.load(models.DEFAULT).network.digest
    assert run(capsys, "export", "--plain", "-o", tmp_path / "plain.onnx")[0] == 0
    assert {node.domain for node in onnx.load(tmp_path / "plain.onnx").graph.node} == {""}


def tiny(path):
    graph = Graph((1, 4), np.float32)
    graph.add("BipolarQuant", 1.0, domain=DOMAIN)
    graph.add("MatMul", np.ones((4, 3)))
    return graph.save(path)


def test_options_of_import(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tiny(tmp_path / "net.onnx")
    status, out, _ = run(capsys, "import", path, "--check")
    assert status == 0 and out.endswith("no problems\n") and not (tmp_path / "net.bnn").exists()
    assert run(capsys, "import", path, "--input-scale", "2/255", "--input-offset", "-1", "--input-range", "0", "15")[0] == 0
    found = artifact.load("net.bnn").network     # beside the user, with the source's name
    assert found.types["x"] == TensorType((4,), 0, 15)
    assert found.operations["BipolarQuant_0"].levels.tolist() == [[16]] * 4     # 2 / 255 * 15 - 1 is still less than 0: never
    for arguments, message in [
            (["--dataset", "mnist"], "error: --dataset mnist: it has 10 classes, the network 3\n"),
            (["--input-range", "5", "1"], "error: net.onnx: input 'x': values 5, 6, ..., 1 are not a range\n")]:
        assert run(capsys, "import", "net.onnx", *arguments) == (1, "", message)
    for arguments, message in [
            (["--input-scale", "1/0"], "'1/0' is neither a number nor a quotient such as 1/255"),
            (["--input-offset", "1"], "--input-offset needs --input-scale")]:
        status, _, err = run(capsys, "import", "net.onnx", *arguments)
        assert status == 2 and message in err and err.count("\n") == 1


@pytest.mark.parametrize("verb", ["import", "export"])
def test_without_the_onnx_package(verb, tmp_path):
    source = tiny(tmp_path / "net.onnx") if verb == "import" else models.DEFAULT
    code = f"import sys\nsys.modules['onnx'] = None\nfrom bnnhw import cli\nsys.exit(cli.main(['{verb}', '{source}']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {verb} needs onnx: pip install 'bnnhw[onnx]'\n")


def test_importing_needs_no_torch_and_bnnhw_no_onnx(tmp_path):
    path = tiny(tmp_path / "net.onnx")
    code = ("import sys, bnnhw.importing, bnnhw.importers.kinds as kinds\n"
            "assert 'onnx' not in sys.modules\n"
            f"kinds.read({str(path)!r})\n"
            "assert 'onnx' in sys.modules and not {'torch', 'onnxruntime', 'qonnx'} & set(sys.modules)\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
