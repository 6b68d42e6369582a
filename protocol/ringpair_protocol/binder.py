"""The device's side of bindings and of controllers' sessions.

::

    B1     a try is written to flash, then B2                -> a binding is under way
    B3     Ta right: the tries are given back and a pair index is burned in flash; key and signature right: record
           in flash, unless it is there already, then B4
    S1     the first record that the hint fits; S2           -> a session is being opened
    S3     signature right: the session replaces the former one
    DATA   a text of the session; SWITCH and UNBIND are answered

There is one run at a time, the latest; a message that does not fit ends it. A session is independent of runs, and of
PPAKE's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hmac import compare_digest

from . import binding, curve25519
from .admin import Code, Pin, Role
from .ascon import WrongTag
from .binding import PIN_DIGITS, PIN_SECONDS, PIN_TRIES, Binding, Opening
from .channel import CounterExhausted, Session
from .controllers import Controller, ControllerTable
from .curve25519 import BASE_U, BadPoint, Curve
from .imports import MAX_PAIR_INDEX
from .messages import (
    B1,
    B2,
    B3,
    B3_FIRST,
    B4,
    DATA,
    LENGTHS,
    S1,
    S2,
    S3,
    SWITCH,
    UNBIND,
    UNBIND_ASK,
    UNBIND_DONE,
)
from .ppake import Refused
from .vault import Vault


@dataclass(frozen=True)
class ControllerText:
    """What the controller at a place said, for whom the device belongs to."""

    place: int
    text: bytes


@dataclass(frozen=True)
class BindRun:
    """A B2 is out. ``confirmed`` is the Ta that came, until the rest of B3 follows."""

    binding: Binding
    confirmed: bytes | None = None


@dataclass(frozen=True)
class OpenRun:
    """An S2 is out, for the controller of this record."""

    opening: Opening
    controller: Controller
    device_key: bytes


Answer = tuple[bytes, ControllerText | None]
"""The message that goes back, and what is told to the device's owner."""


@dataclass
class Binder:
    """Runs, session, PIN and switch of a device.

    Parameters
    ----------
    vault
        Records and keys.
    random
        Draws 32 bytes, or raises :class:`Refused`.
    button
        Whether it is held.
    """

    vault: Vault
    random: Callable[[], bytes]
    button: Callable[[], bool]
    curve: Curve = curve25519
    run: BindRun | OpenRun | None = field(default=None, init=False)
    session: Session | None = field(default=None, init=False)
    pin: bytes | None = field(default=None, init=False)
    """The dynamic PIN."""
    pin_left_ms: int = field(default=0, init=False)
    displayed: bool = field(default=False, init=False)
    """It was asked for on the display."""
    switch: int = field(default=0, init=False)
    """What the controllers switch: one byte, the device's only actuator."""

    def forget(self) -> None:
        """Back to the state after power-up."""
        self.run = self.session = self.pin = None
        self.switch = 0

    # ------------------------------------------------------------------ what the owner asks for
    def show_pin(self, kind: Pin) -> bytes:
        """The digits, or nothing if they are on the display; a dynamic PIN takes the place of the one before it."""
        if kind is Pin.PRESET:
            return self.vault.keys().preset_pin()
        self.pin = binding.digits(self.random()[:PIN_DIGITS])
        self.pin_left_ms = PIN_SECONDS * 1000
        self.displayed = kind is Pin.DISPLAYED
        return b"" if self.displayed else self.pin

    @property
    def display(self) -> bytes | None:
        """The digits on the display; None if it is blank."""
        return self.pin if self.displayed else None

    def tick(self, milliseconds: int) -> None:
        """Let time pass: a dynamic PIN that nobody uses is forgotten."""
        self.pin_left_ms -= milliseconds
        if self.pin_left_ms <= 0:
            self.pin = None

    # ------------------------------------------------------------------ what comes from a controller
    def receive(self, message: bytes) -> Answer:
        """One message, or the first 17 bytes of a B3.

        Raises
        ------
        Refused
            ``BAD_VALUE`` for what is none; else why it is not answered.
        """
        header = message[0]
        if header == DATA:
            return self._data(message)
        if header not in (B1, B3, S1, S3) or len(message) != (B3_FIRST if header == B3 else LENGTHS[header]):
            raise Refused(Code.BAD_VALUE)
        answer = {B1: self._b1, B3: self._b3, S1: self._s1, S3: self._s3}[header](message[1:])
        return answer, None

    def rest(self, sealed: bytes) -> bytes:
        """What is left of a B3, 112 bytes; B4."""
        run, self.run = self.run, None
        if not isinstance(run, BindRun) or run.confirmed is None:
            raise Refused(Code.NO_BINDING)
        keys = self.vault.keys()
        if not compare_digest(run.confirmed, run.binding.tag_c):
            raise Refused(Code.WRONG_PIN)
        device = keys.device()
        if device.next_pair == MAX_PAIR_INDEX:
            raise Refused(Code.EXHAUSTED)
        keys.commit_device(replace(device, pin_tries=0, next_pair=device.next_pair + 1))
        service_key = self._service_key(run.binding, sealed)
        ControllerTable(keys).add(Controller(run.binding.sid[:8], service_key), device.next_pair)
        device_key = self.curve.public_key(keys.identity_seed)
        signature = self.curve.sign(keys.identity_seed, run.binding.statement_d(device_key, service_key))
        return bytes([B4]) + run.binding.seal(run.binding.key_dc, B4, device_key + signature)

    def _b1(self, body: bytes) -> bytes:
        sid, share_c = body[:16], body[16:]
        self.run = None
        keys = self.vault.keys()
        device = keys.device()
        if device.pin_tries >= PIN_TRIES and not self.button():
            raise Refused(Code.PIN_LOCKED)
        scalar = self.random()
        keys.commit_device(replace(device, pin_tries=device.pin_tries % PIN_TRIES + 1))
        pin, self.pin = self.pin or keys.preset_pin(), None
        try:
            share_d = binding.share(scalar, pin, keys.device_id, sid, self.curve)
            run = Binding.agreed(Role.RESPONDER, scalar, sid, (share_c, share_d), keys.device_id, self.curve)
        except BadPoint:
            raise Refused(Code.BAD_CONTROLLER) from None
        self.run = BindRun(run)
        return bytes([B2]) + share_d + run.tag_d

    def _b3(self, tag: bytes) -> bytes:
        if not isinstance(self.run, BindRun):
            raise Refused(Code.NO_BINDING)
        self.run = replace(self.run, confirmed=tag)
        return b""

    def _service_key(self, run: Binding, sealed: bytes) -> bytes:
        """The key in a B3: it is the one of the service that began, and signed with."""
        try:
            text = run.unseal(run.key_cd, B3, sealed)
        except WrongTag:
            raise Refused(Code.BAD_CONTROLLER) from None
        service_key, signature = text[:32], text[32:]
        genuine = binding.service_id_of(service_key) == run.sid[:8]
        if not genuine or not self.curve.verify(service_key, run.statement_c(service_key), signature):
            raise Refused(Code.BAD_CONTROLLER)
        return service_key

    def _s1(self, body: bytes) -> bytes:
        hint, share_c = body[:1], body[1:]
        self.run = None
        keys = self.vault.keys()
        fitting = (row for row in ControllerTable(keys).live() if binding.hint(row[1].service_id, share_c) == hint)
        place, controller = next(fitting, (0, None))
        if controller is None:
            raise Refused(Code.UNKNOWN_CONTROLLER)
        scalar = self.random()
        shares = share_c, self.curve.x25519(scalar, BASE_U)
        try:
            opening = Opening.agreed(Role.RESPONDER, scalar, shares, place, self.curve)
        except BadPoint:
            raise Refused(Code.BAD_CONTROLLER) from None
        device_key = self.curve.public_key(keys.identity_seed)
        statement = opening.statement_d(device_key, controller.service_key)
        self.run = OpenRun(opening, controller, device_key)
        return bytes([S2]) + opening.share_d + opening.seal(self.curve.sign(keys.identity_seed, statement))

    def _s3(self, sealed: bytes) -> bytes:
        run, self.run = self.run, None
        if not isinstance(run, OpenRun):
            raise Refused(Code.NO_BINDING)
        try:
            signature = run.opening.unseal(sealed)
        except WrongTag:
            raise Refused(Code.BAD_CONTROLLER) from None
        statement = run.opening.statement_c(run.device_key, run.controller.service_key)
        if not self.curve.verify(run.controller.service_key, statement, signature):
            raise Refused(Code.BAD_CONTROLLER)
        self.session = run.opening.session
        return b""

    def _data(self, message: bytes) -> Answer:
        if self.session is None:
            raise Refused(Code.NO_SESSION)
        opened = self.session.open(message)
        if opened is None:
            raise Refused(Code.BAD_CONTROLLER)
        self.session, text = opened
        if text[0] == UNBIND:
            return self._unbind(text), None
        if text[0] == SWITCH and len(text) <= 2:
            self.switch = text[1] if len(text) == 2 else self.switch
            return self._say(bytes([SWITCH, self.switch])), None
        return b"", ControllerText(self.session.peer, text)

    def _unbind(self, text: bytes) -> bytes:
        """Remove the record of the session's own service; the session ends with the answer."""
        assert self.session is not None
        table, place = ControllerTable(self.vault.keys()), self.session.peer
        controller = table.load(place)
        if controller is None or text[1:] != bytes([UNBIND_ASK]) + controller.service_id:
            raise Refused(Code.BAD_VALUE)
        table.remove(place)
        answer = self._say(bytes([UNBIND, UNBIND_DONE]) + controller.service_id)
        self.run = self.session = None
        return answer

    def _say(self, text: bytes) -> bytes:
        assert self.session is not None
        try:
            self.session, message = self.session.seal(text)
        except CounterExhausted:
            raise Refused(Code.EXHAUSTED) from None
        return message
