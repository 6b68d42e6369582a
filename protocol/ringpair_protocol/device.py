"""The whole device at byte level: the oracle that the gateware is compared with.

Frames, baud rates and clock cycles are not in it: payloads go in, payloads come out, each with the port that it leaves
by. One operation runs to its end before the next begins; the PUF key is regenerated for each that needs it, and once at
boot, where leftovers of a cut are zeroed. The reply to a command comes first, then what follows from the command.

Refusals are checked in this order: frame, opcode, length, state (flash, enrolled or factory), button, values, noise
source, PUF, and last what the cryptography says. Commands that only concern the running session (SEND, DISCONNECT) or
nothing at all (IDENTITY, STATUS, PEER_IN) are taken in any state.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from hmac import compare_digest
from typing import ClassVar, NamedTuple

from .admin import NOBODY, REPLY, Carrier, Code, DeviceStateCode, Event, Identity, Opcode, Pin, Profile, Status
from .binder import Binder, ControllerText
from .controllers import ControllerTable
from .derivations import RANDOM
from .imports import Import
from .messages import B3, B3_FIRST, E1, E2, E3, ID_LENGTH, LENGTHS, NONCE_LENGTH, PUZZLE, RESET, REVOKE, TEXT_MAX
from .pairing import confirm_tag
from .ppake import Closed, Established, Failed, Output, Party, Refused, Send, State, Text
from .records import MAX_CONTROLLERS, MAX_PEERS
from .store import Flash
from .vault import Keyring, Puf, Vault, require_state

ENROLL_TIMEOUT_MS = 5000

LENGTHS_OF_BODY = {
    Opcode.IDENTITY: {0},
    Opcode.STATUS: {0},
    Opcode.ENROLL: {LENGTHS[E1]},
    Opcode.ENROLL_CONFIRM: {LENGTHS[E3]},
    Opcode.IMPORT: {LENGTHS[PUZZLE], LENGTHS[REVOKE]},
    Opcode.PEER: {1},
    Opcode.CONNECT: {2},
    Opcode.SEND: set(range(1, TEXT_MAX + 1)),
    Opcode.PEER_IN: set(range(1, 126)),
    Opcode.DISCONNECT: {0},
}
BINDING_LENGTHS = {
    Opcode.CONTROLLER_IN: set(range(1, 126)),
    Opcode.CONTROLLER_REST: {LENGTHS[B3] - B3_FIRST},
    Opcode.PIN: {1},
    Opcode.BINDINGS: {0},
}
"""The same of the commands that only a device of the profile ``FULL`` knows."""
STATE_NEEDED = {
    Opcode.ENROLL: DeviceStateCode.FACTORY,
    Opcode.ENROLL_CONFIRM: DeviceStateCode.FACTORY,
    Opcode.IMPORT: DeviceStateCode.ENROLLED,
    Opcode.PEER: DeviceStateCode.ENROLLED,
    Opcode.CONNECT: DeviceStateCode.ENROLLED,
} | dict.fromkeys(BINDING_LENGTHS, DeviceStateCode.ENROLLED)
Answer = tuple[bytes, Sequence[Output | ControllerText]]
"""Body of the reply, and what follows it."""


class Port(Enum):
    """Which serial port a payload leaves by."""

    ADMIN = 0
    PEER = 1


class Out(NamedTuple):
    """One payload that the device sends."""

    port: Port
    payload: bytes


@dataclass
class Enrollment:
    """Between E2 and E3: everything is drawn, nothing written."""

    keyring: Keyring
    wrap_key: bytes
    nonce_s: bytes
    left_ms: int = ENROLL_TIMEOUT_MS


class DeviceModel:
    """A device that has just been powered up; call :meth:`boot` first.

    Parameters
    ----------
    puf
        Rings (``vault.RingPuf``), or for tests anything that yields bits.
    noise
        Gives n raw bytes of the noise source.
    flash
        None for a flash chip that does not answer.
    identity
        What IDENTITY answers; floorplan and layout version are taken from it.
    jedec
        What the flash chip says of itself.

    Attributes
    ----------
    button : bool
        Whether it is held now.
    trng_ready, trng_alarm : bool
        The health tests of the noise source; unless ready and without alarm nothing is drawn.
    """

    def __init__(
        self,
        puf: Puf,
        noise: Callable[[int], bytes],
        flash: Flash | None,
        identity: Identity,
        jedec: bytes = bytes(3),
    ):
        self.identity = identity
        self.noise = noise
        self.jedec = jedec
        self.button = False
        self.trng_ready, self.trng_alarm = True, False
        self._controllers = MAX_CONTROLLERS if identity.profile is Profile.FULL else 0
        self.vault = Vault(flash, puf, identity.floorplan, identity.layout_version, self._controllers)
        self.party = Party(self.vault, lambda: self._random()[:NONCE_LENGTH])
        self.binder = Binder(self.vault, self._random, lambda: self.button)
        self._lengths = LENGTHS_OF_BODY | (BINDING_LENGTHS if self._controllers else {})
        self._enrollment: Enrollment | None = None
        self._untidy = False
        self._walk: int | None = None  # the peer that the button's handshake is trying

    # ------------------------------------------------------------------ what happens to the device
    def boot(self) -> list[Out]:
        """Power-up: zero what a cut left behind, then say hello. A PUF that fails here is tried again when needed."""
        self._untidy = self.vault.state() is DeviceStateCode.ENROLLED
        self._tidy()
        return [_event(Event.STARTED, self.identity.to_bytes())]

    def admin(self, payload: bytes) -> list[Out]:
        """One command of the host, 1 to 126 bytes."""
        outs = self._command(payload)
        self._tidy()
        return outs

    def _command(self, payload: bytes) -> list[Out]:
        number, body = payload[0], payload[1:]
        if number not in self._lengths:  # a reply can only name an opcode of the commands' range
            return [_reply(number if number < REPLY >> 1 else Opcode.NONE, Code.UNKNOWN_COMMAND)]
        opcode = Opcode(number)
        try:
            with self.vault.noted():
                _require(len(body) in self._lengths[opcode], Code.BAD_LENGTH)
                if opcode in STATE_NEEDED:
                    require_state(self.vault.state(), STATE_NEEDED[opcode])
                answer, after = self._HANDLERS[opcode](self, body)
        except Refused as refused:
            return [_reply(opcode, refused.code)]
        finally:
            self.vault.close()
        return [_reply(opcode, Code.OK, answer), *self._outputs(after)]

    def admin_damaged(self, kind: int) -> list[Out]:
        """A frame on the admin port that could not be read; ``kind`` as in ``frames.ErrorKind``."""
        self._tidy()
        return [_reply(Opcode.NONE, Code.BAD_FRAME, bytes([kind]))]

    def peer(self, message: bytes) -> list[Out]:
        """One message that came by the peer port."""
        return self._outputs(self._receive(message, Carrier.WIRE))

    def tick(self, milliseconds: int) -> list[Out]:
        """Let time pass. At most one wait may end in it."""
        if self._enrollment is not None:
            self._enrollment.left_ms -= milliseconds
            if self._enrollment.left_ms <= 0:
                self._enrollment = None
        self.binder.tick(milliseconds)
        return self._outputs(self.party.tick(milliseconds))

    def button_short(self) -> list[Out]:
        """Start a handshake over the wire with the first live peer, and on failure with the next one."""
        if self.vault.state() is not DeviceStateCode.ENROLLED or self.party.state is not State.IDLE:
            return []
        return self._outputs(self._walk_from(0))

    def button_long(self) -> list[Out]:
        """Factory reset, in any state in which there is a flash."""
        if self.vault.state() is DeviceStateCode.NO_FLASH:
            return []
        try:
            with self.vault.noted():
                self._reset()
        except Refused as refused:
            return self._outputs([Failed(refused.code, NOBODY)])
        return [_event(Event.RESET_DONE)]

    # ------------------------------------------------------------------ commands
    def _identity(self, body: bytes) -> Answer:
        return self.identity.to_bytes(), []

    def _status(self, body: bytes) -> Answer:
        status = Status(
            self.vault.state(),
            self.party.session is not None,
            self.trng_alarm,
            self.trng_ready,
            self.button,
            self.jedec,
            self.vault.failure,
            self.vault.tries,
            self._enrollment.keyring.device_id if self._enrollment else self.vault.device_id,
        )
        return status.to_bytes(), []

    def _enroll(self, body: bytes) -> Answer:
        _require(self.button, Code.NEED_BUTTON)
        _require(body[0] == E1, Code.BAD_VALUE)
        self._require_noise()
        self._enrollment = None
        self.vault.clear_journals()
        keyring, wrap_key = self.vault.enroll(self._random)
        self._enrollment = Enrollment(keyring, wrap_key, body[1:])
        return bytes([E2]) + keyring.device_id + wrap_key, []

    def _enroll_confirm(self, body: bytes) -> Answer:
        _require(body[0] == E3, Code.BAD_VALUE)
        draft, self._enrollment = self._enrollment, None
        if draft is None:
            raise Refused(Code.NO_ENROLLMENT)
        tag = confirm_tag(draft.wrap_key, draft.nonce_s, draft.keyring.device_id)
        _require(compare_digest(tag, body[1:]), Code.BAD_CONFIRMATION)
        self.vault.begin(draft.keyring.plain, draft.wrap_key)
        return self.vault.device_id, []

    def _import(self, body: bytes) -> Answer:
        _require(body[0] in (PUZZLE, REVOKE, RESET) and len(body) == LENGTHS[body[0]], Code.BAD_VALUE)
        imported = Import.open(self.vault.keys(), body)
        if body[0] == PUZZLE:
            return bytes([imported.pair()]), []
        if body[0] == REVOKE:
            number = imported.revoke()
            return bytes([number]), self.party.end(Code.NO_SUCH_PEER) if self.party.peer == number else []
        self._reset()
        return bytes([NOBODY]), []

    def _peer(self, body: bytes) -> Answer:
        _require(body[0] < MAX_PEERS, Code.BAD_VALUE)
        state, header, epoch = self.vault.keys().describe(body[0])
        return bytes([state]) + header + epoch.to_bytes(4, "little"), []

    def _connect(self, body: bytes) -> Answer:
        number, carrier = body
        _require(number < MAX_PEERS and carrier in set(Carrier), Code.BAD_VALUE)
        self._require_noise()
        after = self.party.connect(number, carrier)
        self._walk = None
        return b"", after

    def _send(self, body: bytes) -> Answer:
        return b"", self.party.send(body)

    def _peer_in(self, body: bytes) -> Answer:
        return b"", self._receive(body, Carrier.TUNNEL)

    def _disconnect(self, body: bytes) -> Answer:
        self._walk = None
        _require(self.party.disconnect(), Code.NO_SESSION)
        return b"", []

    def _controller_in(self, body: bytes) -> Answer:
        answer, told = self.binder.receive(body)
        return answer, [] if told is None else [told]

    def _controller_rest(self, body: bytes) -> Answer:
        return self.binder.rest(body), []

    def _pin(self, body: bytes) -> Answer:
        _require(self.button, Code.NEED_BUTTON)
        _require(body[0] in set(Pin), Code.BAD_VALUE)
        return self.binder.show_pin(Pin(body[0])), []

    def _bindings(self, body: bytes) -> Answer:
        keys = self.vault.keys()
        table = ControllerTable(keys)
        found = [table.load(place) for place in range(MAX_CONTROLLERS)]
        ids = b"".join(controller.service_id if controller else bytes(ID_LENGTH) for controller in found)
        return bytes([keys.device().pin_tries]) + ids, []

    _HANDLERS: ClassVar[dict[Opcode, Callable[["DeviceModel", bytes], Answer]]] = {
        Opcode.IDENTITY: _identity,
        Opcode.STATUS: _status,
        Opcode.ENROLL: _enroll,
        Opcode.ENROLL_CONFIRM: _enroll_confirm,
        Opcode.IMPORT: _import,
        Opcode.PEER: _peer,
        Opcode.CONNECT: _connect,
        Opcode.SEND: _send,
        Opcode.PEER_IN: _peer_in,
        Opcode.DISCONNECT: _disconnect,
        Opcode.CONTROLLER_IN: _controller_in,
        Opcode.CONTROLLER_REST: _controller_rest,
        Opcode.PIN: _pin,
        Opcode.BINDINGS: _bindings,
    }

    # ------------------------------------------------------------------ parts
    def _tidy(self) -> None:
        """Retire what a power cut left behind; if the key cannot be made now, behind a later command."""
        if self._untidy:
            with suppress(Refused), self.vault.noted():
                keys = self.vault.keys()
                self._untidy = False
                keys.tidy()
            self.vault.close()

    def _receive(self, message: bytes, carrier: Carrier) -> list[Output]:
        return self.party.receive(message, carrier) if self.vault.state() is DeviceStateCode.ENROLLED else []

    def _outputs(self, outputs: Sequence[Output | ControllerText]) -> list[Out]:
        """Close the vault, unless the button's handshake has failed and goes on with the next peer."""
        failed = [item for item in outputs if isinstance(item, Failed) and item.peer == self._walk]
        if self._walk is not None and failed and failed[-1].code is not Code.SUPERSEDED:
            outputs = [*outputs, *self._walk_from(self._walk + 1)]
        if self.party.state is not State.PENDING_I:
            self._walk = None
        self.vault.close()
        return [_out(item) for item in outputs]

    def _walk_from(self, first: int) -> list[Output]:
        """Begin a handshake with the first peer from this number on that it can be begun with."""
        outputs: list[Output] = []
        for number in range(first, MAX_PEERS):
            try:
                started = self.party.connect(number, Carrier.WIRE)
            except Refused as refused:
                if refused.code is Code.NO_SUCH_PEER:
                    continue
                outputs.append(Failed(refused.code, number))
                if refused.code is Code.EXHAUSTED:
                    continue
                break
            self._walk = number
            return [*outputs, *started]
        self._walk = None
        return outputs if outputs or first else [Failed(Code.NO_SUCH_PEER, NOBODY)]

    def _reset(self) -> None:
        self.party.disconnect()
        self._walk = self._enrollment = None
        self._untidy = False
        self.binder.forget()
        self.vault.reset()

    def _require_noise(self) -> None:
        with self.vault.noted():
            _require(self.trng_ready and not self.trng_alarm, Code.TRNG_FAILED)

    def _random(self) -> bytes:
        """32 bytes from the conditioner; 64 raw ones go in."""
        self._require_noise()
        return RANDOM(raw=self.noise(64))["random"]


def _require(condition: bool, code: Code) -> None:
    if not condition:
        raise Refused(code)


def _reply(opcode: int, code: Code, body: bytes = b"") -> Out:
    return Out(Port.ADMIN, bytes([REPLY | opcode, code]) + body)


def _event(kind: Event, body: bytes = b"") -> Out:
    return Out(Port.ADMIN, bytes([kind]) + body)


def _out(item: Output | ControllerText) -> Out:
    """An output of the handshake as the payload of a frame."""
    match item:
        case Send(Carrier.WIRE, message):
            return Out(Port.PEER, message)
        case Send(_, message):
            return _event(Event.PEER_OUT, message)
        case Established(session):
            numbers = bytes([session.role, session.peer]) + session.epoch.to_bytes(4, "little")
            return _event(Event.SESSION, numbers + session.session_id)
        case Failed(code, peer):
            return _event(Event.FAILED, bytes([code, peer]))
        case Closed(code):
            return _event(Event.CLOSED, bytes([code]))
        case Text(text):
            return _event(Event.TEXT, text)
        case ControllerText(place, text):
            return _event(Event.CONTROLLER_TEXT, bytes([place]) + text)
