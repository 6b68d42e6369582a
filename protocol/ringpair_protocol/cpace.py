"""CPACE-X25519-SHA512: from a PIN to a common key (draft-irtf-cfrg-cpace, initiator and responder mode).

Section numbers below are those of the draft. Somebody who does not know the PIN gets one guess a run, and nothing to
try others on afterwards.
"""

import hmac
from dataclasses import dataclass, field
from hashlib import sha512

from . import curve25519
from .curve25519 import Curve

DSI = b"CPace255"
DSI_ISK = DSI + b"_ISK"
MAC_LABEL = b"CPaceMac"
HASH_BLOCK = 128
ISK_LENGTH = TAG_FULL_LENGTH = 64


def prepend_length(data: bytes) -> bytes:
    """The length in LEB128, then the data (appendix A)."""
    length, prefix = len(data), bytearray()
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*prefix, length]) + data


def joined(*parts: bytes) -> bytes:
    """The draft's ``lv_cat``."""
    return b"".join(map(prepend_length, parts))


def generator_string(prs: bytes, ci: bytes, sid: bytes) -> bytes:
    """What is hashed to the generator: zeros fill the first block up, so that the PIN is never hashed with the rest."""
    zeros = max(0, HASH_BLOCK - 1 - len(joined(prs)) - len(joined(DSI)))
    return joined(DSI, prs, bytes(zeros), ci, sid)


def generator(prs: bytes, ci: bytes, sid: bytes) -> bytes:
    """u-coordinate of the generator that both sides multiply."""
    digest = sha512(generator_string(prs, ci, sid)).digest()[:32]
    return curve25519.elligator2(curve25519.decode_u(digest)).to_bytes(32, "little")


def share(scalar: bytes, prs: bytes, ci: bytes, sid: bytes, curve: Curve = curve25519) -> bytes:
    """What one side sends: Ya or Yb."""
    return curve.x25519(scalar, generator(prs, ci, sid))


@dataclass(frozen=True)
class Agreement:
    """What both sides share after a run with the same PIN.

    Attributes
    ----------
    isk
        The intermediate session key, 64 bytes; to be hashed before it is used.
    tag_a, tag_b
        The initiator's and the responder's confirmation in full, 64 bytes.
    """

    isk: bytes = field(repr=False)
    tag_a: bytes = field(repr=False)
    tag_b: bytes = field(repr=False)


def agree(
    scalar: bytes,
    theirs: bytes,
    sid: bytes,
    initiator: tuple[bytes, bytes],
    responder: tuple[bytes, bytes],
    curve: Curve = curve25519,
) -> Agreement:
    """Key and confirmations of a run.

    Parameters
    ----------
    scalar
        One's own, 32 bytes.
    theirs
        The other side's share.
    initiator, responder
        Share and associated data of each.

    Raises
    ------
    BadPoint
        ``theirs`` has a small order.
    """
    secret = curve.x25519(scalar, theirs)
    isk = sha512(joined(DSI_ISK, sid, secret) + joined(*initiator) + joined(*responder)).digest()
    mac_key = sha512(MAC_LABEL + sid + isk).digest()
    tag_a, tag_b = (hmac.digest(mac_key, joined(*side), "sha512") for side in (initiator, responder))
    return Agreement(isk, tag_a, tag_b)
