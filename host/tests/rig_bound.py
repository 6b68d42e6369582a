"""A compiled device of the profile ``FULL`` beside the model, in the place of the model in the tests of bindings."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from ringpair.virtual.display import read_pins
from ringpair_hdl.program.memory import PENDING_INITIATOR, PENDING_RESPONDER
from ringpair_protocol import binding, cpace, curve25519
from ringpair_protocol import derivations as kdf
from ringpair_protocol.admin import Code, Event, Opcode, Pin, Profile
from ringpair_protocol.controllers import Controller, ControllerTable
from ringpair_protocol.curve25519 import BASE_U
from ringpair_protocol.device import Out, Port
from ringpair_protocol.messages import B1, M1, S1
from ringpair_protocol.nor import NorFlash

from host.tests.rig_device import CLOCK_HZ, Twin
from host.tests.rig_scenes import Far, far_id, image_of, offline_keys
from protocol.tests.rig_binding import BoundBoard, service

SIZE = 2 << 20
ROUND = 5 * CLOCK_HZ
"""Cycles in which all digits are seen once."""
GLANCE = 5000
SLACK_MS = 40
"""So exactly is known here when a wait of the device ends."""
PIN_SLACK = 6
"""Seconds; the same of a PIN, with those in which it is read off the display."""


def multiple(scalar: bytes, point: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(scalar).exchange(X25519PublicKey.from_public_bytes(point))


class FullTwin(Twin):
    """As `Twin`; what the device draws for bindings and sessions is found in its raw noise."""

    profile = Profile.FULL
    jedec_id = 0xEF4015
    blank = b"\xff" * SIZE
    payload = b"\0"
    """The command that is worked on."""

    def admin(self, payload: bytes) -> bytes:
        self.payload, self._begun = payload, len(self._trng_starts)
        try:
            return super().admin(payload)
        finally:
            self.payload = b"\0"

    # ------------------------------------------------------------------ time
    def _compare(self, outs: list[Out]) -> None:
        """A wait of PPAKE may have ended while the device computed for a controller; what follows comes last."""
        super()._compare([*outs, *self._ended()])
        if self.model.binder.pin is not self._pin[0]:
            self._pin = self.model.binder.pin, self.device.status.cycle
        if self.model.binder.display is None:
            assert not self.device.status.display, "the display is not blank"

    _pin: tuple[bytes | None, int] = None, 0
    """The dynamic PIN, and the cycle since when there is one."""

    def pin_seconds(self) -> float:
        """How old the dynamic PIN is; 0 if there is none."""
        return (self.device.status.cycle - self._pin[1]) / CLOCK_HZ if self._pin[0] else 0

    def outlast_pin(self) -> None:
        """Until a dynamic PIN that nobody has used is forgotten, give or take some seconds. Nothing else is awaited."""
        self.device.run(round((binding.PIN_SECONDS + PIN_SLACK - self.pin_seconds()) * CLOCK_HZ))
        self._run_device()
        self.model.binder.tick(binding.PIN_SECONDS * 1000)
        self._compare([])

    def _ended(self) -> list[Out]:
        run = self.model.party.run
        if run is None or run is not self._wait[0] or self.waited_ms() < run.left_ms - SLACK_MS:
            return []
        sent = [out[1:] for out in self.admin_out if out[0] == Event.PEER_OUT] + self.peer_out
        over = not self.pad(self.memory.flags)[0] & (PENDING_INITIATOR | PENDING_RESPONDER)
        again = any(message[0] == M1 for message in sent)
        return self.model.tick(run.left_ms) if over or again or self.waited_ms() > run.left_ms + SLACK_MS else []

    # ------------------------------------------------------------------ what it has drawn
    def _supply_nonces(self) -> None:
        super()._supply_nonces()
        payload, reply = self.payload, self.admin_out[0] if self.admin_out else b"\0\0"
        header = payload[1] if payload[0] == Opcode.CONTROLLER_IN and len(payload) > 1 else 0
        if reply[0] != 0x80 | payload[0]:
            return
        if payload[0] == Opcode.PIN and reply[1] == Code.OK and payload[1] != Pin.PRESET:
            shown = self.read_display() if payload[1] == Pin.DISPLAYED else reply[2:]
            drawn = self._draw(lambda drawn: binding.digits(drawn[:8]) == shown)
        elif header in (B1, S1) and reply[1] == Code.OK:
            point, share = BASE_U, reply[3:35]
            if header == B1:
                keys, sid = self.model.vault.keys(), payload[2:18]
                pin = self.model.binder.pin or keys.preset_pin()
                point = cpace.generator(pin, binding.CI_LABEL + keys.device_id + sid[:8], sid)
                self.model.vault.close()
            drawn = self._draw(lambda drawn: multiple(drawn, point) == share)
        elif header in (B1, S1) and reply[1] == Code.BAD_CONTROLLER:
            drawn = bytes(32)  # a share of small order is refused whatever was drawn
        else:
            return
        self.model.draws.insert(0, drawn)

    def read_display(self) -> bytes:
        """What a person reads off the display."""
        changes, end = [(0, 0)], self.device.status.cycle + ROUND
        while self.device.status.cycle < end:
            if self.device.status.display != changes[-1][1]:
                changes.append((self.device.status.cycle, self.device.status.display))
            self.device.run(GLANCE)
        (digits,) = read_pins(changes, CLOCK_HZ)
        return digits.encode()

    def _draw(self, fits) -> bytes:
        for drawn in self._candidates():
            if fits(drawn):
                return drawn
        raise AssertionError("what the device drew is not found in its raw noise")

    def _candidates(self) -> Iterator[bytes]:
        """The byte that waits was ready right behind the draw before; the others come now."""
        (before, boots), (now, _) = self._trng_starts[self._begun - 1 : self._begun + 1]
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


@cache
def bound_image(
    seed: int, names: tuple[str, ...] = (), tries: int = 0, commits: int = 0, unbound: int = 0
) -> tuple[bytes, bytes]:
    """Flash of a device that is paired with one peer, and its key for sessions.

    Parameters
    ----------
    names
        Services that are bound.
    tries
        So many are used up.
    commits
        So many slots of the device's record were written before.
    unbound
        So many services had been bound before those, at the places behind theirs.
    """
    image, _ = image_of(seed, (far_id(0),))
    chip = NorFlash(bytearray(image + FullTwin.blank[len(image) :]))
    keys = offline_keys(chip, seed, Profile.FULL)
    for number in range(commits + tries):
        keys.commit_device(replace(keys.device(), pin_tries=max(0, number + 1 - commits)))
    table = ControllerTable(keys)
    everybody = [*names, *(f"former {number}" for number in range(unbound))]
    for index, who in enumerate(map(service, everybody)):
        table.add(Controller(who.id, who.key), 100 + index)
    for place, controller in list(table.live()):
        if controller.service_id not in {service(name).id for name in names}:
            table.load(place)
            table.remove(place)
    return bytes(chip.memory), curve25519.public_key(keys.identity_seed)


class DeviceBoard(BoundBoard):
    """A board of the tests of the model, with a compiled device in it: enrolled, and paired with ``far``.

    ``image`` is what `bound_image` gives. The twin knows what a registry and a bound service do: ``entry`` and ``key``.
    """

    def __init__(self, seed: int = 1, image: tuple[bytes, bytes] | None = None):
        flash, key = image or bound_image(seed)
        self.twin = FullTwin(seed, flash)
        self.twin.key, self.twin.entry = key, image_of(seed, (far_id(0),))[1]
        self.far = Far(far_id(0))
        self.far.puzzle(self.twin.entry)
        self.device = Adapter(self.twin)

    def start(self) -> None:
        self.twin.boot()
