"""A compiled device and the reference model side by side: same silicon, same flash, same commands, compared each time.

The device runs at 1 MHz, so that seconds are few cycles; nothing else in it depends on the frequency. Its rings give
the same counts in every read, so the model knows them too. What is compared after each step: the frames of the admin
port in order, those of the peer port in order (not one port against the other), the flash byte for byte, STATUS, and
that no secret is left in the scratchpad.
"""

import ctypes
import os
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from ringpair.virtual import Design, FlashParameters, NoiseSource, Parameters, RingReads, SimulatedDevice, build
from ringpair.virtual.native import NativeParameters, Status
from ringpair_boards.virtual import FLOORPLAN
from ringpair_hdl.program import Memory, pairing_program
from ringpair_protocol import admin, frames, puf
from ringpair_protocol import derivations as kdf
from ringpair_protocol import messages as msg
from ringpair_protocol.admin import Carrier, Code, Event, Identity, Opcode, Profile
from ringpair_protocol.device import DeviceModel, Out, Port
from ringpair_protocol.nor import NorFlash
from ringpair_protocol.pairing import DeviceEntry, finish_enrollment, start_enrollment
from ringpair_protocol.ppake import State
from ringpair_protocol.records import STORE_END
from ringpair_protocol.store import NorPort
from ringpair_protocol.vault import RingPuf

CLOCK_HZ = 1_000_000
BUDGET = 64
JEDEC = 0xEF4014
QUANTIZER = puf.Quantizer(puf.MODELED_LAYOUT)
"""That of the virtual board."""
DESIGN = Design(arguments={"clock_mhz": 1, "budget": BUDGET, "admin_baud": CLOCK_HZ // 4, "peer_baud": CLOCK_HZ // 4})
SLICE, CALM = 400, 4
"""So many times so many cycles without a sign, and a device is calm: 1045 pass in silence behind the longest frame."""
LOOK = 1500
"""Cycles between two looks at a device that waits."""
BLANK = b"\xff" * STORE_END
PRESS_SECONDS = 0.1
TRNG_PHASE = 5


@cache
def library(profile: Profile = Profile.PAIR) -> Path:
    """The compiled device; from the cache if it can be."""
    if profile is Profile.PAIR:
        return build(DESIGN)
    return build(Design(arguments={**DESIGN.arguments, "profile": profile.name.lower()}))


@cache
def memory(profile: Profile = Profile.PAIR) -> Memory:
    """Where the fields of the scratchpad lie."""
    return pairing_program(Identity(profile, True, 1, bytes(8), FLOORPLAN, QUANTIZER.layout.version), 100)[1]


def silicon(seed: int, drift: float = 0.0) -> list[int]:
    """Counts of 192 rings; with a drift, those of the same board in other weather."""
    layout = np.array(QUANTIZER.layout.entries) / (1 << puf.FRACTION_BITS)
    values = 2300 * (1 + layout + 0.0049 * np.random.default_rng(seed).standard_normal(puf.RINGS))
    values *= 1 + drift * np.random.default_rng(seed + 1_000_000).standard_normal(puf.RINGS)
    return [round(value) for value in values]


class RawBits:
    """The raw bits of the board's noise source: xoshiro256++ as in ``noise.h``, the n-th bit on demand."""

    def __init__(self, seed: int):
        mask = (1 << 64) - 1
        self.state, z = [], seed & mask
        for _ in range(4):
            seed = (seed + 0x9E3779B97F4A7C15) & mask
            z = (seed ^ seed >> 30) * 0xBF58476D1CE4E5B9 & mask
            z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
            self.state.append(z ^ z >> 31)
        self.bits = bytearray()

    def __getitem__(self, part: slice) -> bytes:
        mask = (1 << 64) - 1
        s0, s1, s2, s3 = self.state
        for _ in range(part.stop - len(self.bits)):
            total = s0 + s3 & mask
            self.bits.append(((total << 23 | total >> 41) + s0 & mask) >> 63 ^ 1)  # uniform() < 1/2
            t = s1 << 17 & mask
            s2 ^= s0
            s3 ^= s1
            s1 ^= s2
            s0 ^= s3
            s2 ^= t
            s3 = (s3 << 45 | s3 >> 19) & mask
        self.state = [s0, s1, s2, s3]
        return bytes(self.bits[part])

    def draw(self, start: int, waiting: int) -> bytes:
        """64 bytes: one that was waiting, its bits from ``waiting`` on, and 63 from ``start`` on."""
        bits = self[waiting : waiting + 8] + self[start : start + 63 * 8]
        return np.packbits(np.frombuffer(bits, np.uint8), bitorder="little").tobytes()


class Model(DeviceModel):
    """The reference model, with the random bytes of the device next to it."""

    draws: list[bytes]

    def _random(self) -> bytes:
        self._require_noise()
        return self.draws.pop(0) if self.draws else bytes(32)  # nothing was sent that would show what was drawn


class Twin:
    """A compiled device and its model.

    Parameters
    ----------
    seed
        Of silicon and noise.
    flash
        Image from address 0 on; blank behind it.
    counts
        What each ring counts in every read.
    parameters
        Fields of ``FlashParameters`` to change.

    Attributes
    ----------
    device, model
        The two; ``model`` is another one after each power-up.
    admin_out, peer_out
        Payloads of the last step.
    patience
        Cycles that a step may take.
    """

    profile: ClassVar[Profile] = Profile.PAIR
    jedec_id: ClassVar[int] = JEDEC
    blank: ClassVar[bytes] = BLANK
    patience = 6 * CLOCK_HZ

    def __init__(self, seed: int = 1, flash: bytes | None = None, counts: list[int] | None = None, **parameters: int):
        self.seed = seed
        self.counts = counts or silicon(seed)
        flash = (flash or b"") + self.blank[len(flash or b"") :]
        self.memory = memory(self.profile)
        chip = FlashParameters(**{"size": len(self.blank), "jedec": self.jedec_id, **parameters})
        rates = {"admin_baud": CLOCK_HZ // 4, "peer_baud": CLOCK_HZ // 4}
        self.device = SimulatedDevice(
            library(self.profile),
            Parameters(clock_hz=CLOCK_HZ, seed=seed, flash=chip, **rates),
            flash=flash,
            rings=self._reads(),
            log=frozenset(),
        )
        self.chip = NorFlash(bytearray(flash))
        self.jedec = chip.jedec.to_bytes(3, "big")
        self.raw = RawBits(seed + 2)
        self.trng_alarm = False
        self._decoders = frames.Decoder(), frames.Decoder()
        self._trng_starts: list[tuple[int, int]] = []  # raw bits and power-ups when a draw began
        self.admin_out: list[bytes] = []
        self.peer_out: list[bytes] = []
        self._wait: tuple[object, int] = None, 0  # what is waited for, and the cycle when that began
        self.boot(power=False)

    def _reads(self) -> RingReads:
        return RingReads(np.array([self.counts]))

    def close(self) -> None:
        self.device.close()

    # ------------------------------------------------------------------ what is done to both
    def boot(self, *, power: bool = True) -> None:
        """Power-up, after a power-down if there was power."""
        if power:
            self.device.power_off()
            self.device.power_on()
        self._pad_at: int | None = None
        self.chip.cut_power()
        self.chip.memory[:] = self.device.flash  # what a cut has left is not for the model to guess
        self._decoders = frames.Decoder(), frames.Decoder()
        ring_puf = RingPuf(lambda: self.counts, QUANTIZER, BUDGET)
        capacity = self.jedec[2]
        flash = NorPort(self.chip) if self.jedec[0] not in (0, 0xFF) and 0x14 <= capacity < 0xFF else None
        self._run_device(limit=20 * CLOCK_HZ)
        identity = Identity.from_bytes(self.admin_out[0][1:])
        self.model = Model(ring_puf, None, flash, identity, self.jedec)
        self.model.trng_alarm = self.trng_alarm
        self.model.trng_ready = not self.trng_alarm
        self._compare(self.model.boot())

    def admin(self, payload: bytes) -> bytes:
        """A command; its reply without the opcode."""
        self.device.write(frames.encode(payload))
        self._run_device()
        self._supply_nonces()
        self._compare(self.model.admin(payload))
        assert self.admin_out[0][0] == 0x80 | (payload[0] if payload[0] < 0x40 else 0)
        return self.admin_out[0][1:]

    def command(self, opcode: Opcode, body: bytes = b"", code: Code = Code.OK) -> bytes:
        """A command that shall be answered so; the body of the reply."""
        reply = self.admin(bytes([opcode]) + body)
        assert Code(reply[0]) is code, f"{opcode.name}: expected {code.name}, got {Code(reply[0]).name}"
        return reply[1:]

    def peer(self, message: bytes) -> list[bytes]:
        """A message of the peer by wire; the messages that answer it."""
        self.device.write(frames.encode(message), peer=True)
        self._run_device()
        self._supply_nonces()
        self._compare(self.model.peer(message))
        return self.peer_out

    def tunnel(self, message: bytes) -> list[bytes]:
        """A message of the peer through the host; what is to go back to it."""
        self.command(Opcode.PEER_IN, message)
        return [event[1:] for event in self.admin_out if event[0] == Event.PEER_OUT]

    def line(self, data: bytes, *, peer: bool = False) -> None:
        """Any bytes on a line; each frame in them is taken by itself, and what is left of the last one stays there."""
        decoder, self.admin_out, self.peer_out = frames.Decoder(), [], []
        for start in range(len(data)):
            self.device.write(data[start : start + 1], peer=peer)
            for frame in decoder.feed(data[start : start + 1]):
                self._run_device()
                self._supply_nonces()
                if isinstance(frame, frames.FrameError):
                    self._compare([] if peer else self.model.admin_damaged(frame.kind))
                else:
                    self._compare(self.model.peer(frame) if peer else self.model.admin(frame))
        last = self.admin_out, self.peer_out
        self._run_device()
        assert (self.admin_out, self.peer_out) == ([], []), "an answer to what is no frame"
        self.admin_out, self.peer_out = last

    def expire(self) -> list[bytes]:
        """Let time pass until the wait that is going on has ended; the messages that follow."""
        waiting = self.waiting_ms()
        assert waiting, "nothing is waited for"
        begun = self.device.status.cycle
        limit = round((waiting + 50) * CLOCK_HZ / 1000)
        while self.device.status.phase == 0 and self.device.status.cycle - begun < limit:
            self.device.run(LOOK)
        self._run_device()
        self._supply_nonces()
        self._compare(self.model.tick(waiting))
        return self.peer_out

    def press(self, seconds: float = PRESS_SECONDS) -> list[bytes]:
        """Press the button and let it go: less than 2 s is short, 10 s and more is long."""
        self.device.press(seconds)
        self.device.run(round((seconds + 0.05) * CLOCK_HZ))
        self._run_device(limit=20 * CLOCK_HZ)
        self._supply_nonces()
        self._compare(self.model.button_short() if seconds < 2 else self.model.button_long() if seconds >= 10 else [])
        return self.peer_out

    def hold(self) -> None:
        """Hold the button, until `release`."""
        self.device.press()
        self.device.run(CLOCK_HZ // 20)
        self.model.button = True

    def release(self) -> None:
        """Let go a button that has permitted an enrollment."""
        self.device.release()
        self.device.run(CLOCK_HZ // 20)
        self.model.button = False
        self._run_device()
        self._compare([])

    def set_counts(self, counts: list[int]) -> None:
        """Other silicon, or other weather."""
        self.counts = counts
        self.device.set_rings(self._reads())

    def stick_noise(self) -> None:
        """The noise source gets stuck; long enough for the health tests to see it."""
        self.device.set_noise(NoiseSource(one=1))
        self.device.run(100 * 32)
        self.trng_alarm = self.model.trng_alarm = True
        self.model.trng_ready = False

    # ------------------------------------------------------------------ longer stories
    def enroll(self, nonce: bytes = b"N" * 16) -> DeviceEntry:
        """Hold the button, enroll, confirm."""
        self.hold()
        entry, e3 = finish_enrollment(nonce, self.begin_enrollment(nonce))
        self.release()
        assert self.command(Opcode.ENROLL_CONFIRM, e3) == entry.device_id
        return entry

    def begin_enrollment(self, nonce: bytes = b"N" * 16) -> bytes:
        """E1, checked against the raw noise of the device; E2. The button is held."""
        payload = bytes([Opcode.ENROLL]) + start_enrollment(nonce)
        self.device.write(frames.encode(payload))
        self._run_device(limit=20 * CLOCK_HZ)
        reply = self.admin_out[0]
        assert reply[:2] == bytes([0x80 | Opcode.ENROLL, Code.OK]), reply.hex()
        self.model.draws = list(self._enrollment_draws(reply[2:]))
        self._compare(self.model.admin(payload))
        return reply[2:]

    def connect(self, number: int = 0, carrier: Carrier = Carrier.WIRE, code: Code = Code.OK) -> bytes | None:
        """CONNECT; M1 if there is one."""
        self.command(Opcode.CONNECT, bytes([number, carrier]), code)
        events = [event[1:] for event in self.admin_out if event[0] == Event.PEER_OUT]
        return next(iter(events if carrier else self.peer_out), None)

    def cut(self, payload: bytes, *, peer: bool = False) -> bool:
        """A command or message during which the power fails, as told to the device before; whether it did."""
        self.device.write(frames.encode(payload), peer=peer)
        self._run_device(limit=20 * CLOCK_HZ)
        return not self.device.status.powered

    def arm(self, kind: str, number: int, fraction: float) -> None:
        """The power will fail in the n-th "program" or "erase" from now, after this part of its time."""
        getattr(self.device, f"cut_in_{kind}")(number, fraction)

    def boot_cut(self, kind: str, number: int, fraction: float) -> bool:
        """A power-up during which the power fails, if it writes so often; whether it did."""
        self.device.power_off()
        self.device.power_on()
        self.arm(kind, number, fraction)
        self._run_device(limit=20 * CLOCK_HZ)
        return not self.device.status.powered

    def waiting_ms(self) -> int:
        """What is left of the wait that is going on."""
        run, draft = self.model.party.run, self.model._enrollment
        return run.left_ms if run else draft.left_ms if draft else 0

    def waited_ms(self) -> float:
        """What is over of the wait that is going on."""
        return (self.device.status.cycle - self._wait[1]) * 1000 / CLOCK_HZ

    def pad(self, field) -> bytes:
        """A field of the device's scratchpad."""
        return self._scratchpad()[field.address : field.end]

    # ------------------------------------------------------------------ inside
    def _run_device(self, limit: int = 0) -> None:
        """Run until the device has nothing to do any more, and take what it has sent."""
        device, status, found = self.device, self.device.status, ([], [])
        limit = max(limit, self.patience)
        end, calm, phase = status.cycle + limit, 0, 0
        while calm < CALM:
            before, worked = status.phase_cycles[TRNG_PHASE], status.cycle - status.phase_cycles[0]
            device.run(4 * SLICE if phase else SLICE)
            if status.phase == TRNG_PHASE != phase:
                inside = status.phase_cycles[TRNG_PHASE] - before
                self._trng_starts.append((status.noise_bits - inside // 32, status.boots))
            phase = status.phase
            sent = [device.read(), device.read(peer=True)]
            for side, data in enumerate(sent):
                found[side].extend(self._decoders[side].feed(data))
            worked = phase or status.cycle - status.phase_cycles[0] != worked
            calm = 0 if worked or any(sent) or status.admin_pending or status.peer_pending else calm + 1
            if not status.powered:
                break
            assert status.cycle < end, f"the device is in phase {phase} after {limit} cycles, it has sent {found}"
        self.admin_out, self.peer_out = found

    def _supply_nonces(self) -> None:
        """What the device has drawn stands in the messages that it has sent."""
        sent = [event[1:] for event in self.admin_out if event[0] == Event.PEER_OUT] + self.peer_out
        self.model.draws = [message[1:17] + bytes(16) for message in sent if message[0] in (msg.M1, msg.M2)]

    def _enrollment_draws(self, e2: bytes) -> Iterator[bytes]:
        """Salt and randomness of the first wrap key, found in the raw noise around the time of the draw."""
        taken, boots = self._trng_starts[-1]
        bits, helper = RingPuf(lambda: self.counts, QUANTIZER).enroll()
        digest = kdf.HELPER_DIGEST(
            helper=helper, floorplan=FLOORPLAN, layout_version=QUANTIZER.layout.version.to_bytes(2, "little")
        )
        root = {"puf_key": kdf.PUF_KEY(bits=bits, digest=digest["digest"])["puf_key"]}
        root["salt"] = self.pad(self.memory.salt)
        assert kdf.DEVICE_ID(**root)["device_id"] == e2[1:9], "the id does not follow from silicon and salt"
        yield root["salt"] + bytes(16)
        # The second draw: the byte that waits begins right behind the first draw, the others a little later.
        first = taken + boots - 1 + 63 * 8
        for waiting in range(first - 6, first + 6):
            for start in range(waiting + 8, waiting + 60):
                drawn = kdf.RANDOM(raw=self.raw.draw(start, waiting))["random"]
                if kdf.FIRST_WRAP(**root, random=drawn)["wrap_key"] == e2[9:]:
                    yield drawn
                    return
        raise AssertionError("the first wrap key does not follow from the raw noise")

    def _compare(self, outs: list[Out]) -> None:
        """The last step of the device against what the model makes of it."""
        if self.model.party.run is not self._wait[0]:
            self._wait = self.model.party.run, self.device.status.cycle
        expected = tuple([out.payload for out in outs if out.port is port] for port in Port)
        got = self.admin_out, self.peer_out
        assert got == expected, f"\ndevice {readable(got)}\nmodel  {readable(expected)}"
        if not self.device.status.powered:
            return
        self._compare_flash()
        self._compare_status()
        self.check_hygiene()

    def _compare_flash(self) -> None:
        a, b = (np.frombuffer(image, np.uint64) for image in (self.device.flash, self.chip.memory))
        if not np.array_equal(a, b):
            a, b = a.view(np.uint8), b.view(np.uint8)
            at = np.flatnonzero(a != b)
            raise AssertionError(
                f"flash differs in {len(at)} bytes from {at[0]:#x} to {at[-1]:#x}: "
                f"device {a[at[:8]].tobytes().hex()}, model {b[at[:8]].tobytes().hex()}"
            )

    def _compare_status(self) -> None:
        untidy = self.model._untidy
        (expected,) = (out.payload for out in self.model.admin(bytes([Opcode.STATUS])))
        self.device.write(frames.encode(bytes([Opcode.STATUS])))
        self.device.run(SLICE * 50, admin=len(frames.encode(expected)))
        sent = self._decoders[0].feed(self.device.read())
        fields = [admin.Status.from_bytes(payload[2:]) for payload in (*sent[:1], expected)]
        assert sent == [expected], f"\ndevice {fields[0]}\nmodel  {fields[-1]}"
        if untidy:  # behind each command it tries to make the key that it could not make at power-up
            outs = self.admin_out, self.peer_out
            self._run_device()
            assert (self.admin_out, self.peer_out) == ([], [])
            self.admin_out, self.peer_out = outs

    def check_hygiene(self) -> None:
        """Nothing secret in the scratchpad but what a session, or an enrollment that waits, needs."""
        image, fields = self._scratchpad(), self.memory
        allowed = set()
        run, session = self.model.party.run, self.model.party.session
        if session or self.model.party.state is State.PENDING_R:
            allowed.add("session")
        if self.model._enrollment:
            allowed |= {"session", "new_wrap"}  # helper data in ``session``, the first wrap key
        for field in fields.pad.fields.values():
            if field.secret and field.name not in allowed:
                value = image[field.address : field.end]
                assert not any(value), f"{field.name} is not wiped: {value.hex()}"
        if session and not run:
            assert not any(self.pad(fields.tag_3)), "T3 is not wiped"

    def _scratchpad(self) -> bytes:
        """Read from the memory of this process: CXXRTL keeps each byte of a memory as a word of 32 bits."""
        board = self.device._board
        model = ctypes.c_uint64.from_address(board + ctypes.sizeof(NativeParameters) + ctypes.sizeof(Status)).value
        mark = b"".join(bytes([byte, 0, 0, 0]) for byte in admin.MAGIC)
        with open("/proc/self/mem", "rb", buffering=0) as own:
            if self._pad_at is None:
                self._pad_at = _locate(own.fileno(), model, mark)
            image = os.pread(own.fileno(), 4 * self.memory.pad.size, self._pad_at)
        assert image.startswith(mark)
        return image[::4]


def _locate(file: int, model: int, mark: bytes) -> int:
    """Address of the memory that begins so, among all that an object points to."""
    for pointer, *_ in struct.iter_unpack("<Q", os.pread(file, 1 << 16, model)):
        if 0x1000 < pointer < 1 << 47 and pointer % 8 == 0:
            try:
                if os.pread(file, len(mark), pointer) == mark:
                    return pointer
            except OSError:
                continue
    raise AssertionError("the scratchpad is not where it is expected: has CXXRTL's memory changed?")


def readable(outs: tuple[list[bytes], list[bytes]]) -> str:
    """Payloads of both ports, for a message."""
    names = {int(event): event.name for event in Event} | {0x80 | op: op.name for op in Opcode}

    def tell(payload) -> str:
        return f"{names.get(payload[0], '?')}:{payload[1:].hex()}" if isinstance(payload, bytes) else str(payload)

    return f"admin [{', '.join(map(tell, outs[0]))}] peer [{', '.join(item.hex() for item in outs[1])}]"
