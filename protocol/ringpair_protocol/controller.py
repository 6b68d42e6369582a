"""The controller's side of a binding and of a session: messages out, messages in, nothing else.

The caller keeps the service's seed and the device's key, and carries the messages. A refusal of the device never gets
here: :class:`ControllerError` says that the other end is not the device it should be, or that the PIN is wrong.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from hmac import compare_digest

from . import binding, curve25519
from .admin import Role
from .ascon import WrongTag
from .binding import SERVICE_ID_LENGTH, SID_LENGTH, Binding, Opening
from .channel import Session
from .curve25519 import BASE_U, SCALAR_LENGTH, BadPoint, Curve
from .messages import B1, B2, B3, B4, LENGTHS, S1, S2, S3

OPENING_TRIES = 4
"""With eight records a hint fits a wrong one, too, in one run of 37: in all four, in one of two million."""


class ControllerError(Exception):
    """The run is over."""


class WrongPin(ControllerError):
    """The device does not know the PIN that we were told."""


class NotTheDevice(ControllerError):
    """Somebody answers who does not have the device's key, or the message was altered."""


@dataclass(frozen=True)
class Service:
    """A service's key pair; the id follows from the key."""

    seed: bytes = field(repr=False)
    key: bytes

    @classmethod
    def of(cls, seed: bytes, curve: Curve = curve25519) -> "Service":
        return cls(seed, curve.public_key(seed))

    @property
    def id(self) -> bytes:
        return binding.service_id_of(self.key)


class BindingRun:
    """B1 to B4 of a controller.

    Parameters
    ----------
    service
        Who binds.
    device_id, pin
        Whom, and the digits that it shows or that its label has.
    scalar, nonce
        32 and 8 random bytes, for tests.
    """

    def __init__(
        self,
        service: Service,
        device_id: bytes,
        pin: bytes,
        curve: Curve = curve25519,
        scalar: bytes | None = None,
        nonce: bytes | None = None,
    ):
        self.service, self.device_id, self._curve = service, device_id, curve
        self._scalar = secrets.token_bytes(SCALAR_LENGTH) if scalar is None else scalar
        random = secrets.token_bytes(SID_LENGTH - SERVICE_ID_LENGTH) if nonce is None else nonce
        self._sid = service.id + random
        self._share = binding.share(self._scalar, pin, device_id, self._sid, curve)
        self._run: Binding | None = None

    def b1(self) -> bytes:
        return bytes([B1]) + self._sid + self._share

    def b3(self, b2: bytes) -> bytes:
        """The answer to a B2.

        Raises
        ------
        WrongPin
            Its tag is not what the PIN gives; nothing of ours has left.
        NotTheDevice
            It is no B2, or our own share.
        """
        share_d, tag = _body(b2, B2, 32)
        if share_d == self._share:
            raise NotTheDevice("somebody sent our own share back")
        try:
            run = Binding.agreed(
                Role.INITIATOR, self._scalar, self._sid, (self._share, share_d), self.device_id, self._curve
            )
        except BadPoint:
            raise NotTheDevice("the share in the answer is no share of a device") from None
        if not compare_digest(tag, run.tag_d):
            raise WrongPin("the device computed with another PIN")
        signature = self._curve.sign(self.service.seed, run.statement_c(self.service.key))
        self._run = run
        return bytes([B3]) + run.tag_c + run.seal(run.key_cd, B3, self.service.key + signature)

    def finish(self, b4: bytes) -> bytes:
        """The device's key, to be kept.

        Raises
        ------
        NotTheDevice
            The key is not proven.
        """
        assert self._run is not None, "b3 comes first"
        _, sealed = _body(b4, B4, 0)
        try:
            text = self._run.unseal(self._run.key_dc, B4, sealed)
        except WrongTag:
            raise NotTheDevice("the last message of the binding was altered") from None
        device_key, signature = text[:32], text[32:]
        statement = self._run.statement_d(device_key, self.service.key)
        if not self._curve.verify(device_key, statement, signature):
            raise NotTheDevice("the device did not prove its key")
        return device_key


class OpeningRun:
    """S1 to S3 of a controller, with a device whose key is known."""

    def __init__(self, service: Service, device_key: bytes, curve: Curve = curve25519, scalar: bytes | None = None):
        self.service, self.device_key, self._curve = service, device_key, curve
        self._scalar = secrets.token_bytes(SCALAR_LENGTH) if scalar is None else scalar
        self._share = curve.x25519(self._scalar, BASE_U)

    def s1(self) -> bytes:
        return bytes([S1]) + binding.hint(self.service.id, self._share) + self._share

    def s3(self, s2: bytes) -> tuple[bytes, Session]:
        """The last message, and the session.

        Raises
        ------
        NotTheDevice
            The signature is not the device's, for this service. Once in a while the hint fits another record of the
            device, too: then a new run, with a new hint, is the answer.
        """
        share_d, sealed = _body(s2, S2, 32)
        try:
            opening = Opening.agreed(Role.INITIATOR, self._scalar, (self._share, share_d), 0, self._curve)
            signature = opening.unseal(sealed)
        except (BadPoint, WrongTag):
            raise NotTheDevice("the device's answer was altered") from None
        if not self._curve.verify(self.device_key, opening.statement_d(self.device_key, self.service.key), signature):
            raise NotTheDevice("the answer is not signed by the device that was bound")
        ours = self._curve.sign(self.service.seed, opening.statement_c(self.device_key, self.service.key))
        return bytes([S3]) + opening.seal(ours), opening.session


def bind(
    service: Service, device_id: bytes, pin: bytes, carry: Callable[[bytes], bytes], curve: Curve = curve25519
) -> bytes:
    """B1 to B4, each message carried to the device by ``carry``, which returns its answer; the device's key."""
    run = BindingRun(service, device_id, pin, curve)
    return run.finish(carry(run.b3(carry(run.b1()))))


def open_session(
    service: Service, device_key: bytes, carry: Callable[[bytes], bytes], curve: Curve = curve25519
) -> Session:
    """S1 to S3, again with a new hint if the answer is for another record of the device."""
    for left in reversed(range(OPENING_TRIES)):
        run = OpeningRun(service, device_key, curve)
        s2 = carry(run.s1())
        try:
            s3, session = run.s3(s2)
        except NotTheDevice:
            if left:
                continue
            raise
        carry(s3)
        return session
    raise AssertionError("the last try returns or raises")


def _body(message: bytes, header: int, cut: int) -> tuple[bytes, bytes]:
    """The two parts of a message behind its header."""
    if len(message) != LENGTHS[header] or message[0] != header:
        raise NotTheDevice(
            f"expected {LENGTHS[header]} bytes beginning with {header:#04x}, got {len(message)}: {message[:1].hex()}…"
        )
    return message[1 : 1 + cut], message[1 + cut :]
