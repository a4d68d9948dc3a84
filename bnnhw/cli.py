"""The command line: ``bnnhw VERB ...``. Each verb is a module that parses, calls the library and prints."""

import argparse
import importlib
import os
import signal
import sys
import warnings

from . import __version__
from .errors import UsageError, UserError

__all__ = ["VERBS", "main", "main_of"]

# verb -> (module with add_arguments(parser) and run(args), what it does)
VERBS = {
    "train": ("bnnhw.train.command", "train a network by a recipe and export it as a .bnn file"),
    "import": ("bnnhw.importing", "take in a network of another tool, exactly or not at all"),
    "export": ("bnnhw.exporting", "write a network as QONNX, or as plain ONNX"),
    "info": ("bnnhw.info", "say what a .bnn file holds"),
    "evaluate": ("bnnhw.evaluate", "count the images of a data set that a network gets right"),
    "build": ("bnnhw.build", "turn a network into Verilog, check it, and make a bitstream"),
    "update": ("bnnhw.update", "put another network of the same shape into a bitstream, in seconds"),
    "explore": ("bnnhw.explore", "say what boards make of networks, by estimates or placed and routed"),
    "simulate": ("bnnhw.simulate", "run images through a built accelerator's Verilog"),
    "run": ("bnnhw.run", "classify images on a board, or on a simulated one"),
    "flash": ("bnnhw.flash", "load a bitstream into a board"),
    "doctor": ("bnnhw.doctor", "say which tools are there, and what the missing ones cost"),
}
# Modules of extras, and the extra that brings them.
EXTRAS = {"torch": "train", "matplotlib": "train", "PIL": "train", "tensorboard": "tensorboard",
          "serial": "host", "onnx": "onnx", "h5py": "onnx",
          "distributed": "cluster"}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""
    def error(self, message):
        self.exit(2, f"error: {message} (`{self.prog} --help` tells more)\n")


def _execute(verb, argv, prog):
    name, summary = VERBS[verb]
    module = importlib.import_module(name)
    parser = _Parser(prog=prog, description=summary[0].upper() + summary[1:] + ".")
    module.add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        return module.run(args) or 0
    except UsageError as error:
        parser.error(str(error))


def _guarded(verb, argv, prog):
    """Run a verb; a user's mistake becomes one line on standard error."""
    # A component that was made before the mistake was found is no news.
    warnings.filterwarnings("ignore", message=".* created but never used")
    try:
        return _execute(verb, argv, prog)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        print(f"error: {verb} needs {error.name}: pip install 'bnnhw[{EXTRAS[error.name]}]'", file=sys.stderr)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except BrokenPipeError:     # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 1


def _own_process():
    """SIGTERM (``kill``, ``timeout``) ends this process as Ctrl-C does, and with it every program that it runs."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def main(argv=None):
    """Entry point of ``bnnhw``; with ``argv`` a call inside of another program."""
    if argv is None:
        _own_process()
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = _Parser(
        prog="bnnhw", description="From a trained binarized neural network to a bitstream, every step exact.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="verbs:\n" + "\n".join(f"  {verb:<10} {summary}" for verb, (_, summary) in VERBS.items())
               + "\n\n`bnnhw VERB --help` tells more.")
    parser.add_argument("--version", action="version", version=f"bnnhw {__version__}")
    parser.add_argument("verb", choices=VERBS, metavar="VERB")
    args = parser.parse_args(argv[:1])
    return _guarded(args.verb, argv[1:], f"bnnhw {args.verb}")


def main_of(verb):
    """Run ``python -m bnnhw.VERB`` and exit with its status."""
    _own_process()
    sys.exit(_guarded(verb, sys.argv[1:], f"python -m bnnhw.{verb}"))


if __name__ == "__main__":
    sys.exit(main())
