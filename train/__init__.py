"""Training of binarized networks with PyTorch, and their exact export."""

if __name__ == "train":     # run from the checkout, where the folder is called so
    raise ImportError("import bnnhw.train, not train")
