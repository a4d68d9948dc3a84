"""Processes that end with the one that started them, however that ended.

The two hold the ends of a pipe. When the parent ends, be it by SIGKILL, the kernel closes its end; a thread in the child sees
that and interrupts the child as Ctrl-C would, so that the child ends what it has started itself
(:meth:`bnnhw.tools.Tool.run` does).
"""

import contextlib
import os
import signal
import subprocess
import threading
import time

__all__ = ["hold", "let_go", "run"]

GRACE_S = 5     # for an interrupted child to end by itself
STDIN = 0

_running, _lock = set(), threading.Lock()


def run(command, *, log):
    """Run a command whose process calls :func:`hold` first.

    Parameters
    ----------
    command : list of str
    log : path
        Where both its output streams go.

    Returns
    -------
    int
        Its exit status; negative is the signal that killed it.
    """
    with open(log, "wb") as output, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT,
                                                     start_new_session=True) as process:
        with _lock:
            _running.add(process)
        try:
            return process.wait()
        finally:
            with _lock:
                _running.discard(process)
            _close(process)


def let_go():
    """Make every process that :func:`run` waits for end, without waiting for it."""
    with _lock:
        for process in _running:
            _close(process)


def _close(process):
    with contextlib.suppress(OSError):
        process.stdin.close()


def hold():
    """Tie this process, the leader of its session, to the parent that runs it by :func:`run`.

    When that is gone the main thread sees a :exc:`KeyboardInterrupt`; what is left of the process group some seconds later is
    killed.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)    # it may have been ignored where the parent runs in the background
    threading.Thread(target=_watch, daemon=True).start()


def _watch():
    while os.read(STDIN, 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(GRACE_S)
    os.killpg(os.getpid(), signal.SIGKILL)
