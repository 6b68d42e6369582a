"""All paths of a control program: its linked bytes, followed with sets of values in place of values.

The behavior of the device is one program, so what the device may ever do is a question about the paths through that
program. `Explorer` follows all of them from power-up on: every branch whose condition is not known goes both ways,
every port gives any bytes, any number of frames, presses and timeouts come in any order. It ends when nothing new is
found; the set of states it has then is closed under every instruction, that is, an inductive invariant: what was
checked in each of them holds for runs of any length. Calls are followed by summaries (a routine entered in the same
state is gone through once), which is exact because calls nest no deeper than the return stack (`formal/shape.py`).

A `Rule` says what is to be followed and what must hold. The fewer things it follows, the fewer states there are:

* ``tracked``: bytes of the scratchpad by the set of their possible values, or only by which of some blocks of values
  they are in. A branch on a condition that such a byte has set narrows the set. What no branch can ask any more is
  forgotten.
* ``zeros``: which bytes of some fields are zero for sure.
* ``sponge``: what was absorbed since its start, in order; ``spi``: what went out since the flash was selected;
  ``side``: which line is meant; ``frame``: that, and the first two bytes of the frame that is being made;
  ``shelf``: where on the shelf the next byte goes to or comes from.
* ``note``: whatever the rule remembers.

That the gateware does with an instruction what is assumed here is proven and tested elsewhere:
`formal/test_control.py`, `cocotb_tests/test_sequencer.py`.
"""

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ringpair_hdl.control import isa
from ringpair_hdl.control.decoder import Instruction, Run
from ringpair_hdl.control.isa import Base, Condition, Direction, Move, Op, Operand, Port, Strobe
from ringpair_hdl.control.scratchpad import Field
from ringpair_hdl.store.shelf import UNIT

from formal.states import (
    ANY,
    END,
    FLAGS,
    LOOSE,
    TO_SHELF,
    Code,
    Link,
    State,
    arithmetic,
    grow,
    questions,
    span,
    whole_blocks,
)


class Violation(AssertionError):
    """A path on which a rule is broken; the message shows the way there."""


class Rule:
    """What is followed, and what must hold. Subclasses override the two hooks, which return the note from then on.

    Attributes
    ----------
    tracked
        Fields of a byte whose values are followed, and the blocks of values that are told apart (none: all).
    zeros
        Fields of which zero bytes are.
    follows
        Which of "sponge", "spi", "side", "frame" and "shelf" are.
    at_rest
        The values of tracked bytes matter where the main loop waits.
    """

    tracked: Mapping[Field, tuple[int, ...]] = MappingProxyType({})
    zeros: tuple[Field, ...] = ()
    follows: tuple[str, ...] = ()
    at_rest: bool = False

    def begin(self):
        """The note at power-up."""
        return

    def after(self, i: Instruction, before: State, state: State, routine: int):
        """Behind an instruction of the routine that was entered at this address."""
        return state.note

    def decided(self, i: Instruction, state: State, condition: Condition, what, holds: bool):
        """Where a branch shows that a condition holds or not; ``what`` is what it was about, if that was known."""
        return state.note

    def received(self, state: State) -> int:
        """What the length of the received frame can be, as the device sees it."""
        return ANY

    @staticmethod
    def demand(true: object, message: str) -> None:
        if not true:
            raise Violation(message)


@dataclass
class Explored:
    """All that can be: states at each address, and how many in all."""

    states: dict[int, set[State]]
    count: int


class Explorer:
    """Follows all paths of a program under a rule."""

    def __init__(self, code: Code, rule: Rule):
        self.code, self.rule = code, rule
        self.places = tuple(field.address for field in rule.tracked)
        self.blocks = tuple(rule.tracked.values())
        self.forget = questions(code, self.places, rule.at_rest)
        self.follows = rule.follows
        self.watched = sum(span(field.address, field.length) for field in rule.zeros)

    def start(self) -> State:
        zeros = sum(1 << k for k, byte in enumerate(self.code.pad) if not byte) & self.watched
        values = tuple(
            whole_blocks(1 << self.code.pad[k], blocks) for k, blocks in zip(self.places, self.blocks, strict=True)
        )
        return State(values, zeros=zeros, note=self.rule.begin())

    def run(self, limit: int = 2_000_000) -> Explored:
        """Follow all paths; raises `Violation`, or RuntimeError if there are too many states."""
        entries: dict[tuple[int, State], int] = {}  # routine and state at its entry: number
        exits: dict[int, dict[State, None]] = defaultdict(dict)
        callers: dict[int, set[tuple[int, int]]] = defaultdict(set)
        origin: dict[tuple[int, int, State], tuple | None] = {}
        routines: list[int] = []
        waiting: deque[tuple[int, int, State]] = deque()

        def add(point, source):
            context, address, state = point
            point = context, address, self._forgotten(address, state)
            if point not in origin:
                origin[point] = source
                waiting.append(point)

        def entry(address, state, source):
            key = (address, state)
            if key not in entries:
                entries[key] = len(entries)
                routines.append(address)
                add((entries[key], address, state), source)
            return entries[key]

        entry(self.code.rom.start, self.start(), None)
        while waiting:
            point = waiting.popleft()
            context, address, state = point
            i = self.code.at(address)
            try:
                for target, after in self.step(i, state, routines[context]):
                    if target == "call":
                        callee = entry(i.target, after, point)
                        if (context, i.following) not in callers[callee]:
                            callers[callee].add((context, i.following))
                            for left in exits[callee]:
                                add((context, i.following, left), point)
                    elif target == "return":
                        if after not in exits[context]:
                            exits[context][after] = None
                            for caller, following in callers[context]:
                                add((caller, following, after), point)
                    else:
                        add((context, target, after), point)
            except Violation as error:
                raise Violation(f"{error}\n{self._way(origin, point)}") from None
            if len(origin) > limit:
                raise RuntimeError(f"more than {limit} states: follow less")
        states = defaultdict(set)
        for _, address, state in origin:
            states[address].add(state)
        return Explored(dict(states), len(origin))

    def _forgotten(self, address: int, state: State) -> State:
        """The state without what nothing asks for any more."""
        gone = self.forget[address]
        lost = {name: None for name in LOOSE if name in gone and getattr(state, name) is not None}
        values = tuple(ANY if n in gone else value for n, value in enumerate(state.values))
        if values != state.values:
            lost |= {f: None for f in ("zero", "carry") if isinstance(k := getattr(state, f), Link) and k.byte in gone}
            lost["values"] = values
        return state._replace(**lost) if lost else state

    def _way(self, origin, point) -> str:
        places = []
        while point is not None:
            name = self.code.routine(point[1])
            if not places or places[-1].split("+")[0] != name.split("+")[0]:
                places.append(name)
            point = origin[point]
        return f"on the way {' < '.join(places[:30])}"

    # ------------------------------------------------------------------ one instruction
    def step(self, i: Instruction, state: State, routine: int):
        """Pairs of where it goes ("call", "return" or an address) and the state there."""
        if i.test:
            yield from self._branch(i, state)
            return
        after = self._effect(i, state)
        note = self.rule.after(i, state, after, routine)
        if note is not after.note:
            after = after._replace(note=note)
        if i.base in (Base.CALL, Base.VECTOR):
            yield "call", after
        elif i.returns:
            yield "return", after
        else:
            yield (i.target if i.base == Base.JUMP else i.following), after

    def _branch(self, i: Instruction, state: State):
        condition, unless = i.test
        for holds in (False, True):
            after = self._decide(i, state, condition, holds)
            if after is not None:
                taken = holds != unless
                yield (("return" if i.returns else i.target) if taken else i.following), after

    def _decide(self, i: Instruction, state: State, condition: Condition, holds: bool) -> State | None:
        """The state if the condition holds, or if not; None if that cannot be."""
        name = FLAGS.get(condition)
        what = getattr(state, name) if name else None
        if isinstance(what, bool):
            return state if what == holds else None
        if isinstance(what, Link):
            left = state.values[what.byte] & (what.values if holds else ~what.values)
            if not left:
                return None
            state = state._replace(values=self._put(state.values, what.byte, left))
        if name:
            state = state._replace(**{name: holds})
        note = self.rule.decided(i, state, condition, what, holds)
        return state if note is state.note else state._replace(note=note)

    def _put(self, values: tuple, number: int, value: int) -> tuple:
        return (*values[:number], whole_blocks(value, self.blocks[number]), *values[number + 1 :])

    def _effect(self, i: Instruction, s: State) -> State:
        match i.base:
            case Base.BYTE:
                return self._byte(i, s)
            case Base.MOVE:
                return self._move(i, s)
            case Base.DERIVE:
                run = i.runs[0]
                label = self.code.pad[run.address : run.address + run.length]
                return self._sponge(s, (8, (label, END), 0))
            case Base.STROBE:
                return self._strobe(i, s)
            case Base.SELECT if i.opcode & 2:
                return s._replace(side=i.opcode & 1) if {"frame", "side"} & {*self.follows} else s
            case Base.SELECT:
                return s._replace(spi=() if i.opcode & 1 else None) if "spi" in self.follows else s
            case Base.OPERAND:
                return self._operand(i, s)
        return s

    def _strobe(self, i: Instruction, s: State) -> State:
        match i.strobe:
            case Strobe.SPONGE_END if s.sponge:
                return self._sponge(s, (s.sponge[0], grow(s.sponge[1], END), 0))
            case Strobe.SPONGE_CLEAR:
                return self._sponge(s, None)
            case Strobe.SEND:
                return s._replace(frame=())
        return s

    def _operand(self, i: Instruction, s: State) -> State:
        match i.unit:
            case Operand.START:
                return self._sponge(s, (i.operand, (), 0))
            case Operand.PUF if "shelf" in self.follows:
                here = UNIT * (i.operand - TO_SHELF) if i.operand >= TO_SHELF else None
                return s._replace(shelf=here)
            case Operand.EMIT_SPONGE:
                return self._absorb(s, i.operand)
            case Operand.EMIT_LINK:
                return self._say(s, i.operand)
            case Operand.EMIT_SPI:
                return self._flash(s, i.operand)
        return s

    def _sponge(self, s: State, sponge) -> State:
        return s._replace(sponge=sponge) if "sponge" in self.follows else s

    def _absorb(self, s: State, item) -> State:
        return self._sponge(s, (s.sponge[0], grow(s.sponge[1], item), 0)) if s.sponge else s

    def _squeeze(self, s: State, length: int) -> State:
        return self._sponge(s, (*s.sponge[:2], s.sponge[2] + length)) if s.sponge else s

    def _flash(self, s: State, item) -> State:
        if s.spi is None or (item == "read" and item in s.spi):
            return s
        return s._replace(spi=grow(s.spi, item))

    def _say(self, s: State, item) -> State:
        return s._replace(frame=(*s.frame, item)) if "frame" in self.follows and len(s.frame) < 2 else s

    # ------------------------------------------------------------------ the scratchpad
    def _byte(self, i: Instruction, s: State) -> State:
        number = self.places.index(i.place) if i.place in self.places else None
        new, zero, carry = arithmetic(i.op, i.operand, ANY if number is None else s.values[number])
        if i.op not in (Op.TEST, Op.COMPARE):
            s = self.write(s, i.place, 1, 1, zero=i.op == Op.SET and not i.operand, values=new)
        flags = {"zero": zero} | ({} if carry is None else {"carry": carry})
        return s._replace(**{name: self._known(number, new, values) for name, values in flags.items()})

    @staticmethod
    def _known(number, values, wanted):
        """The condition that one of some values is among the wanted ones."""
        if not values & ~wanted:
            return True
        if not values & wanted:
            return False
        return None if number is None else Link(number, wanted)

    def write(self, s: State, address: int, least: int, most: int, *, zero: bool, values: int = ANY) -> State:
        """Bytes from an address on change: at least and at most so many; all to zero, or to any of some values."""
        numbers = [n for n, place in enumerate(self.places) if address <= place < address + most]
        for n in numbers:
            new = 1 if zero else values
            if address + least <= self.places[n]:  # perhaps not written
                new |= s.values[n]
            lost = {f: None for f in ("zero", "carry") if isinstance(getattr(s, f), Link) and getattr(s, f).byte == n}
            s = s._replace(values=self._put(s.values, n, new), **lost)
        if self.watched:
            zeros = s.zeros | span(address, least) & self.watched if zero else s.zeros & ~span(address, most)
            s = s._replace(zeros=zeros)
        return s

    def _move(self, i: Instruction, s: State) -> State:
        run = i.runs[-1]
        least, most = self._extent(i, run, s)
        item = (run.address, run.length)
        source, target, length = self.code.spans(i, s)
        if length and i.move is None:
            s = self._copy(s, target, source, length, length)
            return s._replace(shelf=s.shelf + length)
        match i.move:
            case Move.GIVE_END:
                given = self.code.label(i) if s.sponge == (isa.CUSTOM, (), 0) else item
                return self._absorb(self._absorb(s, given), END)
            case Move.INCREMENT:
                s = self.write(s, run.address, least, most, zero=False)
                return s._replace(zero=None, carry=None)
            case Move.COPY:
                return self._copy(s, i.runs[0].address, run.address, least, most)
            case Move.TAKE_CODE:
                for k, byte in enumerate(i.data):
                    s = self.write(s, run.address + k, 1, 1, zero=not byte, values=1 << byte)
                return s if i.data else self.write(s, run.address, least, most, zero=False)
            case Move.LESS:
                what = ("less", item, (i.runs[0].address, i.runs[0].length))
                return s._replace(zero=what, carry=what)
        match i.direction:
            case Direction.GIVE:
                return self._give(i, s, item)
            case Direction.TAKE:
                if i.port == Port.SPONGE:
                    s = self._squeeze(s, most)
                elif i.port == Port.SPI:
                    s = self._flash(s, "read")
                least = 0 if i.port == Port.TRNG else least  # an alarm ends it
                values = self.rule.received(s) if i.port == Port.FRAME else ANY
                return self.write(s, run.address, least, most, zero=i.port == Port.ZERO, values=values)
            case Direction.CHECK:
                what = ("check", i.port, item, s.sponge if i.port == Port.SPONGE else s.spi)
                return (self._squeeze(s, most) if i.port == Port.SPONGE else s)._replace(match=what)
        what = ("tag", i.port, item, s.sponge)
        if i.port == Port.SPONGE:
            s = self.write(s, i.runs[0].address, least, most, zero=False)
            what = None
        return self._absorb(s, ("crypt", *item))._replace(match=what)

    def _extent(self, i: Instruction, run: Run, s: State) -> tuple[int, int]:
        if run.length is None and isa.LENGTH_ADDRESS in self.places:
            values = s.values[self.places.index(isa.LENGTH_ADDRESS)]
            lengths = [k & 127 for k in range(256) if values >> k & 1]
            return min(lengths), max(lengths)
        return self.code.extent(i, run)

    def _give(self, i: Instruction, s: State, item) -> State:
        match i.port:
            case Port.SPONGE:
                return self._absorb(s, item)
            case Port.LINK:
                return self._say(s, item)
            case Port.SPI:
                return self._flash(s, item)
        return s

    def _copy(self, s: State, target: int, source: int, least: int, most: int) -> State:
        zeros = s.zeros >> source & span(0, most)
        known = {
            n: s.values[self.places.index(place - target + source)]
            for n, place in enumerate(self.places)
            if target <= place < target + most and place - target + source in self.places
        }
        s = self.write(s, target, least, most, zero=False)
        for n, values in known.items():
            if self.places[n] >= target + least:
                values |= s.values[n]
            s = s._replace(values=self._put(s.values, n, values))
        if least == most:
            return s._replace(zeros=s.zeros | (zeros << target & self.watched))
        return s


def explore(code: Code, rule: Rule) -> Explored:
    """All paths under a rule; raises `Violation` with the way to the first state where it is broken."""
    return Explorer(code, rule).run()
