"""The demonstration's lock: a controller binds it by the PIN that it shows, and commands it.

Works on any board of the profile ``FULL``; the caller lends its hands for the button.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ringpair_protocol.admin import Code, DeviceStateCode, Pin
from ringpair_protocol.binding import PIN_TRIES
from ringpair_protocol.controller import Service
from ringpair_protocol.curve25519 import SEED_LENGTH
from ringpair_protocol.messages import BINDING_BYTES, OPENING_BYTES

from .board import Board
from .controller import DeviceSession, LibraryCurve, bind, open_session
from .errors import BindingFailed, Refused
from .stage import expect, readable

WRONG_PIN = "99999999"
"""A PIN's digits are octal: no device has this one."""
LOCKED, OPEN = 1, 0
COMMAND = "the cat may come in"


class Hands(Protocol):
    """A board, and a finger at its button."""

    @property
    def board(self) -> Board: ...

    def hold(self) -> None:
        """Press the button; the device sees it when this returns."""

    def release(self) -> None: ...

    def enroll(self) -> None:
        """Out of the factory state; the device is enrolled when this returns."""

    def factory_reset(self) -> None:
        """Back to it."""

    def read_display(self) -> str:
        """The PIN that has just come onto its display."""

    def cycles(self) -> int:
        """For how many cycles the device has computed so far, without the time for its flash; 0 if nobody counts."""


@dataclass
class LockFindings:
    """What came of it."""

    binding_bytes: int = 0
    opening_bytes: int = 0
    bound_by_pin: bool = False
    switched: bool = False
    eavesdropper_saw_command: bool = True
    pin_used_once: bool = False
    tries_until_locked: int = 0
    session_while_locked: bool = False
    unlocked_by_button: bool = False
    unbound: bool = False
    refused_after_reset: bool = False
    binding_cycles: int = 0
    opening_cycles: int = 0

    @property
    def broken(self) -> list[str]:
        """What was promised and is not so."""
        promises = {
            "binding_bytes": self.binding_bytes == BINDING_BYTES,
            "opening_bytes": self.opening_bytes == OPENING_BYTES,
            "bound_by_pin": self.bound_by_pin,
            "switched": self.switched,
            "eavesdropper_saw_command": not self.eavesdropper_saw_command,
            "pin_used_once": self.pin_used_once,
            "tries_until_locked": self.tries_until_locked == PIN_TRIES,
            "session_while_locked": self.session_while_locked,
            "unlocked_by_button": self.unlocked_by_button,
            "unbound": self.unbound,
            "refused_after_reset": self.refused_after_reset,
        }
        return [name for name, kept in promises.items() if not kept]


class LockDemo:
    """All steps in order.

    Parameters
    ----------
    lock
        The device, enrolled; enrolled anew afterwards.
    tell
        Told of what happens.
    """

    def __init__(self, lock: Hands, tell: Callable[[str], None]):
        self.lock, self.tell = lock, tell
        self.findings = LockFindings()
        self.phone = self._service()
        self.carried: list[bytes] = []
        self.device_id = lock.board.status().device_id
        self.device_key = b""
        self.steps = (self.bind, self.command, self.guess, self.unlock, self.unbind, self.reset)

    def run(self) -> LockFindings:
        """Do everything; raises ``DemoFailed`` or ``RingpairError`` where it goes wrong."""
        for step in self.steps:
            step()
        return self.findings

    # The steps

    def bind(self) -> None:
        self.lock.hold()
        self.lock.board.display_pin()
        self.lock.release()
        pin = self.lock.read_display()
        before = self.lock.cycles()
        self.device_key = bind(self.lock.board, self.phone, self.device_id, pin, self._carry)
        self.findings.binding_cycles = self.lock.cycles() - before
        self.findings.binding_bytes = sum(map(len, self.carried))
        bindings = self.lock.board.bindings()
        self.findings.bound_by_pin = bindings.services == [self.phone.id]
        self.tell(
            f"the lock's display shows the PIN {pin}; the phone binds it with {self.findings.binding_bytes} bytes in "
            f"{len(self.carried)} messages and knows its key, {self.device_key.hex()[:16]}..., from now on"
        )
        code = self._try_again(pin)
        self.findings.pin_used_once = code is None
        self.tell(f"the same PIN again: {'taken' if code is not None else 'worth nothing'}")

    def _try_again(self, pin: str) -> bytes | None:
        try:
            return bind(self.lock.board, self._service(), self.device_id, pin)
        except BindingFailed:
            return None

    def command(self) -> None:
        before = self.lock.cycles()
        session = self._open()
        self.findings.opening_cycles = self.lock.cycles() - before
        self.findings.opening_bytes = sum(map(len, self.carried))
        messages = len(self.carried)
        locked, asked, opened = session.switch(LOCKED), session.switch(), session.switch(OPEN)
        session.send(COMMAND)
        self.findings.switched = (locked, asked, opened) == (LOCKED, LOCKED, OPEN)
        recording = b"".join(self.carried)
        self.findings.eavesdropper_saw_command = readable(COMMAND, recording)
        self.tell(
            f"session {session.session_id.hex()} with {self.findings.opening_bytes} bytes in {messages} messages; "
            f"encrypted commands: locked ({locked}), asked ({asked}), opened ({opened})"
        )

    def guess(self) -> None:
        before = self.lock.board.bindings().tries_left
        tries = PIN_TRIES - before
        while True:
            try:
                bind(self.lock.board, self._service(), self.device_id, WRONG_PIN)
            except BindingFailed:
                tries += 1
                expect(tries <= PIN_TRIES, f"the lock takes more than {PIN_TRIES} wrong PINs")
            except Refused as refusal:
                expect(refusal.code is Code.PIN_LOCKED, f"the lock should be locked, it says {refusal.code.name}")
                break
        self.findings.tries_until_locked = tries
        self.findings.session_while_locked = self._open().switch(LOCKED) == LOCKED
        self.tell(f"{tries} wrong PINs: {Code.PIN_LOCKED.name}; the phone's own sessions go on")

    def unlock(self) -> None:
        pin, car = self._show(release=False), self._service()
        key = bind(self.lock.board, car, self.device_id, pin)
        self.lock.release()
        bindings = self.lock.board.bindings()
        self.findings.unlocked_by_button = key == self.device_key and bindings.tries_left == PIN_TRIES
        self.tell(f"with the button held a car binds it, too: {len(bindings.services)} services share the lock")
        open_session(self.lock.board, car, key).unbind()

    def unbind(self) -> None:
        self._open().unbind()
        self.findings.unbound = self.lock.board.bindings().services == [] and self._refusal() is Code.UNKNOWN_CONTROLLER
        self.tell("both unbind themselves by an encrypted command: the lock knows nobody")

    def reset(self) -> None:
        bind(self.lock.board, self.phone, self.device_id, self._show())
        self.lock.factory_reset()
        state = self.lock.board.status().state
        expect(state is DeviceStateCode.FACTORY, f"the lock should be in the factory state, it is {state.name}")
        self.lock.enroll()
        renewed = self.lock.board.status().device_id
        code = self._refusal()
        self.findings.refused_after_reset = code is Code.UNKNOWN_CONTROLLER and renewed != self.device_id
        self.tell(
            f"bound once more, reset and enrolled again: its id was {self.device_id.hex()}, is {renewed.hex()}, "
            f"and the phone gets {code.name if code else 'in'}"
        )

    # Parts

    def _service(self) -> Service:
        return Service.of(secrets.token_bytes(SEED_LENGTH), LibraryCurve())

    def _show(self, release: bool = True) -> str:
        """What the lock tells while its button is held."""
        self.lock.hold()
        pin = self.lock.board.pin(Pin.DYNAMIC)
        if release:
            self.lock.release()
        return pin

    def _carry(self, message: bytes) -> bytes:
        """By the admin port, and recorded."""
        answer = self.lock.board.controller(message)
        self.carried += [part for part in (message, answer) if part]
        return answer

    def _open(self) -> DeviceSession:
        self.carried.clear()
        return open_session(self.lock.board, self.phone, self.device_key, self._carry)

    def _refusal(self) -> Code | None:
        """Why the lock opens no session with the phone."""
        try:
            self._open()
        except Refused as refusal:
            return refusal.code
        return None
