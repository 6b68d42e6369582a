"""Where secret bytes of the scratchpad may go: not to a line, not to the flash, not into a branch.

The scratchpad holds secret and public bytes in one memory, so the netlist alone cannot tell what a pin may carry
(`formal/leaks.py` ends at that memory). Here the program's moves are followed instead, field by field: a field that is
not declared secret never receives a secret byte, but for the four copies in `Secrets.declassified`; and one that is
gives its bytes to a line or to the flash only while they are not secret, but for those in `Secrets._released`.

The shelf is followed by a layout: which of its bytes may be secret (`SHELF_SECRET`); a secret byte is put nowhere else,
and what comes from there counts as secret. Of what the curve engine gives, `GIVEN` are public; all else is secret.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ringpair_hdl.control.decoder import Instruction, Run
from ringpair_hdl.control.isa import Base, Direction, Move, Op, Operand, Port, Strobe
from ringpair_hdl.control.scratchpad import Field
from ringpair_hdl.curve.commands import Command as CurveCommand
from ringpair_hdl.curve.commands import OnElement
from ringpair_hdl.curve.elements import Element
from ringpair_hdl.program import Memory
from ringpair_hdl.program.curve import Unit32
from ringpair_hdl.program.memory import DEVICE, ENROLLING
from ringpair_hdl.puf.engine import Command as PufCommand
from ringpair_hdl.store.shelf import UNIT
from ringpair_protocol import derivations as kdf
from ringpair_protocol import messages as msg
from ringpair_protocol.admin import Event
from ringpair_protocol.binding import PIN_DIGITS

from formal.rules import DECRYPT, NOTHING_WRONG, STATES, TRUTH, DeviceRule
from formal.states import ANY, Code, State, span, values_of

PUBLIC = {
    kdf.HELPER_DIGEST: ("digest",),
    kdf.CHECK: ("check",),
    kdf.DEVICE_ID: ("device_id",),
    kdf.ENROLL: ("tag",),
    kdf.AUTH: ("tag",),
    kdf.SESSION: ("tag_2", "session_id"),
    kdf.CONTROLLER_SESSION: ("session_id",),
    kdf.PRESET_PIN: ("digits",),
}
"""Outputs of derivations that are no secret."""
SHELF_SECRET = sum(span(UNIT * unit, 72) for unit in (Unit32.PPAKE, Unit32.OPENING, Unit32.SESSION))
SHELF_SECRET |= span(UNIT * Unit32.SAID + 112, 32)
"""Bits of the shelf's bytes that may be secret: keys and tags in front of counters and ids; a service's key."""
GIVEN = {
    (Element.RESULT, "share"),
    (Element.PUBLIC, "key"),
    (Element.R, "signed"),
    (Element.S, "signed"),
    (Element.DIGEST, "mac"),
    (Element.DIGEST + 1, "mac"),
}
"""Elements of the curve engine that are public after an operation: a public X25519 value, the device's public key, a
signature, and the second of two HMACs, which is the tag Tb."""
DRAFT = values_of(lambda flags: flags & ENROLLING)


def computed(before: str, command: int) -> str:
    """What the curve engine has made of its operands after a command; empty: what counts as secret."""
    if command == CurveCommand.STATUS:
        return f"{before.removesuffix(' status')} status"
    before = before.removesuffix(" status")
    hashes = command & ~0x1F == OnElement.HASH or command in (CurveCommand.HASH, CurveCommand.HASH_PREFIXED)
    if hashes or command & ~0x1F == OnElement.READ:
        return before
    steps = {
        ("", CurveCommand.X25519_BASE): "share",
        ("", CurveCommand.ELLIGATOR): "generator",
        ("generator", OnElement.GET | Element.RESULT): "base",
        ("base", CurveCommand.X25519): "share",
        ("", CurveCommand.KEY): "key",
        ("", CurveCommand.SIGN_END): "signed",
        ("", CurveCommand.HMAC_AGAIN): "again",
        ("again", CurveCommand.HMAC_FINISH): "mac",
    }
    return steps.get((before, command), steps.get(("", command), ""))


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
    puf: int = -1  # last command of the PUF engine, -1: it is another one's turn
    curve: str = ""  # what the curve engine has computed
    element: int = -1  # what it reads out
    pin: bool = False  # it is the turn of what keeps the PIN
    steady: bool = False  # the length of counted runs is what it was when the field was written by one
    device: bool = False  # the open journal is the device's
    plain: int = -1  # where that one began, if it wrote nothing secret


class Secrets(DeviceRule):
    """Secret bytes of a field go to no port but sponge and PUF engine, and into no branch, but for what is listed."""

    def __init__(self, code: Code, memory: Memory, field: Field, carried: dict | None = None):
        super().__init__(code, memory)
        v = memory
        self.field, self.all, self.carried = field, span(0, field.length), carried if carried is not None else {}
        self.follows = ("frame",) if field in (v.session, v.buffer) else ("side",) if field == v.new_wrap else ()
        self.follows += ("shelf",) if v.full else ()
        self.tracked = {}
        if field == v.slot:
            self.tracked = {v.kind: TRUTH, v.pad.length: ()}
        elif v.full and field == v.chain_next:  # the beginning of what was said: wiped, or read anew
            self.tracked = {v.status: NOTHING_WRONG}
        elif field in (v.new_wrap, v.session):
            self.tracked = {v.flags: (DRAFT, ANY ^ DRAFT), v.state: STATES, v.status: NOTHING_WRONG}
        self.public = public_outputs()
        self.declassified = {
            (v.nonce_pool.address, v.random.address),
            (v.salt.address, v.random.address),
            (v.new_index.address, v.wrap_index.address),
            (v.pair_index.address, v.next_pair.address),
        }
        self.looked_at: set[tuple[int, int]] = set()  # copies to public fields that are looked at, byte by byte
        if v.full:
            said_to_the_device = ((v.sealed, v.buffer), (v.spi, v.buffer), (v.switch, v.buffer[1]))
            self.declassified |= {(to.address, of.address) for to, of in said_to_the_device}
            ids = ((v.sealed[6:14], v.service_id), (v.header, v.service_id), (v.buffer[80:], v.run_id))
            self.looked_at |= {(to.address, of.address) for to, of in (*ids, (v.spi, v.digits), (v.spi, v.pin_tries))}

    def begin(self) -> Held:
        return Held()

    # ------------------------------------------------------------------ what is written
    def after(self, i: Instruction, before: State, state: State, routine: int) -> Held:
        note = self._source(i, state.note)
        for run in self._read(i, note):
            if run.length is None and note.steady and run.address == note.plain:
                continue  # as many bytes as were written
            self._look(i, run.address, self._extent(i, run, before)[1], before, note)
        if i.move == Move.COPY:
            self._copied(i, before, note)
        elif before.shelf is not None and i.direction == Direction.GIVE and i.port == Port.PUF:
            self._put(i, before, note)
        if self.field == self.v.slot and self.code.writes(i, self.v.kind):
            note = note._replace(device=i.op == Op.SET and i.operand == DEVICE)
        if self.code.writes(i, self.v.pad.length):
            note = note._replace(steady=False)
        if self.code.written(i)[1]:
            note = self._write(i, before, note)
            if i.port == Port.PUF:
                note = note._replace(puf=-1, element=-1, pin=False)
        if i.port == Port.SPONGE and i.direction in (Direction.TAKE, Direction.CHECK) and len(note.source) == 2:
            note = note._replace(source=(note.source[0], note.source[1] + i.runs[0].length))
        return note

    def _source(self, i: Instruction, note: Held) -> Held:
        if label := self.code.label(i):
            return note._replace(source=(label, 0))
        if i.unit == Operand.START:
            return note._replace(source=(i.operand,))
        if (i.base == Base.SELECT and i.opcode & 3 == 1) or i.strobe == Strobe.SPONGE_CLEAR:
            return note._replace(source=())  # forgotten: what is not known counts as secret
        if i.unit == Operand.PUF:
            note = note._replace(puf=-1, element=-1, pin=self.pin_command(i) is not None)
            if (command := self.puf_command(i)) is not None:
                return note._replace(puf=command)
            if (command := self.curve_command(i)) is not None:
                read = command & ~0x1F == OnElement.READ
                return note._replace(curve=computed(note.curve, command), element=command & 0x1F if read else -1)
        return note

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
            secret = (note.secret & ~cleared | placed & where) & self.all
            return note._replace(secret=secret, steady=bool(counted), plain=address if counted and not new else -1)
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
                return self._taken(before, note, most)
            case Direction.TAKE, Port.LINK if self.code.writes(i, self.v.buffer):
                return span(0, most) if not before.side else 0  # a text of the host
        if i.move != Move.COPY or (i.runs[0].address, i.runs[1].address) in self.declassified | self.looked_at:
            return 0
        return self._of(i.runs[1], most, note)

    def _taken(self, before: State, note: Held, most: int) -> int:
        """Of what comes from PUF engine, curve engine or shelf."""
        if before.shelf is not None:
            return SHELF_SECRET >> before.shelf & span(0, most)
        public = note.puf == PufCommand.ENROLL.value  # helper data
        public |= note.pin or (note.element, note.curve) in GIVEN or note.curve.endswith("status")
        return 0 if public else span(0, most)

    def _copied(self, i: Instruction, before: State, note: Held) -> None:
        """Of the field that is followed, only what is not secret goes to public fields; others assume that."""
        target, source = i.runs
        if (target.address, source.address) in self.declassified:
            return
        shift, most = target.address - source.address, self.code.extent(i, source)[1]
        bits = self._own(source.address, most, note)
        own = bits << source.address >> self.field.address if source.address + most > self.field.address else 0
        if self._counts(note, own):
            return
        checked = (target.address, source.address) in self.looked_at
        self.demand(not bits or not checked, f"what is secret of {self.field.name} is taken for public")
        for field in self.v.pad.fields.values() if bits else ():
            if not field.secret:
                moved = bits << source.address + shift
                self.demand(not moved & span(field.address, field.length), f"{field.name} receives secret bytes")

    def _own(self, address: int, most: int, note: Held) -> int:
        """Bits of a run that are secret bytes of the field that is followed."""
        shift = self.field.address - address
        return (note.secret << shift if shift >= 0 else note.secret >> -shift) & span(0, most)

    def _put(self, i: Instruction, before: State, note: Held) -> None:
        bits = self._own(i.runs[0].address, self.code.extent(i, i.runs[0])[1], note)
        allowed = SHELF_SECRET >> before.shelf
        self.demand(not bits & ~allowed, f"secret bytes of {self.field.name} go to a public place of the shelf")

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
    def _read(i: Instruction, note: Held) -> tuple[Run, ...]:
        """What is looked at, or given to a line, to the flash or to the display."""
        if i.base == Base.BYTE:
            return () if i.op == Op.SET else (Run(i.place, 1),)
        given = i.direction == Direction.GIVE and (i.port in (Port.LINK, Port.SPI) or (i.port == Port.PUF and note.pin))
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
        if i.direction == Direction.GIVE:
            released = secret and self._released(before, note, touched)
            self.demand(not secret or released, f"secret bytes of {self.field.name} go to {i.port.name}")
            self.carried.setdefault((i.port.name, self.field.name), set()).add(released or "")
        elif secret:
            self.demand(self._counts(note, touched), f"{self.field.name} decides what happens")

    def _released(self, before: State, note: Held, touched: int) -> str:
        """Why secret bytes may leave here; empty if they may not."""
        v, frame = self.v, before.frame
        if self.field == v.session and not touched & ~span(0, msg.TAG_LENGTH) and msg.M3 in frame:
            return "T3, in M3"
        if self.field == v.new_wrap and not before.side and not before.values[0] & ~DRAFT:
            return "wrap key, in E2 to the host"
        if self.field == v.buffer and not before.side and frame[:1] in ((Event.TEXT,), (Event.CONTROLLER_TEXT,)):
            return "text, to the host"
        if self.field == v.slot and not before.side and self._counts(note, touched):
            return "tries, in the reply to BINDINGS"
        if self.field == v.random and note.pin and not touched & ~span(0, PIN_DIGITS):
            return "PIN, to the display"
        return ""

    def _counts(self, note: Held, touched: int) -> bool:
        """Wrap index, pair index and tries of an opened device record: numbers, no secret."""
        return self.field == self.v.slot and note.device and not touched & ~span(4, 7)


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
