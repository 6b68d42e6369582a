"""That the program never waits for what does not come: a rule for each port that can keep the sequencer waiting.

The sequencer goes on whenever its port is ready (`formal/test_control.py`), and every port gets ready in time for who
asks for no more than it has or wants. So these rules follow what each port has and wants: the flash while it is
selected, a received frame its payload, a frame to be sent up to its longest, the sponge what its phase absorbs or
gives, engines the bytes of their command. The ports ZERO and FRAME are always ready. Noise comes, or an alarm ends the
move. What waits in a loop of the program is told by `formal/shape.py`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ringpair_hdl.control import isa
from ringpair_hdl.control.decoder import Instruction
from ringpair_hdl.control.isa import Base, Condition, Direction, Move, Op, Operand, Port, Strobe
from ringpair_hdl.curve.commands import Command as CurveCommand
from ringpair_hdl.curve.commands import OnElement
from ringpair_hdl.curve.common import ELEMENT_BYTES
from ringpair_hdl.pin_display import PinCommand
from ringpair_hdl.program import Memory
from ringpair_hdl.program.controllers import FIRST_PLACE, PLACES_END
from ringpair_hdl.puf.engine import Command as PufCommand
from ringpair_hdl.store.shelf import UNIT, UNITS
from ringpair_protocol import messages as msg
from ringpair_protocol.binding import PIN_DIGITS
from ringpair_protocol.frames import MAX_PAYLOAD, ErrorKind
from ringpair_protocol.puf import BITS_BYTES, HELPER_BYTES

from formal.rules import TRUTH, DeviceRule
from formal.states import ANY, TO_SHELF, Code, Link, State, span, values_of

EMITS = {Operand.EMIT_SPONGE: Port.SPONGE, Operand.EMIT_LINK: Port.LINK, Operand.EMIT_SPI: Port.SPI}
DAMAGED = 0x80
RECEIVED = span(1, MAX_PAYLOAD)
"""What the length of a frame can be that is not damaged."""
REFUSED = sum(1 << (DAMAGED | kind) for kind in ErrorKind)
"""What is in its place for a damaged one, which only the admin port shows."""
PUZZLE = 1 << msg.PUZZLE
"""Of the messages of the registry, the one that has a ciphertext."""
PLACES = (
    span(0, FIRST_PLACE),
    *(1 << place for place in range(FIRST_PLACE, PLACES_END + 1)),
    values_of(lambda k: k > PLACES_END),
)
"""Blocks of the number of a journal: those of controllers are counted where a reply tells all of them."""


class WaitRule(DeviceRule):
    """What an instruction gives to a port, and takes from it."""

    @staticmethod
    def given(i: Instruction) -> Port | None:
        """The port that gets bytes; of CRYPT, which is more than that, none."""
        if i.unit in EMITS:
            return EMITS[i.unit]
        if i.move == Move.GIVE_END:
            return Port.SPONGE
        return i.port if i.direction == Direction.GIVE else None

    @staticmethod
    def taken(i: Instruction) -> Port | None:
        """The port from which bytes are taken or compared."""
        against = i.direction == Direction.CRYPT and i.port != Port.SPONGE
        return i.port if against or i.direction in (Direction.TAKE, Direction.CHECK) else None

    def extent(self, i: Instruction, before: State) -> tuple[int, int]:
        """How many bytes, at least and at most."""
        if not i.runs:
            return 1, 1
        run, place = i.runs[-1], self.v.pad.length
        least, most = self.code.extent(i, run)
        if run.length is None and place in self.tracked:
            values = before.values[[*self.tracked].index(place)]
            lengths = [k & 127 for k in range(256) if values >> k & 1]
            least, most = max(least, min(lengths)), min(most, max(lengths))
        return least, most


class Selected(WaitRule):
    """Bytes go to the flash and come from it, and it is deselected, only while it is selected."""

    def begin(self) -> bool:
        return False

    def after(self, i: Instruction, before: State, state: State, routine: int) -> bool:
        if i.base == Base.SELECT and not i.opcode & 2:
            self.demand(state.note or i.opcode & 1, "the flash is deselected that is not selected")
            return bool(i.opcode & 1)
        if Port.SPI in (self.given(i), self.taken(i)):
            self.demand(state.note, "bytes of a flash that is not selected")
        return state.note


class Shown(NamedTuple):
    """Of the frame that is shown."""

    side: int | None = None  # on this side for sure; None: perhaps none is
    least: int = 0  # its length, at least
    taken: int = 0  # bytes of it
    left: int | None = None  # how many there still are, if that is known better than by the length
    less: int | None = None  # how much less than its length ``frame`` is, if it has to do with it
    counted: int | None = None  # and how much less the length of counted runs is


class ReceivedFrames(WaitRule):
    """No more bytes are taken from a received frame than it has, none of a damaged one, none of the other side's, and
    none before it is there or after it was dropped. It is dropped before the main loop looks for the next."""

    follows = ("side",)

    def __init__(self, code: Code, memory: Memory):
        super().__init__(code, memory)
        self.tracked = {memory.frame: (), memory.pad.length: (), memory.arrival: TRUTH}
        self.tracked[memory.sealed[0]] = (PUZZLE, ANY ^ PUZZLE)

    def begin(self) -> Shown:
        return Shown()

    def received(self, state: State) -> int:
        note = state.note
        if note.side is None:
            return super().received(state)
        if note.less is not None:
            return state.values[0] << note.less & (RECEIVED | REFUSED)
        return RECEIVED if note.side else RECEIVED | REFUSED

    @staticmethod
    def least(values: int) -> int:
        """Of the payload; that of a damaged frame does not count."""
        return 0 if values & ~RECEIVED else (values & -values).bit_length() - 1

    def after(self, i: Instruction, before: State, state: State, routine: int) -> Shown:
        v, note = self.v, state.note
        if self.rests(i):
            self._rested(note)
        if self.taken(i) == Port.LINK:
            note = self._take(i, before, note)
        if i.strobe == Strobe.DROP and before.side == note.side:
            return Shown()
        if i.port == Port.FRAME and note.side is not None:
            values = self.received(before)
            note = note._replace(least=max(note.least, self.least(values)))
        known = note.side is not None
        if self.code.writes(i, v.frame):
            less = self._changed(i, note.less) if known else None
            note = note._replace(less=less if less is None or less <= note.least else None)  # it did not wrap
        if self.code.writes(i, v.pad.length):
            sound = known and note.least  # it is not damaged
            note = note._replace(counted=self._changed(i, note.counted) if sound else None)
        return note

    @staticmethod
    def _changed(i: Instruction, less: int | None) -> int | None:
        """How much less than the frame's length a byte is behind an instruction."""
        if i.port == Port.FRAME:
            return 0
        return less + 256 - i.operand & 255 if i.op == Op.ADD and less is not None else None

    def _take(self, i: Instruction, before: State, note: Shown) -> Shown:
        self.demand(note.side is not None and before.side == note.side, "bytes of a frame where none is shown")
        if i.runs[-1].length is None and note.counted is not None:  # all but so many, with those that were taken
            short = note.left is not None or note.counted > note.least
            self.demand(not short and note.taken <= note.counted, "more bytes than the received frame has")
            return note._replace(left=note.counted - note.taken)
        _, most = self.extent(i, before)
        left = note.least - note.taken if note.left is None else note.left
        self.demand(most <= left, f"{most} bytes of a received frame that has {left} more")
        return note._replace(taken=note.taken + most) if note.left is None else note._replace(left=left - most)

    def decided(self, i: Instruction, state: State, condition: Condition, what, holds: bool) -> Shown:
        note = state.note
        if self.rests(i, condition):
            self._rested(note)
        if holds and condition in (Condition.ADMIN_FRAME, Condition.PEER_FRAME):
            return note if note.side is not None else Shown(side=int(condition == Condition.PEER_FRAME))
        if isinstance(what, Link) and what.byte == 0 and note.less is not None:
            return note._replace(least=max(note.least, self.least(state.values[0] << note.less)))
        return note

    def _rested(self, note: Shown) -> None:
        self.demand(note.side is None, "a frame is not dropped that was dealt with")


class SentFrames(WaitRule):
    """A frame that is sent has 1 to 126 bytes, and is complete before one of the other side begins, and before the main
    loop looks for something to do."""

    follows = ("side",)

    def __init__(self, code: Code, memory: Memory):
        super().__init__(code, memory)
        self.tracked = {memory.pad.length: ()} | ({memory.peer: PLACES} if memory.full else {})

    def after(self, i: Instruction, before: State, state: State, routine: int) -> tuple[int, int] | None:
        note = state.note  # side of the frame that is begun, and how many bytes it has at most; None: there is none
        if self.rests(i):
            self._rested(note)
        if self.given(i) == Port.LINK:
            least, most = self.extent(i, before)
            side, sent = note or (before.side, 0)
            self.demand(note or least, "a frame may begin with nothing")
            self.demand(side == before.side, "a frame begins before one of the other side is complete")
            self.demand(sent + most <= MAX_PAYLOAD, f"a frame of {sent + most} bytes")
            return side, sent + most
        if i.strobe == Strobe.SEND:
            self.demand(note, "a frame without a byte")
            self.demand(note[0] == before.side, "the other side's frame is sent")
            return None
        return note

    def decided(self, i: Instruction, state: State, condition: Condition, what, holds: bool) -> tuple[int, int] | None:
        if self.rests(i, condition):
            self._rested(state.note)
        return state.note

    def _rested(self, note: tuple[int, int] | None) -> None:
        self.demand(note is None, "a frame is half given where the device rests")


class Phase(NamedTuple):
    """Of the sponge: what it waits for."""

    kind: str  # "block", "segment", "text", "tag" or "output"
    left: int = 0  # bytes of a block or tag


class Phases(WaitRule):
    """The sponge is started only when it rests or gives a hash, and then it gets what its mode wants, in that order: as
    many bytes of keys and nonces as it takes, an end behind each segment, 16 bytes for the tag. Nothing is taken from
    it but a hash behind its last end."""

    def begin(self) -> tuple[Phase, ...]:
        return ()

    @staticmethod
    def started(word: int) -> tuple[Phase, ...]:
        """The phases of `ascon.AsconModes`; the standard's block of key, nonce and key is two of them there."""
        if word & 1:
            data = (Phase("segment"),) if word & 4 else ()
            return Phase("block", 48), *data, Phase("text"), Phase("block", 16), Phase("tag", 16)
        label = (Phase("segment"),) if word & isa.CUSTOM else ()
        return *label, Phase("segment"), Phase("output")

    def after(self, i: Instruction, before: State, state: State, routine: int) -> tuple[Phase, ...]:
        note = state.note
        if i.strobe == Strobe.SPONGE_CLEAR:
            return ()
        if i.unit == Operand.START or i.base == Base.DERIVE:
            self.demand(not note or note[0].kind == "output", "the sponge is started before it is done")
            return self.started(i.operand) if i.unit == Operand.START else self.started(isa.CUSTOM)[1:]
        if self.given(i) == Port.SPONGE:
            note = self._absorb(i, before, note)
        if i.strobe == Strobe.SPONGE_END or i.move == Move.GIVE_END:
            self.demand(note and note[0].kind in ("segment", "text"), "an end where the sponge has no segment")
            return note[1:]
        if i.direction == Direction.CRYPT:
            return self._crypt(i, before, note)
        if self.taken(i) == Port.SPONGE:
            self.demand(note and note[0].kind == "output", "the sponge gives nothing yet")
        return note

    def _absorb(self, i: Instruction, before: State, note: tuple[Phase, ...]) -> tuple[Phase, ...]:
        self.demand(note and note[0].kind in ("block", "segment"), "the sponge takes no bytes now")
        return self._less(i, before, note) if note[0].kind == "block" else note

    def _crypt(self, i: Instruction, before: State, note: tuple[Phase, ...]) -> tuple[Phase, ...]:
        self.demand(note and note[0].kind in ("text", "tag"), "the sponge gives nothing for what it takes")
        return self._less(i, before, note) if note[0].kind == "tag" else note

    def _less(self, i: Instruction, before: State, note: tuple[Phase, ...]) -> tuple[Phase, ...]:
        """Behind a part of a block."""
        least, most = self.extent(i, before)
        (kind, left), *rest = note
        self.demand(least == most <= left, f"{most} bytes for the sponge that takes {left} more")
        return (Phase(kind, left - most), *rest) if left > most else (*rest,)


class Turn(NamedTuple):
    """What the last command for the PUF engine, or for what shares its port, still has to do."""

    give: int = 0  # bytes that it takes
    take: int = 0  # and that it gives
    told: bool = True  # false: the next byte tells how many it takes
    either: int = 0  # bytes of the shelf up to its end, which may go both ways


OF_PUF = {
    PufCommand.ENROLL: Turn(take=HELPER_BYTES),
    PufCommand.RECONSTRUCT: Turn(give=HELPER_BYTES),
    PufCommand.BITS: Turn(take=BITS_BYTES),
}
OF_PIN = {
    PinCommand.TELL: Turn(take=PIN_DIGITS),
    PinCommand.KEEP: Turn(give=PIN_DIGITS),
    PinCommand.SHOW: Turn(give=PIN_DIGITS),
}
OF_CURVE = {
    CurveCommand.STATUS: Turn(take=1),
    CurveCommand.HASH: Turn(told=False),
    CurveCommand.HASH_PREFIXED: Turn(told=False),
}
ON_ELEMENT = {OnElement.LOAD: Turn(give=ELEMENT_BYTES), OnElement.READ: Turn(take=ELEMENT_BYTES)}
"""Commands that take or give bytes."""


class Commands(WaitRule):
    """A command for PUF engine, curve engine or the PIN's display gets as many bytes as it takes, and as many are taken
    as it gives, before the next command comes or its end is waited for. Bytes to and from the shelf lie in it."""

    def __init__(self, code: Code, memory: Memory):
        super().__init__(code, memory)
        self.tracked = {memory.pad.length: ()} if memory.full else {}

    def begin(self) -> Turn:
        return Turn()

    def command(self, i: Instruction) -> Turn:
        """What a command has to do."""
        if (command := self.puf_command(i)) is not None:
            return next((turn for known, turn in OF_PUF.items() if known.value == command), Turn())
        if (command := self.pin_command(i)) is not None:
            return OF_PIN.get(command & 3, Turn())
        if (command := self.curve_command(i)) is not None:
            return OF_CURVE.get(command, Turn()) if command < 32 else ON_ELEMENT.get(command & ~31, Turn())
        return Turn(either=UNIT * (UNITS + TO_SHELF - i.operand))

    def after(self, i: Instruction, before: State, state: State, routine: int) -> Turn:
        note = state.note
        if i.unit == Operand.PUF:
            self._over(note)
            return self.command(i)
        gives, takes = self.given(i) == Port.PUF, self.taken(i) == Port.PUF
        if not gives and not takes:
            return note
        least, most = self.extent(i, before)
        self.demand(least == most, "it is not known how many bytes a command gets or gives")
        if gives and not note.told and most:
            note = Turn(give=1 + self._told(i, before))
        room = note.either or (note.give if gives else note.take)
        self.demand(most <= room, f"{most} bytes {'to' if gives else 'from'} a command with {room} more")
        if note.either:
            return note._replace(either=note.either - most)
        return note._replace(give=note.give - most) if gives else note._replace(take=note.take - most)

    def _told(self, i: Instruction, before: State) -> int:
        """The byte that tells how many follow: a constant, or the length of counted runs."""
        place = i.runs[0].address
        if place == isa.LENGTH_ADDRESS:
            values = before.values[0]
            self.demand(values.bit_count() == 1, "it is not known how many bytes are hashed")
            return values.bit_length() - 1
        constant = any(f.constant and f.address <= place < f.end for f in self.v.pad.fields.values())
        self.demand(constant, "it is not known how many bytes are hashed")
        return self.code.pad[place]

    def decided(self, i: Instruction, state: State, condition: Condition, what, holds: bool) -> Turn:
        if condition == Condition.PUF_BUSY:
            self._over(state.note)
        return state.note

    def _over(self, note: Turn) -> None:
        self.demand(note.told and not note.give and not note.take, f"the last command still waits: {note}")


def wait_rules(code: Code, memory: Memory) -> Iterator[DeviceRule]:
    """All of this file, ready to explore."""
    for rule in (Selected, ReceivedFrames, SentFrames, Phases, Commands):
        yield rule(code, memory)
