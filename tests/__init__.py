"""Tests. Commands that they interrupt must see the signal, which a shell has its background jobs ignore."""
import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
