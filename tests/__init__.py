"""Tests. Commands that they interrupt must see the signal even where the shell has the tests in the background, and ignores it."""
import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
