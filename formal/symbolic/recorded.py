"""What a controller of the reference model sends, hashes, signs and seals, as terms.

The controller of the protocol package runs once, with primitives that take down what they are given and return a mark:
bytes that stand for a name. So each tuple of the models is one that the reference model itself has put together.
"""

import re
from collections.abc import Mapping
from contextlib import ExitStack
from unittest.mock import patch

from ringpair_protocol import binding, channel, controller, cpace
from ringpair_protocol import derivations as kdf
from ringpair_protocol import messages as msg
from ringpair_protocol.curve25519 import POINT_LENGTH, SCALAR_LENGTH, SIGNATURE_LENGTH
from ringpair_protocol.derivations import Derivation

FIELDS = {
    msg.B1: (
        ("service_id", binding.SERVICE_ID_LENGTH),
        ("nonce", binding.SID_LENGTH - binding.SERVICE_ID_LENGTH),
        ("share_c", POINT_LENGTH),
    ),
    msg.B2: (("share_d", POINT_LENGTH), ("tag", msg.TAG_LENGTH)),
    msg.B3: (("tag", msg.TAG_LENGTH), ("sealed", POINT_LENGTH + SIGNATURE_LENGTH + msg.TAG_LENGTH)),
    msg.B4: (("sealed", POINT_LENGTH + SIGNATURE_LENGTH + msg.TAG_LENGTH),),
    msg.S1: (("hint", 1), ("share_c", POINT_LENGTH)),
    msg.S2: (("share_d", POINT_LENGTH), ("sealed", SIGNATURE_LENGTH + msg.TAG_LENGTH)),
    msg.S3: (("sealed", SIGNATURE_LENGTH + msg.TAG_LENGTH),),
}
"""What follows the header of a message."""
LENGTHS = {
    "scalar": SCALAR_LENGTH,
    "pin": binding.PIN_DIGITS,
    "device_id": msg.ID_LENGTH,
    "common": POINT_LENGTH,
    "isk": cpace.ISK_LENGTH,
    "mac_key": cpace.TAG_FULL_LENGTH,
    "tag_c": msg.TAG_LENGTH,
    "tag_d": msg.TAG_LENGTH,
    "service_key": POINT_LENGTH,
    "device_key": POINT_LENGTH,
    "signature": SIGNATURE_LENGTH,
    **{name: length for fields in FIELDS.values() for name, length in fields if name not in ("tag", "sealed")},
    **{f"sealed_{n}": POINT_LENGTH * n + SIGNATURE_LENGTH + msg.TAG_LENGTH for n in (0, 1)},
    **dict(kdf.CONTROLLER_SESSION.outputs),
}
"""Bytes of each value that has a name."""
LABELS = {
    cpace.DSI: "cpace",
    cpace.DSI_ISK: "cpace_isk",
    cpace.MAC_LABEL: "cpace_mac",
    binding.CI_LABEL: "bind",
    binding.BIND_C: "bind_c",
    binding.BIND_D: "bind_d",
    binding.STS_C: "sts_c",
    binding.STS_D: "sts_d",
}
NAMES = tuple(LENGTHS)
PIECE = re.compile(rb"([\x80-\xfe])\1*|[!-~]+|\0+|\xff+", re.DOTALL)

Terms = tuple[str, ...]


def mark(name: str) -> bytes:
    """The bytes that stand for a name: one byte of its own, as often as the value has bytes."""
    return bytes([0x80 + NAMES.index(name)]) * LENGTHS[name]


def terms(data: bytes) -> Terms:
    """The names in what was put together; zeros and the counter of ones are constants that distinguish nothing."""
    found: list[str] = []
    end = 0
    for piece in PIECE.finditer(data):
        first, run = piece.group()[0], piece.group()
        assert piece.start() == end, f"no mark: {data[end : piece.start()]!r}"
        end = piece.end()
        if run in LABELS:
            found.append(LABELS[run])
        elif 0x80 <= first < 0xFF:
            name = NAMES[first - 0x80]
            times, left = divmod(len(run), LENGTHS[name])
            assert not left, f"a part of {name} only"
            found += [name] * times
        else:
            assert first in (0, 0xFF), f"an unknown label: {run!r}"
    assert end == len(data), f"no mark: {data[end:]!r}"
    return tuple(found)


class Recorder:
    """A curve, hashes and a sealing that take down their inputs in ``seen``, by what they give."""

    def __init__(self) -> None:
        self.seen: dict[str, Terms] = {}
        self.stage = ""

    def see(self, name: str, data: bytes) -> bytes:
        found = terms(data)
        assert self.seen.setdefault(name, found) == found, f"two kinds of {name}"
        return mark(name) if name in LENGTHS else bytes(64)

    # the curve
    def x25519(self, scalar: bytes, point: bytes) -> bytes:
        assert scalar == mark("scalar")
        return mark("common") if point == mark("share_d") else mark("share_c")

    def public_key(self, seed: bytes) -> bytes:
        return mark("service_key")

    def sign(self, seed: bytes, message: bytes) -> bytes:
        self.see(f"statement_{self.stage}3", message)
        return mark("signature")

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        self.see(f"statement_{self.stage}{'4' if self.stage == 'b' else '2'}", message)
        return (public_key, signature) == (mark("device_key"), mark("signature"))

    # hashes
    def sha512(self, data: bytes) -> "Digest":
        label = PIECE.match(data).group()
        return Digest(self.see({cpace.DSI: "generator", cpace.DSI_ISK: "isk", cpace.MAC_LABEL: "mac_key"}[label], data))

    def hmac(self, key: bytes, data: bytes, _: str) -> bytes:
        assert key == mark("mac_key")
        return self.see("tag_c" if mark("share_c") in data else "tag_d", data)

    def derive(self, row: Derivation, **values: bytes) -> dict[str, bytes]:
        inputs = b"".join(values[name] for name, _ in row.inputs)
        for name, _ in row.outputs:
            self.see(name if row is not kdf.BIND_KEYS else f"{name}_of_isk", inputs)
        return {name: mark(name) for name, _ in row.outputs}

    # sealing
    def encrypt(self, key: bytes, nonce: bytes, associated: bytes, text: bytes) -> bytes:
        self._sealing(associated[0], key, nonce + associated[1:], text)
        return mark(f"sealed_{len(text) > SIGNATURE_LENGTH:d}")

    def decrypt(self, key: bytes, nonce: bytes, associated: bytes, sealed: bytes) -> bytes:
        text = (mark("device_key") if associated[0] == msg.B4 else b"") + mark("signature")
        assert sealed == mark(f"sealed_{associated[0] == msg.B4:d}")
        self._sealing(associated[0], key, nonce + associated[1:], text)
        return text

    def _sealing(self, header: int, key: bytes, associated: bytes, text: bytes) -> None:
        name = NAME[header]
        self.seen |= {f"key_{name}": terms(key), f"associated_{name}": terms(associated), f"text_{name}": terms(text)}


class Digest(bytes):
    """What hashlib gives."""

    def digest(self) -> bytes:
        return bytes(self)


NAME = {getattr(msg, name): name.lower() for name in ("B1", "B2", "B3", "B4", "S1", "S2", "S3")}


def from_device(header: int, **marks: str) -> bytes:
    """A message of the device: the fields of the table, as marks."""
    return bytes([header]) + b"".join(mark(marks.get(name, name)) for name, _ in FIELDS[header])


def record() -> Mapping[str, Terms]:
    """Terms by what they are for: ``b1`` and the other messages of the controller, ``statement_b3``, ``isk``, …"""
    recorder = Recorder()
    with ExitStack() as patches:
        for module, name, value in (
            (cpace, "prepend_length", bytes),
            (cpace, "sha512", recorder.sha512),
            (cpace.hmac, "digest", recorder.hmac),
            (channel, "aead128_encrypt", recorder.encrypt),
            (channel, "aead128_decrypt", recorder.decrypt),
            *((binding, name, deriving(recorder, getattr(binding, name))) for name in DERIVED),
        ):
            patches.enter_context(patch.object(module, name, value))
        service = controller.Service.of(bytes(32), recorder)
        recorder.stage = "b"
        scalar = mark("scalar")
        bind = controller.BindingRun(service, mark("device_id"), mark("pin"), recorder, scalar, mark("nonce"))
        sent = [bind.b1(), bind.b3(from_device(msg.B2, tag="tag_d"))]
        assert bind.finish(from_device(msg.B4, sealed="sealed_1")) == mark("device_key")
        recorder.stage = "s"
        opening = controller.OpeningRun(service, mark("device_key"), recorder, scalar)
        sent += [opening.s1(), opening.s3(from_device(msg.S2, sealed="sealed_0"))[0]]
    return recorder.seen | {NAME[message[0]]: terms(message[1:]) for message in sent}


DERIVED = ("BIND_KEYS", "CONTROLLER_SESSION", "HINT", "SERVICE_ID")


def deriving(recorder: Recorder, row: Derivation):
    return lambda **values: recorder.derive(row, **values)
