"""Writes the files here: models that Larq and QKeras themselves made, with their decisions, and their quantizers' values.

They need TensorFlow, which does not install beside the versions in constraints.txt (Larq 0.14.0 wants numpy<2, QKeras 0.9.0 a
Keras before 2.13). Each in an environment of its own:

    pip install larq==0.14.0 tensorflow-cpu==2.21.0 tf-keras==2.21.0     # TF_USE_LEGACY_KERAS=1 python make.py larq
    pip install qkeras==0.9.0 tensorflow-cpu==2.12.1 "pyparsing<3.2" "setuptools<80"    # python make.py qkeras
"""
import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

K, L = tf.keras, tf.keras.layers
HERE = Path(__file__).parent
GRID = np.arange(-160, 161) / 32


def stirred(model, images):
    """The model with the batch norms' statistics of some images, and random scales and offsets."""
    rng = np.random.default_rng(1)
    norms = [layer for layer in model.layers if isinstance(layer, L.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    model(images, training=True)
    for layer in norms:
        layer.momentum = 0.99
        layer.set_weights([rng.choice([-1.5, -0.7, 0.8, 1.3], w.shape) if "gamma" in v.name else
                           rng.normal(size=w.shape) / 3 if "beta" in v.name else w
                           for v, w in zip(layer.weights, layer.get_weights(), strict=True)])
    return model


def record(name, model, activations, kernels):
    """``activations``, ``kernels``: as a layer's settings name them -> the function."""
    images = np.random.default_rng(2).integers(0, 256, (200, 3, 3, 2), dtype=np.uint8)     # in patches, so that they differ
    images = images.repeat(3, axis=1).repeat(3, axis=2)[:, :model.input_shape[1], :model.input_shape[2]]
    model = stirred(model, images / np.float32(255))
    classes = model.predict(images / np.float32(255), verbose=0).argmax(axis=1)
    model.save(HERE / f"{name}.h5")
    kernel = np.random.default_rng(3).normal(size=(3, 3, 4, 5)).astype(np.float32) / 2
    values = np.stack([np.asarray(f(tf.constant(GRID, tf.float32))) for f in activations.values()])
    weights = np.stack([np.asarray(f(tf.constant(kernel))) for f in kernels.values()])
    np.savez_compressed(HERE / f"{name}.npz", images=images, classes=classes.astype(np.uint8), grid=GRID, kernel=kernel,
                        activations=np.array(list(activations)), values=values.astype(np.float32),
                        kernels=np.array(list(kernels)), weights=weights.astype(np.float32))
    print(name, np.bincount(classes))


def larq():
    import larq as lq
    K.utils.set_random_seed(0)
    layers, sign = lq.layers, dict(kernel_quantizer="ste_sign", kernel_constraint="weight_clip", use_bias=False)
    model = K.Sequential([
        L.InputLayer((9, 8, 2)),
        layers.QuantConv2D(6, 3, padding="same", pad_values=1.0, **sign), L.MaxPooling2D(2),
        L.BatchNormalization(scale=False),
        layers.QuantDepthwiseConv2D(3, padding="same", input_quantizer="approx_sign",
                                    depthwise_quantizer=lq.quantizers.SteTern()),
        L.BatchNormalization(),
        layers.QuantConv2D(8, 3, strides=2, input_quantizer=lq.quantizers.DoReFa(2), kernel_quantizer="magnitude_aware_sign",
                           padding="same"),
        L.BatchNormalization(),
        layers.QuantConv2D(8, (2, 1), input_quantizer=lq.quantizers.SteTern(0.5), padding="same", pad_values=-1.0, **sign),
        L.BatchNormalization(), L.Flatten(),
        layers.QuantDense(5, input_quantizer="swish_sign", **sign), L.BatchNormalization(), L.Activation("softmax")])

    def named(quantizers):
        return {json.dumps(lq.quantizers.serialize(q)): q for q in quantizers}
    q = lq.quantizers
    record("larq", model, named([q.SteSign(), q.ApproxSign(), q.SwishSign(), q.SteHeaviside(), q.SteTern(), q.SteTern(0.5),
                                 q.SteTern(0.0), *(q.DoReFa(k) for k in (1, 2, 3, 8))]),
           named([q.SteSign(), q.SteTern(), q.SteTern(ternary_weight_networks=True), q.MagnitudeAwareSign()]))


def qkeras():
    import qkeras
    from qkeras import QActivation, QConv2D, QDense, binary, quantized_bits, quantized_relu, ternary
    K.utils.set_random_seed(0)
    source = x = L.Input((8, 9, 2), name="image")
    x = QConv2D(5, 3, padding="same", kernel_quantizer="binary", bias_quantizer=quantized_bits(8, 2, alpha=1.0), name="first")(x)
    x = QActivation("quantized_relu(2,1)")(L.BatchNormalization()(x))
    x = L.MaxPooling2D()(x)
    y = QConv2D(5, 3, padding="same", kernel_quantizer=ternary(), activation="ternary(threshold=0.5)")(x)
    x = L.Add()([QActivation("quantized_bits(3,1,1)")(x), QActivation("binary(alpha=1.0)")(y)])
    x = QConv2D(6, 3, kernel_quantizer=quantized_bits(2, 0, 1), activation=quantized_relu(3, 2))(x)
    x = QDense(7, kernel_quantizer=binary(alpha=0.5), use_bias=False)(L.Flatten()(x))
    x = QActivation("quantized_bits(4,2)")(L.BatchNormalization()(x))
    x = QDense(5, kernel_quantizer=quantized_bits(2, 0, alpha=1.0, symmetric=1))(x)
    model = K.Model(source, L.Activation("softmax")(x))

    def written(*texts):
        return {text: qkeras.quantizers.get_quantizer(text) for text in texts}

    def trained(*texts):
        """As a layer's kernel_quantizer: serialized with what the layer makes of it."""
        found = [QDense(1, kernel_quantizer=text) for text in texts]
        return {json.dumps(layer.get_config()["kernel_quantizer"]): layer.kernel_quantizer_internal for layer in found}
    record("qkeras", model, written(
        "binary", "binary()", "binary(alpha=0.5)", "binary(use_01=True)", "ternary", "ternary(threshold=0.5)",
        "ternary(alpha=2.0,threshold=0.25)", "quantized_bits(1)", "quantized_bits(2,0,1)", "quantized_bits(3,1)",
        "quantized_bits(4,2,alpha=0.5)", "quantized_bits(8,2,1)", "quantized_bits(5,1,keep_negative=False)",
        "quantized_bits(1,1,keep_negative=False)", "quantized_relu(1)", "quantized_relu(1,1)", "quantized_relu(3,1)",
        "quantized_relu(8,2)", "quantized_relu(4)"),
        trained("binary", "binary(alpha='auto')", "binary(alpha=0.25)", "binary(use_01=True,alpha=1.0)", "ternary",
                "ternary(alpha='auto')", "ternary(alpha=1.0)", "quantized_bits(1,0,1,alpha=1.0)", "quantized_bits(2)",
                "quantized_bits(2,1)", "quantized_bits(2,0,1,alpha=1.0)"))


if __name__ == "__main__":
    {"larq": larq, "qkeras": qkeras}[sys.argv[1]]()
