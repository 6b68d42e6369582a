"""The demonstration: two virtual boards, from blank flash to encrypted text, what an attacker gets, and a lock.

Nothing here is staged: the boards are the compiled gateware in processes of their own, the driver is the one for real
boards, and each line is printed from what came back. The figures at the end are counted by the boards.
"""

import secrets
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ringpair_protocol import frames
from ringpair_protocol.admin import Carrier, Code, DeviceStateCode, Opcode
from ringpair_protocol.messages import DATA, DATA_HEADER, DATA_OVERHEAD, HANDSHAKE_BYTES, M1, M3, RESYNC
from ringpair_protocol.pairing import DeviceEntry, make_reset
from ringpair_protocol.records import PEER_BASE, STORED_PER_PEER

from .delivery import DELIVERED, Delivery, deliver
from .demo_binding import LockDemo, LockFindings
from .errors import Refused, RingpairError
from .events import Closed, SessionUp, Text
from .registry import Registry, Secrecy
from .stage import POLL_S, WAIT_S, DemoFailed, Side, Wire, expect, readable, stored_for_peers, together
from .virtual.display import read_pins

Tell = Callable[[int, str], None]
"""Told of every step: its number, and what happened."""

HELLO, ANSWER = "the door is open", "thank you, closing it"
PHASE_PUF, PHASE_INITIATOR, PHASE_RESPONDER, FLASH_BIT = 1, 2, 3, 8


@dataclass
class Findings:
    """What the demonstration found; ``--json`` prints it."""

    handshake_bytes: int = 0
    handshake_messages: int = 0
    stored_bytes_per_peer: int = 0
    session_ids_equal: bool = False
    text_delivered: bool = False
    eavesdropper_saw_text: bool = True
    reconnected_after_power_cycle: bool = False
    clone_refused: bool = False
    clone_tries: int = 0
    replay_ignored: bool = False
    recovered_after_cut: bool = False
    lock: LockFindings = field(default_factory=LockFindings)
    search_tries: int = 0
    device_cycles: dict[str, int] = field(default_factory=dict)
    clock_hz: int = 0
    seconds: float = 0.0
    failure: str | None = None

    @property
    def broken(self) -> list[str]:
        """What was promised and is not so."""
        promises = {
            "handshake_bytes": self.handshake_bytes == HANDSHAKE_BYTES,
            "stored_bytes_per_peer": self.stored_bytes_per_peer == STORED_PER_PEER,
            "session_ids_equal": self.session_ids_equal,
            "text_delivered": self.text_delivered,
            "eavesdropper_saw_text": not self.eavesdropper_saw_text,
            "reconnected_after_power_cycle": self.reconnected_after_power_cycle,
            "clone_refused": self.clone_refused,
            "replay_ignored": self.replay_ignored,
            "recovered_after_cut": self.recovered_after_cut,
        }
        return [name for name, kept in promises.items() if not kept] + [f"lock.{name}" for name in self.lock.broken]

    @property
    def held(self) -> bool:
        """Everything that was promised is so."""
        return self.failure is None and not self.broken

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self) | {"held": self.held, "broken": self.broken}


class Lock(Side):
    """A board that a controller binds."""

    entry: DeviceEntry

    def enroll(self) -> None:
        self.hold()
        self.entry = self.board.enroll()
        self.release()

    def factory_reset(self) -> None:
        """By the registry's message; the button would take ten seconds."""
        self.board.import_puzzle(make_reset(self.entry))

    def read_display(self) -> str:
        changes: list[tuple[int, int]] = []
        deadline = time.monotonic() + WAIT_S
        while not (pins := read_pins(changes, self.control.status()["clock_hz"])):
            expect(time.monotonic() < deadline, f"{self.name} shows no PIN")
            time.sleep(POLL_S)
            events = self.control.request("events")["events"]
            changes += [(cycle, seen) for cycle, kind, seen in events if kind == "display"]
        return pins[-1]

    def cycles(self) -> int:
        return sum(self.settle()["phase_cycles"][PHASE_PUF:FLASH_BIT])


class Demo:
    """All steps in order; each fills in what it found.

    Parameters
    ----------
    folder
        Empty; where flash images, registry and the recording of the wires lie.
    library
        The compiled gateware.
    full
        The one that controllers can bind.
    tell
        Told of what happens.
    """

    def __init__(self, folder: Path, library: Path, full: Path, tell: Tell):
        self.folder, self.library, self.full, self.tell = folder, library, full, tell
        self.findings = Findings()
        tap = folder / "wire.jsonl"
        self.wire = Wire(tap)
        self.alice = Side("alice", "bob", 1, folder, library, tap)
        self.bob = Side("bob", "alice", 2, folder, library)
        self.sides = (self.alice, self.bob)
        self.registry = Registry(folder / "registry.sqlite", Secrecy(secrets.token_urlsafe(16)))
        self.steps = (
            self.start,
            self.enroll,
            self.pair,
            self.import_puzzles,
            self.connect,
            self.talk,
            self.power_cycle,
            self.clone,
            self.replay,
            self.cut,
            self.lock,
        )

    def run(self) -> Findings:
        """Do everything; a step that fails ends it and is named in ``failure``."""
        start = time.monotonic()
        step: Callable[[], None] = self.start
        try:
            for step in self.steps:
                step()
        except (DemoFailed, RingpairError, TimeoutError) as problem:
            self.findings.failure = f"{step.__name__}: {problem}"
        self.findings.seconds = round(time.monotonic() - start, 1)
        return self.findings

    def __enter__(self) -> "Demo":
        return self

    def __exit__(self, *exception: object) -> None:
        with ExitStack() as stack:
            for closed in (self.alice.off, self.bob.off, self.registry.close):
                stack.callback(closed)

    # The steps

    def start(self) -> None:
        together(Side.on, self.sides)
        for side in self.sides:
            identity, status = side.board.identity, side.board.status()
            expect(status.state == DeviceStateCode.FACTORY, f"{side.name} should be blank, it is {status.state.name}")
            silicon = "simulated" if identity.simulated else "real"
            self.tell(
                1,
                f"{side.name} runs at {side.virtual.port}: blank, gateware {identity.gateware.hex()}, "
                f"{identity.clock_mhz} MHz, {silicon} silicon",
            )

    def enroll(self) -> None:
        self.registry.unlock()
        for side, device_id in zip(self.sides, together(self._enroll, self.sides), strict=True):
            self.tell(2, f"{side.name} enrolled, its button held: id {device_id}; its key is in its rings only")

    def _enroll(self, side: Side) -> str:
        try:
            side.board.enroll_begin()
            raise DemoFailed(f"{side.name} enrolled without its button held")
        except Refused as refusal:
            expect(refusal.code == Code.NEED_BUTTON, f"{side.name} should ask for its button, not: {refusal}")
        side.hold()
        enrollment = side.board.enroll_begin()
        side.release()
        device = self.registry.add(enrollment.entry, side.name, side.board.identity)
        side.board.enroll_confirm(enrollment)
        self.registry.confirm(device.id)
        status = side.board.status()
        expect(status.state == DeviceStateCode.ENROLLED, f"{side.name} should be enrolled: {status.state.name}")
        return status.device_id.hex()

    def pair(self) -> None:
        for side in self.sides:
            side.off()
            expect(not side.virtual.running, f"{side.name} should be off")
        for message in self.registry.pair("alice", "bob"):
            self.tell(3, f"both boards are off; puzzle for {message.recipient.name}: {len(message.body)} public bytes")

    def import_puzzles(self) -> None:
        together(Side.on, self.sides)
        for side, done in zip(self.sides, together(self._deliver, self.sides), strict=True):
            expect([item.outcome for item in done] == [DELIVERED], f"{side.name} did not take its puzzle")
            peer = side.board.peer(done[0].peer or 0)
            self.tell(4, f"{side.name} imported its puzzle: pairing {peer.number} with {peer.peer_id.hex()}")

    def _deliver(self, side: Side) -> list[Delivery]:
        return deliver(side.board, self.registry)

    def connect(self) -> None:
        before = [side.settle() for side in self.sides]
        up, other = self._connect()
        found, messages = self.findings, self._wait_messages(0, 3)
        expect([message[0] for message in messages] == list(range(M1, M3 + 1)), "M1, M2, M3 expected on the wire")
        found.session_ids_equal = up.session_id == other.session_id
        found.handshake_messages, found.handshake_bytes = len(messages), sum(map(len, messages))
        found.stored_bytes_per_peer = stored_for_peers(self.alice.flash)
        found.search_tries = self.alice.board.status().tries
        after = [side.settle() for side in self.sides]
        found.clock_hz = after[0]["clock_hz"]

        def spent(side: int, phase: int, of: str = "cycles") -> int:
            return int(after[side][f"phase_{of}"][phase] - before[side][f"phase_{of}"][phase])

        expect(spent(1, PHASE_PUF, "entries") > 0, "bob should have made his key for the handshake")
        found.device_cycles = {
            "puf_key": spent(1, PHASE_PUF) // spent(1, PHASE_PUF, "entries"),
            "handshake_initiator": spent(0, PHASE_INITIATOR),
            "handshake_responder": spent(1, PHASE_RESPONDER),
        }
        lengths = " + ".join(str(len(message)) for message in messages)
        self.tell(
            5,
            f"handshake on the peer wires: {lengths} = {found.handshake_bytes} bytes, epoch {up.epoch} used up, "
            f"alice's session is {up.session_id.hex()}, bob's {other.session_id.hex()}",
        )

    def talk(self) -> None:
        mark = len(self.wire.messages())
        heard, answered = self._say(self.alice, self.bob, HELLO), self._say(self.bob, self.alice, ANSWER)
        self.findings.text_delivered = (heard, answered) == (HELLO, ANSWER)
        self.tell(6, f"alice says {HELLO!r}, bob hears {heard!r}; bob says {ANSWER!r}, alice hears {answered!r}")
        seen = self._wait_messages(mark, 2)
        for message, text in zip(seen, (HELLO, ANSWER), strict=True):
            expect(message[0] == DATA and len(message) == DATA_OVERHEAD + len(text), "a data message expected per text")
            head, body = message[:DATA_HEADER], message[DATA_HEADER:]
            self.tell(6, f"the eavesdropper sees {head.hex()} {body[:16].hex()}... ({len(message)} bytes)")
        recording = b"".join(message for _, message in self.wire.messages())
        self.findings.eavesdropper_saw_text = any(readable(text, recording) for text in (HELLO, ANSWER))

    def power_cycle(self) -> None:
        before = [side.virtual.addresses["pid"] for side in self.sides]
        for side in self.sides:
            side.off()
        together(Side.on, self.sides)
        expect(
            all(side.virtual.addresses["pid"] != pid for side, pid in zip(self.sides, before, strict=True)),
            "both boards should have been unplugged",
        )
        up, other = self._connect()
        heard = self._say(self.alice, self.bob, HELLO)
        self.findings.reconnected_after_power_cycle = up.session_id == other.session_id and heard == HELLO
        self.tell(
            7, f"both unplugged and back: epoch {up.epoch} used up, session {up.session_id.hex()}, bob hears {heard!r}"
        )

    def clone(self, seed: int = 3) -> None:
        """An exact copy of alice's flash on other silicon."""
        copy = Side("mallory", None, seed, self.folder, self.library)
        copy.virtual.folder.path.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.alice.virtual.flash_path, copy.virtual.flash_path)
        image, answer = copy.flash, Code.OK
        try:
            copy.on()
            try:
                copy.board.command(Opcode.CONNECT, [0, Carrier.WIRE])
            except Refused as refusal:
                answer = refusal.code
            tries = copy.board.status().tries
            unchanged = copy.flash == image
        finally:
            copy.off()
        self.findings.clone_tries = tries
        self.findings.clone_refused = answer == Code.PUF_FAILED and unchanged
        left = "unchanged" if unchanged else "changed"
        self.tell(8, f"alice's flash on other silicon: {answer.name} after {tries} tries of the search, flash {left}")

    def replay(self) -> None:
        """Everything that bob ever got from alice, once more."""
        recorded = self.wire.messages()
        from_alice = [message for direction, message in recorded if direction == "out"]
        flash, before = self.bob.flash, self.bob.board.status()
        for message in from_alice:
            self.bob.control.request("inject", hex=frames.encode(message).hex())
            self.bob.settle()
        after = self.bob.board.status()  # in order: whatever bob had to say before has arrived
        heard = self.bob.board.next_event(0, Text, SessionUp, Closed)
        self.alice.settle()
        answers = [message[0] for _, message in self.wire.messages()[len(recorded) :]]
        written = self.bob.flash != flash
        alive = before.session and after.session and self._say(self.alice, self.bob, HELLO) == HELLO
        harmless = heard is None and not written and set(answers) <= {RESYNC}
        self.findings.replay_ignored = bool(from_alice) and harmless and alive
        self.tell(
            9,
            f"{len(from_alice)} recorded messages sent to bob again: he reports {heard or 'nothing'}, writes "
            f"{'something' if written else 'nothing'}, says 'you are behind' to {len(answers)}; the session "
            f"{'lives' if alive else 'is gone'}",
        )

    def cut(self) -> None:
        """Bob loses power while he programs his next slot; the pair finds together again by itself."""
        flash = self.bob.flash
        self.bob.control.request("cut", program=1, fraction=0.5)
        with ThreadPoolExecutor(1) as pool:
            attempt = pool.submit(self.alice.board.connect, self.number)
            try:
                self.bob.control.wait(lambda status: not status["powered"], WAIT_S)
                torn = sum(old != new for old, new in zip(flash[PEER_BASE:], self.bob.flash[PEER_BASE:], strict=True))
                expect(torn > 0, "bob should have begun to write")
                self.tell(10, f"bob's power was cut in the middle of a commit: {torn} bytes of a slot are half written")
                self.bob.control.request("power", on=True)
                up = attempt.result()
            except BaseException:
                self.alice.off()  # ends the attempt
                raise
        other = self.bob.wait_for(SessionUp)
        while other.session_id != up.session_id:
            other = self.bob.wait_for(SessionUp)
        heard = self._say(self.alice, self.bob, HELLO)
        self.findings.recovered_after_cut = heard == HELLO
        self.tell(
            10,
            f"bob boots and alice tries again by herself: epoch {up.epoch} used up, session {up.session_id.hex()} on "
            f"both sides, bob hears {heard!r}",
        )

    def lock(self) -> None:
        """A third board, and a controller."""
        lock = Lock("lock", None, 4, self.folder, self.full)
        try:
            lock.on()
            lock.enroll()
            self.findings.lock = LockDemo(lock, lambda text: self.tell(11, text)).run()
        finally:
            lock.off()

    # Parts

    @property
    def number(self) -> int:
        """Place of bob in alice's table: her only pairing."""
        return 0

    def _connect(self) -> tuple[SessionUp, SessionUp]:
        return self.alice.board.connect(self.number), self.bob.wait_for(SessionUp)

    def _say(self, speaker: Side, listener: Side, text: str) -> str:
        """What the listener hears."""
        speaker.board.send(text)
        return listener.wait_for(Text).text.decode(errors="replace")

    def _wait_messages(self, since: int, count: int) -> list[bytes]:
        """Messages on the wire from number ``since`` on, once there are so many."""
        deadline = time.monotonic() + WAIT_S
        while len(messages := self.wire.messages()) < since + count:
            expect(time.monotonic() < deadline, f"expected {count} messages on the wire, {len(messages) - since} seen")
            time.sleep(POLL_S)
        return [message for _, message in messages[since:]]


def figures(findings: Findings) -> list[tuple[str, str]]:
    """The table at the end."""

    def cycles(name: str) -> str:
        return counted(findings.device_cycles[name])

    def counted(count: int) -> str:
        return f"{count} cycles = {1000 * count / findings.clock_hz:.2f} ms"

    return [
        ("handshake", f"{findings.handshake_messages} messages, {findings.handshake_bytes} bytes"),
        ("stored per peer", f"{findings.stored_bytes_per_peer} bytes, none of them secret"),
        ("PUF key", f"{cycles('puf_key')}, tries of the search: {findings.search_tries}"),
        ("handshake, initiator", cycles("handshake_initiator")),
        ("handshake, responder", cycles("handshake_responder")),
        ("binding by PIN", f"{findings.lock.binding_bytes} bytes, {counted(findings.lock.binding_cycles)}"),
        ("session of a controller", f"{findings.lock.opening_bytes} bytes, {counted(findings.lock.opening_cycles)}"),
        ("time", f"{findings.seconds:g} s"),
    ]
