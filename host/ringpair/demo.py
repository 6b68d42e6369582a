"""The demonstration: two virtual boards, from blank flash to encrypted text, and what an attacker gets out of it.

Nothing here is staged: the boards are the compiled gateware in processes of their own, the driver is the one for real
boards, and each line is printed from what came back. The figures at the end are counted by the boards.
"""

import json
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ringpair_protocol import frames
from ringpair_protocol.admin import Code, DeviceStateCode
from ringpair_protocol.messages import DATA, DATA_HEADER, M1, M3
from ringpair_protocol.records import STORED_PER_PEER

from .board import Board
from .delivery import DELIVERED, deliver
from .errors import ConnectFailed, Refused
from .events import Closed, SessionUp, Text
from .registry import Registry, Secrecy
from .virtual import Control, Design, VirtualBoard, build

Tell = Callable[[int, str], None]
"""Told of every step: its number, and what happened."""

HELLO, ANSWER = "the door is open", "thank you, closing it"
PHASE_PUF, PHASE_INITIATOR, PHASE_RESPONDER = 1, 2, 3
WAIT_S = 60.0


class DemoFailed(AssertionError):
    """Something that was promised did not happen."""


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
    replay_ignored: bool = False
    recovered_after_cut: bool = False
    search_tries: int = 0
    device_cycles: dict[str, int] = field(default_factory=dict)
    clock_hz: int = 0
    cells: str = "see docs/resources.md"
    seconds: float = 0.0

    @property
    def held(self) -> bool:
        """Everything that was promised is so."""
        promised = ("session_ids_equal", "text_delivered", "reconnected_after_power_cycle", "clone_refused")
        promised += ("replay_ignored", "recovered_after_cut")
        return all(getattr(self, name) for name in promised) and not self.eavesdropper_saw_text


class Side:
    """One board of the demonstration, with its host."""

    def __init__(self, name: str, peer: str, seed: int, base: Path, library: Path, tap: Path | None = None):
        self.name = name
        self.virtual = VirtualBoard(
            name, library, base=base, peer=peer, silicon={"seed": seed}, tap=str(tap) if tap else None
        )
        self._board: Board | None = None

    @property
    def board(self) -> Board:
        """The driver, connected when first asked for."""
        if self._board is None:
            self._board = Board.open(self.virtual.port)
        return self._board

    @property
    def control(self) -> Control:
        return self.virtual.control

    def on(self) -> "Side":
        self.virtual.start()
        return self

    def off(self, *, pull_the_plug: bool = False) -> None:
        if self._board is not None:
            self._board.close()
            self._board = None
        if pull_the_plug:
            self.virtual.kill()
        else:
            self.virtual.stop()

    def wait_for(self, kind: type, limit: float = WAIT_S) -> Any:
        event = self.board.next_event(limit, kind)
        expect(event is not None, f"{self.name} should have reported {kind.__name__} within {limit:g} s")
        return event

    def counters(self) -> dict[str, Any]:
        return self.control.status()


def expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise DemoFailed(otherwise)


class Wire:
    """What an eavesdropper on the peer wires records: the tap of one board, read as frames."""

    def __init__(self, path: Path):
        self._path = path

    def bytes(self) -> list[tuple[str, int]]:
        """Direction and value of every byte so far."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        return [(entry["direction"], entry["byte"]) for entry in map(json.loads, lines)]

    def messages(self, since: int = 0) -> list[tuple[str, bytes]]:
        """Direction and content of every message, in order of its last byte."""
        decoders = {"in": frames.Decoder(), "out": frames.Decoder()}
        found = []
        for direction, value in self.bytes()[since:]:
            found += [(direction, item) for item in decoders[direction].feed(bytes([value])) if isinstance(item, bytes)]
        return found


class Demo:
    """All steps in order; each fills in what it found."""

    def __init__(self, folder: Path, library: Path, tell: Tell):
        self.folder, self.library, self.tell = folder, library, tell
        self.findings = Findings()
        self.wire = Wire(folder / "wire.jsonl")
        self.alice = Side("alice", "bob", 1, folder, library, folder / "wire.jsonl")
        self.bob = Side("bob", "alice", 2, folder, library)
        self.registry = Registry(folder / "registry.sqlite", Secrecy(passphrase=secrets.token_urlsafe(16)))

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.alice, self.bob

    def run(self) -> Findings:
        start = time.monotonic()
        with ExitStack() as stack:
            stack.enter_context(self.registry)
            for side in self.sides:
                stack.callback(side.off)
            for step in (
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
            ):
                step()
        self.findings.seconds = round(time.monotonic() - start, 1)
        return self.findings

    # ------------------------------------------------------------------ the steps
    def start(self) -> None:
        for side in self.sides:
            side.on()
            identity = side.board.identity
            expect(identity.simulated, "a virtual board must say that it is simulated")
            self.tell(
                1,
                f"{side.name} runs on {side.virtual.port}: gateware {identity.gateware.hex()}, "
                f"{side.board.status().state.name.lower()} state, {identity.clock_mhz} MHz, simulated silicon",
            )

    def enroll(self) -> None:
        for side in self.sides:
            with suppress(Refused):
                side.board.enroll_begin()
                raise DemoFailed(f"{side.name} enrolled without its button held")
            side.control.press()
            side.control.wait(lambda status: status["button"])
            while not side.board.status().button:  # debounced by the device
                time.sleep(0.01)
            enrollment = side.board.enroll_begin()
            device = self.registry.add(enrollment.entry, side.name, side.board.identity)
            side.board.enroll_confirm(enrollment)
            self.registry.confirm(device.id)
            side.control.request("release")
            expect(side.board.status().state == DeviceStateCode.ENROLLED, f"{side.name} is not enrolled")
            self.tell(2, f"{side.name} enrolled, its button held: id {device.id}; its key exists in its rings only")

    def pair(self) -> None:
        for side in self.sides:
            side.off()
        for message in self.registry.pair("alice", "bob"):
            self.tell(3, f"both boards are off; puzzle for {message.recipient.name}: {len(message.body)} public bytes")

    def import_puzzles(self) -> None:
        for side in self.sides:
            side.on()
            done = deliver(side.board, self.registry)
            expect([item.outcome for item in done] == [DELIVERED], f"{side.name} did not take its puzzle")
            peer = side.board.peers()[0]
            self.tell(4, f"{side.name} imported its puzzle: pairing {peer.number} with {peer.peer_id.hex()}")
        self.findings.stored_bytes_per_peer = stored_per_peer(self.alice.virtual.flash_path)

    def connect(self) -> None:
        before = {side: side.counters() for side in self.sides}
        mark = len(self.wire.bytes())
        up, other = self._connect()
        self.findings.session_ids_equal = up.session_id == other.session_id
        messages = [message for _, message in self._wait_messages(mark, 3)]
        expect([message[0] for message in messages] == list(range(M1, M3 + 1)), "M1, M2, M3 expected on the wire")
        found = self.findings
        found.handshake_messages, found.handshake_bytes = len(messages), sum(map(len, messages))
        after = {side: side.counters() for side in self.sides}

        def spent(side: Side, phase: int) -> int:
            return int(after[side]["phase_cycles"][phase] - before[side]["phase_cycles"][phase])

        def entered(side: Side, phase: int) -> int:
            return int(after[side]["phase_entries"][phase] - before[side]["phase_entries"][phase])

        found.clock_hz = int(after[self.alice]["clock_hz"])
        found.search_tries = self.alice.board.status().tries
        found.device_cycles = {
            "puf_key": spent(self.bob, PHASE_PUF) // max(1, entered(self.bob, PHASE_PUF)),
            "handshake_initiator": spent(self.alice, PHASE_INITIATOR),
            "handshake_responder": spent(self.bob, PHASE_RESPONDER),
        }
        self.tell(
            5,
            f"handshake over the peer wires: {' + '.join(str(len(m)) for m in messages)} = {found.handshake_bytes} "
            f"bytes, epoch {up.epoch} used up, session {up.session_id.hex()} = {other.session_id.hex()}",
        )

    def talk(self) -> None:
        mark = len(self.wire.bytes())
        self.alice.board.send(HELLO)
        heard = self.bob.wait_for(Text).text.decode()
        self.bob.board.send(ANSWER)
        answered = self.alice.wait_for(Text).text.decode()
        self.findings.text_delivered = (heard, answered) == (HELLO, ANSWER)
        self.tell(6, f"alice says {HELLO!r}, bob hears {heard!r}; bob says {ANSWER!r}, alice hears {answered!r}")
        seen = [message for _, message in self._wait_messages(mark, 2)]
        line = b"".join(message for _, message in self.wire.messages())
        self.findings.eavesdropper_saw_text = HELLO.encode() in line or ANSWER.encode() in line
        for message in seen:
            expect(message[0] == DATA, "only data messages should be on the wire now")
            text = message[DATA_HEADER:]
            self.tell(
                6, f"the eavesdropper sees  {message[:DATA_HEADER].hex()} {text[:16].hex()}… ({len(message)} bytes)"
            )

    def power_cycle(self) -> None:
        for side in self.sides:
            side.off(pull_the_plug=True)
        for side in self.sides:
            side.on()
        self.recorded = len(self.wire.bytes())
        up, other = self._connect()
        self.findings.reconnected_after_power_cycle = up.session_id == other.session_id
        self.tell(7, f"both unplugged and back: epoch {up.epoch} used up, session {up.session_id.hex()} on both sides")

    def clone(self) -> None:
        """An exact copy of A's flash, on other silicon."""
        copy = Side("mallory", "nobody", 3, self.folder, self.library)
        copy.virtual.folder.path.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.alice.virtual.flash_path, copy.virtual.flash_path)
        image = copy.virtual.flash_path.read_bytes()
        copy.on()
        try:
            copy.board.connect(0)
        except Refused as refusal:
            unchanged = copy.virtual.flash_path.read_bytes() == image
            self.findings.clone_refused = refusal.code == Code.PUF_FAILED and unchanged
            self.tell(
                8,
                f"a board with alice's flash but other silicon: {refusal.code.name} after "
                f"{copy.board.status().tries} tries; its flash is unchanged",
            )
        finally:
            copy.off()

    def replay(self) -> None:
        """Everything that bob ever received, once more."""
        before, flash = self.bob.board.status(), self.bob.virtual.flash_path.read_bytes()
        recorded = [message for direction, message in self.wire.messages() if direction == "out"]
        for message in recorded:
            self.bob.control.request("inject", hex=frames.encode(message).hex())
            time.sleep(0.05)
        time.sleep(0.3)
        heard = [self.bob.board.next_event(0.05, kind) for kind in (Text, SessionUp, Closed)]
        after = self.bob.board.status()
        quiet = heard == [None, None, None] and self.bob.virtual.flash_path.read_bytes() == flash
        alive = before.session and after.session
        self.alice.board.send(HELLO)
        self.findings.replay_ignored = quiet and alive and self.bob.wait_for(Text).text.decode() == HELLO
        self.tell(
            9, f"{len(recorded)} recorded messages replayed to bob: nothing heard, nothing written, session alive"
        )

    def cut(self) -> None:
        """B loses power while it programs its next slot; the pair finds together again by itself."""
        self.bob.control.request("cut", program=1, fraction=0.5)
        outcome: list[Any] = []

        def connect() -> None:
            try:
                outcome.append(self.alice.board.connect(0, timeout=WAIT_S))
            except (ConnectFailed, Refused) as problem:
                outcome.append(problem)

        waiting = threading.Thread(target=connect)
        waiting.start()
        self.bob.control.wait(lambda status: not status["powered"], WAIT_S)
        self.tell(10, "bob's power was cut in the middle of programming a flash page, its commit half done")
        self.bob.control.request("power", on=True)
        waiting.join()
        up = outcome[0]
        if not isinstance(up, SessionUp):
            up = self.alice.board.connect(0)
        other = self.bob.wait_for(SessionUp)
        while other.session_id != up.session_id:
            other = self.bob.wait_for(SessionUp)
        self.alice.board.send(HELLO)
        self.findings.recovered_after_cut = self.bob.wait_for(Text).text.decode() == HELLO
        self.tell(
            10, f"bob boots, alice tries again by herself: epoch {up.epoch} used up, session {up.session_id.hex()}"
        )

    # ------------------------------------------------------------------ parts
    def _connect(self) -> tuple[SessionUp, SessionUp]:
        up = self.alice.board.connect(self.alice.board.peers()[0].number)
        return up, self.bob.wait_for(SessionUp)

    def _wait_messages(self, since: int, count: int) -> list[tuple[str, bytes]]:
        deadline = time.monotonic() + WAIT_S
        while len(messages := self.wire.messages(since)) < count:
            expect(time.monotonic() < deadline, f"{count} messages expected on the wire, {len(messages)} seen")
            time.sleep(0.02)
        return messages


def stored_per_peer(flash: Path) -> int:
    """Bytes of a pairing in a real flash image: header and both slots, counted from the layout and found there."""
    from ringpair_protocol.records import HEADER_LENGTH, PEER_SLOT_LENGTH, peer_journal, slot_offset

    with open(flash, "rb") as image:
        image.seek(peer_journal(0))
        sector = image.read(4096)
    used = len(sector.rstrip(b"\xff"))
    expect(used == slot_offset(0) + PEER_SLOT_LENGTH, f"one header and one slot expected in flash, {used} bytes found")
    expect(HEADER_LENGTH + 2 * PEER_SLOT_LENGTH == STORED_PER_PEER, "the layout changed")
    return STORED_PER_PEER


def run_demo(folder: Path, tell: Tell, progress: Callable[[str], None]) -> Findings:
    """Run everything in ``folder``.

    Raises
    ------
    DemoFailed
        A promise was not kept; the message says which.
    """
    return Demo(folder, build(Design(), progress), tell).run()


def figures(findings: Findings) -> list[tuple[str, str]]:
    """The table at the end."""

    def cycles(name: str) -> str:
        count = findings.device_cycles[name]
        return f"{count} cycles = {1000 * count / findings.clock_hz:.2f} ms"

    return [
        ("handshake", f"{findings.handshake_messages} messages, {findings.handshake_bytes} bytes"),
        ("stored per peer", f"{findings.stored_bytes_per_peer} bytes, none of them secret"),
        ("PUF key", f"{cycles('puf_key')}, {findings.search_tries} try of the search"),
        ("handshake, initiator", cycles("handshake_initiator")),
        ("handshake, responder", cycles("handshake_responder")),
        ("cells", findings.cells),
        ("time", f"{findings.seconds:g} s"),
    ]


def as_json(findings: Findings) -> dict[str, Any]:
    return asdict(findings) | {"held": findings.held}
