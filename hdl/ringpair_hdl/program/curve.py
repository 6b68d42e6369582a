"""What the program asks of the curve engine, the shelf and the PIN's display, on the port that they share with the PUF
engine.
"""

from enum import IntEnum

from ringpair_protocol.binding import BIND_C, BIND_D, CI_LABEL, STS_C, STS_D
from ringpair_protocol.cpace import DSI, DSI_ISK, MAC_LABEL

from ringpair_hdl.control.assembler import Port, Program, Unit
from ringpair_hdl.control.scratchpad import Field
from ringpair_hdl.curve.commands import Command, OnElement
from ringpair_hdl.curve.elements import Element
from ringpair_hdl.pin_display import PinCommand

from .memory import Memory


class Words:
    """Constant parts of what is hashed; what is the same in two of them is there once."""

    def __init__(self, p: Program):
        self.dsi_isk, self.mac_label = p.pad.constant(DSI_ISK), p.pad.constant(MAC_LABEL)
        bind, sts = p.pad.constant(BIND_C), p.pad.constant(STS_D)
        self.dsi, self.ci_label = self.dsi_isk[: len(DSI)], bind[: len(CI_LABEL)]
        self.bind_c, self.bind_d = (bind,), (bind[:-1], sts[-1])
        self.sts_c, self.sts_d = (sts[:-1], bind[-1]), (sts,)
        for fields, value in (
            (self.bind_d, BIND_D),
            (self.sts_c, STS_C),
            ((self.dsi,), DSI),
            ((self.ci_label,), CI_LABEL),
        ):
            found = b"".join(bytes(p.pad.init[field.address : field.end]) for field in fields)
            assert found == value, f"{found!r} is not {value!r}"


SHELF = 0xF0
"""Command: the shelf, from the unit in the lower four bits on."""


PIN = 0xE8
"""Command: the display of the dynamic PIN; which one stands in the lowest bits."""


class Unit32(IntEnum):
    """What lies on the shelf, in units of 32 bytes."""

    PPAKE = 0
    """The session keys of PPAKE while a controller's are in their place."""
    OPENING = 3
    """Keys of a binding or of a session that is not confirmed."""
    SESSION = 6
    """Keys of a controller's session."""
    SAID = 9
    """What was said in the run."""
    IDENTITY = 14
    """The device's public key."""


def curve(p: Program, *commands: Command) -> None:
    """Commands without bytes, one after the other."""
    for command in commands:
        p.control(Unit.PUF, command)


def load(p: Program, element: Element | int, field: Field) -> None:
    p.control(Unit.PUF, OnElement.LOAD | element)
    p.give(Port.PUF, field)


def read(p: Program, element: Element | int, field: Field) -> None:
    p.control(Unit.PUF, OnElement.READ | element)
    p.take(Port.PUF, field)


def on(p: Program, command: OnElement, *elements: Element | int) -> None:
    for element in elements:
        p.control(Unit.PUF, command | element)


def hash_fields(p: Program, *fields: Field, prefixed: bool = False) -> None:
    """Fields into the hash, with their length before them if that belongs to the message; at most 255 bytes."""
    p.control(Unit.PUF, Command.HASH_PREFIXED if prefixed else Command.HASH)
    p.give(Port.PUF, p.pad.constant(bytes([sum(field.length for field in fields)])))
    for field in fields:
        p.give(Port.PUF, field)


def put(p: Program, unit: Unit32, *fields: Field) -> None:
    """Onto the shelf."""
    p.control(Unit.PUF, SHELF | unit)
    for field in fields:
        p.give(Port.PUF, field)


def get(p: Program, unit: Unit32, *fields: Field) -> None:
    """From the shelf, where it stays."""
    p.control(Unit.PUF, SHELF | unit)
    for field in fields:
        p.take(Port.PUF, field)


def pin_display(p: Program, command: PinCommand) -> None:
    p.control(Unit.PUF, PIN | command)


def refused(p: Program, v: Memory) -> None:
    """ZERO afterwards: the curve engine refused nothing, and is whole."""
    p.control(Unit.PUF, Command.STATUS)
    p.take(Port.PUF, v.spi)
    p.test(v.spi, 0xFF)
