"""QONNX: what FINN, hls4ml and the ``qonnx`` package read.

Weights are floats behind BipolarQuant (signs) or a narrow Quant of two bits (signs and 0), thresholds are MultiThreshold.
Source: Pappalardo et al., "QONNX: Representing Arbitrary-Precision Quantized Neural Networks", 2022, arXiv:2206.07527.
"""

import numpy as np
import onnx

from .onnx_graph import Exporter

__all__ = ["to_model"]

DOMAIN = "qonnx.custom_op.general"
DATATYPES = {(-1, 1, 2): "BIPOLAR", (0, 1, 1): "BINARY", (-1, 1, 1): "TERNARY"} | {
    (0, 2**bits - 1, 1): f"UINT{bits}" for bits in range(2, 17)}


class _Qonnx(Exporter):
    batch = 1
    floats = (np.float32,)
    domains = {DOMAIN: 1}

    def one(self, name, value):
        return self.constant(name, np.array([value]))

    def weights(self, name, values):
        stored = self.constant(f"{name}.stored", values)
        if np.all(values):
            return self.add("BipolarQuant", [stored, self.one(f"{name}.scale", 1)], name, values.shape, domain=DOMAIN)
        parameters = [self.one(f"{name}.{what}", value) for what, value in (("scale", 1), ("zero", 0), ("bits", 2))]
        return self.add("Quant", [stored, *parameters], name, values.shape, domain=DOMAIN, signed=1, narrow=1,
                        rounding_mode="ROUND")

    def threshold(self, operation, x, shape):
        levels = np.sort(np.where(operation.falling[:, None], -operation.levels, operation.levels), axis=1)
        bipolar = (operation.base, operation.step, levels.shape[1]) == (-1, 2, 1)
        return self.add("MultiThreshold", [x, self.constant(f"{operation.name}.levels", levels)], operation.name, shape,
                        name=operation.name, domain=DOMAIN, out_dtype="BIPOLAR" if bipolar else "INT32",
                        out_scale=float(operation.step), out_bias=float(operation.base),
                        data_layout="NCHW" if len(shape) == 4 else "NC")


def to_model(network, classes=()):
    """The QONNX model of a network, for one example at a time.

    Raises
    ------
    ExportError
        Where a sum exceeds what float32 holds exactly, the only number that the format knows.
    """
    model = _Qonnx(network).model(classes)
    for name in network.inputs:
        type = network.types[name]
        if (type.lo, type.hi, type.step) in DATATYPES:
            entry = model.graph.quantization_annotation.add()
            entry.tensor_name = name
            entry.quant_parameter_tensor_names.append(onnx.StringStringEntryProto(
                key="finn_datatype", value=DATATYPES[type.lo, type.hi, type.step]))
    return model
