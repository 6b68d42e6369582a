"""A compiled device of the profile ``FULL`` beside the model, in the place of the model in the tests of bindings."""

from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from ringpair.virtual.display import read_pins
from ringpair_protocol import binding, cpace
from ringpair_protocol import derivations as kdf
from ringpair_protocol.admin import Code, Event, Opcode, Pin, Profile
from ringpair_protocol.curve25519 import BASE_U
from ringpair_protocol.device import Out, Port
from ringpair_protocol.messages import B1, S1

from host.tests.rig_device import CLOCK_HZ, Far, Twin, far_id, image_of
from protocol.tests.rig_binding import BoundBoard

SIZE = 2 << 20
ROUND = 5 * CLOCK_HZ
"""Cycles in which all digits are seen once."""
GLANCE = 5000


def multiple(scalar: bytes, point: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(scalar).exchange(X25519PublicKey.from_public_bytes(point))


class FullTwin(Twin):
    """As `Twin`; what the device draws for bindings and sessions is found in its raw noise."""

    profile = Profile.FULL
    jedec_id = 0xEF4015
    blank = b"\xff" * SIZE

    def admin(self, payload: bytes) -> bytes:
        self.payload = payload
        return super().admin(payload)

    def _supply_nonces(self) -> None:
        super()._supply_nonces()
        payload, reply = getattr(self, "payload", b"\0"), self.admin_out[0] if self.admin_out else b"\0"
        if self.model.draws or reply[:2] != bytes([0x80 | payload[0], Code.OK]):
            return
        if payload[0] == Opcode.PIN and payload[1] != Pin.PRESET:
            shown = self.read_display() if payload[1] == Pin.DISPLAYED else reply[2:]
            self.model.draws = [self._draw(lambda drawn: binding.digits(drawn[:8]) == shown)]
        elif payload[0] == Opcode.CONTROLLER_IN and payload[1] in (B1, S1):
            point, share = BASE_U, reply[3:35]
            if payload[1] == B1:
                keys, sid = self.model.vault.keys(), payload[2:18]
                pin = self.model.binder.pin or keys.preset_pin()
                point = cpace.generator(pin, binding.CI_LABEL + keys.device_id + sid[:8], sid)
                self.model.vault.close()
            self.model.draws = [self._draw(lambda drawn: multiple(drawn, point) == share)]

    def read_display(self) -> bytes:
        """What a person reads off the display."""
        changes, end = [(0, 0)], self.device.status.cycle + ROUND
        while self.device.status.cycle < end:
            if self.device.status.display != changes[-1][1]:
                changes.append((self.device.status.cycle, self.device.status.display))
            self.device.run(GLANCE)
        (digits,) = read_pins(changes, CLOCK_HZ)
        return digits.encode()

    def _compare(self, outs: list[Out]) -> None:
        super()._compare(outs)
        if self.model.binder.display is None:
            assert not self.device.status.display, "the display is not blank"

    def _draw(self, fits) -> bytes:
        for drawn in self._candidates():
            if fits(drawn):
                return drawn
        raise AssertionError("what the device drew is not found in its raw noise")

    def _candidates(self) -> Iterator[bytes]:
        """The byte that waits was ready right behind the draw before; the others come now."""
        (before, boots), (now, _) = self._trng_starts[-2:]
        for waiting in sorted(range(before - 10, before + 2 * 512), key=lambda at: abs(at - before - boots - 503)):
            for start in range(now - 6, now + 20):
                yield kdf.RANDOM(raw=self.raw.draw(start, waiting))["random"]


class Adapter:
    """A twin with the outside of the model."""

    def __init__(self, twin: FullTwin):
        self.twin = twin

    def __getattr__(self, name: str):
        return getattr(self.twin.model, name)

    @property
    def button(self) -> bool:
        return self.twin.model.button

    @button.setter
    def button(self, held: bool) -> None:
        if held != self.twin.model.button:
            self.twin.hold() if held else self.twin.release()

    def admin(self, payload: bytes) -> list[Out]:
        self.twin.admin(payload)
        return [Out(Port.ADMIN, out) for out in self.twin.admin_out if out[0] != Event.STARTED]


class DeviceBoard(BoundBoard):
    """A board of the tests of the model, with a compiled device in it: enrolled, and paired with ``far``."""

    def __init__(self, seed: int = 1):
        image, entry = image_of(seed, (far_id(0),))
        self.twin = FullTwin(seed, image + FullTwin.blank[len(image) :])
        self.far = Far(far_id(0))
        self.far.puzzle(entry)
        self.device = Adapter(self.twin)

    def start(self) -> None:
        self.twin.boot()
