"""The C interface of the compiled board, as ctypes sees it; field for field the structures of ``board.cc``."""

import ctypes
from ctypes import POINTER, c_double, c_uint8, c_uint32, c_uint64, c_void_p
from enum import IntEnum
from pathlib import Path

from ringpair_protocol.puf import window_clocks

from .parameters import Parameters


class NativeFlash(ctypes.Structure):
    """Cycles instead of seconds."""

    _fields_ = [
        *((name, c_uint32) for name in ("size", "jedec", "program_first", "program_next")),
        *((name, c_uint32) for name in ("erase_4k", "erase_64k", "erase_chip", "wake", "asleep")),
    ]


class NativeParameters(ctypes.Structure):
    """Divisors instead of baud rates."""

    _fields_ = [
        *((name, c_uint32) for name in ("admin_divisor", "peer_divisor", "settle", "window", "trace", "log")),
        ("flash", NativeFlash),
        ("seed", c_uint64),
    ]


class Status(ctypes.Structure):
    """What a board did and does; always up to date."""

    _fields_ = [
        ("cycle", c_uint64),
        ("boots", c_uint64),
        ("phase_cycles", c_uint64 * 16),
        ("phase_entries", c_uint64 * 16),
        *((name, c_uint64) for name in ("admin_in", "admin_out", "peer_in", "peer_out")),
        *((name, c_uint64) for name in ("framing_errors", "measurements", "noise_bits", "programs", "erases")),
        *((name, c_uint64) for name in ("trace", "window")),
        *((name, c_uint32) for name in ("powered", "quiet", "led", "phase", "button", "flash_busy")),
        *((name, c_uint32) for name in ("display", "reserved")),
        *((name, c_uint64) for name in ("admin_waiting", "peer_waiting", "admin_pending", "peer_pending", "events")),
    ]


class EventKind(IntEnum):
    """What the event log holds."""

    ADMIN_IN = 0
    ADMIN_OUT = 1
    PEER_IN = 2
    PEER_OUT = 3
    LED = 4
    POWER = 5
    DISPLAY = 6


class NativeEvent(ctypes.Structure):
    """One entry of the event log."""

    _fields_ = [("cycle", c_uint64), ("kind", c_uint32), ("value", c_uint32)]


class Stop(IntEnum):
    """Why a run ended."""

    CYCLES = 0
    BYTES = 1
    QUIET = 2
    OFF = 3


_FUNCTIONS = {
    "board_new": (c_void_p, [POINTER(NativeParameters), POINTER(c_uint8)]),
    "board_free": (None, [c_void_p]),
    "board_status": (POINTER(Status), [c_void_p]),
    "board_power": (None, [c_void_p, c_uint32]),
    "board_run": (c_uint32, [c_void_p, c_uint64, c_uint64, c_uint64, c_uint32]),
    "board_write": (None, [c_void_p, c_uint32, ctypes.c_char_p, c_uint64]),
    "board_read": (c_uint64, [c_void_p, c_uint32, ctypes.c_char_p, c_uint64]),
    "board_button": (None, [c_void_p, c_uint32, c_uint64]),
    "board_cut_at": (None, [c_void_p, c_uint64]),
    "board_cut_in_program": (None, [c_void_p, c_uint64, c_double]),
    "board_cut_in_erase": (None, [c_void_p, c_uint64, c_double]),
    "board_flash_wear": (None, [c_void_p, *[c_uint32] * 4]),
    "board_flash_hang": (None, [c_void_p, c_uint64, c_uint32]),
    "board_ring_model": (None, [c_void_p, *[POINTER(c_double)] * 3, c_double]),
    "board_ring_table": (None, [c_void_p, POINTER(c_double), c_uint32]),
    "board_noise_source": (None, [c_void_p, c_double, c_double]),
    "board_events": (c_uint64, [c_void_p, POINTER(NativeEvent), c_uint64]),
}


def load(library: Path) -> ctypes.CDLL:
    """Open a compiled board and declare its functions."""
    native = ctypes.CDLL(str(library.resolve()))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(native, name)
        function.restype = result
        function.argtypes = arguments
    return native


def native_parameters(p: Parameters, trace: bool, log: frozenset[EventKind]) -> NativeParameters:
    """Times and rates in cycles."""
    flash = p.flash
    return NativeParameters(
        admin_divisor=p.divisor(p.admin_baud),
        peer_divisor=p.divisor(p.peer_baud),
        settle=p.settle_cycles,
        window=window_clocks(p.clock_hz),
        trace=trace,
        log=sum(1 << kind for kind in log),
        flash=NativeFlash(
            size=flash.size,
            jedec=flash.jedec,
            program_first=p.cycles(flash.first_byte_s),
            program_next=round((flash.page_s - flash.first_byte_s) * p.clock_hz * 256 / 255),
            erase_4k=p.cycles(flash.sector_erase_s),
            erase_64k=p.cycles(flash.block_erase_s),
            erase_chip=p.cycles(flash.chip_erase_s),
            wake=p.cycles(flash.wake_s),
            asleep=flash.asleep,
        ),
        seed=p.seed & 0xFFFFFFFFFFFFFFFF,
    )
