"""Runs of the program beside the analysis of its paths: what is must be among what the analysis says can be.

`Follower` steps a `ProgramBoard` and, with it, one abstract state of `formal/paths.py` along the same way. After each
instruction every byte, condition and log of the real run must be within that state. Where the explorer has found all
states, this one must be among them. So a transfer function that forgets an effect, or a branch that is thought
impossible, is noticed by the first run that has it.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial

from ringpair_hdl.control import isa
from ringpair_hdl.control.isa import Condition
from ringpair_hdl.control.scratchpad import Field

from cocotb_tests.program_board import ProgramBoard
from formal.paths import Explored, Explorer, Rule
from formal.states import END, FLAGS, Code, Link

NOT_ZERO = b"0" + b"1" * 255
CONDITIONS = {name: condition for condition, name in FLAGS.items()}


class Unsound(AssertionError):
    """Something is that the analysis holds to be impossible."""


class Everything(Rule):
    """A rule that demands nothing and follows all that there is: some fields byte by byte, and which bytes are zero."""

    follows = ("sponge", "spi", "side", "frame")

    def __init__(self, fields: Iterable[Field], by_value: Iterable[Field]):
        self.tracked = {Field(f.name, f.address + k, 1): () for f in by_value for k in range(f.length)}
        self.zeros = tuple(fields)


def everything(code: Code, fields: Iterable[Field], by_value: Iterable[Field], cls: type = Explorer) -> Explorer:
    """An explorer that forgets nothing."""
    explorer = cls(code, Everything(fields, by_value))
    explorer.forget = defaultdict(frozenset)
    return explorer


class Log:
    """What the sponge was given, or the flash, or the line, as values: of the run, and as the analysis tells it.

    Parameters
    ----------
    whole
        The analysis tells all; else only how it begins.
    """

    def __init__(self, *, whole: bool = True):
        self.whole = whole
        self.real: list[int | str] = []
        self.told: list[int | str] = []
        self.items: tuple = ()

    def check(self, what: str, items: tuple, pad: bytes) -> None:
        """``pad`` is what the scratchpad was before the instruction."""
        if items is self.items and len(self.told) == len(self.real):
            return
        same = len(self.items) - 1
        if items[: max(same, 0)] != self.items[: max(same, 0)] or len(items) < len(self.items):
            raise Unsound(f"the log of the {what} was {self.items}, and became {items}")
        for n, item in enumerate(items[max(same, 0) :], max(same, 0)):
            old = self.items[n] if n < len(self.items) else None
            self.told += values(item, pad)[0 if old is None else len(values(old, pad)) :]
        self.items = items
        if self.told != (self.real if self.whole else self.real[: len(self.told)]):
            raise Unsound(f"the {what} was given {self.real[-8:]}, the analysis says {self.told[-8:]}")


def values(item, pad: bytes) -> list[int | str]:
    """Of an item of a log."""
    if isinstance(item, bytes):
        return [*item]
    if not isinstance(item, tuple):
        return [item]
    address, length = item[-2:]
    return [*pad[address : address + (pad[isa.LENGTH_ADDRESS] & 127 if length is None else length)]]


class Follower:
    """One abstract state that goes the way of a board, from power-up on.

    Parameters
    ----------
    board
    explorer
        Of the board's program.
    explored
        What it has found, if it was asked.
    visited
        Collects the addresses of all instructions that were run.
    """

    def __init__(self, board: ProgramBoard, explorer: Explorer, explored: Explored | None, visited: set[int]):
        self.board, self.machine, self.visited = board, board.machine, visited
        self.explorer, self.explored = explorer, explored
        self.state = self.explorer.start()
        self.routines = [self.machine.pc]
        self.sponge, self.spi = Log(), Log()
        self.frame = Log(whole=False)
        self.squeezed = 0
        self.returning = False
        self.known: tuple = ()
        self.forgotten()

    def forgotten(self) -> None:
        if self.explorer.forget[self.machine.pc]:
            self.state = self.explorer._forgotten(self.machine.pc, self.state)

    def step(self, run) -> None:
        """One instruction of the board, which ``run`` executes."""
        machine, code = self.machine, self.explorer.code
        if machine.pc < 2 * isa.STACK_ROWS and machine.pc == 2 * machine.depth and self.returning:
            self.returning = False
            run()
            self.forgotten()
            self.check(bytes(machine.pad))
            return
        self.address = machine.pc
        i, depth, pad = code.at(machine.pc), machine.depth, bytes(machine.pad)
        self.visited.add(machine.pc)
        goes = list(self.explorer.step(i, self.state, self.routines[-1]))
        run()
        if machine.depth > depth:
            where = "call"
            self.routines.append(machine.pc)
        elif machine.depth < depth:
            where = "return"
            self.routines.pop()
        else:
            where = machine.pc
        found = [state for target, state in goes if target == where]
        self.demand(found, f"it goes to {where}, which the analysis holds to be impossible")
        (self.state,) = found
        self.returning = where == "return"
        if not self.returning:
            self.forgotten()
        self.check(pad)

    # ------------------------------------------------------------------ what the run does
    def event(self, event: tuple) -> None:
        """What the board was told: a start of the sponge, of the flash or of a frame begins a log."""
        name, *rest = event
        if name in ("start", "clear"):
            self.sponge, self.squeezed = Log(), 0
        elif name == "sponge":
            self.sponge.real.append(END if rest[0] == "end" else rest[0])
            if rest[0] == "end":
                self.squeezed = 0
        elif name == "select":
            self.spi = Log()
        elif name == "spi":
            self.spi.real.append(rest[0])
        elif name == "link":
            self.frame.real.append(rest[0])
        elif name == "send":
            self.frame = Log(whole=False)

    def squeeze(self) -> None:
        """A byte was taken from the sponge."""
        self.squeezed += 1

    # ------------------------------------------------------------------ what must be within the state
    def demand(self, true: object, what: str) -> None:
        if not true:
            raise Unsound(f"behind {self.explorer.code.routine(self.address)}: {what}")

    def check(self, pad: bytes) -> None:
        """``pad`` is what the scratchpad was before the instruction."""
        machine, state, explorer = self.machine, self.state, self.explorer
        if (state.values, state.zeros) != self.known or machine.pad != pad:
            self.known = state.values, state.zeros
            for place, known in zip(explorer.places, state.values, strict=True):
                if not known >> machine.pad[place] & 1:
                    self.demand(False, f"byte {place} is {machine.pad[place]:#x}")
            self.demand(not state.zeros & int(machine.pad[::-1].translate(NOT_ZERO), 2), "a byte is not zero")
        for name, condition in CONDITIONS.items():
            known = getattr(state, name)
            if isinstance(known, Link):
                known = bool(known.values >> machine.pad[explorer.places[known.byte]] & 1)
            if isinstance(known, bool) and known != machine.flags[condition]:
                self.demand(False, f"{condition.name} is {machine.flags[condition]}")
        self.check_logs(pad)
        if self.explored and not self.returning:
            self.demand(state in self.explored.states[machine.pc], "a state that was not found")

    def check_logs(self, pad: bytes) -> None:
        follows, state, board = self.explorer.follows, self.state, self.board
        if "sponge" in follows and state.sponge:
            mode, items, squeezed = state.sponge
            self.sponge.check("sponge", items, pad)
            if mode != board.sponge.mode or (items[-1:] == (END,) and not mode & 1 and squeezed != self.squeezed):
                self.demand(False, f"the sponge was started with {board.sponge.mode} and gave {self.squeezed} bytes")
        if "spi" in follows and state.spi is not None:
            self.spi.check("flash", tuple(item for item in state.spi if item != "read"), pad)
        if "frame" in follows:
            self.frame.check("line", state.frame, pad)
        if {"side", "frame"} & {*follows} and state.side != board.side:
            self.demand(False, f"the side is {board.side}")


class Followed(ProgramBoard):
    """A board that is followed: the further arguments are those of `ProgramBoard`.

    Parameters
    ----------
    analyses
        Explorers, each with what it has found.
    visited
        As of `Follower`.
    """

    def __init__(self, analyses: Sequence[tuple[Explorer, Explored | None]], visited: set[int], *arguments):
        super().__init__(*arguments)
        self.timer = False
        self.followers = [Follower(self, *analysis, visited) for analysis in analyses]
        self.run_one, self.machine.step = self.machine.step, self.one
        self.machine.inputs["sponge"].popleft = self.taken

    def one(self) -> None:
        step = self.run_one
        for follower in self.followers:
            step = partial(follower.step, step)
        step()

    def taken(self) -> int:
        for follower in self.followers:
            follower.squeeze()
        return self.sponge.popleft()

    def happen(self, event: tuple) -> None:
        for follower in self.followers:
            follower.event(event)
        super().happen(event)

    def level(self, name: str) -> bool:
        if name == Condition.TIMER_DONE.name:
            self.timer, timer = False, self.timer
            return timer
        return super().level(name)
