"""What must hold on every path of the counters of texts, for each set of keys that a device has.

In the profile `FULL` there are three: those of a session with a device, those of what a controller opens, and those of
its session. Two lie on the shelf while one is in place; a set is keys, both counters and the session's id together.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ringpair_hdl.control.decoder import Instruction
from ringpair_hdl.control.isa import Base, Condition, Move, Operand, Port
from ringpair_hdl.control.scratchpad import Field
from ringpair_hdl.program import Memory
from ringpair_hdl.program.curve import Unit32
from ringpair_hdl.program.memory import Run
from ringpair_protocol import derivations as kdf
from ringpair_protocol.admin import Event

from formal.paths import Rule
from formal.rules import ANSWERING, DECRYPT, NOTHING_WRONG, TRUTH, DeviceRule, Swap
from formal.states import Code, State, values_of

SETS = (Unit32.PPAKE, Unit32.OPENING, Unit32.SESSION)
OPENS = (kdf.BIND_KEYS.label, kdf.CONTROLLER_SESSION.label)
ASKED = 1 << Run.ASKED | 1 << Run.WRONG
STEPS = (1 << Run.NONE, 1 << Run.OPENED, ASKED, 1 << Run.RIGHT, values_of(lambda k: k > max(Run)))
"""Blocks of how far a run is."""


class Sent(NamedTuple):
    """Of one copy of the keys that are followed."""

    sent: bool = False  # this counter was used
    room: bool = False  # it is not the last
    new: bool = False  # the key is a new one; of an opening: they are no session's yet


class Copies(NamedTuple):
    """Where the keys lie that are followed."""

    here: Sent | None = None  # in place
    shelf: Sent | None = None
    derived: bool = False  # keys for the shelf were, and are not there yet

    def use(self) -> "Copies":
        """The counter in place goes out: the other copy's, too."""
        return self._replace(here=self.here._replace(sent=True), shelf=self.shelf and self.shelf._replace(sent=True))


class SentCounters(DeviceRule):
    """No counter of sent texts is used twice under a key, none wraps, and they begin again only with a new key. The
    keys of an opening seal once, and become a session's once. One set of keys is followed, wherever it lies."""

    follows = ("shelf",)

    def __init__(self, code: Code, memory: Memory, unit: Unit32):
        super().__init__(code, memory)
        self.field, self.unit = Field(unit.name, 0, 0), unit
        self.tracked = {memory.flags: ANSWERING, memory.status: NOTHING_WRONG} if unit == Unit32.PPAKE else {}
        if unit == Unit32.OPENING:
            self.tracked |= {memory.run: STEPS, memory.former: STEPS, memory.status: NOTHING_WRONG}
        elif unit == Unit32.SESSION:
            self.tracked |= {memory.bound: TRUTH}
        self.room = ("less", *((field.address, field.length) for field in (memory.tx_counter, memory.last_counter)))

    def begin(self) -> Copies:
        return Copies(here=Sent()) if self.unit == Unit32.PPAKE else Copies()

    def after(self, i: Instruction, before: State, state: State, routine: int) -> Copies:
        v, note = self.v, state.note
        if self.rests(i):
            return self._rested(note)
        if swap := self.swap(i, before):
            return self._swapped(swap, note)
        if self.code.label(i) in OPENS:
            return note._replace(derived=self.unit == Unit32.OPENING)
        if not note.here:
            return note
        if self.unit == Unit32.OPENING:
            return self._seals(i, note)
        if self.code.writes(i, v.tx_key) and i.port == Port.SPONGE:
            note = note._replace(here=note.here._replace(new=True))
        if self.code.writes(i, v.tx_counter):
            new = note.here.new
            if i.move != Move.INCREMENT:
                self.demand(i.port == Port.ZERO and new, "the counter of texts changes under the same key")
                new = False
            return note._replace(here=Sent(new=new))
        if self.code.gives(i, v.tx_counter):
            self.demand(not note.here.sent, "a counter is used twice")
            self.demand(note.here.room, "a counter may wrap")
        return note.use() if self.code.gives(i, v.tx_counter, port=Port.LINK) else note

    def _seals(self, i: Instruction, note: Copies) -> Copies:
        if i.unit == Operand.START and not i.operand & DECRYPT:
            self.demand(not note.here.sent, "a key of an opening seals twice")
            return note.use()
        self.demand(not self.code.writes(i, self.v.tx_counter), "the counter of an opening changes")
        return note

    @staticmethod
    def _rested(note: Copies) -> Copies:
        """What has to be shown again by the next operation."""
        return Copies(note.here and note.here._replace(room=False), note.shelf)

    def _swapped(self, swap: Swap, note: Copies) -> Copies:
        mine = swap.unit == self.unit
        if swap.put and swap.what == "buffer":
            return self._filled(swap.unit, note)
        if swap.put and swap.what == "keys":
            self.demand(mine == bool(note.here), "keys go to the place of others")
            return note._replace(shelf=note.here._replace(room=False)) if mine else note
        if swap.put:
            return note._replace(shelf=None) if mine else note
        if swap.what != "keys":
            return note
        if not mine:
            return note._replace(here=None)
        self.demand(note.shelf, f"there are no keys at {swap.unit.name}")
        return note._replace(here=note.shelf, shelf=None if self.unit == Unit32.PPAKE else note.shelf)

    def _filled(self, unit: Unit32, note: Copies) -> Copies:
        """From ``buffer``: keys of an opening; or those of a session, which are the same."""
        self.demand(unit in (Unit32.OPENING, Unit32.SESSION), "keys go to the place of others")
        if self.unit == Unit32.SESSION and unit == self.unit:
            return note._replace(shelf=Sent())
        if self.unit == Unit32.OPENING and unit == self.unit:
            self.demand(note.derived, "keys of an opening that were not derived for it")
            return Copies(shelf=Sent(new=True))
        if self.unit == Unit32.OPENING:
            self.demand(note.shelf and note.shelf.new, "the keys of an opening become a session's again")
            return note._replace(shelf=note.shelf._replace(new=False))
        return note

    def decided(self, i: Instruction, state: State, condition: Condition, what, holds: bool) -> Copies:
        note = state.note
        if self.rests(i, condition):
            return self._rested(note)
        room = condition == Condition.CARRY and what == self.room and not holds
        return note._replace(here=note.here._replace(room=True)) if room and note.here else note


class Heard(NamedTuple):
    new: bool = False  # the key is, since the counter began
    stage: int = 0  # 1: the received counter is not below the expected one; 2: nor the last one; 3: the tag was equal
    owner: Unit32 = Unit32.PPAKE
    due: bool = False  # the counter of a session on the shelf has changed, and is not there yet
    kept: bool = False  # ``new`` of the keys of PPAKE, while they lie on the shelf


class HeardCounters(DeviceRule):
    """The next expected counter only rises, to one above that of a message whose tag compared equal, and begins again
    only with a new key; a text is told, and the switch changes, only if its tag compared equal and its counter is new.
    A controller's counter is back on the shelf before other keys are in place."""

    follows = ("frame", "shelf")

    def __init__(self, code: Code, memory: Memory):
        super().__init__(code, memory)
        self.tracked = {memory.flags: ANSWERING}
        fields = (memory.rx_counter, memory.rx_next, memory.last_counter)
        rx, expected, last = ((field.address, field.length) for field in fields)
        self.fresh, self.below = ("less", rx, expected), ("less", rx, last)
        self.tag = ("tag", Port.LINK, (memory.rx_key.address, memory.rx_key.length))
        self.acts = (memory.switch,) if memory.full else ()

    def begin(self) -> Heard:
        return Heard()

    def after(self, i: Instruction, before: State, state: State, routine: int) -> Heard:
        v, note = self.v, state.note
        if self.rests(i) or self.code.writes(i, v.rx_counter):
            note = note._replace(stage=0)
        if i.base == Base.DERIVE or i.unit == Operand.START:
            note = note._replace(stage=min(note.stage, 2))
        if swap := self.swap(i, before):
            return self._swapped(swap, note) if swap.what == "keys" else note
        if self.code.writes(i, v.rx_key) and i.port == Port.SPONGE:
            note = note._replace(new=True)
        if self.code.writes(i, v.rx_next) and i.move != Move.INCREMENT:
            if i.port == Port.ZERO:
                self.demand(note.new, "the expected counter begins again under the same key")
                return Heard(owner=note.owner, kept=note.kept)
            copies = i.move == Move.COPY and i.runs[1].span == (v.rx_counter.address, v.rx_counter.end)
            self.demand(copies and note.stage == 3, "the expected counter changes without a genuine, new message")
            return note._replace(due=note.owner != Unit32.PPAKE)
        if i.unit == Operand.EMIT_LINK and state.frame in ((Event.TEXT,), (Event.CONTROLLER_TEXT,)):
            self.demand(note.stage == 3, "a text is told that is not genuine and new")
        if self.acts and self.code.writes(i, *self.acts) and i.move == Move.COPY:
            self.demand(note.stage == 3, "the switch changes without a genuine, new message")
        return note

    def _swapped(self, swap: Swap, note: Heard) -> Heard:
        if swap.put:
            kept = note.new if swap.unit == Unit32.PPAKE else note.kept
            return note._replace(due=note.due and swap.unit != note.owner, kept=kept)
        self.demand(not note.due, "the counter of a controller's text is not kept")
        stage = note.stage if note.stage == 3 else 0
        return note._replace(stage=stage, owner=swap.unit, new=swap.unit == Unit32.PPAKE and note.kept)

    def decided(self, i: Instruction, state: State, condition: Condition, what, holds: bool) -> Heard:
        steps = (
            condition == Condition.CARRY and holds and what == self.fresh,
            condition == Condition.CARRY and not holds and what == self.below,
            condition == Condition.MATCH and holds and what and what[:3] == self.tag,
        )
        stage = state.note.stage
        return state.note._replace(stage=stage + 1) if stage < 3 and steps[stage] else state.note


def counter_rules(code: Code, memory: Memory) -> Iterator[Rule]:
    """All of this file, ready to explore."""
    for unit in SETS if memory.full else SETS[:1]:
        yield SentCounters(code, memory, unit)
    yield HeardCounters(code, memory)
