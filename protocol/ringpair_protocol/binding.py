"""Bindings and controller's sessions: what both sides compute.

A **controller** (phone, hub, computer) has an Ed25519 key pair per service, the **device** one that hangs on its PUF.
They learn each other's key once, by a PIN (B1 to B4, CPace), and prove to have it for every session (S1 to S3,
Station-to-Station). The controller's side is :mod:`controller`, the device's :mod:`binder`.

::

    B1   sid 16 | Ya 32            sid = service id 8 | random 8; PRS = PIN, CI = "P1-bind" | device id | service id
    B2   Yb 32 | Tb 16             Ta, Tb: the draft's confirmations, 16 bytes; ADa = service id, ADb = device id
    B3   Ta 16 | AE(key_cd, service key 32 | sig)   sig = Ed25519("P1-bindC" | sid | Ya | Yb | service key)
    B4   AE(key_dc, device key 32 | sig)            sig = Ed25519("P1-bindD" | sid | Ya | Yb | device key | service key)

    S1   hint 1 | X 32             hint = HINT(service id, X)
    S2   Y 32 | AE(key_dc, sig)    sig = Ed25519("P1-stsD" | X | Y | device key | service key)
    S3   AE(key_cd, sig)           sig = Ed25519("P1-stsC" | Y | X | service key | device key)

AE is that of data messages, with its own header: in a binding with IV and counter zero (each key encrypts once) and
the random half of sid as session id, in a session with the counter that no data message has.
"""

from dataclasses import dataclass, field

from . import channel, cpace, curve25519
from .admin import Carrier, Role
from .channel import OPENING_COUNTER, Session
from .curve25519 import Curve
from .derivations import BIND_KEYS, CONTROLLER_SESSION, HINT, SERVICE_ID
from .messages import S2, S3, TAG_LENGTH

SERVICE_ID_LENGTH = 8
SID_LENGTH = 16
CI_LABEL = b"P1-bind"
BIND_C, BIND_D, STS_C, STS_D = b"P1-bindC", b"P1-bindD", b"P1-stsC", b"P1-stsD"
"""Labels of the four signed statements."""

NO_IV = bytes(12)
PIN_TRIES = 5
PIN_DIGITS = 8
PIN_SECONDS = 179
"""A dynamic PIN that is not used for so long is forgotten."""
SEGMENTS = (0x3F, 0x06, 0x5B, 0x4F, 0x66, 0x6D, 0x7D, 0x07)
"""Which segments of a display make the digits 0 to 7: bit 0 is A, the uppermost, then clockwise B to F, and bit 6 is G,
the one in the middle."""


def service_id_of(service_key: bytes) -> bytes:
    """The id of a service follows from its key: nobody can bind under another's."""
    return SERVICE_ID(service_key=service_key)["service_id"]


def digits(raw: bytes) -> bytes:
    """A PIN as ASCII, a digit from 0 to 7 for each byte: all PINs come equally often, in the same time."""
    return bytes(ord("0") | byte & 7 for byte in raw)


def share(scalar: bytes, pin: bytes, device_id: bytes, sid: bytes, curve: Curve = curve25519) -> bytes:
    """Ya or Yb. Raises ``BadPoint`` for a generator of small order (no PIN that one can find has it)."""
    return cpace.share(scalar, pin, CI_LABEL + device_id + sid[:SERVICE_ID_LENGTH], sid, curve)


@dataclass(frozen=True)
class Binding:
    """A run of B1 to B4 after the two shares: what is said, and under which keys."""

    sid: bytes
    share_c: bytes
    share_d: bytes
    tag_c: bytes = field(repr=False)
    tag_d: bytes = field(repr=False)
    key_cd: bytes = field(repr=False)
    key_dc: bytes = field(repr=False)

    @classmethod
    def agreed(
        cls, role: Role, scalar: bytes, sid: bytes, shares: tuple[bytes, bytes], device_id: bytes, curve: Curve
    ) -> "Binding":
        """Either side's, given its own scalar; ``shares`` are the controller's and the device's.

        Raises
        ------
        BadPoint
            The other side's share has a small order.
        """
        share_c, share_d = shares
        theirs = share_d if role is Role.INITIATOR else share_c
        sides = (share_c, sid[:SERVICE_ID_LENGTH]), (share_d, device_id)
        agreement = cpace.agree(scalar, theirs, sid, *sides, curve)
        keys = BIND_KEYS(isk=agreement.isk)
        return cls(sid, *shares, agreement.tag_a[:TAG_LENGTH], agreement.tag_b[:TAG_LENGTH], **keys)

    def statement_c(self, service_key: bytes) -> bytes:
        """What the controller signs in B3."""
        return BIND_C + self.sid + self.share_c + self.share_d + service_key

    def statement_d(self, device_key: bytes, service_key: bytes) -> bytes:
        """What the device signs in B4."""
        return BIND_D + self.sid + self.share_c + self.share_d + device_key + service_key

    def seal(self, key: bytes, header: int, text: bytes) -> bytes:
        """Ciphertext and tag of a key and a signature."""
        return channel.seal(key, NO_IV, header, 0, self.sid[SERVICE_ID_LENGTH:], text)

    def unseal(self, key: bytes, header: int, sealed: bytes) -> bytes:
        """Raises ``WrongTag``."""
        return channel.unseal(key, NO_IV, header, 0, self.sid[SERVICE_ID_LENGTH:], sealed)


@dataclass(frozen=True)
class Opening:
    """A run of S1 to S3 after the two shares; ``session`` is what it will be worth."""

    share_c: bytes
    share_d: bytes
    session: Session

    @classmethod
    def agreed(cls, role: Role, scalar: bytes, shares: tuple[bytes, bytes], place: int, curve: Curve) -> "Opening":
        """Either side's; ``place`` is the device's number for the controller.

        Raises
        ------
        BadPoint
            The other side's share has a small order.
        """
        share_c, share_d = shares
        secret = curve.x25519(scalar, share_d if role is Role.INITIATOR else share_c)
        keys = CONTROLLER_SESSION(secret=secret, share_c=share_c, share_d=share_d)
        out, into = ("cd", "dc") if role is Role.INITIATOR else ("dc", "cd")
        session = Session(
            role,
            place,
            0,
            Carrier.TUNNEL,
            keys["session_id"],
            keys["exporter"],
            key_out=keys[f"key_{out}"],
            iv_out=keys[f"iv_{out}"],
            key_in=keys[f"key_{into}"],
            iv_in=keys[f"iv_{into}"],
        )
        return cls(share_c, share_d, session)

    def statement_d(self, device_key: bytes, service_key: bytes) -> bytes:
        """What the device signs in S2."""
        return STS_D + self.share_c + self.share_d + device_key + service_key

    def statement_c(self, device_key: bytes, service_key: bytes) -> bytes:
        """What the controller signs in S3."""
        return STS_C + self.share_d + self.share_c + service_key + device_key

    def seal(self, signature: bytes) -> bytes:
        """Ciphertext and tag of our own signature."""
        ours, session = S3 if self.session.role is Role.INITIATOR else S2, self.session
        return channel.seal(session.key_out, session.iv_out, ours, OPENING_COUNTER, session.session_id, signature)

    def unseal(self, sealed: bytes) -> bytes:
        """The other side's signature. Raises ``WrongTag``."""
        theirs, session = S2 if self.session.role is Role.INITIATOR else S3, self.session
        return channel.unseal(session.key_in, session.iv_in, theirs, OPENING_COUNTER, session.session_id, sealed)


def hint(service_id: bytes, share_c: bytes) -> bytes:
    """One byte by which a device finds the record; to others it looks different for every session."""
    return HINT(service_id=service_id, share_c=share_c)["hint"]
