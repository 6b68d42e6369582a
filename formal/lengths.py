"""How long the runs are whose length the program counts itself, and that no run leaves its field."""

from ringpair_hdl.control.decoder import Instruction
from ringpair_hdl.control.isa import Base, Direction, Op, Port, Strobe
from ringpair_hdl.program import Memory

from formal.paths import Explorer
from formal.rules import TRUTH, DeviceRule
from formal.states import ANY, Code, State


class Lengths(DeviceRule):
    """A run whose length is counted stays in the field that it begins in; but for the zeros of CPace's generator
    string, which lie in ``buffer`` and before the digits in ``bits``.

    The length of the received frame is what ``frame`` was found to be, plus what was taken off there. A run that begins
    in the middle of a field is a part of it, as in ``slot[4:]``. What was found is in ``code.lengths`` afterwards.
    """

    def __init__(self, code: Code, memory: Memory):
        super().__init__(code, memory)
        self.tracked = {memory.frame: (), memory.pad.length: (), memory.arrival: TRUTH}
        self.found: dict[tuple[int, int], tuple[int, int]] = {}

    follows = ("side",)

    def begin(self) -> int | None:
        return None

    def received(self, state: State) -> int:
        if state.note is None:
            return ANY
        return state.values[0] << state.note & ANY

    def after(self, i: Instruction, before: State, state: State, routine: int) -> int | None:
        note = state.note  # how much less than the frame's length ``frame`` is; None: it has nothing to do with it
        for run in i.runs:
            if run.length is None:
                self._measure(i, run, before)
        if i.port == Port.FRAME and self.code.writes(i, self.v.frame):
            return 0
        if self.code.writes(i, self.v.frame):
            return 1 if note == 0 and i.op == Op.ADD and i.operand == 255 else None
        if i.strobe == Strobe.DROP or (i.base == Base.SELECT and i.opcode & 2 and i.opcode & 1 != before.side):
            return None
        return note

    def _measure(self, i: Instruction, run, before: State) -> None:
        lengths = [k & 127 for k in range(256) if before.values[1] >> k & 1]
        field = next(f for f in self.v.pad.fields.values() if f.address <= run.address < f.end)
        room = field.end - run.address
        if i.port == Port.PUF and i.direction == Direction.GIVE and run.address == self.v.buffer.address:
            self.demand(self.v.bits.address == self.v.buffer.end, "the zeros do not lie in a row")
            room = self.v.digits.address - run.address
        self.demand(max(lengths) <= room, f"{max(lengths)} bytes from {run.address - field.address} of {field.name}")
        least, most = self.found.get((i.opcode, run.address), (127, 0))
        self.found[i.opcode, run.address] = min(least, min(lengths)), max(most, max(lengths))


def measure(code: Code, memory: Memory) -> dict[tuple[int, int], tuple[int, int]]:
    """Find out all lengths, for the rules that need them; raises `Violation` if a run leaves its field."""
    rule = Lengths(code, memory)
    Explorer(code, rule).run()
    code.lengths = rule.found
    return rule.found
