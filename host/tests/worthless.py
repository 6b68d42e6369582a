"""Frames that are worth nothing, on both ports of the compiled device, by the hundred thousand.

Most of them are compared by what they cost: a message of the peer is taken (the device has worked on it) and nothing
comes of it; a command gets exactly the reply of the model. Every `EVERY` frames, flash, STATUS and secrets are compared
as well (`Twin`), and the device is asked who it is. What makes the device measure its rings is compared one by one.
"""

import random
from collections.abc import Callable
from typing import ClassVar

from ringpair.virtual.native import Stop
from ringpair_hdl.control.isa import Phase
from ringpair_protocol import frames
from ringpair_protocol import messages as msg
from ringpair_protocol.admin import Opcode
from ringpair_protocol.device import LENGTHS_OF_BODY, Out
from ringpair_protocol.frames import MAX_PAYLOAD, FrameError

from host.tests.rig_device import Twin
from host.tests.rig_scenes import Far, establish, scene

EVERY = 100
"""Frames between two comparisons of everything."""
BYTE_CYCLES = 40
WORK_CYCLES = 800
"""More than a device needs for a frame that does not make it measure its rings; beside that, `BYTE_WORK` a byte."""
BYTE_WORK = 10
COSTLY = 0.01
"""Part of the messages that may make the device measure its rings."""


def in_session() -> tuple[Twin, Far]:
    twin, (far,) = scene()
    establish(twin, far)
    return twin, far


def enrolled() -> tuple[Twin, Far]:
    twin, (far,) = scene()
    return twin, far


def waiting_for_m2() -> tuple[Twin, Far]:
    twin, far = enrolled()
    twin.connect()
    return twin, far


def waiting_for_m3() -> tuple[Twin, Far]:
    twin, far = enrolled()
    assert len(twin.peer(far.start())) == 1
    return twin, far


def factory() -> tuple[Twin, Far]:
    return Twin(1), Far(b"somebody")


STATES: dict[str, tuple[Callable[[], tuple[Twin, Far]], int]] = {
    "session": (in_session, 2000),
    "enrolled": (enrolled, 1000),
    "waiting for M2": (waiting_for_m2, 200),
    "waiting for M3": (waiting_for_m3, 400),
    "factory": (factory, 1000),
}
"""How to get there, and how many frames are tried then: a wait must not end meanwhile."""


def genuine() -> list[bytes]:
    """Messages of every kind that once were worth something, to other runs than the one they will be sent to."""
    twin, far = enrolled()
    m1 = far.start()
    (m2,) = twin.peer(m1)
    (m3,) = far.receive(m2)
    twin.peer(m3)
    twin.command(Opcode.SEND, b"the door is open")
    data = twin.peer_out[0]
    twin.close()
    return [m1, m2, m3, bytes([msg.RESYNC]) + m3[1:], data]


def mutated(source: random.Random, message: bytes, limit: int = MAX_PAYLOAD) -> bytes:
    """A bit flipped, bytes cut off, put in, doubled or replaced; never the same, and right for a frame."""
    data = bytearray(message)
    for _ in range(source.choice((1, 1, 1, 2, 4))):
        place = source.randrange(len(data))
        match source.randrange(5):
            case 0:
                data[place] ^= 1 << source.randrange(8)
            case 1:
                data[place] = source.randrange(256)
            case 2:
                del data[place + 1 :]
            case 3:
                data[place:place] = source.randbytes(source.randint(1, 8))
            case 4:
                data += data[place:]
    data = data[:limit]
    if bytes(data) == message:
        data[-1] ^= 1
    return bytes(data)


def anything(source: random.Random) -> bytes:
    """Up to 125 bytes, mostly few: they are sent faster."""
    return source.randbytes(source.randint(0, source.choice((4, 4, 4, 16, MAX_PAYLOAD - 1))))


def rings_needed(message: bytes) -> bool:
    """The length of a handshake message with its header: the device must look who it is."""
    return msg.LENGTHS.get(message[0]) == len(message) and message[0] in (msg.M1, msg.M2, msg.RESYNC)


class Line:
    """Worthless frames on one port of a device in one state.

    Parameters
    ----------
    source
        Of all choices.
    state
        One of `STATES`.
    recorded
        What `genuine` gives.

    Attributes
    ----------
    states
        By name, how many frames are tried in each.
    """

    states: ClassVar[dict[str, int]] = {state: count for state, (_, count) in STATES.items()}

    def __init__(self, source: random.Random, state: str, recorded: list[bytes]):
        self.source, self.state, self.recorded = source, state, recorded
        self.twin, _ = STATES[state][0]()

    def one(self) -> int:
        """Send one; how many it was, 0 or 1."""
        return self._damaged() if self.source.random() < 0.1 else self._whole()

    def settle(self) -> None:
        """Nothing has come of all that, and the device answers."""
        self.twin._run_device()
        self.twin._compare([])
        assert self.twin.command(Opcode.IDENTITY) == self.twin.model.identity.to_bytes()

    def finish(self) -> int:
        """After the last one; how many more were sent."""
        self.settle()
        return 0

    def _damaged(self) -> int:
        """A frame that the line has damaged; none if it ends up whole or as two."""
        data = bytearray(frames.encode(mutated(self.source, self.source.choice(self.recorded))))
        data[self.source.randrange(len(data))] ^= 1 << self.source.randrange(8)
        found = frames.Decoder().feed(bytes(data) + b"\0")
        if len(found) != 1 or not isinstance(found[0], FrameError):
            return 0
        self._take_damaged(bytes(data) + b"\0", found[0])
        return 1

    def _whole(self) -> int:
        raise NotImplementedError

    def _take_damaged(self, data: bytes, error: FrameError) -> None:
        raise NotImplementedError


class Peer(Line):
    """On the peer port: the device is silent."""

    def _whole(self) -> int:
        source = self.source
        if source.random() < 0.5:
            message = mutated(source, source.choice(self.recorded))
        else:
            message = bytes([source.randrange(256)]) + anything(source)
        if rings_needed(message) and self.state != "factory":
            if source.random() > COSTLY:
                return 0
            assert self.twin.peer(message) == []
            return 1
        status = self.twin.device.status
        taken = status.phase_entries[Phase.ADMIN]
        self._send(frames.encode(message))
        assert status.phase_entries[Phase.ADMIN] > taken, f"{message.hex()} was not even looked at"
        assert self.twin.model.peer(message) == []
        return 1

    def _take_damaged(self, data: bytes, error: FrameError) -> None:
        self._send(data)

    def _send(self, data: bytes) -> None:
        self.twin.device.write(data, peer=True)
        self.twin.device.run(len(data) * (BYTE_CYCLES + BYTE_WORK) + WORK_CYCLES)


class Admin(Line):
    """On the admin port: any opcode with any body, but for those few that are good commands."""

    def _whole(self) -> int:
        source = self.source
        opcode = source.choice((*Opcode, source.randrange(256)))
        if source.random() < 0.4 and opcode in LENGTHS_OF_BODY:
            body = source.randbytes(source.choice(sorted(LENGTHS_OF_BODY[Opcode(opcode)])))
        else:
            body = anything(source)
        right = opcode in LENGTHS_OF_BODY and len(body) in LENGTHS_OF_BODY[Opcode(opcode)]
        if self.state != "factory" and right:
            if opcode in (Opcode.DISCONNECT, Opcode.CONNECT, Opcode.SEND):
                return 0
            if opcode in (Opcode.PEER, Opcode.IMPORT) or (opcode == Opcode.PEER_IN and rings_needed(body)):
                if source.random() > COSTLY:
                    return 0
                self.twin.admin(bytes([opcode]) + body)
                return 1
        self._exchange(frames.encode(bytes([opcode]) + body), self.twin.model.admin(bytes([opcode]) + body))
        return 1

    def _take_damaged(self, data: bytes, error: FrameError) -> None:
        self._exchange(data, self.twin.model.admin_damaged(error.kind))

    def _exchange(self, data: bytes, expected: list[Out]) -> None:
        """The answer, byte for byte."""
        wanted = b"".join(frames.encode(out.payload) for out in expected)
        device = self.twin.device
        device.write(data)
        stop = device.run(100 * WORK_CYCLES, admin=len(wanted))
        answer = device.read()
        assert (stop, answer) == (Stop.BYTES, wanted), f"{data.hex()}: expected {wanted.hex()}, got {answer.hex()}"


PORTS: dict[str, type[Line]] = {"peer": Peer, "admin": Admin}
