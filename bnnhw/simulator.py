"""Runs the Verilog that ships: thousands of frames through Verilator, every integer and every cycle kept.

A :class:`Simulator` drives the accelerator's AXI4-Stream ports, with random stalls if wanted, and looks at the streams
between its stages on the way. What comes out is compared with the golden model by :mod:`bnnhw.compare`.
"""

import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import verilated
from .accelerator import TOP
from .errors import UserError
from .rings import rings

__all__ = ["PATIENCE", "HangError", "ProtocolError", "Result", "SimulationError", "Simulator", "encode"]

HARNESS = Path(__file__).with_name("harness.cpp")
CORE = "core"           # submodule whose wires NAME__payload, NAME__valid, NAME__ready show the streams between stages
PATIENCE = 100_000      # cycles without any transfer, inside or outside, after which it counts as hung
DRAIN = 300             # cycles after the last result in which no other may come
RECORD = 5              # integers per frame: cycles of its first and last beat in and out, and its error flag
EXIT_HANG, EXIT_PROTOCOL = 3, 4


class SimulationError(UserError):
    """The simulation did not come to its end."""


class HangError(SimulationError):
    """Nothing moves any more; the message has the state of each stream. ``streams`` is {name: (valid, ready, words)}."""
    def __init__(self, message, streams):
        self.streams = streams
        super().__init__(message)


class ProtocolError(SimulationError):
    """The accelerator broke a rule of AXI4-Stream or gave beats that belong to no result."""


@dataclass(frozen=True)
class Result:
    """What a run gave, for N frames.

    Attributes
    ----------
    beats : int64 array (N, result_beats)
        Scores are signed; the last, which is the class, is not.
    errors : bool array (N,)
        ``m_axis_tuser`` of the result.
    first_in, last_in, first_out, last_out : int64 array (N,)
        Cycles in which the frame's first and last beat were taken, and its result's given; 0 is the first after reset.
    cycles : int
        Until the last result beat.
    seconds : float
        Of real time, compilation excluded.
    edges : dict edge -> int array (N, elements)
        Values seen between the stages, in the network's terms; empty if they were not asked for.
    layers : dict edge -> str
        The stage that gave each.
    peaks : dict name -> int
        The most words that each buffer held (:class:`bnnhw.rings.Ring`); empty where buffers cannot be seen, as in a netlist.
    """
    beats: np.ndarray
    errors: np.ndarray
    first_in: np.ndarray
    last_in: np.ndarray
    first_out: np.ndarray
    last_out: np.ndarray
    cycles: int
    seconds: float
    edges: dict = field(default_factory=dict)
    layers: dict = field(default_factory=dict)
    peaks: dict = field(default_factory=dict)

    @property
    def latency(self):
        """Cycles from taking the first beat of the first frame, in an empty accelerator, to its last result beat, inclusive."""
        return int(self.last_out[0] - self.first_in[0] + 1)

    @property
    def interval(self):
        """Cycles between results; None where it is not the same throughout the second half of the run."""
        steps = np.diff(self.last_out)[len(self.last_out) // 2:]
        return int(steps[0]) if len(steps) and np.all(steps == steps[0]) else None


def encode(network, x):
    """Input values as the bytes that the accelerator takes.

    Parameters
    ----------
    network : Network
        With one input.
    x : int array (N, *shape)

    Returns
    -------
    uint8 array (N, frame_bytes)
        ``(value - lo) / step`` of each element, in whole bytes, the low one first.
    """
    type = network.types[network.inputs[0]]
    codes = (np.asarray(x).astype(np.int64) - type.lo) // type.step
    width = -(-type.bits // 8)
    codes = codes.reshape(len(codes), -1).astype("<u8")
    return np.ascontiguousarray(codes.view(np.uint8).reshape(*codes.shape, 8)[..., :width]).reshape(len(codes), -1)


class Simulator:
    """An accelerator's Verilog as a program.

    It is compiled by the first run and kept in the user's cache (:mod:`bnnhw.verilated`).

    Parameters
    ----------
    verilog : str or Path
        Its text, or the file with it.
    top : str
    lanes, frame_bytes : int
        Bytes per beat and per frame at the input.
    result_beats, bytes_per_beat : int
        Beats per result, bytes per beat (1 to 8) at the output.
    taps : sequence of :class:`bnnhw.accelerator.Tap`
        Streams between stages whose values a run can give.
    streams : sequence of str
        Names of the streams between stages, from the input on: what a hang is reported of.
    branches : collection of str
        Those of them that come from the buffers behind forks: one that is full is named.
    rings : sequence of :class:`bnnhw.rings.Ring`
        Buffers whose greatest fill a run gives, where the Verilog still has them.
    tasks : int
        How many tasks the accelerator knows.
    options : sequence of str
        More options for Verilator.
    optimize : str
        The C++ compiler's, as of :func:`bnnhw.verilated.compile`.
    say : callable (str)
        Told when a long compilation starts.
    """
    def __init__(self, verilog, *, top=TOP, lanes, frame_bytes, result_beats, bytes_per_beat, taps=(), streams=(),
                 branches=(), rings=(), tasks=1, options=(), optimize=verilated.FAST, say=lambda text: None):
        if frame_bytes % lanes:
            raise ValueError(f"lanes must divide the frame's {frame_bytes} bytes, not be {lanes}")
        if not 1 <= bytes_per_beat <= 8:
            raise ValueError(f"bytes_per_beat must be 1 to 8, not {bytes_per_beat}")
        self.verilog = verilog.read_text() if isinstance(verilog, Path) else verilog
        self.top, self.options, self.optimize = top, tuple(options), optimize
        self.say, self.tapped = say, tuple(taps)
        self.streams, self.branches = ("s_axis", *streams, "m_axis"), frozenset(branches)
        self.rings = tuple(rings) if f"{top}.{CORE} " in self.verilog else ()
        self.lanes, self.frame_bytes = lanes, frame_bytes
        self.result_beats, self.bytes_per_beat, self.tasks = result_beats, bytes_per_beat, tasks

    @classmethod
    def of_plan(cls, plan, verilog, *, taps=(), **more):
        """The simulator of ``verilog``, which was made from ``plan``."""
        return cls(verilog, lanes=plan.input_lanes * plan.element_bytes,
                   frame_bytes=plan.frame_elements * plan.element_bytes, result_beats=plan.result_beats,
                   bytes_per_beat=plan.bytes_per_beat, taps=taps,
                   streams=[name for element in plan.elements for name in element.streams], branches=plan.branches,
                   rings=rings(plan), tasks=plan.tasks, **more)

    def program(self, trace=False):
        """The compiled program, a Path. Raises :exc:`~bnnhw.tools.ToolMissing` or :exc:`~bnnhw.tools.ToolError`."""
        visible = ""
        if f"{self.top}.{CORE} " in self.verilog:
            visible = "".join(f'public_flat_rd -module "{self.top}.{CORE}" -var "*__{part}"\n'
                              for part in ("payload", "valid", "ready"))
        visible += "".join(f'public_flat_rd -module "{self.top}.{CORE}.{ring.module}" -var "{ring.register}"\n'
                           for ring in self.rings)
        return verilated.compile(self.verilog, HARNESS, top=self.top, options=self.options, settings=visible,
                                 optimize=self.optimize, trace=trace, say=self.say)

    def run(self, frames, *, task=None, p_valid=1.0, p_ready=1.0, seed=0, patience=PATIENCE, trace=None, taps=False,
            progress=None):
        """Send frames and collect the results.

        Parameters
        ----------
        frames : uint8 array (N, frame_bytes)
            Sent back to back.
        task : int array (N,), optional
            Each frame's, where the accelerator knows several.
        p_valid, p_ready : float
            Chances per cycle that a beat is offered and that a result beat is taken; an offer stands until it is taken.
        seed : int
            Of the stalls.
        patience : int
            Cycles without any transfer after which the run is broken off.
        trace : path, optional
            Waveform file (VCD) to write; compiles another program.
        taps : bool
            Whether to give the values between the stages.
        progress : callable (done, total), optional
            Told of frames now and then.

        Returns
        -------
        Result

        Raises
        ------
        HangError, ProtocolError, SimulationError
        """
        frames = np.ascontiguousarray(frames)
        if frames.dtype != np.uint8 or frames.shape[1:] != (self.frame_bytes,) or not len(frames):
            raise ValueError(f"frames must be uint8 (N, {self.frame_bytes}), not {frames.dtype} {frames.shape}")
        if (task is None) != (self.tasks == 1) or task is not None and not (
                len(task) == len(frames) and 0 <= min(task) and max(task) < 1 << (self.tasks - 1).bit_length()):
            raise ValueError(f"the accelerator knows {self.tasks} task{'s' * (self.tasks > 1)}, and each frame must have its own")
        if not (0 < p_valid <= 1 and 0 < p_ready <= 1):
            raise ValueError(f"p_valid and p_ready must be above 0 and at most 1, not {p_valid} and {p_ready}")
        program = self.program(trace is not None)
        with tempfile.TemporaryDirectory(prefix="bnnhw-") as temporary:
            folder = Path(temporary)
            frames.tofile(folder / "frames")
            settings = {
                "frames": folder / "frames", "results": folder / "results", "count": len(frames),
                "lanes": self.lanes, "frame_bytes": self.frame_bytes, "result_beats": self.result_beats,
                "bytes_per_beat": self.bytes_per_beat, "p_valid": p_valid, "p_ready": p_ready, "seed": seed,
                "patience": patience, "drain": DRAIN, "scope": f"{self.top}.{CORE}",
            }
            if task is not None:
                np.asarray(task, np.uint32).tofile(folder / "tasks")
                settings |= {"tasks": folder / "tasks", "task_mask": (1 << (self.tasks - 1).bit_length()) - 1}
            if trace is not None:
                settings["trace"] = Path(trace).resolve()
            settings |= {f"ring.{ring.name}": f"{ring.register}:{self.top}.{CORE}.{ring.module}" for ring in self.rings}
            if taps:
                settings |= {f"tap.{tap.wire}": f"{_word_bytes(tap)}:{folder / tap.wire}.tap" for tap in self.tapped}
            started = time.monotonic()
            lines = self._execute(program, settings, len(frames), progress)
            seconds = time.monotonic() - started
            data = np.fromfile(folder / "results", np.int64)
            edges = {tap.edge: _values(tap, folder / f"{tap.wire}.tap", len(frames)) for tap in self.tapped if taps}
        beats, records = np.split(data, [len(frames) * self.result_beats])
        times = records.reshape(len(frames), RECORD)
        beats = beats.reshape(len(frames), -1)
        beats[:, -1] &= (1 << 8 * self.bytes_per_beat) - 1 if self.bytes_per_beat < 8 else -1
        least = {name: int(free) for kind, name, free in (line.split() for line in lines if line.startswith("ring "))}
        return Result(beats, times[:, 4].astype(bool), *times[:, :4].T,
                      cycles=int(lines[-1].split()[1]), seconds=seconds, edges=edges,
                      layers={tap.edge: tap.layer for tap in self.tapped},
                      peaks={ring.name: ring.depth - least[ring.name] for ring in self.rings})

    def _execute(self, program, settings, total, progress):
        """Run the program; its lines of output but for those on its progress."""
        lines = []
        process = subprocess.Popen([program, *(f"{key}={value}" for key, value in settings.items())], text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        try:
            for line in process.stdout:
                if line.startswith("done "):
                    if progress is not None:
                        progress(int(line.split()[1]), total)
                else:
                    lines.append(line.strip())
            process.wait()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        if process.returncode == EXIT_HANG:
            raise self._hang(lines, settings["patience"], total)
        if process.returncode == EXIT_PROTOCOL:
            _, cycle, message = lines[-1].split(" ", 2)
            raise ProtocolError(f"cycle {int(cycle):,}: {message}")
        if process.returncode or not lines:
            raise SimulationError(f"the simulator ended with status {process.returncode}: {' '.join(lines) or 'no output'}")
        if progress is not None:
            progress(total, total)
        return lines

    def _hang(self, lines, patience, total):
        cycle = next(int(line.split()[1]) for line in lines if line.startswith("hang "))
        states = {}
        for line in lines:
            if line.startswith("stream "):
                _, name, *state = line.split()
                states[name] = tuple(map(int, state))
        streams = {name: states[name] for name in self.streams if name in states}
        done = streams["m_axis"][2] // self.result_beats
        text = [f"hang: nothing has moved for {patience:,} cycles since cycle {cycle:,}; {done} of {total} results were given"]
        text += [f"the buffer {name!r} is full, and what would empty it waits for another branch: it must be deeper"
                 for name, state in streams.items() if name in self.branches and state[:2] == (1, 0)]
        text += [f"{name}: valid {valid}, ready {ready}, {words:,} words so far"
                 for name, (valid, ready, words) in streams.items()]
        return HangError("\n  ".join(text), streams)


def _word_bytes(tap):
    return -(-tap.lanes * tap.bits // 8)


def _values(tap, path, frames):
    """The values that a tap has recorded, int array (frames, elements): int32 where that holds them."""
    words = np.fromfile(path, np.uint8).reshape(-1, _word_bytes(tap))[:frames * tap.words]
    if len(words) != frames * tap.words:
        raise SimulationError(f"layer {tap.layer!r} gave {len(words)} words for {frames} frames of {tap.words}")
    dtype = np.int32 if tap.bits + int(tap.step).bit_length() + int(abs(tap.lo)).bit_length() < 31 else np.int64
    bits = np.unpackbits(words, axis=1, bitorder="little")[:, :tap.lanes * tap.bits].reshape(-1, tap.lanes, tap.bits)
    codes = np.zeros(bits.shape[:2], dtype)
    for place in range(tap.bits):
        codes += bits[:, :, place].astype(dtype) * dtype(1 << place)
    return (tap.lo + tap.step * codes).reshape(frames, -1)
