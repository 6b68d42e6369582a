"""Frames that are worth nothing, on the admin port of the compiled device that can be bound: a controller's messages.

As in `worthless.py`, most are compared by their answer alone, byte for byte. What has the form of a good message ends a
run, and comes last: something altered in the very message that would be good, or that message itself. The first must be
refused, the second taken, whatever came before.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from ringpair.controller import LibraryCurve
from ringpair_protocol import frames
from ringpair_protocol.admin import Code, Opcode, Pin
from ringpair_protocol.binding import PIN_TRIES
from ringpair_protocol.controller import BindingRun, OpeningRun
from ringpair_protocol.device import BINDING_LENGTHS
from ringpair_protocol.frames import MAX_PAYLOAD
from ringpair_protocol.messages import B1, B3, B3_FIRST, LENGTHS, S1, S3, SWITCH

from host.tests.rig_bound import DeviceBoard, bound_image
from host.tests.worthless import Admin, anything, mutated
from protocol.tests.rig_binding import open_session, service, unbind_text

CURVE = LibraryCurve()
FORMS = {B1: LENGTHS[B1], B3: B3_FIRST, S1: LENGTHS[S1], S3: LENGTHS[S3]}
"""Lengths of what ends a run, or goes on with one."""
PHONE, HUB = "phone", "hub"


def call(message: bytes) -> bytes:
    return bytes([Opcode.CONTROLLER_IN]) + message


def rest(sealed: bytes) -> bytes:
    return bytes([Opcode.CONTROLLER_REST]) + sealed


@dataclass
class Scene:
    """A device in some state; ``good`` are the commands that it may be sent now, ``expected`` what it says to them."""

    board: DeviceBoard
    good: list[bytes] = field(default_factory=list)
    expected: Code = Code.OK


def with_board(*names: str, tries: int = 0) -> DeviceBoard:
    return DeviceBoard(1, bound_image(1, names, tries))


def binding(board: DeviceBoard, curve_seed: random.Random) -> BindingRun:
    pin = board.pin(Pin.PRESET)
    return BindingRun(service(PHONE), board.id, pin, CURVE, curve_seed.randbytes(32), curve_seed.randbytes(8))


def unbound(dice: random.Random) -> Scene:
    board = with_board()
    return Scene(board, [call(binding(board, dice).b1())])


def bound(dice: random.Random) -> Scene:
    board = with_board(PHONE, HUB)
    opening = OpeningRun(service(PHONE), board.twin.key, CURVE, dice.randbytes(32))
    return Scene(board, [call(binding(board, dice).b1()), call(opening.s1())])


def asked(dice: random.Random) -> Scene:
    """B2 is out."""
    board = with_board(HUB)
    run = binding(board, dice)
    b3 = run.b3(board.answer(run.b1()))
    return Scene(board, [call(b3[:B3_FIRST])])


def confirmed(dice: random.Random) -> Scene:
    """And the beginning of B3 has come."""
    board = with_board(HUB)
    run = binding(board, dice)
    b3 = run.b3(board.answer(run.b1()))
    board.answer(b3[:B3_FIRST])
    return Scene(board, [rest(b3[B3_FIRST:])])


def opened(dice: random.Random) -> Scene:
    """S2 is out."""
    board = with_board(PHONE)
    opening = OpeningRun(service(PHONE), board.twin.key, CURVE, dice.randbytes(32))
    return Scene(board, [call(opening.s3(board.answer(opening.s1()))[0])])


def session(dice: random.Random) -> Scene:
    board = with_board(PHONE)
    talk = open_session(board, service(PHONE), board.twin.key)
    texts = (bytes([SWITCH, 1]), b"\0to the owner", unbind_text(service(PHONE)))
    return Scene(board, [call(talk.seal(text)[1]) for text in texts])


def locked(dice: random.Random) -> Scene:
    board = with_board(PHONE, tries=PIN_TRIES)
    return Scene(board, [call(binding(board, dice).b1())], Code.PIN_LOCKED)


def factory(dice: random.Random) -> Scene:
    board = with_board(PHONE)
    run = binding(board, dice)
    board.twin.press(10.3)
    return Scene(board, [call(run.b1())], Code.NOT_ENROLLED)


SCENES: dict[str, Callable[[random.Random], Scene]] = {
    "unbound": unbound,
    "bound": bound,
    "B2 is out": asked,
    "B3 has begun": confirmed,
    "S2 is out": opened,
    "session": session,
    "locked": locked,
    "factory": factory,
}
"""How to get there."""
FRAMES_OF_A_SCENE = 150


def recorded() -> list[bytes]:
    """Commands of every kind that once were good, to other runs than the one they will be sent to."""
    dice, found = random.Random(0), []
    for scene in SCENES.values():
        one = scene(dice)
        found += one.good
        one.board.twin.close()
    return found


def goes_on(payload: bytes) -> bool:
    """It has the form of what goes on with a run, or ends it; or it is no refusal that is cheap."""
    if payload[0] == Opcode.CONTROLLER_IN:
        return FORMS.get(payload[1]) == len(payload) - 1 if len(payload) > 1 else False
    return payload[0] in (Opcode.CONTROLLER_REST, Opcode.BINDINGS) and len(payload) - 1 in BINDING_LENGTHS[payload[0]]


class Calls(Admin):
    """On the admin port: a controller's commands with any body, or with one that was good in another run."""

    OPCODES: ClassVar = (*[Opcode.CONTROLLER_IN] * 6, *BINDING_LENGTHS)
    states: ClassVar = dict.fromkeys(SCENES, FRAMES_OF_A_SCENE)

    def __init__(self, source: random.Random, state: str, recorded: list[bytes]):
        self.source, self.state = source, state
        self.scene = SCENES[state](source)
        self.twin, self.recorded = self.scene.board.twin, [*recorded, *self.scene.good]

    def finish(self) -> int:
        """The good message, or it altered: taken or refused; and nothing else has come of all this."""
        self.settle()
        switch, bindings = self.twin.model.binder.switch, self.bindings()
        payload = self.source.choice(self.scene.good)
        if self.source.random() < 0.5:
            assert Code(self.twin.admin(payload)[0]) is self.scene.expected, f"{payload.hex()} is good"
            return 1
        header, altered = payload[1], payload[:1] + mutated(self.source, payload[1:], MAX_PAYLOAD - 1)
        code = Code(self.twin.admin(altered)[0])
        open_to_all = altered[0] == Opcode.CONTROLLER_IN and altered[1] in (B1, S1, B3) and goes_on(altered)
        assert code is not Code.OK or open_to_all, f"{altered.hex()} is taken, altered from {header:#04x}"
        assert self.twin.model.binder.switch == switch
        if not open_to_all or altered[1] != B1:
            left = self.bindings()
            assert left == bindings or altered[0] == Opcode.CONTROLLER_REST, "altered, and something comes of it"
            assert left[1:] == bindings[1:], "altered, and it binds"
        return 1

    def bindings(self) -> bytes:
        """The answer to BINDINGS, the tries first."""
        return self.twin.admin(bytes([Opcode.BINDINGS]))[1:]

    def _whole(self) -> int:
        payload = self._drawn()
        if self.state != "factory" and goes_on(payload):
            return 0
        expected = self.twin.model.admin(payload)
        assert expected[0].payload[1] != Code.OK, f"{payload.hex()} is good for something"
        self._exchange(frames.encode(payload), expected)
        return 1

    def _drawn(self) -> bytes:
        """Altered, with another body of the right length, or anything."""
        source = self.source
        way, opcode = source.random(), source.choice(self.OPCODES)
        if way < 0.6:
            payload = source.choice(self.recorded)
            return payload[:1] + mutated(source, payload[1:], MAX_PAYLOAD - 1)
        if way < 0.8:
            return bytes([opcode]) + source.randbytes(source.choice(sorted(BINDING_LENGTHS[opcode])))
        return bytes([opcode]) + anything(source)
