# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth.back import rtlil

from bnnhw.gateware.heap import CELLS
from bnnhw.gateware.neurons import Neurons, Sums

from . import streams


def layer(n_out, n_in, seed):
    """Weights, thresholds (one below, one above the range where there is room), flags, input signs."""
    rng = np.random.default_rng(seed)
    weights = rng.choice([-1, 1], size=(n_out, n_in)).astype(np.int8)
    thresholds = rng.integers(0, n_in + 1, n_out)
    thresholds[:2] = [-1, n_in + 2][:n_out]
    return weights, thresholds, rng.integers(0, 2, n_out).astype(bool), rng.choice([-1, 1], size=(60, n_in))


def word(signs):
    return sum(1 << k for k in np.flatnonzero(signs > 0).tolist())


@pytest.mark.parametrize("n_out, n_in", [(1, 1), (3, 2), (5, 9), (8, 31), (4, 64)])
@pytest.mark.parametrize("stages", [1, 2, 4])
@pytest.mark.parametrize("p_valid, p_ready", [(1.0, 1.0), (0.6, 0.6)])
def test_neurons(n_out, n_in, stages, p_valid, p_ready):
    weights, thresholds, falling, x = layer(n_out, n_in, n_in)
    p = (x @ weights.T + n_in) // 2
    fires = np.where(falling, p <= thresholds, p >= thresholds)
    dut = Neurons(weights, thresholds, falling, stages=stages)
    got, cycles = streams.run(dut, [word(v) for v in x], count=60, p_valid=p_valid, p_ready=p_ready)
    assert got == [word(2 * v.astype(int) - 1) for v in fires]
    if p_valid == p_ready == 1.0:
        assert dut.latency == stages
        assert cycles == 60 + dut.latency


@pytest.mark.parametrize("n_out, n_in", [(1, 1), (3, 2), (5, 9), (2, 64)])
@pytest.mark.parametrize("stages", [1, 3])
@pytest.mark.parametrize("cells", CELLS)
@pytest.mark.parametrize("p_valid, p_ready", [(1.0, 1.0), (0.6, 0.6)])
def test_sums(n_out, n_in, stages, cells, p_valid, p_ready):
    weights, _, _, x = layer(n_out, n_in, n_in)
    dut = Sums(weights, stages=stages, cells=cells)
    got, cycles = streams.run(dut, [word(v) for v in x], count=60, p_valid=p_valid, p_ready=p_ready)
    assert [list(sums) for sums in got] == ((x @ weights.T + n_in) // 2).tolist()
    if p_valid == p_ready == 1.0:
        assert cycles == 60 + stages


def test_neurons_share():
    """Equal and opposite neurons are one; others still share the sums of the first column."""
    weights = np.random.default_rng(0).choice([-1, 1], size=(4, 33)).astype(np.int8)
    one = len(Neurons(weights[:1], [17], [False]).tables)
    twins = np.stack([weights[0], weights[0], -weights[0]])
    assert len(Neurons(twins, [17, 17, 16], [False, False, True]).tables) == one
    assert len(Neurons(weights, [17] * 4, [False] * 4).tables) < 0.9 * 4 * one


def test_equal_arguments_give_equal_text():
    weights, thresholds, falling, _ = layer(5, 20, 1)
    texts = {rtlil.convert(Neurons(weights, thresholds, falling, stages=2), name="n", emit_src=False) for _ in range(2)}
    assert len(texts) == 1


@pytest.mark.parametrize("call, message", [
    (lambda: Sums(np.zeros((2, 3))), r"^weights must be an array \(n_out, n_in\) of -1 and \+1, not float64 \(2, 3\)$"),
    (lambda: Sums(np.ones(3)), r"^weights must be an array \(n_out, n_in\) of -1 and \+1, not float64 \(3,\)$"),
    (lambda: Sums(np.ones((2, 3)), stages=0), r"^stages must be a positive integer, not 0$"),
    (lambda: Neurons(np.ones((2, 3)), [1], [True, False]), r"^2 neurons need 2 thresholds and flags, not 1 and 2$"),
    (lambda: Sums(np.ones((2, 3)), cells="lut9"), r"^cells must be one of \['plain', 'coded', 'lut6'\], not 'lut9'$"),
])
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
