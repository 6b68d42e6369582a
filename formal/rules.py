"""What must hold on every path of the control program: keys, commits, flash writes, rest, epochs and counters.

Each class is one property, and its docstring says it. `formal/secrecy.py` has those on where secret bytes go.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ringpair_hdl.control import isa
from ringpair_hdl.control.decoder import Instruction
from ringpair_hdl.control.isa import Base, Condition, Move, Op, Operand, Port, Strobe
from ringpair_hdl.control.scratchpad import Field
from ringpair_hdl.curve.commands import Command as CurveCommand
from ringpair_hdl.program import Memory
from ringpair_hdl.program.curve import PIN as DISPLAY
from ringpair_hdl.program.curve import Unit32
from ringpair_hdl.program.keys import SHARED
from ringpair_hdl.program.memory import ENROLLING, PENDING_RESPONDER, SESSION
from ringpair_hdl.puf.engine import Command as PufCommand
from ringpair_hdl.store.shelf import UNIT
from ringpair_protocol import derivations as kdf
from ringpair_protocol import messages as msg
from ringpair_protocol.admin import DeviceStateCode, Event
from ringpair_protocol.nor import Command

from formal.paths import Rule
from formal.states import ANY, END, SHELF, TO_SHELF, Code, State, log_of, span, values_of

ODD = values_of(lambda k: k & 1)
TRUTH = (ODD, ANY ^ ODD)
"""Blocks of a byte that is tested as 0 or 1."""
NOTHING_WRONG = (1, ANY ^ 1)
"""Blocks of the status."""
STATES = (*(1 << state for state in DeviceStateCode), ANY ^ sum(1 << state for state in DeviceStateCode))
"""Blocks of the device's state."""
ANSWERED = values_of(lambda k: k & PENDING_RESPONDER)
ANSWERING = (ANSWERED, ANY ^ ANSWERED)
"""Blocks of the flags: M2 was sent, or not."""
DECRYPT = 2
"""Bit of a start of the sponge."""
HARMLESS = (Command.READ, Command.READ_STATUS, Command.JEDEC_ID, Command.RELEASE_POWER_DOWN)


def inputs(row: kdf.Derivation, **operands: Field | int) -> tuple:
    """What the sponge has absorbed for a row of the derivations, as `State.sponge` tells it."""
    return 8, log_of(row.label, END, *(operands[name] for name, _ in row.inputs), END), 0


class Swap(NamedTuple):
    """A move between scratchpad and shelf."""

    put: bool
    unit: Unit32
    what: str  # "keys", "public", "buffer": the field, if it is one of these as a whole
    offset: int


class DeviceRule(Rule):
    """A rule for the program of the device: ``code`` and the names of its scratchpad ``v``."""

    def __init__(self, code: Code, memory: Memory):
        self.code, self.v = code, memory

    def auth(self, key: Field, header: int, nonce: Field) -> tuple:
        """The derivation of T1 or of a RESYNC's tag."""
        return inputs(kdf.AUTH, auth_key=key, header=header, direction=self.v.direction, nonce_i=nonce)

    def session(self, nonce_i: Field, tag_1: Field) -> tuple:
        """The derivation of T2, T3 and session keys."""
        v = self.v
        values = {"session_root": v.session_root, "direction": v.direction, "nonce_r": v.nonce_r}
        return inputs(kdf.SESSION, header_1=msg.M1, header_2=msg.M2, nonce_i=nonce_i, tag_1=tag_1, **values)

    @property
    def as_initiator(self) -> tuple:
        return self.session(self.v.sent_nonce, self.v.sent_tag)

    @property
    def as_responder(self) -> tuple:
        return self.session(self.v.nonce_i, self.v.tag_1)

    def t2(self) -> tuple:
        """What a MATCH of T2 is about."""
        return "check", Port.SPONGE, (self.v.tag_2.address, msg.TAG_LENGTH), self.as_initiator

    # ------------------------------------------------------------------ of the profile FULL
    def puf_command(self, i: Instruction) -> int | None:
        """Command of the PUF engine that an instruction begins, if it does."""
        if i.unit != Operand.PUF:
            return None
        own = not self.v.full or SHARED <= i.operand < DISPLAY
        return i.operand & ~(SHARED if self.v.full else 0) if own else None

    def pin_command(self, i: Instruction) -> int | None:
        """The same, of what keeps and shows the PIN."""
        mine = self.v.full and i.unit == Operand.PUF and DISPLAY <= i.operand < TO_SHELF
        return i.operand - DISPLAY if mine else None

    def curve_command(self, i: Instruction) -> int | None:
        """The same, of the curve engine."""
        return i.operand if self.v.full and i.unit == Operand.PUF and i.operand < SHARED else None

    def swap(self, i: Instruction, before: State) -> Swap | None:
        """What a move puts onto the shelf or gets from there, if it does."""
        source, target, length = self.code.spans(i, before)
        if not length or i.move is not None:
            return None
        v, put = self.v, target >= SHELF
        inside, there = (source, target) if put else (target, source)
        fields = {"keys": v.keys, "public": v.public, "buffer": v.buffer[: v.keys.length]}
        places = {(field.address, field.length): name for name, field in fields.items()}
        unit, offset = divmod(there - SHELF, UNIT)
        return Swap(put, next(u for u in reversed(Unit32) if u <= unit), places.get((inside, length), ""), offset)

    def rests(self, i: Instruction, condition: Condition | None = None) -> bool:
        """The main loop looks for something to do."""
        return i.strobe == Strobe.WAIT or condition == Condition.ADMIN_FRAME


class Keys(NamedTuple):
    loaded: int = 0  # bytes of the session fields, or of the shelf, that are from the last derivation
    equal: bool = False
    owner: Unit32 = Unit32.PPAKE  # whose keys are in place


class SessionKeys(DeviceRule):
    """Session keys become valid only after all 16 bytes of T2 or T3 compared equal, and with all of these keys from the
    derivation that gave the tag; they are used only while they are valid. They are in place again, from the shelf, when
    an operation with a controller's keys is over."""

    follows = ("sponge", "shelf")

    def __init__(self, code: Code, memory: Memory):
        super().__init__(code, memory)
        self.tracked = {memory.flags: (), memory.status: NOTHING_WRONG, memory.state: STATES}
        v, start = memory, {}
        for name, length in kdf.SESSION.outputs:
            start[name] = sum(start_length for _, start_length in kdf.SESSION.outputs[: len(start)])
            assert length <= 32
        both = ("tag_3",), (v.tag_3,)
        ends = (("key_ir", "key_ri", "iv_ir", "iv_ri"), ("key_ri", "key_ir", "iv_ri", "iv_ir"))
        fields = (v.tx_key, v.rx_key, v.tx_iv, v.rx_iv)
        self.sources = {
            log[1]: {
                f.address + k: start[name] + k
                for name, f in zip(both[0] + names, both[1] + fields, strict=True)
                for k in range(f.length)
            }
            for log, names in zip((self.as_initiator, self.as_responder), ends, strict=True)
        }
        self.keys = sum(span(field.address, field.length) for field in fields)
        self.tag = span(v.tag_3.address, v.tag_3.length)
        self.t3 = ("check", Port.LINK, (v.tag_3.address, v.tag_3.length), None)

    def begin(self) -> Keys:
        return Keys()

    def after(self, i: Instruction, before: State, state: State, routine: int) -> Keys:
        v, note = self.v, state.note
        if self.code.label(i) == kdf.SESSION.label:
            return Keys(owner=note.owner)
        if self.rests(i):
            return self._rested(note)
        if swap := self.swap(i, before):
            owner = swap.unit if swap.what == "keys" and not swap.put else note.owner
            return note._replace(loaded=self._moved(i, before, note), owner=owner)
        if self.code.writes(i, v.session):
            note = note._replace(loaded=self._loaded(i, before, note))
        if self.code.writes(i, v.flags) and self._may_set(i, before):
            self.demand(note.equal, "a session begins without T2 or T3 compared equal")
            self.demand(not self.keys & ~note.loaded, "a session begins with keys that are not its own")
        if self.code.gives(i, v.tx_key, v.rx_key) and note.owner == Unit32.PPAKE:
            self.demand(not state.values[0] & values_of(lambda k: not k & SESSION), "keys are used without a session")
        return note

    def _rested(self, note: Keys) -> Keys:
        self.demand(note.owner == Unit32.PPAKE, "a controller's keys are in place where the device rests")
        return note._replace(equal=False)

    def _moved(self, i: Instruction, before: State, note: Keys) -> int:
        source, target, length = self.code.spans(i, before)
        return note.loaded & ~span(target, length) | (note.loaded >> source & span(0, length)) << target

    def _loaded(self, i: Instruction, before: State, note: Keys) -> int:
        address, length = self.code.written(i)
        loaded = note.loaded & ~span(address, length)
        if i.port == Port.SPONGE and before.sponge and before.sponge[1] in self.sources:
            source, offset = self.sources[before.sponge[1]], before.sponge[2]
            loaded |= sum(1 << address + k for k in range(length) if source.get(address + k) == offset + k)
        return loaded

    def _may_set(self, i: Instruction, before: State) -> bool:
        if i.base != Base.BYTE or i.op == Op.ADD:
            return True
        return i.op in (Op.SET, Op.OR) and bool(i.operand & SESSION)

    def decided(self, i: Instruction, state: State, condition: Condition, what, holds: bool) -> Keys:
        note = state.note
        if self.rests(i, condition):
            return self._rested(note)
        if condition == Condition.MATCH and holds:
            if what == self.t3 and not self.tag & ~note.loaded:
                return note._replace(equal=True)
            if what == self.t2():
                return note._replace(equal=True)
        return note


class Step(NamedTuple):
    programmed: str = ""  # "slot" or "zeros": what was programmed at ``address``, which is as it was then
    at_old: bool = False
    verified: bool = False
    retired: bool = False


class CommitFirst(DeviceRule):
    """M2 and M3 leave only after the slot of the next epoch was programmed, read back at the same address and found
    equal, and after that zeros were programmed over the old slot and read back: at most one live chain key."""

    follows = ("spi", "frame")

    def __init__(self, code: Code, memory: Memory):
        super().__init__(code, memory)
        self.tracked = {memory.status: NOTHING_WRONG, memory.found: TRUTH}
        self.zeros = (memory.buffer[:68],)
        self.blank = span(memory.buffer.address, 68)
        self.sources = {
            (field.address, None): name for field, name in ((memory.slot, "slot"), (memory.buffer, "zeros"))
        }
        self.place = (memory.address.address, memory.address.length)

    def begin(self) -> Step:
        return Step()

    def after(self, i: Instruction, before: State, state: State, routine: int) -> Step:
        v, note = self.v, state.note
        if self.rests(i):
            return Step()
        if i.base == Base.SELECT and before.spi and state.spi is None:
            note = self._deselected(before, note)
        if self.code.writes(i, v.address):
            copied = i.move == Move.COPY and i.runs[1].span == (v.old.address, v.old.end)
            note = note._replace(programmed="", at_old=copied)
        if self.code.writes(i, v.slot if note.programmed == "slot" else v.buffer, self.code_length):
            note = note._replace(programmed="")
        if i.unit == Operand.EMIT_LINK and self.head(state) in (msg.M2, msg.M3):
            self.demand(note.verified, "M2 or M3 leaves before the commit is verified in flash")
            self.demand(note.retired, "M2 or M3 leaves while the old chain key may be in flash")
        return note

    @property
    def code_length(self) -> Field:
        return Field("length", isa.LENGTH_ADDRESS, 1)

    @staticmethod
    def head(state: State):
        """The header of a message for the peer, whatever the way."""
        if state.side:
            return state.frame[0] if len(state.frame) == 1 else None
        return state.frame[1] if len(state.frame) == 2 and state.frame[0] == Event.PEER_OUT else None

    def _deselected(self, before: State, note: Step) -> Step:
        command, *sent = before.spi
        if command == Command.PAGE_PROGRAM and len(sent) == 2 and sent[0] == self.place:
            source = self.sources.get(sent[1], "")
            if source == "zeros" and self.blank & ~before.zeros:
                source = ""
            return note._replace(programmed=source)
        return note._replace(programmed="") if command not in HARMLESS and command != Command.WRITE_ENABLE else note

    def decided(self, i: Instruction, state: State, condition: Condition, what, holds: bool) -> Step:
        note = state.note
        if self.rests(i, condition):
            return Step()
        if condition == Condition.MATCH and holds and what and what[3] == (Command.READ, self.place):
            programmed = self.sources.get(what[2])
            if programmed and programmed == note.programmed:
                if programmed == "slot":
                    return note._replace(verified=True, retired=False)
                if note.at_old:
                    return note._replace(retired=True)
        return note


class PeerWrites(DeviceRule):
    """The peer port starts a flash write only through a verified M1 (T1 under the key of this epoch or of the next), M2
    (T2) or RESYNC: until then only commands go to the flash that change nothing. A stale M1 never does."""

    follows = ("sponge", "spi")

    def __init__(self, code: Code, memory: Memory):
        super().__init__(code, memory)
        v, resync = memory, self.auth(memory.auth_key, msg.RESYNC, memory.sent_nonce)
        tags = ((v.tag_1, self.auth(v.auth_key, msg.M1, v.nonce_i)), (v.tag_2, self.as_initiator), (v.tag_2, resync))
        self.proofs = [("check", Port.SPONGE, (tag.address, msg.TAG_LENGTH), log) for tag, log in tags]
        self.entry = code.rom.labels["on_message"]

    def after(self, i: Instruction, before: State, state: State, routine: int) -> bool | None:
        note = state.note  # None: no peer's message is being served; else whether it was verified
        if routine == self.code.rom.start:
            return None
        if i.address == self.entry:
            return False
        if i.unit == Operand.EMIT_SPI and before.spi == () and i.operand not in HARMLESS:
            self.demand(note is not False, "a message writes to the flash that was not verified")
        return note

    def decided(self, i: Instruction, state: State, condition: Condition, what, holds: bool) -> bool | None:
        verified = condition == Condition.MATCH and holds and what in self.proofs
        return True if verified and state.note is not None else state.note


class AtRest(DeviceRule):
    """A secret field is zero whenever the main loop waits or looks for something to do; those of a session, a run as
    responder or an enrollment only while there is one, T3 not any more in a session."""

    def __init__(self, code: Code, memory: Memory, field: Field):
        super().__init__(code, memory)
        self.zeros, self.field = (field,), field
        self.all = span(field.address, field.length)
        lasting = field in (memory.session, memory.new_wrap)
        if memory.full and field == memory.session:
            self.follows, self.zeros = ("shelf",), (field, Field("PPAKE", SHELF + UNIT * Unit32.PPAKE, field.length))
        self.tracked = {memory.flags: (), memory.state: STATES} if lasting else {}
        self.tracked[memory.status] = NOTHING_WRONG
        self.at_rest = lasting

    def allowed(self, flags: int) -> int:
        """Bytes that may be there."""
        v = self.v
        if self.field == v.new_wrap:
            return self.all if flags & ENROLLING else 0
        if flags & (PENDING_RESPONDER | ENROLLING):
            return self.all
        return self.all & ~span(v.tag_3.address, v.tag_3.length) if flags & SESSION else 0

    def _look(self, state: State) -> None:
        values = state.values[0] if self.at_rest else 1
        for flags in (k for k in range(256) if values >> k & 1):
            left = self.all & ~state.zeros & ~(self.allowed(flags) if self.at_rest else 0)
            self.demand(not left, f"{self.field.name} is not wiped where the device rests (flags {flags:#04x})")

    def after(self, i: Instruction, before: State, state: State, routine: int):
        if self.rests(i):
            self._look(state)

    def decided(self, i: Instruction, state: State, condition: Condition, what, holds: bool):
        if self.rests(i, condition):
            self._look(state)


class Used(NamedTuple):
    """Units that have worked since they were cleared, or "clearing"."""

    sponge: str = ""
    puf: str = ""
    curve: str = ""


class Residue(DeviceRule):
    """Sponge, PUF engine and curve engine are cleared whenever the main loop waits or looks for something to do."""

    def __init__(self, code: Code, memory: Memory):
        super().__init__(code, memory)
        self.tracked = {memory.status: NOTHING_WRONG}

    def begin(self) -> Used:
        return Used()

    def after(self, i: Instruction, before: State, state: State, routine: int) -> Used:
        note = state.note
        if i.base == Base.DERIVE or i.unit == Operand.START:
            note = note._replace(sponge="used")
        elif i.strobe == Strobe.SPONGE_CLEAR:
            note = note._replace(sponge="")
        elif (command := self.puf_command(i)) is not None:
            note = note._replace(puf="clearing" if command == PufCommand.CLEAR.value else "used")
        elif (command := self.curve_command(i)) is not None:
            note = note._replace(curve="clearing" if command == CurveCommand.CLEAR else "used")
        if self.rests(i):
            self._look(note)
        return note

    def decided(self, i: Instruction, state: State, condition: Condition, what, holds: bool) -> Used:
        note = state.note
        if condition == Condition.PUF_BUSY and not holds:  # whoever's command was the last, it is over
            note = Used(note.sponge, *("" if unit == "clearing" else unit for unit in note[1:]))
        if self.rests(i, condition):
            self._look(note)
        return note

    def _look(self, note: Used) -> None:
        for name, left in note._asdict().items():
            self.demand(not left, f"{name} is not cleared where the device rests")


class Epochs(DeviceRule):
    """A slot that is programmed has the number of a record that was read and unsealed, plus one or two; a number of
    zero only where a journal begins, with no record found. So epochs and the device's own counter never go back. And no
    key of a record goes into a derivation unless the record was unsealed, or what is in its place was computed by the
    curve engine."""

    follows = ("spi",)

    def __init__(self, code: Code, memory: Memory):
        super().__init__(code, memory)
        self.tracked = {memory.found: TRUTH, memory.status: NOTHING_WRONG}
        number = memory.number
        self.run, self.slot = (number.address, number.length), (memory.slot.address, None)
        self.key = (memory.seal_key.address, memory.seal_key.length)

    def begin(self) -> str:
        return "zero"

    def after(self, i: Instruction, before: State, state: State, routine: int) -> str:
        note = state.note
        if self.code.writes(i, self.v.number):
            return self._changed(i, note)
        if self.code.gives(i, self.v.secret):
            known = note in ("unsealed", "+1", "+2", "computed")
            self.demand(known, "a key is used that is not from an unsealed record")
        if i.base == Base.SELECT and before.spi and before.spi[0] == Command.PAGE_PROGRAM and self.slot in before.spi:
            new = note == "zero" and not state.values[0] & ODD
            self.demand(new or note in ("+1", "+2"), f"a slot is programmed whose number is {note}")
        return note

    def _changed(self, i: Instruction, note: str) -> str:
        if i.port == Port.ZERO:
            return "zero"
        if i.port == Port.SPI:
            return "read"
        if i.port == Port.PUF:
            return "computed"
        if i.move == Move.INCREMENT and (i.runs[0].address, i.runs[0].length) == self.run:
            return {"unsealed": "+1", "+1": "+2"}.get(note, "anything")
        return "anything"

    def decided(self, i: Instruction, state: State, condition: Condition, what, holds: bool) -> str:
        tag = condition == Condition.MATCH and holds and what and what[:3] == ("tag", Port.SPI, self.key)
        return "unsealed" if tag and state.note == "read" else state.note


def rules(code: Code, memory: Memory) -> Iterator[Rule]:
    """All of this file, ready to explore."""
    for rule in (SessionKeys, CommitFirst, PeerWrites, Residue, Epochs):
        yield rule(code, memory)
    for field in memory.pad.fields.values():
        if field.secret:
            yield AtRest(code, memory, field)
