"""bnnhw: from a trained binarized neural network to a bitstream on an open FPGA board, every step exact."""

__version__ = "0.1.0"
