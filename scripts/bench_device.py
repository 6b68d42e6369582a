"""The device's figures, measured on the compiled gateware: device cycles are exact, speeds are those of this machine.

    python scripts/bench_device.py             # a table
    python scripts/bench_device.py --json      # for other programs
    python scripts/bench_device.py --quick     # without what depends on the machine: board speed, demo, cold build

Device cycles are at 12 MHz, counted by the harness that steps the gateware, apart for each phase that the device shows
on its ``phase`` port; a phase ends where the device waits for a line. The exit code is 1 if an exact figure misses its
target.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ringpair.demo import Demo
from ringpair.stage import stored_for_peers
from ringpair.virtual import Design, NoiseSource, Pair, Parameters, Silicon, SimulatedDevice, Stop, build
from ringpair.virtual.rings import Rings
from ringpair.virtual.silicon import rings_of
from ringpair_protocol import controller, frames
from ringpair_protocol.admin import REPLY, Carrier, Code, Event, Opcode, Pin, Status
from ringpair_protocol.controller import Service
from ringpair_protocol.messages import B3, B3_FIRST, DATA_OVERHEAD, HANDSHAKE_BYTES, M3, TEXT_MAX
from ringpair_protocol.pairing import DeviceEntry, finish_enrollment, make_puzzles, start_enrollment
from ringpair_protocol.records import STORED_PER_PEER

PUF, INITIATOR, RESPONDER, CHANNEL, FLASH = 1, 2, 3, 4, 8
"""Phases of the device, as on its port; from FLASH on those in which it waits for the flash."""
FAST_BAUD = 3_000_000
BITS_PER_BYTE = 10
KEYS, TEXTS, SPEED_RUNS = 20, 40, 5
MINUTE = 720_000_000
ROOT = Path(__file__).resolve().parent.parent
SIGNATURES, STATEMENT = 10, 135
"""Signatures to measure, of as many bytes as those of a session's S2 have."""


@dataclass(frozen=True)
class Figure:
    """One line of the table; ``most`` and ``least`` are targets."""

    name: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None
    exact: bool = True

    @property
    def met(self) -> bool:
        """The value is within its targets."""
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    @property
    def target(self) -> str:
        """For the table."""
        if self.most is not None and self.most == self.least:
            return f"= {self.most:g}"
        return f"<= {self.most:g}" if self.most is not None else f">= {self.least:g}" if self.least is not None else ""


class Host:
    """A host at the admin port of a device in this process; without other silicon, that of the model."""

    def __init__(
        self,
        library: Path,
        seed: int,
        flash: bytes | None = None,
        baud: int | None = None,
        silicon: Rings | None = None,
    ):
        lines = {} if baud is None else {"admin_baud": baud, "peer_baud": baud}
        parameters = Parameters(seed=seed, **lines)
        rings = silicon or rings_of(Silicon(seed=seed), parameters)
        self.device = SimulatedDevice(library, parameters, flash=flash, rings=rings, noise=NoiseSource())
        self.decoder = frames.Decoder()
        self.events: list[bytes] = []
        self.replies: list[bytes] = []
        self.device.settle()
        self.listen()

    def listen(self) -> None:
        """Sort what the device has said."""
        for item in self.decoder.feed(self.device.read()):
            if not isinstance(item, bytes):
                raise RuntimeError(f"the device sent a damaged frame: {item}")
            (self.events if item[0] >= Event.STARTED else self.replies).append(item)

    def say(self, opcode: Opcode, body: bytes = b"") -> None:
        """Send a command."""
        self.device.write(frames.encode(bytes([opcode]) + body))

    def ask(self, opcode: Opcode, body: bytes = b"") -> bytes:
        """The body of the reply, which must be OK; the device runs alone meanwhile."""
        self._await(opcode, body)
        return self.reply(opcode)

    def code(self, opcode: Opcode, body: bytes = b"") -> Code:
        """The code of the reply."""
        self._await(opcode, body)
        reply = self.replies.pop(0)
        if reply[0] != REPLY | opcode:
            raise RuntimeError(f"expected a reply to {opcode.name}, got {reply.hex()}")
        return Code(reply[1])

    def _await(self, opcode: Opcode, body: bytes) -> None:
        self.say(opcode, body)
        while not self.replies:
            if self.device.run(MINUTE, admin=1) is not Stop.BYTES:
                raise RuntimeError(f"no reply to {opcode.name} within a minute")
            self.listen()

    def reply(self, opcode: Opcode) -> bytes:
        """The body of the oldest reply."""
        reply = self.replies.pop(0)
        if reply[:2] != bytes([REPLY | opcode, Code.OK]):
            raise RuntimeError(f"expected OK to {opcode.name}, got {reply.hex()}")
        return reply[2:]

    def enroll(self) -> DeviceEntry:
        """Press the button and enroll."""
        self.device.press()
        while not Status.from_bytes(self.ask(Opcode.STATUS)).button:
            self.device.run(12_000)
        e1 = start_enrollment()
        entry, e3 = finish_enrollment(e1[1:], self.ask(Opcode.ENROLL, e1))
        self.ask(Opcode.ENROLL_CONFIRM, e3)
        self.device.release()
        self.device.settle()
        return entry

    def spent(self, phase: int, action: Callable[[], object]) -> int:
        """Cycles of a phase that an action takes."""
        before = self.device.status.phase_cycles[phase]
        action()
        return int(self.device.status.phase_cycles[phase] - before)


def paired(library: Path) -> tuple[Host, Host]:
    """Two devices that know each other."""
    hosts = Host(library, 1), Host(library, 2)
    entries = [host.enroll() for host in hosts]
    for host, puzzle in zip(hosts, make_puzzles(*entries)[:2], strict=True):
        host.ask(Opcode.IMPORT, puzzle)
        host.device.settle()
    return hosts


def connect(hosts: tuple[Host, Host]) -> list[bytes]:
    """Shake hands over the peer wires; the messages on them."""
    messages: list[bytes] = []
    decoders = frames.Decoder(), frames.Decoder()

    def wire(sender: int, data: bytes) -> bytes:
        messages.extend(item for item in decoders[sender].feed(data) if isinstance(item, bytes))
        return data

    hosts[0].ask(Opcode.CONNECT, bytes([0, Carrier.WIRE]))
    Pair(hosts[0].device, hosts[1].device, wire).run(MINUTE, until_quiet=True)
    for host in hosts:
        host.listen()
        if not any(event[0] == Event.SESSION for event in host.events):
            raise RuntimeError(f"no session; the device said {[event.hex() for event in host.events]}")
    return messages


def handshake(library: Path, images: list[bytes]) -> Iterator[Figure]:
    """Key and handshake; leaves the flash of both devices in ``images``."""
    hosts = paired(library)
    keys = [host.spent(PUF, lambda host=host: host.ask(Opcode.PEER, b"\0")) for host in hosts for _ in range(KEYS // 2)]
    yield Figure(f"key regeneration, slowest of {KEYS}", max(keys), "cycles", most=36_000)
    yield Figure("tries of the search", Status.from_bytes(hosts[0].ask(Opcode.STATUS)).tries, "", most=4096)
    for host in hosts:
        host.device.settle()
    before = [list(host.device.status.phase_cycles) for host in hosts]
    messages = connect(hosts)
    spent = [
        [now - then for now, then in zip(host.device.status.phase_cycles, old, strict=True)]
        for host, old in zip(hosts, before, strict=True)
    ]
    yield Figure("handshake computation, initiator", spent[0][INITIATOR], "cycles", most=6000)
    yield Figure("handshake computation, responder", spent[1][RESPONDER], "cycles", most=6000)
    if messages[-1][0] != M3:
        raise RuntimeError(f"expected M1, M2, M3 on the wire, got {[message.hex() for message in messages]}")
    on_wire = sum(map(len, messages))
    yield Figure("bytes of a handshake", on_wire, "bytes", most=HANDSHAKE_BYTES, least=HANDSHAKE_BYTES)
    stored = stored_for_peers(bytes(hosts[0].device.flash))
    yield Figure("bytes stored per peer", stored, "bytes", most=STORED_PER_PEER, least=STORED_PER_PEER)
    images += [bytes(host.device.flash) for host in hosts]


def channel(library: Path, images: list[bytes]) -> Iterator[Figure]:
    """Texts of 96 bytes in a row, both ports at 3 Mbaud; a byte on such a line takes 40 cycles."""
    hosts = tuple(Host(library, seed, image, FAST_BAUD) for seed, image in enumerate(images, 1))
    connect(hosts)
    line = hosts[0].device.parameters.divisor(FAST_BAUD) * BITS_PER_BYTE
    for window in (1, 2):  # commands under way: one, to see what each phase takes; two, to see what the line takes
        for host in hosts:
            host.events.clear()
            host.device.settle()
        before = [host.device.status.phase_cycles[CHANNEL] for host in hosts]
        arrivals = stream(hosts, window)
        spent = [host.device.status.phase_cycles[CHANNEL] - old for host, old in zip(hosts, before, strict=True)]
        if window == 1:
            for name, cycles in zip(("send", "receive"), spent, strict=True):
                yield Figure(f"data channel, {name}", round(cycles / TEXTS / TEXT_MAX, 2), "cycles/byte", most=line)
    frame = len(frames.encode(bytes(TEXT_MAX + DATA_OVERHEAD)))
    sustained = (arrivals[-1] - arrivals[0]) / (TEXTS - 1)
    yield Figure("3 Mbaud peer line in use, sustained", round(100 * frame * line / sustained, 1), "%", least=99)


def stream(hosts: tuple[Host, ...], window: int) -> list[int]:
    """Send all texts with so many commands under way; the cycle in which each text has arrived."""
    sender, receiver = hosts
    pair = Pair(sender.device, receiver.device, step=40)
    texts, arrivals = [bytes([number]) * TEXT_MAX for number in range(TEXTS)], []
    sent = answered = 0

    def news() -> bool:
        sender.listen()
        receiver.listen()
        return bool(sender.replies or receiver.events)

    while len(arrivals) < TEXTS:
        while sent < TEXTS and sent - answered < window:
            sender.say(Opcode.SEND, texts[sent])
            sent += 1
        if not pair.run(1_000_000, until=news):
            raise RuntimeError(f"{sent} texts sent, {answered} answered, {len(arrivals)} heard, then nothing more")
        while sender.replies:
            sender.reply(Opcode.SEND)
            answered += 1
        while receiver.events:
            if receiver.events.pop(0) != bytes([Event.TEXT]) + texts[len(arrivals)]:
                raise RuntimeError(f"text {len(arrivals)} came out wrong")
            arrivals.append(receiver.device.status.cycle)
    return arrivals


def controllers(library: Path) -> Iterator[Figure]:
    """A binding and a session on a device of the profile full, without the waiting for the line and for the flash."""
    host = Host(library, 1)
    device_id, service = host.enroll().device_id, Service.of(bytes(32))

    def answer(message: bytes) -> bytes:
        if message[0] != B3:
            return host.ask(Opcode.CONTROLLER_IN, message)
        host.ask(Opcode.CONTROLLER_IN, message[:B3_FIRST])
        return host.ask(Opcode.CONTROLLER_REST, message[B3_FIRST:])

    def computed() -> int:
        return int(sum(list(host.device.status.phase_cycles)[1:FLASH]))

    host.device.press()
    while not Status.from_bytes(host.ask(Opcode.STATUS)).button:
        host.device.run(12_000)
    pin = host.ask(Opcode.PIN, bytes([Pin.DYNAMIC]))
    host.device.release()
    host.device.settle()
    begun = computed()
    key = controller.bind(service, device_id, pin, answer)
    bound = computed()
    controller.open_session(service, key, answer)
    yield Figure("binding of a controller", bound - begun, "cycles", most=3_400_000)
    yield Figure("opening of a controller's session", computed() - bound, "cycles", most=3_200_000)


def curve_engine() -> Iterator[Figure]:
    """The curve engine alone: signatures with their operands, hashing and results; and its cells in the build that the
    documents show."""
    sys.path.insert(0, str(ROOT))
    from host.tests.curve_bench import Engine, Sequences

    engine, rng = Engine(), random.Random(1)
    does, rows = Sequences(engine), []
    for _ in range(SIGNATURES):
        seed, message = rng.randbytes(32), rng.randbytes(STATEMENT)
        does.x25519(rng.randbytes(32), rng.randbytes(32))
        public = does.public_key(seed)
        begun = engine.spent
        signature = does.sign(seed, public, message)
        signed = engine.spent
        if not does.verify(public, message, signature):
            raise RuntimeError("the engine refuses its own signature")
        rows.append((does.cycles, signed - begun, engine.spent - signed))
    engine.close()
    exchange, sign, verify = map(max, zip(*rows, strict=True))
    yield Figure("X25519", exchange, "cycles", most=650_000)
    yield Figure("signature (Ed25519)", sign, "cycles", most=750_000)
    yield Figure(f"verification, slowest of {SIGNATURES}", verify, "cycles", most=1_300_000)
    cells = json.loads((ROOT / "docs" / "resources.json").read_text())["full"]["blocks"]["device.curve"]
    yield Figure("curve engine with SHA-512, as built", cells, "cells", most=800)


def machine(library: Path) -> Iterator[Figure]:
    """What depends on this machine and on what else it does."""
    host = Host(library, 1)
    host.enroll()
    by_process, by_wall = [], []
    for _ in range(SPEED_RUNS):
        cycle, process, wall = host.device.status.cycle, time.process_time(), time.monotonic()
        for _ in range(KEYS):
            host.ask(Opcode.PEER, b"\0")
        cycles = (host.device.status.cycle - cycle) / 1e6
        by_process.append(cycles / (time.process_time() - process))
        by_wall.append(cycles / (time.monotonic() - wall))
    for name, values in (("processor", by_process), ("wall clock", by_wall)):
        speed = round(statistics.median(values), 2)
        yield Figure(f"virtual board, by {name} time", speed, "Mcycles/s", least=8, exact=False)
    with tempfile.TemporaryDirectory() as folder, Demo(Path(folder), library, lambda *_: None) as demo:
        findings = demo.run()
    if not findings.held:
        raise RuntimeError(f"the demonstration failed: {findings.failure or findings.broken}")
    yield Figure("demonstration", findings.seconds, "s", most=20, exact=False)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(RINGPAIR_CACHE=folder, ZIG_GLOBAL_CACHE_DIR=folder)
        start = time.monotonic()
        build(Design())
        seconds = round(time.monotonic() - start, 1)
    yield Figure("build of a virtual board, nothing cached", seconds, "s", most=120, exact=False)


def progress(step: str) -> None:
    """Of slow steps."""
    print(f"    {step} ...", file=sys.stderr, flush=True)


def main() -> int:
    """Measure, print; 1 if an exact figure misses its target."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--quick", action="store_true", help="only what is exact")
    arguments = parser.parse_args()
    images: list[bytes] = []
    library = build(Design(), progress)
    figures = list(handshake(library, images))
    fast = build(Design(arguments={"admin_baud": FAST_BAUD, "peer_baud": FAST_BAUD}), progress)
    figures += channel(fast, images)
    figures += curve_engine()
    figures += controllers(build(Design(arguments={"profile": "full"}), progress))
    if not arguments.quick:
        progress("measuring this machine")
        figures += machine(library)
    if arguments.json:
        print(json.dumps({"figures": [asdict(figure) | {"met": figure.met} for figure in figures]}))
    else:
        for figure in figures:
            verdict = "met" if figure.met else "MISSED" if figure.exact else "missed here"
            print(f"{figure.name:42} {figure.value:>10g} {figure.unit:12} {figure.target:10} {verdict}")
    return 0 if all(figure.met for figure in figures if figure.exact) else 1


if __name__ == "__main__":
    sys.exit(main())
