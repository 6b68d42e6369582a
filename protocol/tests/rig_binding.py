"""Devices that can be bound, and controllers, for tests of both sides."""

from functools import cache

from ringpair_protocol import controller
from ringpair_protocol.admin import Code, Event, Identity, Opcode, Pin, Profile
from ringpair_protocol.binding import PIN_TRIES
from ringpair_protocol.channel import Session
from ringpair_protocol.controller import Service
from ringpair_protocol.device import Out, Port
from ringpair_protocol.messages import B3_FIRST, SWITCH, UNBIND, UNBIND_ASK
from ringpair_protocol.pairing import DeviceEntry
from ringpair_protocol.records import BINDING_END

from protocol.tests.rig import Board, CuttableFlash

FULL = Identity(Profile.FULL, True, 24, b"gateware", b"plan0001", 1)
WRONG = b"99999999"
"""No device has this PIN: the digits are octal."""


class BoundBoard(Board):
    """A device of the profile ``FULL``."""

    def __init__(self, name: str, flash: CuttableFlash | None = None):
        super().__init__(name, CuttableFlash(size=BINDING_END) if flash is None else flash, FULL)

    @property
    def id(self) -> bytes:
        return self.device.vault.device_id

    def pin(self, kind: Pin = Pin.DYNAMIC) -> bytes:
        """What it shows while its button is held."""
        self.device.button = True
        digits = self.ok(Opcode.PIN, bytes([kind]))
        self.device.button = False
        if kind is Pin.DISPLAYED:
            assert digits == b"", "a PIN on the display is not told"
            return self.device.binder.display
        return digits

    def controller_in(self, message: bytes) -> tuple[Code, bytes]:
        """One message of a controller, a B3 in two frames."""
        if len(message) <= 125:
            return self.ask(Opcode.CONTROLLER_IN, message)
        code, _ = self.ask(Opcode.CONTROLLER_IN, message[:B3_FIRST])
        return self.ask(Opcode.CONTROLLER_REST, message[B3_FIRST:]) if code is Code.OK else (code, b"")

    def answer(self, message: bytes) -> bytes:
        code, answer = self.controller_in(message)
        assert code is Code.OK, code
        return answer

    def bindings(self) -> tuple[int, list[bytes]]:
        """Tries left, and the services that are bound."""
        body = self.ok(Opcode.BINDINGS)
        ids = [body[k : k + 8] for k in range(1, len(body), 8)]
        assert len(ids) == 8
        return PIN_TRIES - body[0], [service for service in ids if any(service)]


@cache
def service(name: str) -> Service:
    return Service.of(name.encode().ljust(32, b"."))


@cache
def _image() -> tuple[bytes, DeviceEntry]:
    board = BoundBoard("lock")
    entry = board.enroll()
    return bytes(board.flash.chip.memory), entry


def enrolled() -> BoundBoard:
    """An enrolled device."""
    board = BoundBoard("lock")
    board.flash.chip.memory[:] = _image()[0]
    board.start()
    board.flash.log.clear()
    return board


def entry() -> DeviceEntry:
    """What a registry knows of it."""
    return _image()[1]


def bind(board: BoundBoard, who: Service, pin: bytes | None = None) -> bytes:
    """A binding that must succeed; the device's key."""
    return controller.bind(who, board.id, board.pin() if pin is None else pin, board.answer)


def open_session(board: BoundBoard, who: Service, device_key: bytes) -> Session:
    """A session that must succeed."""
    return controller.open_session(who, device_key, board.answer)


def say(board: BoundBoard, session: Session, text: bytes) -> tuple[Session, bytes]:
    """A text that the device answers; the session afterwards, and the answer."""
    session, message = session.seal(text)
    opened = session.open(board.answer(message))
    assert opened is not None
    return opened


def switch(board: BoundBoard, session: Session, value: int) -> Session:
    session, answer = say(board, session, bytes([SWITCH, value]))
    assert answer == bytes([SWITCH, value])
    return session


def unbind_text(who: Service) -> bytes:
    return bytes([UNBIND, UNBIND_ASK]) + who.id


def told(board: BoundBoard, session: Session, text: bytes) -> tuple[Session, list[bytes]]:
    """A text for the device's owner, and what the owner gets."""
    session, message = session.seal(text)
    reply, *events = board.device.admin(bytes([Opcode.CONTROLLER_IN]) + message)
    assert reply == Out(Port.ADMIN, bytes([0x80 | Opcode.CONTROLLER_IN, Code.OK]))
    assert all(event.payload[0] == Event.CONTROLLER_TEXT for event in events)
    return session, [event.payload[1:] for event in events]


def refused_by(board: BoundBoard, code: Code, message: bytes) -> None:
    """A refusal that may use a try up or end a run."""
    assert board.controller_in(message) == (code, b"")
