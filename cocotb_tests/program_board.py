"""The device's program on models of everything around it, in Python: nothing of the gateware but the program's bytes.

`control_machine.Machine` interprets the code; what it tells as events goes to the models of the protocol package, and
what it takes comes from there. It knows no cycles and no bits on a line; the frames that come out are those of the
device.
"""

import hashlib
import hmac
from collections import deque
from functools import cache

from ringpair_hdl.control.isa import Condition, Operand, Strobe
from ringpair_hdl.curve.commands import Command, OnElement, Status
from ringpair_hdl.curve.elements import Element
from ringpair_hdl.pin_display import PinCommand
from ringpair_hdl.program import pairing_program
from ringpair_hdl.program.curve import PIN, SHELF
from ringpair_hdl.puf.engine import Command as PufCommand
from ringpair_protocol import ascon, curve25519
from ringpair_protocol.binding import PIN_DIGITS
from ringpair_protocol.nor import NorFlash

from cocotb_tests.control_machine import Machine

TICKS_PER_SECOND = 91.6


class Waits(RuntimeError):
    """The sequencer would wait for ever."""


def demand(true, message):
    if not true:
        raise Waits(message)


@cache
def linked(identity):
    """Program, its memory, and its code."""
    program, memory = pairing_program(identity, TICKS_PER_SECOND)
    return program, memory, program.link()


class Sponge:
    """`AsconModes`, byte by byte."""

    def __init__(self):
        self.clear()

    def clear(self):
        self.mode, self.segments, self.given, self.out = None, [], bytearray(), deque()
        self.squeezed = 0

    def start(self, word):
        self.clear()
        self.mode = word

    def give(self, byte):
        assert self.mode is not None, "a byte for a sponge that was not started"
        self.given.append(byte)
        if not self.mode & 1:
            return
        head = 48
        if len(self.segments) < 1 + (self.mode >> 2 & 1) and self._in_text():
            text = bytes(self.given[head:] if not self.segments else self.given)
            if len(text) == 1:
                self.block = self._state()
            place = (len(text) - 1) % 16  # only the present block is done again for each byte
            self.out.append(ascon._crypt(self.block, text[-1 - place :], decrypt=bool(self.mode & 2))[1][place])
            if place == 15:
                self.block = ascon._crypt(self.block, text[-16:], decrypt=bool(self.mode & 2))[0]
                self.block = self.block[0] ^ 1, *self.block[1:]  # without the padding behind it
        elif len(self.segments) == 1 + (self.mode >> 2 & 1) and len(self.given) > 16:
            self.out.append(self.tag[len(self.given) - 17])

    def _in_text(self):
        """After key, nonce and key, and the associated data if there is any."""
        return bool(self.segments) if self.mode & 4 else len(self.given) > 48

    def _state(self):
        head = self.segments[0] if self.segments else bytes(self.given)
        return ascon._start(head[:16], head[16:32], head[48:] if self.mode & 4 else b"")[0]

    def end(self):
        self.segments.append(bytes(self.given))
        self.given = bytearray()
        if self.mode & 1 and len(self.segments) == 1 + (self.mode >> 2 & 1):
            head, text = self.segments[0], self.segments[-1]
            state, keys = ascon._start(head[:16], head[16:32], head[48:] if self.mode & 4 else b"")
            self.tag = ascon._tag(ascon._crypt(state, text, decrypt=bool(self.mode & 2))[0], *keys)

    def popleft(self):
        if self.mode & 1:
            return self.out.popleft()
        if not self.out:
            label, message = self.segments
            self.squeezed += 64
            self.out.extend(ascon.cxof128(message, label, self.squeezed)[-64:])
        return self.out.popleft()


class Curve:
    """The curve engine: elements, and what the commands make of them."""

    def __init__(self):
        self.elements = {}
        self.command, self.i, self.o, self.status = None, bytearray(), deque(), 0
        self.message = bytearray()

    def __getitem__(self, element):
        return self.elements.get(int(element), bytes(32))

    def run(self, command):
        left = len(self.i) + len(self.o)
        assert left == 0, f"command {command} comes while {left} bytes of {self.command} are left"
        self.command = command
        upper, element = command & 0xE0, command & 31
        if upper == OnElement.READ:
            self.o.extend(self[element])
        elif upper == OnElement.HASH:
            self.message += self[element]
        elif upper == OnElement.PUT:
            self.elements[element] = self[Element.RESULT]
        elif upper == OnElement.GET:
            self.elements[int(Element.POINT)] = self[element]
        elif upper == 0:
            getattr(self, f"do_{Command(command).name.lower()}", lambda: None)()

    def give(self, byte):
        """Bytes that the command waits for."""
        self.i.append(byte)
        upper, element = self.command & 0xE0, self.command & 31
        if upper == OnElement.LOAD:
            if len(self.i) == 32:
                self.elements[element] = bytes(self.i)
                self.i.clear()
        elif self.command in (Command.HASH, Command.HASH_PREFIXED):
            if len(self.i) == self.i[0] + 1:
                self.message += self.i[self.command == Command.HASH :]
                self.i.clear()
        else:
            raise AssertionError(f"a byte for command {self.command}, which takes none")

    def _set(self, element, value):
        self.elements[int(element)] = bytes(value)

    def _digest(self, digest):
        self._set(Element.DIGEST, digest[:32])
        self._set(Element.DIGEST + 1, digest[32:])

    def do_clear(self):
        self.elements, self.message = {}, bytearray()

    def do_status(self):
        self.o.append(self.status)

    def do_hash_start(self):
        self.message = bytearray()

    def do_hash_finish(self):
        self._digest(hashlib.sha512(self.message).digest())

    def do_hmac_start(self):
        self.key = self[Element.DIGEST] + self[Element.DIGEST + 1]
        self.message = bytearray()

    def do_hmac_again(self):
        self.message = bytearray()

    def do_hmac_finish(self):
        self._digest(hmac.digest(self.key, bytes(self.message), "sha512"))

    def _multiply(self, point):
        try:
            self._set(Element.RESULT, curve25519.x25519(self[Element.SCALAR], point))
            self.status = 0
        except curve25519.BadPoint:
            self._set(Element.RESULT, bytes(32))
            self.status = Status.REFUSED

    def do_x25519(self):
        self._multiply(self[Element.POINT])

    def do_x25519_base(self):
        self._multiply(curve25519.BASE_U)

    def do_elligator(self):
        u = curve25519.elligator2(curve25519.decode_u(self[Element.POINT]))
        self._set(Element.RESULT, u.to_bytes(32, "little"))

    def do_key(self):
        self._set(Element.PUBLIC, curve25519.public_key(self[Element.SEED]))
        self._set(Element.SEED, bytes(32))

    def do_sign_begin(self):
        self.seed = self[Element.SEED]
        assert curve25519.public_key(self.seed) == self[Element.PUBLIC]
        self.message = bytearray()

    def do_sign_commit(self):
        self.signed, self.message = bytes(self.message), bytearray()

    def do_sign_end(self):
        assert self.signed == self.message, "the statement differs in the second pass"
        signature = curve25519.sign(self.seed, self.signed)
        self._set(Element.R, signature[:32])
        self._set(Element.S, signature[32:])

    def do_verify_begin(self):
        self.message = bytearray()

    def do_verify_end(self):
        signature = self[Element.R] + self[Element.S]
        genuine = curve25519.verify(self[Element.PUBLIC], bytes(self.message), signature)
        self.status = 0 if genuine else Status.REFUSED


class Puf:
    """The PUF engine: `vault.RingPuf`, or anything like it."""

    def __init__(self, puf):
        self.puf, self.o, self.i, self.exhausted = puf, deque(), bytearray(), False

    def run(self, command):
        command = PufCommand(command)
        demand(not self.i and not self.o, f"{command} comes while bytes of the command before it are left")
        if command is PufCommand.ENROLL:
            self.bits, helper = self.puf.enroll()
            self.o.extend(helper)
        elif command is PufCommand.RECONSTRUCT:
            self.exhausted = False
        elif command is PufCommand.BITS:
            self.o.extend(self.bits)
        elif command is PufCommand.NEXT:
            self.bits = next(self.candidates, None)
            self.exhausted = self.bits is None
        elif command is PufCommand.CLEAR:
            self.bits = None

    def give(self, byte):
        self.i.append(byte)
        if len(self.i) == 72:
            self.candidates = iter(self.puf.candidates(bytes(self.i)))
            self.bits = next(self.candidates)
            self.i.clear()


class Shelf:
    def __init__(self):
        self.memory, self.at = bytearray(512), 0

    def give(self, byte):
        self.memory[self.at] = byte
        self.at += 1

    def popleft(self):
        self.at += 1
        return self.memory[self.at - 1]


class PinDisplay:
    """The display of the PIN: ``pin`` is None or the digits that it keeps, ``shown`` whether they are lit."""

    def __init__(self):
        self.pin, self.shown, self.i, self.o = None, False, bytearray(), deque()

    def run(self, command):
        assert not self.i, "the digits before have not all come"
        assert not self.o, "the digits before were not all taken"
        if command is PinCommand.TELL:
            self.o.extend(self.pin or bytes(PIN_DIGITS))
        else:
            self.pin, self.shown = None, command is PinCommand.SHOW

    def give(self, byte):
        self.i.append(ord("0") | byte & 7)
        if len(self.i) == PIN_DIGITS:
            self.pin = bytes(self.i)
            self.i.clear()


class ProgramBoard:
    """A device with that program.

    Parameters
    ----------
    identity
        Of the device; its profile chooses the program.
    puf
        As of `DeviceModel`.
    flash : NorFlash
        The chip, which outlives the device.
    noise
        Gives n raw bytes.

    Attributes
    ----------
    button : bool
        Held.
    draws : list of bytes
        What the last step has taken from the noise source.
    """

    def __init__(self, identity, puf, flash: NorFlash, noise):
        self.program, self.v, rom = linked(identity)
        self.chip, self.noise = flash, noise
        self.sponge, self.curve, self.puf, self.shelf = Sponge(), Curve(), Puf(puf), Shelf()
        self.display = PinDisplay()
        self.button = self.alarm = False
        self.pressed = set()
        self.received, self.output, self.lines, self.side = None, bytearray(), ([], []), 0
        self.draws, self.raw, self.unit = [], deque(), None
        self.selected, self.frame_side = False, None
        self.machine = _Live(self, rom, self.program.pad.init)
        self.frames_out = []

    # ------------------------------------------------------------------ from outside
    def run(self, limit=3_000_000):
        """Until there is nothing to do; the frames that were sent, as pairs of side and payload."""
        self.frames_out, self.draws = [], []
        self.resting = False
        for _ in range(limit):
            self.machine.step()
            if self.resting:
                return self.frames_out
        raise AssertionError("the program does not come to rest")

    def frame(self, payload, side=0):
        assert self.received is None
        self.received = side, deque(payload), len(payload)
        return self.run()

    def pad(self, field):
        return bytes(self.machine.pad[field.address : field.end])

    # ------------------------------------------------------------------ for the machine
    def level(self, name):
        side = None if self.received is None else self.received[0]
        if name == "BUTTON" and side is None and self.button:  # the main loop does not wait while it is held
            self.resting = True
        return {
            "ADMIN_FRAME": side == 0,
            "PEER_FRAME": side == 1,
            "PUF_EXHAUSTED": self.puf.exhausted,
            "TRNG_ALARM": self.alarm,
            "TRNG_READY": not self.alarm,
            "BUTTON": self.button,
            "BUTTON_SHORT": "short" in self.pressed,
            "BUTTON_LONG": "long" in self.pressed,
        }.get(name, False)

    def happen(self, event):
        name, *values = event
        if name == "sponge":
            self.sponge.end() if values[0] == "end" else self.sponge.give(values[0])
        elif name == "start":
            self.sponge.start(values[0])
        elif name == "clear":
            self.sponge.clear()
        elif name == "link":
            demand(not self.output or self.side == self.frame_side, "a frame of the other side is not complete")
            self.output.append(values[0])
            self.frame_side = self.side
        elif name == "send":
            self.frames_out.append((self.side, bytes(self.output)))
            assert 1 <= len(self.output) <= 126, self.output.hex()
            assert self.side == self.frame_side, "the frame is one of the other side"
            self.output.clear()
        elif name == "drop":
            if self.received and self.received[0] == self.side:
                self.received = None
        elif name == "side":
            self.side = values[0]
        elif name == "select":
            self._select(values[0])
        elif name == "spi":
            self._transfer(values[0])
        elif name == "puf":
            self.unit.give(values[0])
        elif name == "command":
            self._command(values[0])

    def _select(self, on):
        """As `SpiEngine`, which may be selected twice."""
        if not on:
            demand(self.selected, "the flash is deselected that is not selected")
            self.chip.deselect()
            self.chip.advance(self.chip.erase_us + 1)
        elif not self.selected:
            self.chip.select()
        self.selected = bool(on)

    def _transfer(self, byte):
        demand(self.selected, "a byte for or from a flash that is not selected")
        return self.chip.transfer(byte)

    def _command(self, value):
        if value >= SHELF:
            self.unit, self.shelf.at = self.shelf, 32 * (value & 15)
        elif value >= PIN:
            self.unit = self.display
            self.display.run(PinCommand(value & 3))
        elif value >= 0xE0 or not self.v.full:
            self.unit = self.puf
            self.puf.run(value & 7)
        else:
            self.unit = self.curve
            self.curve.run(value)

    def draw(self):
        if not self.raw:
            self.draws.append(self.noise(64))
            self.raw.extend(self.draws[-1])
        return self.raw.popleft()


class _Source:
    def __init__(self, take):
        self.popleft = take


class _Events:
    def __init__(self, board):
        self.append = board.happen

    def __iadd__(self, events):
        for event in events:
            self.append(event)
        return self


class _Live(Machine):
    """The interpreter, connected."""

    def __init__(self, board, rom, pad):
        super().__init__(rom, pad, {})
        self.board, self.rom = board, rom
        self.events = _Events(board)
        self.inputs = {
            "sponge": _Source(lambda: board.sponge.popleft()),
            "link": _Source(lambda: board.received[1].popleft()),
            "spi": _Source(lambda: board._transfer(0)),
            "puf": _Source(lambda: (board.unit if board.unit is board.shelf else board.unit.o).popleft()),
            "trng": _Source(board.draw),
        }

    def holds(self, condition, unless):
        if condition in self.flags:
            return bool(self.flags[condition]) != unless
        return bool(self.board.level(Condition(condition).name)) != unless

    def take(self, port):
        self.levels = {"length": self.board.received[2] if self.board.received else 0, "TRNG_ALARM": self.board.alarm}
        return super().take(port)

    def operand(self, unit, value):
        if unit == Operand.EVENTS:
            self.board.pressed -= {name for bit, name in ((1, "short"), (2, "long")) if value & bit}
        else:
            super().operand(unit, value)

    def strobe(self, strobe):
        if strobe == Strobe.WAIT:
            waiting = ("ADMIN_FRAME", "PEER_FRAME", "BUTTON_SHORT", "BUTTON_LONG")
            self.board.resting = not any(map(self.board.level, waiting))
        else:
            super().strobe(strobe)
