"""Where secret bytes of the scratchpad may go: not to a line, not to the flash, not into a branch.

The scratchpad holds secret and public bytes in one memory, so the netlist alone cannot tell what a pin may carry
(`formal/leaks.py` ends at that memory). Here the program's moves are followed instead, field by field: a field that is
not declared secret never receives a secret byte, but for the four copies in `Secrets.declassified`; and one that is
gives its bytes to a line or to the flash only while they are not secret, but for the three in `Secrets._released`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ringpair_hdl.control.decoder import Instruction, Run
from ringpair_hdl.control.isa import Base, Direction, Move, Op, Operand, Port, Strobe
from ringpair_hdl.control.scratchpad import Field
from ringpair_hdl.program import Memory
from ringpair_hdl.program.memory import DEVICE, ENROLLING
from ringpair_hdl.puf.engine import Command as PufCommand
from ringpair_protocol import derivations as kdf
from ringpair_protocol import messages as msg
from ringpair_protocol.admin import Event

from formal.rules import DECRYPT, NOTHING_WRONG, STATES, TRUTH, DeviceRule
from formal.states import ANY, Code, State, span, values_of

PUBLIC = {
    kdf.HELPER_DIGEST: ("digest",),
    kdf.CHECK: ("check",),
    kdf.DEVICE_ID: ("device_id",),
    kdf.ENROLL: ("tag",),
    kdf.AUTH: ("tag",),
    kdf.SESSION: ("tag_2", "session_id"),
}
"""Outputs of derivations that are no secret."""
DRAFT = values_of(lambda flags: flags & ENROLLING)


def public_outputs() -> dict[bytes, int]:
    """Label of a derivation to the bits of its output bytes that are no secret."""
    masks = {}
    for row, names in PUBLIC.items():
        at, mask = 0, 0
        for name, length in row.outputs:
            mask |= span(at, length) if name in names else 0
            at += length
        masks[row.label] = mask
    return masks


class Held(NamedTuple):
    secret: int = 0  # bits of the field's bytes that may be secret
    source: tuple = ()  # label and offset of the sponge's output, or its start word
    puf: int = -1  # last command of the PUF engine
    steady: bool = False  # the length of counted runs is what it was when the field was written by one


class Secrets(DeviceRule):
    """Secret bytes of a field go to no port but sponge and PUF engine, and into no branch, but for what is listed."""

    def __init__(self, code: Code, memory: Memory, field: Field, carried: dict | None = None):
        super().__init__(code, memory)
        v = memory
        self.field, self.all, self.carried = field, span(0, field.length), carried if carried is not None else {}
        self.follows = ("frame",) if field in (v.session, v.buffer) else ("side",) if field == v.new_wrap else ()
        self.tracked = {}
        if field == v.slot:
            self.tracked = {v.kind: TRUTH, v.pad.length: ()}
        elif field in (v.new_wrap, v.session):
            self.tracked = {v.flags: (DRAFT, ANY ^ DRAFT), v.state: STATES, v.status: NOTHING_WRONG}
        self.public = public_outputs()
        self.declassified = {
            (v.nonce_pool.address, v.random.address),
            (v.salt.address, v.random.address),
            (v.new_index.address, v.wrap_index.address),
            (v.pair_index.address, v.next_pair.address),
        }

    def begin(self) -> Held:
        return Held()

    # ------------------------------------------------------------------ what is written
    def after(self, i: Instruction, before: State, state: State, routine: int) -> Held:
        note = self._source(i, state.note)
        for run in self._read(i):
            self._look(i, run.address, self._extent(i, run, before)[1], before, note)
        if self.code.writes(i, self.v.pad.length):
            note = note._replace(steady=False)
        if self.code.written(i)[1]:
            note = self._write(i, before, note)
            if i.port == Port.PUF:
                note = note._replace(puf=-1)
        if i.port == Port.SPONGE and i.direction in (Direction.TAKE, Direction.CHECK) and len(note.source) == 2:
            note = note._replace(source=(note.source[0], note.source[1] + i.runs[0].length))
        return note

    def _source(self, i: Instruction, note: Held) -> Held:
        if i.base == Base.DERIVE:
            run = i.runs[0]
            return note._replace(source=(self.code.pad[run.address : run.address + run.length], 0))
        if i.unit == Operand.START:
            return note._replace(source=(i.operand,))
        if (i.base == Base.SELECT and i.opcode & 3 == 1) or i.strobe == Strobe.SPONGE_CLEAR:
            return note._replace(source=())  # forgotten: what is not known counts as secret
        return note._replace(puf=i.operand) if i.unit == Operand.PUF else note

    def _write(self, i: Instruction, before: State, note: Held) -> Held:
        address, most = self.code.written(i)
        least, most = self._extent(i, i.runs[-1], before) if i.runs else (1, 1)
        start, new = address - self.field.address, self._secret(i, before, note, most)
        where = span(start, most) if start >= 0 else span(0, most) >> -start
        if where & self.all:
            counted = i.runs and i.runs[-1].length is None
            sure = most if counted and note.steady else least  # the same length as before: all of it is written
            cleared = span(start, sure) if start >= 0 else span(0, sure) >> -start
            placed = new << start if start >= 0 else new >> -start
            return note._replace(secret=(note.secret & ~cleared | placed & where) & self.all, steady=bool(counted))
        return note

    def _secret(self, i: Instruction, before: State, note: Held, most: int) -> int:
        """Bits of the written bytes that are secret."""
        match i.direction, i.port:
            case Direction.TAKE, Port.SPONGE:
                label, offset = note.source if len(note.source) == 2 else (b"", 0)
                return span(0, most) & ~(self.public.get(label, 0) >> offset)
            case Direction.CRYPT, Port.SPONGE:
                return 0 if len(note.source) == 1 and not note.source[0] & DECRYPT else span(0, most)
            case Direction.TAKE, Port.TRNG:
                return span(0, most)
            case Direction.TAKE, Port.PUF:
                return 0 if note.puf == PufCommand.ENROLL.value else span(0, most)  # helper data are public
            case Direction.TAKE, Port.LINK if self.code.writes(i, self.v.buffer):
                return span(0, most) if not before.side else 0  # a text of the host
        if i.move != Move.COPY or (i.runs[0].address, i.runs[1].address) in self.declassified:
            return 0
        return self._of(i.runs[1], most, note)

    def _of(self, run: Run, most: int, note: Held) -> int:
        """Bits of a run that may be secret: known of the field that is followed, assumed of all others."""
        bits = 0
        for field in self.v.pad.fields.values():
            secret = note.secret if field == self.field else span(0, field.length) if field.secret else 0
            shift = field.address - run.address
            bits |= (secret << shift if shift >= 0 else secret >> -shift) & span(0, most)
        return bits & ~self._plain(run)

    def _plain(self, run: Run) -> int:
        """Bits of a run that are the number of a slot: it stands before the sealed part."""
        shift = self.v.number.address - run.address
        return span(shift, 4) if shift >= 0 else span(0, 4) >> -shift

    # ------------------------------------------------------------------ what is read
    @staticmethod
    def _read(i: Instruction) -> tuple[Run, ...]:
        """What is looked at, or given to a line or to the flash."""
        if i.base == Base.BYTE:
            return () if i.op == Op.SET else (Run(i.place, 1),)
        given = i.direction == Direction.GIVE and i.port in (Port.LINK, Port.SPI)
        return i.runs if given or i.move in (Move.LESS, Move.INCREMENT) else ()

    def _extent(self, i: Instruction, run: Run, before: State) -> tuple[int, int]:
        if run.length is None and self.field == self.v.slot:
            lengths = [k & 127 for k in range(256) if before.values[1] >> k & 1]
            return min(lengths), min(max(lengths), self.code.extent(i, run)[1])
        return self.code.extent(i, run)

    def _look(self, i: Instruction, address: int, length: int, before: State, note: Held) -> None:
        shift = address - self.field.address
        touched = span(shift, length) & self.all if shift >= 0 else span(0, length) >> -shift & self.all
        if not touched:
            return
        secret = touched & note.secret
        if self.field == self.v.slot:
            secret &= ~span(0, 4)
        if i.port in (Port.LINK, Port.SPI):
            released = secret and self._released(before, touched)
            self.demand(not secret or released, f"secret bytes of {self.field.name} go to {i.port.name}")
            self.carried.setdefault((i.port.name, self.field.name), set()).add(released or "")
        elif secret:
            self.demand(self._counts(before, touched), f"{self.field.name} decides what happens")

    def _released(self, before: State, touched: int) -> str:
        """Why secret bytes may leave here; empty if they may not."""
        v, frame = self.v, before.frame
        if self.field == v.session and not touched & ~span(0, msg.TAG_LENGTH) and msg.M3 in frame:
            return "T3, in M3"
        if self.field == v.new_wrap and not before.side and not before.values[0] & ~DRAFT:
            return "wrap key, in E2 to the host"
        if self.field == v.buffer and not before.side and frame == (Event.TEXT,):
            return "text, to the host"
        return ""

    def _counts(self, before: State, touched: int) -> bool:
        """Wrap index and pair index of an opened device record: numbers, no secret."""
        device = self.field == self.v.slot and not before.values[0] & TRUTH[1] and DEVICE == 1
        return device and not touched & ~span(4, 6)


class OnlyPublic(Secrets):
    """A field that is not declared secret never receives a secret byte, but for what is declassified."""

    def _write(self, i: Instruction, before: State, note: Held) -> Held:
        address, most = self.code.written(i)
        bits = self._secret(i, before, note, most)
        for field in self.v.pad.fields.values() if bits else ():
            if not field.secret:
                shift = field.address - address
                mask = span(shift, field.length) if shift >= 0 else span(0, field.length) >> -shift
                self.demand(not bits & mask, f"{field.name} receives secret bytes")
        return note


def secret_rules(code: Code, memory: Memory, carried: dict | None = None) -> Iterator[DeviceRule]:
    """All of this file, ready to explore; ``carried`` collects what goes to which line."""
    nothing = Field("nothing", 0, 0)
    yield OnlyPublic(code, memory, nothing)
    for field in memory.pad.fields.values():
        if field.secret:
            yield Secrets(code, memory, field, carried)
