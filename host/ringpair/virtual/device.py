"""One board inside this process: bytes in, bytes out, cycle by cycle, nothing else running."""

import contextlib
import ctypes
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from ringpair_protocol.puf import window_clocks

from . import native
from .compile import Design, build
from .native import EventKind, Status, Stop
from .parameters import Parameters
from .rings import RingModel, RingReads, Rings, by_slot

ALL_EVENTS = frozenset(EventKind)
FOREVER = 1 << 62
_READ = 4096


class Event(NamedTuple):
    """One entry of the event log: a byte complete on a line, LEDs that changed, power."""

    cycle: int
    kind: EventKind
    value: int


@dataclass(frozen=True)
class NoiseSource:
    """The raw random bit: probability of a one, and of repeating the bit before; ``NoiseSource(1)`` is stuck at one."""

    one: float = 0.5
    repeat: float = 0.0

    def __post_init__(self) -> None:
        for name in ("one", "repeat"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"the probability {name!r} must be 0..1, not {getattr(self, name)}")


def default_rings(parameters: Parameters, seed: int) -> RingModel:
    """Rings of 54 MHz that differ by 0.6 %, without noise: for tests that need rings but no silicon."""
    mean = 54e6 * window_clocks(parameters.clock_hz) / parameters.clock_hz
    return RingModel(mean * (1 + 0.006 * np.random.default_rng(seed).standard_normal(192)))


class SimulatedDevice:
    """A compiled board, stepped by its caller.

    Starts powered. Everything is deterministic: same library, parameters, flash, rings and calls, same run.

    Parameters
    ----------
    library : Path or Design or amaranth component, optional
        What to run; compiled if needed.
    parameters : Parameters
        Clock and rates.
    flash : bytes or mmap, optional
        Content of the flash; a map is used in place (and closed by its owner), bytes are copied. Blank by default.
    rings : RingModel or RingReads, optional
        The silicon.
    noise : NoiseSource
        The raw random bits.
    log : set of EventKind
        What the event log keeps.
    trace : bool
        Hash all outputs of all cycles into ``status.trace``.
    """

    def __init__(
        self,
        library: Path | Design | Any = None,
        parameters: Parameters | None = None,
        *,
        flash: bytes | bytearray | mmap.mmap | None = None,
        rings: Rings | None = None,
        noise: NoiseSource | None = None,
        log: frozenset[EventKind] = ALL_EVENTS,
        trace: bool = False,
    ) -> None:
        self.parameters = parameters or Parameters()
        size = self.parameters.flash.size
        if flash is None:
            flash = b"\xff" * size
        if len(flash) != size:
            raise ValueError(f"expected a flash image of {size} bytes, got {len(flash)}")
        self._native = native.load(library if isinstance(library, Path) else build(library))
        memory = flash if isinstance(flash, mmap.mmap) else bytearray(flash)
        self._memory = (ctypes.c_uint8 * size).from_buffer(memory)
        self._board: int | None = self._native.board_new(
            native.native_parameters(self.parameters, trace, log), self._memory
        )
        self.status: Status = self._native.board_status(self._board).contents
        self._buffer = ctypes.create_string_buffer(_READ)
        self._keep: Any = None
        self.set_rings(rings or default_rings(self.parameters, self.parameters.seed))
        self.set_noise(noise or NoiseSource())
        self.power_on()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Free the board and let go of the flash's memory."""
        if self._board is not None:
            # The status lives in the board: keep a copy for whoever looks at it afterwards.
            self.status = Status.from_buffer_copy(self.status)
            self._native.board_free(self._board)
            self._board = None
            del self._memory

    @property
    def _handle(self) -> int:
        if self._board is None:
            raise ValueError("the device is closed: make a new one")
        return self._board

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):
            self.close()

    # ------------------------------------------------------------------------------------------ lines and time

    def write(self, data: bytes, *, peer: bool = False) -> None:
        """Queue bytes for the device's admin (or peer) line. Without power they are lost."""
        self._native.board_write(self._handle, peer, data, len(data))

    def read(self, *, peer: bool = False) -> bytes:
        """Everything the device has sent on its admin (or peer) line since the last call."""
        result = b""
        while count := self._native.board_read(self._handle, peer, self._buffer, _READ):
            result += self._buffer.raw[:count]
        return result

    def run(self, cycles: int, *, admin: int = 0, peer: int = 0, until_quiet: bool = False) -> Stop:
        """Run some cycles.

        Parameters
        ----------
        cycles : int
            At most so many.
        admin, peer : int
            Stop as soon as so many bytes of that line can be read (0: do not).
        until_quiet : bool
            Stop as soon as nothing is going on: no byte on a line, no flash operation, no button, gateware idle.

        Returns
        -------
        Stop
            Why it ended.
        """
        return Stop(self._native.board_run(self._handle, cycles, admin, peer, until_quiet))

    def settle(self, limit: int = 120_000_000) -> None:
        """Run until quiet.

        Raises
        ------
        TimeoutError
            Something still goes on after ``limit`` cycles.
        """
        if not self.status.quiet and self.run(limit, until_quiet=True) is Stop.CYCLES:
            raise TimeoutError(
                f"expected the device to be quiet after {limit} cycles; it is in phase {self.status.phase}"
            )

    def exchange(self, data: bytes, size: int, limit: int = 120_000_000) -> bytes:
        """Write to the admin line and return exactly ``size`` bytes of the answer.

        Raises
        ------
        TimeoutError
            They did not come within ``limit`` cycles.
        """
        self.write(data)
        stop = self.run(limit, admin=size) if size else Stop.BYTES
        answer = self.read() if size else b""
        if stop is not Stop.BYTES or len(answer) != size:
            raise TimeoutError(f"expected {size} bytes, got {len(answer)} within {limit} cycles ({stop.name})")
        return answer

    # ------------------------------------------------------------------------------------------ power and button

    def power_on(self) -> None:
        """Configure the chip: registers and block RAM as in the bitstream, flash as it was left."""
        self._native.board_power(self._handle, True)

    def power_off(self) -> None:
        """Take the power away, now. A flash operation under way stays half done."""
        self._native.board_power(self._handle, False)

    def cut_at(self, cycle: int) -> None:
        """Take the power away at this cycle."""
        self._native.board_cut_at(self._handle, cycle)

    def cut_in_program(self, number: int = 1, fraction: float = 0.5) -> None:
        """Take the power away during the ``number``-th page program from now, after this fraction of its time."""
        self._check_cut(number, fraction)
        self._native.board_cut_in_program(self._handle, number, fraction)

    def cut_in_erase(self, number: int = 1, fraction: float = 0.5) -> None:
        """Take the power away during the ``number``-th erase from now, after this fraction of its time."""
        self._check_cut(number, fraction)
        self._native.board_cut_in_erase(self._handle, number, fraction)

    @staticmethod
    def _check_cut(number: int, fraction: float) -> None:
        if number < 1 or not 0 <= fraction <= 1:
            raise ValueError(f"expected an operation counted from 1 and a fraction 0..1, got {number} and {fraction}")

    def press(self, seconds: float | None = None) -> None:
        """Press the button for some (virtual) time, or until `release`."""
        self._native.board_button(self._handle, True, 0 if seconds is None else max(1, self.parameters.cycles(seconds)))

    def release(self) -> None:
        """Let the button go."""
        self._native.board_button(self._handle, False, 0)

    @property
    def led(self) -> int:
        """LEDs as bits: 0 ready, 1 session, 2 error."""
        return int(self.status.led)

    # ------------------------------------------------------------------------------------------ silicon, flash, log

    def set_rings(self, rings: Rings) -> None:
        """Other silicon, or the same at another temperature, from the next measurement on."""
        doubles = ctypes.POINTER(ctypes.c_double)
        if isinstance(rings, RingReads):
            table = by_slot(rings.counts)
            self._native.board_ring_table(self._handle, table.ctypes.data_as(doubles), len(table))
            self._keep = table
        else:
            arrays = [by_slot(values) for values in (rings.mean, rings.white, rings.slow)]
            self._native.board_ring_model(self._handle, *(a.ctypes.data_as(doubles) for a in arrays), rings.memory)
            self._keep = None

    def set_noise(self, noise: NoiseSource) -> None:
        """Another random source, from the next bit on."""
        self._native.board_noise_source(self._handle, noise.one, noise.repeat)

    @property
    def flash(self) -> memoryview:
        """The flash's bytes, in place: writing here is an attack on the chip."""
        return memoryview(self._memory).cast("B")

    def wear_flash(self, addresses: range, mask: int = 0xFF, *, erase: bool) -> None:
        """From now on an erase (or else a program) leaves these bits of the bytes at these addresses as they are."""
        if not (len(addresses) and addresses.step == 1 and 0 < mask < 256):
            raise ValueError(f"expected addresses without gaps and a mask 1..255, got {addresses} and {mask}")
        self._native.board_flash_wear(self._handle, addresses.start, addresses.stop, mask, erase)

    def hang_flash(self, number: int = 1, *, works: bool) -> None:
        """The ``number``-th program or erase from now never ends, whether it does its work or not, until power-off."""
        if number < 1:
            raise ValueError(f"expected an operation counted from 1, got {number}")
        self._native.board_flash_hang(self._handle, number, works)

    def replace_flash(self) -> None:
        """Another chip with the same content, on which everything works."""
        self._native.board_flash_wear(self._handle, 0, 0, 0, False)

    def events(self) -> list[Event]:
        """Take the event log, oldest first."""
        result: list[Event] = []
        if not self.status.events:
            return result
        entries = (native.NativeEvent * 256)()
        while count := self._native.board_events(self._handle, entries, len(entries)):
            result += [Event(e.cycle, EventKind(e.kind), e.value) for e in entries[:count]]
        return result


Wire = Callable[[int, bytes], bytes]
"""What happens to bytes on the way: called with the sender (0 or 1) and the bytes, returns what arrives."""


class Pair:
    """Two boards whose peer lines are joined, stepped against each other in small equal slices of time.

    A byte arrives within one slice after its stop bit, so the run is deterministic.

    Parameters
    ----------
    first, second : SimulatedDevice
        The boards.
    wire : callable, optional
        Loses, changes or records bytes; see `Wire`.
    step : int
        Cycles of a slice; one character time is enough.
    """

    def __init__(
        self, first: SimulatedDevice, second: SimulatedDevice, wire: Wire | None = None, step: int = 120
    ) -> None:
        self.devices = (first, second)
        self.wire = wire
        self.step = step

    def run(self, cycles: int, *, until: Callable[[], bool] | None = None, until_quiet: bool = False) -> bool:
        """Run both boards for some cycles.

        Parameters
        ----------
        cycles : int
            At most so many.
        until : callable, optional
            Asked after every slice; True ends the run.
        until_quiet : bool
            End the run when both are quiet (or off).

        Returns
        -------
        bool
            Whether a condition ended it before the cycles were over.
        """
        for _ in range(-(-cycles // self.step)):
            for device in self.devices:
                device.run(self.step)
            self.carry()
            if until is not None and until():
                return True
            if until_quiet and all(device.status.quiet for device in self.devices):
                return True
        return False

    def carry(self) -> None:
        """Take what each board has sent to the other."""
        for sender, (source, target) in enumerate((self.devices, self.devices[::-1])):
            if source.status.peer_waiting:
                data = source.read(peer=True)
                target.write(self.wire(sender, data) if self.wire else data, peer=True)
