"""What must hold on every path of a program for controllers: PIN and tries, records, keys of sessions, the shelf.

Each class is one property, and its docstring says it. All of it is about the profile ``FULL``.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ringpair_hdl.control.decoder import Instruction
from ringpair_hdl.control.isa import Condition, Direction, Move, Op, Operand, Port
from ringpair_hdl.control.scratchpad import Field
from ringpair_hdl.curve.commands import Command as CurveCommand
from ringpair_hdl.curve.commands import OnElement
from ringpair_hdl.curve.elements import Element
from ringpair_hdl.pin_display import PinCommand
from ringpair_hdl.program import Memory
from ringpair_hdl.program.curve import Unit32
from ringpair_hdl.program.memory import DEVICE, Run
from ringpair_protocol import derivations as kdf
from ringpair_protocol import messages as msg
from ringpair_protocol.admin import Opcode
from ringpair_protocol.binding import BIND_C, PIN_TRIES, STS_C
from ringpair_protocol.nor import Command

from formal.counters import STEPS
from formal.paths import Rule
from formal.rules import DECRYPT, HARMLESS, NOTHING_WRONG, TRUTH, CommitFirst, DeviceRule, Step, inputs
from formal.states import Code, State, grow, sets, values_of

ASKING = (values_of(lambda k: k < Run.ASKED), values_of(lambda k: k >= Run.ASKED))
"""Blocks of how far a run is: a binding, after B2, or not."""
KEYS = (Unit32.PPAKE, Unit32.OPENING, Unit32.SESSION)
"""Units of the shelf that hold keys."""


class Question(NamedTuple):
    """What ZERO and CARRY are about, where a rule does not follow the byte itself."""

    op: Op
    place: int
    operand: int


def asked(i: Instruction, before: Question | None) -> Question | None:
    if i.op in (Op.COMPARE, Op.TEST):
        return Question(i.op, i.place, i.operand)
    return None if "zero" in sets(i, ()) else before


def is_set(i: Instruction, field: Field, value: int) -> bool:
    """A byte becomes this; as one of a run of zeros, too."""
    zeros = range(*i.runs[0].span) if i.direction == Direction.TAKE and i.port == Port.ZERO else ()
    return (field.address in zeros and not value) or (
        i.op == Op.SET and i.place == field.address and i.operand == value
    )


class Try(NamedTuple):
    commit: Step = Step()  # as `CommitFirst` follows it, since the try was counted in the open slot
    count: str = ""  # how far the counting is
    cleared: bool = False  # the dynamic PIN is forgotten


class PinCounter(CommitFirst):
    """Nothing is computed with a PIN, and no B2 leaves, before a try was counted: tries of the open device slot, plus
    one, programmed, read back at the same address and found equal. With five tries already, only if the button was
    held, and then it is the first. A try is good for one B2, and a dynamic PIN is forgotten before it is used."""

    def begin(self) -> Try:
        return Try()

    def after(self, i: Instruction, before: State, state: State, routine: int) -> Try:
        v, note = self.v, state.note
        if self.rests(i):
            return Try()
        commit = super().after(i, before, state._replace(note=note.commit), routine)
        note = self._counted(i, note._replace(commit=commit))
        if (command := self.pin_command(i)) is not None and command != PinCommand.TELL:
            note = note._replace(cleared=command == PinCommand.CLEAR)
        if note.count == "counted" and note.commit.verified:
            note = note._replace(count="verified")
        counted = note.count == "verified"
        if i.unit is None and self.code.gives(i, v.digits, port=Port.PUF):
            self.demand(counted, "something is computed with the PIN before the try is counted in flash")
            self.demand(note.cleared, "a dynamic PIN is used and kept")
        if i.unit == Operand.EMIT_LINK and i.operand == msg.B2:
            self.demand(counted, "B2 leaves before the try is counted in flash")
            return Try()
        return note

    def _counted(self, i: Instruction, note: Try) -> Try:
        v, count = self.v, note.count
        copied = (i.runs[0].address, i.runs[1].address) if i.move == Move.COPY else ()
        if copied == (v.spi.address, v.pin_tries.address):
            return note._replace(count="read")
        if copied == (v.pin_tries.address, v.spi.address):
            return Try(count="counted") if count == "one more" else note._replace(count="")
        if self.code.writes(i, v.spi):
            if is_set(i, v.spi, 0) and count == "held":
                return note._replace(count="left")
            more = i.op == Op.ADD and i.operand == 1 and count == "left"
            kept = count if count in ("counted", "verified") else ""
            return note._replace(count="one more" if more else kept)
        if count == "counted" and self.code.writes(i, v.pin_tries) and i.direction != Direction.CRYPT:
            return note._replace(count="")
        if count == "read" and i.op == Op.COMPARE and i.place == v.spi.address and i.operand == PIN_TRIES:
            return note._replace(count="asked")
        return note._replace(count="read") if count == "asked" and sets(i, ()) else note

    def decided(self, i: Instruction, state: State, condition: Condition, what, holds: bool) -> Try:
        note = state.note
        if self.rests(i, condition):
            return Try()
        commit = super().decided(i, state._replace(note=note.commit), condition, what, holds)
        count = note.count
        if count == "asked" and condition == Condition.CARRY:
            count = "none left" if holds else "left"
        elif count == "none left" and condition == Condition.BUTTON and holds:
            count = "held"
        return note._replace(commit=commit, count=count)


class PinTold(DeviceRule):
    """A PIN goes to the host or onto the display, or is drawn, only if the button was held meanwhile."""

    follows = ("shelf",)

    def begin(self) -> bool:
        return False

    def after(self, i: Instruction, before: State, state: State, routine: int) -> bool:
        if self.rests(i):
            return False
        self.demand(state.note or not self.code.gives(i, self.v.digits, port=Port.LINK), "a PIN is told to anybody")
        drawn = self.pin_command(i) in (PinCommand.KEEP, PinCommand.SHOW)
        self.demand(state.note or not drawn, "a PIN is drawn for anybody")
        return state.note

    def decided(self, i: Instruction, state: State, condition: Condition, what, holds: bool) -> bool:
        return not self.rests(i, condition) and (state.note or (condition == Condition.BUTTON and holds))


class Tries(NamedTuple):
    derived: bytes = b""  # the last keys that were
    ta: bool = False  # the Ta of a binding lies on the shelf
    loaded: bool = False  # and in ``seal_key``
    equal: bool = False
    former: bool = False  # ``former`` says how far the run was
    right: bool = False  # and that it was right
    question: Question | None = None
    changed: str = ""  # what became of the tries of the open slot
    device: bool = False  # the open journal is the device's


class TriesBack(DeviceRule):
    """A run becomes right only after all 16 bytes of Ta compared equal with that of the B1 it goes on from; and a
    device slot in which tries were given back is programmed only in a run that is right. Where a device journal begins,
    no record was found (`Epochs`)."""

    follows = ("spi", "shelf")

    def __init__(self, code: Code, memory: Memory):
        super().__init__(code, memory)
        self.tracked = {memory.run: ASKING, memory.status: NOTHING_WRONG, memory.found: TRUTH}
        v = memory
        self.asks = Question(Op.COMPARE, v.former.address, Run.RIGHT)
        self.ta = ("check", Port.LINK, (v.seal_key.address, msg.TAG_LENGTH), None)
        self.slot = (v.slot.address, None)

    def begin(self) -> Tries:
        return Tries()

    def after(self, i: Instruction, before: State, state: State, routine: int) -> Tries:
        v, note = self.v, state.note
        if self.rests(i):
            return Tries(ta=note.ta)
        if self.code.writes(i, v.former):
            copied = i.move == Move.COPY and i.runs[1].address == v.run.address
            note = note._replace(former=copied, right=False)
        note = note._replace(question=asked(i, note.question))
        if note.question != self.asks:
            note = note._replace(question=None)
        if label := self.code.label(i):
            note = note._replace(derived=label if label in (kdf.BIND_KEYS.label, kdf.CONTROLLER_SESSION.label) else b"")
        if (swap := self.swap(i, before)) and swap.put and swap.unit == Unit32.OPENING:
            note = note._replace(ta=swap.what == "buffer" and note.derived == kdf.BIND_KEYS.label)
        if self.code.writes(i, v.seal_key):
            whole = swap and not swap.put and (swap.unit, swap.offset) == (Unit32.OPENING, 0)
            note = note._replace(loaded=bool(whole and note.ta), equal=False)
        if self.code.writes(i, v.run) and not any(is_set(i, v.run, run) for run in Run if run != Run.RIGHT):
            self.demand(note.equal, "a run is right without Ta compared equal")
        if self.code.writes(i, v.kind):
            note = note._replace(device=i.op == Op.SET and i.operand == DEVICE)
        return self._programmed(before, self._changed(i, state, note))

    def _changed(self, i: Instruction, state: State, note: Tries) -> Tries:
        v = self.v
        if not self.code.writes(i, v.pin_tries):
            return note
        if i.port == Port.SPI:
            return note._replace(changed="")
        if i.direction == Direction.CRYPT or (i.move == Move.COPY and i.runs[1].address == v.spi.address):
            return note
        if i.port == Port.ZERO and i.runs[0].span == (v.pin_tries.address, v.pin_tries.end):
            return note._replace(changed="given back" if note.right else "given away")
        return note._replace(changed="a new slot" if i.port == Port.ZERO else "overwritten")

    def _programmed(self, before: State, note: Tries) -> Tries:
        if note.device and before.spi and before.spi[0] == Command.PAGE_PROGRAM and self.slot in before.spi:
            self.demand(note.changed not in ("given away", "overwritten"), f"tries are {note.changed}")
        return note

    def decided(self, i: Instruction, state: State, condition: Condition, what, holds: bool) -> Tries:
        note = state.note
        if self.rests(i, condition):
            return Tries(ta=note.ta)
        if condition == Condition.MATCH:
            return note._replace(equal=bool(holds and what == self.ta and note.loaded))
        if condition == Condition.ZERO and holds and note.question == self.asks:
            return note._replace(right=note.former)
        return note


class Serving(NamedTuple):
    """How far the message of a controller is."""

    what: int = 0  # its header, or the opcode of its command
    question: Question | None = None
    former: bool = False  # ``former`` says how far the run was
    run: int = 0  # and it was so far
    idle: bool = False  # it is over
    bound: bool = False  # there is a session
    found: bool = False  # a record
    owner: Unit32 = Unit32.PPAKE  # whose keys are in place
    under: Unit32 = Unit32.PPAKE  # under whose a tag was compared
    tag: bool = False  # the tag under the opening's keys compared equal; of data: under the session's
    named: bool = False  # ``service_key`` is of the service that is meant
    said: bool = False  # what was said lies on the shelf, by this message
    device: bool = False  # the open journal is the device's
    element: int = -1  # what the curve engine loads
    public: tuple = ()  # where its PUBLIC is from
    hashed: tuple | None = None  # what it was given since a verification began
    verdict: str = ""  # of the signature

    @property
    def genuine(self) -> bool:
        """All of the message is."""
        return self.tag and self.named and self.verdict == "genuine"


COMMANDS = (Opcode.CONTROLLER_REST, Opcode.PIN, Opcode.BINDINGS)
MESSAGES = (msg.B1, msg.B3, msg.S1, msg.S3, msg.DATA)


class Controllers(DeviceRule):
    """A controller's message writes to the flash only: as B1, a device slot; as B3, device slots after Ta was right,
    and a controller's journal after tag, service id and signature of the statement were right, too; as data, after its
    tag compared equal. The keys of a session are put in their place, and count, only after an S3 whose tag and
    signature of the statement were right, by the key of an unsealed record; they are used only while they count. B4
    is sealed only for a B3 that was right."""

    follows = ("spi", "sponge", "shelf")

    def __init__(self, code: Code, memory: Memory):
        super().__init__(code, memory)
        v = memory
        self.tag = ("tag", Port.LINK, (v.rx_key.address, v.rx_key.length))
        self.name = ("check", Port.SPONGE, (v.service_id.address, 8), inputs(kdf.SERVICE_ID, service_key=v.service_key))
        rest, s3 = (v.said[:80], v.service_key), (v.share_d, v.share_c, v.service_key, v.device_key)
        self.statements = {Opcode.CONTROLLER_REST: self._flat(BIND_C, rest), msg.S3: self._flat(STS_C, s3)}
        self.answers = {Question(Op.COMPARE, v.opcode.address, k): {"what": k} for k in COMMANDS}
        self.answers |= {Question(Op.COMPARE, v.message.address, k): {"what": k} for k in MESSAGES}
        self.answers |= {Question(Op.COMPARE, v.former.address, k): {"run": k} for k in (Run.OPENED, Run.RIGHT)}
        self.there = {Question(Op.TEST, v.bound.address, 1): {"bound": True}}
        self.there |= {Question(Op.TEST, v.found.address, 1): {"found": True}}
        self.constants = [field for field in memory.pad.fields.values() if field.constant]

    @staticmethod
    def _flat(label: bytes, fields: tuple[Field, ...]) -> list:
        """A statement byte by byte, its length first: values of constants, addresses of all else."""
        places = [("at", k) for field in fields for k in range(field.address, field.end)]
        return [len(label) + len(places), *label, *places]

    def _hashed(self, runs: tuple) -> list:
        constant = {k for field in self.constants for k in range(field.address, field.end)}
        places = [k for address, length in runs for k in range(address, address + length)]
        return [self.code.pad[k] if k in constant else ("at", k) for k in places]

    def begin(self) -> Serving:
        return Serving()

    # ------------------------------------------------------------------ what is followed
    def after(self, i: Instruction, before: State, state: State, routine: int) -> Serving:
        v, note = self.v, state.note
        if routine == self.code.rom.start:
            return Serving()
        note = self._asked(i, note)
        if swap := self.swap(i, before):
            note = self._swapped(i, swap, note)
        elif i.port == Port.PUF or i.unit == Operand.PUF:
            note = self._engine(i, note)
        if self.code.writes(i, v.kind):
            note = note._replace(device=i.op == Op.SET and i.operand == DEVICE)
        if i.direction == Direction.CRYPT and i.port == Port.LINK:
            note = note._replace(under=note.owner)
        if self.code.writes(i, v.service_key) and not swap:
            record = i.move == Move.COPY and i.runs[1].address == v.chain_key.address
            note = note._replace(named=note.what == msg.S1 and record and note.found)
        self._used(i, before, note)
        return note

    def _asked(self, i: Instruction, note: Serving) -> Serving:
        v, question = self.v, asked(i, note.question)
        if note.verdict == "told" and question == Question(Op.TEST, v.spi.address, 0xFF):
            note = note._replace(verdict="tested")
        elif note.verdict == "tested" and "zero" in sets(i, ()):
            note = note._replace(verdict="")
        note = note._replace(question=question if question in self.answers or question in self.there else None)
        if self.code.writes(i, v.former):
            note = note._replace(former=i.move == Move.COPY and i.runs[1].address == v.run.address, run=0)
        if self.code.writes(i, v.run):
            note = note._replace(idle=is_set(i, v.run, Run.NONE))
        return note._replace(found=note.found and not self.code.writes(i, v.found, v.slot))

    def _swapped(self, i: Instruction, swap, note: Serving) -> Serving:
        if swap.put and swap.unit == Unit32.SAID:
            self.demand(note.idle, "what was said changes within a run")
            return note._replace(said=note.what == msg.B1 or note.named)
        if swap.put and swap.unit == Unit32.SESSION and swap.what == "buffer":
            self.demand(note.what == msg.S3 and note.genuine, "keys become a session's without a genuine S3")
        if not swap.put and swap.unit == Unit32.SAID and self.code.writes(i, self.v.service_key):
            return note._replace(named=note.run == Run.OPENED)
        return note._replace(owner=swap.unit) if swap.what == "keys" and not swap.put else note

    def _engine(self, i: Instruction, note: Serving) -> Serving:
        """Commands of the curve engine, and what it is given and gives."""
        if (command := self.curve_command(i)) is None and i.unit == Operand.PUF:
            return note
        if command == CurveCommand.VERIFY_BEGIN:
            return note._replace(hashed=(), verdict="")
        if command == CurveCommand.VERIFY_END:
            right = note.hashed is not None and self._hashed(note.hashed) == self.statements.get(note.what)
            by = note.public == (self.v.service_key.address, self.v.service_key.length)
            return note._replace(hashed=None, verdict="computed" if right and by and note.named else "")
        if command == CurveCommand.STATUS:
            return note._replace(verdict="asked" if note.verdict == "computed" else "")
        if command is not None:
            keeps = command == CurveCommand.HASH
            loads = command & 0x1F if command & ~0x1F == OnElement.LOAD else -1
            verdict = note.verdict if note.verdict == "genuine" else ""
            return note._replace(element=loads, hashed=note.hashed if keeps else None, verdict=verdict)
        run = (i.runs[0].address, i.runs[0].length)
        if i.direction == Direction.TAKE:
            asked = note.verdict == "asked" and self.code.writes(i, self.v.spi)
            return note._replace(verdict="told" if asked else note.verdict)
        if note.hashed is not None:
            return note._replace(hashed=grow(note.hashed, run))
        return note._replace(public=run, element=-1) if note.element == Element.PUBLIC else note

    # ------------------------------------------------------------------ what must hold
    def _used(self, i: Instruction, before: State, note: Serving) -> None:
        v = self.v
        if i.unit == Operand.EMIT_SPI and before.spi == () and i.operand not in HARMLESS:
            self.demand(self._may_write(note), "a controller's message writes to the flash that may not")
        if self.code.writes(i, v.bound) and not is_set(i, v.bound, 0):
            self.demand(note.what == msg.S3 and note.genuine, "a session begins without a genuine S3")
        if is_set(i, v.run, Run.OPENED):
            self.demand(note.what == msg.S1 and note.said, "a session is opened with a service that has no record")
        if self.code.gives(i, v.tx_key, v.rx_key) and note.owner == Unit32.SESSION:
            self.demand(note.bound, "a controller's keys are used without a session")
        if i.unit == Operand.START and not i.operand & DECRYPT and note.owner == Unit32.OPENING:
            last = note.what == Opcode.CONTROLLER_REST and note.genuine
            self.demand(note.what == msg.S1 or last, "B4 is sealed for a controller that is not genuine")

    @staticmethod
    def _may_write(note: Serving) -> bool:
        match note.what:
            case msg.B1:
                return note.device
            case Opcode.CONTROLLER_REST:
                return note.run == Run.RIGHT and (note.device or note.genuine)
            case msg.DATA:
                return note.tag
        return note.what == 0

    def decided(self, i: Instruction, state: State, condition: Condition, what, holds: bool) -> Serving:
        note = state.note
        if self.rests(i, condition):
            return Serving()
        if condition == Condition.ZERO and holds and note.verdict == "tested":
            return note._replace(verdict="genuine")
        if condition == Condition.ZERO:
            return self._found((self.answers if holds else self.there).get(note.question, {}), note)
        if condition == Condition.MATCH and holds and what and what[:3] == self.tag:
            data = note.what == msg.DATA
            return note._replace(tag=note.under == (Unit32.SESSION if data else Unit32.OPENING))
        if condition == Condition.MATCH and holds and what == self.name:
            return note._replace(named=True)
        return note

    @staticmethod
    def _found(answer: dict, note: Serving) -> Serving:
        """What a message or command is, how far the run was, whether there is a session or a record."""
        return note if "run" in answer and not note.former else note._replace(**answer)


class Shelf(DeviceRule):
    """Where the main loop waits or looks for something to do, no key lies on the shelf but those of a run that goes on,
    and those of a session with a controller that there is. (What power-up left there counts as none.)"""

    follows = ("shelf",)
    at_rest = True

    def __init__(self, code: Code, memory: Memory):
        super().__init__(code, memory)
        self.tracked = {memory.run: STEPS, memory.bound: TRUTH}

    def begin(self) -> frozenset:
        return frozenset()

    def after(self, i: Instruction, before: State, state: State, routine: int) -> frozenset:
        note = state.note
        if (swap := self.swap(i, before)) and swap.put and swap.unit in KEYS:
            note = note - {swap.unit} if swap.what == "public" else note | {swap.unit}
        if self.rests(i):
            self._look(state, note)
        return note

    def decided(self, i: Instruction, state: State, condition: Condition, what, holds: bool) -> frozenset:
        if self.rests(i, condition):
            self._look(state, state.note)
        return state.note

    def _look(self, state: State, held: frozenset) -> None:
        none = state.values[0] & 1 << Run.NONE
        allowed = {Unit32.OPENING} if not none else set()
        allowed |= {Unit32.SESSION} if not state.values[1] & TRUTH[1] else set()
        left = sorted(unit.name for unit in held - allowed)
        self.demand(not left, f"keys of {', '.join(left)} lie on the shelf where the device rests")


class Signed(NamedTuple):
    seed: bool = False  # ``chain_key`` is the seed of the device's identity
    element: int = -1  # what the curve engine loads or reads
    loaded: frozenset = frozenset()  # SEED, PUBLIC: those that were, as they must be
    key: bool = False  # ``device_key`` is the public key of the seed
    made: bool = False  # PUBLIC is, in the engine


class Signing(DeviceRule):
    """The engine signs only with the seed of the device's identity and with the public key that it has made of it,
    which nothing else is put in the place of."""

    follows = ("shelf",)

    def __init__(self, code: Code, memory: Memory):
        super().__init__(code, memory)
        self.tracked = {memory.has_key: TRUTH, memory.status: NOTHING_WRONG, memory.found: TRUTH}

    def begin(self) -> Signed:
        return Signed()

    def after(self, i: Instruction, before: State, state: State, routine: int) -> Signed:
        v, note = self.v, state.note
        if self.rests(i):
            return Signed()
        if self.code.writes(i, v.chain_key):
            note = note._replace(seed=False)
        if label := self.code.label(i):
            note = note._replace(element=-2 if label == kdf.IDENTITY_SEED.label else -1)
        if i.port == Port.SPONGE and i.direction == Direction.TAKE and note.element == -2:
            note = note._replace(seed=i.runs[0].span == (v.chain_key.address, v.chain_key.end), element=-1)
        if swap := self.swap(i, before):
            return self._swapped(i, swap, state, note)
        if self.code.writes(i, v.device_key):
            note = note._replace(key=note.made and note.element == Element.PUBLIC and i.direction == Direction.TAKE)
        if (command := self.curve_command(i)) is not None:
            return self._command(command, note)
        if i.direction == Direction.GIVE and i.port == Port.PUF:
            return self._loaded(i, note)
        return note

    def _swapped(self, i: Instruction, swap, state: State, note: Signed) -> Signed:
        if swap.put and swap.unit == Unit32.IDENTITY:
            self.demand(note.key, "what is put onto the shelf is not the device's public key")
        if not swap.put and self.code.writes(i, self.v.device_key):
            return note._replace(key=swap.unit == Unit32.IDENTITY and not state.values[0] & TRUTH[1])
        return note

    def _command(self, command: int, note: Signed) -> Signed:
        element = command & 0x1F if command & ~0x1F in (OnElement.LOAD, OnElement.READ) else -1
        note = note._replace(element=element)
        match command:
            case CurveCommand.KEY:
                return note._replace(made=Element.SEED in note.loaded, loaded=frozenset())
            case CurveCommand.SIGN_BEGIN:
                self.demand(len(note.loaded) == 2, "a seed and a public key do not belong together")
            case CurveCommand.CLEAR:
                return note._replace(loaded=frozenset(), made=False)
        return note

    def _loaded(self, i: Instruction, note: Signed) -> Signed:
        v, span = self.v, i.runs[0].span
        right = {
            Element.SEED: note.seed and span == (v.chain_key.address, v.chain_key.end),
            Element.PUBLIC: note.key and span == (v.device_key.address, v.device_key.end),
        }
        if note.element not in right:
            return note
        loaded = note.loaded - {note.element} | ({note.element} if right[note.element] else set())
        return note._replace(loaded=loaded, element=-1, made=note.made and note.element != Element.PUBLIC)


def controller_rules(code: Code, memory: Memory) -> Iterator[Rule]:
    """All of this file, ready to explore."""
    for rule in (PinCounter, PinTold, TriesBack, Controllers, Shelf, Signing) if memory.full else ():
        yield rule(code, memory)
