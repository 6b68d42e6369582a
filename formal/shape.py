"""What the other proofs of the program take for granted: calls fit the stack, runs stay in fields, loops end."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from ringpair_hdl.control import isa
from ringpair_hdl.control.assembler import MOVES
from ringpair_hdl.control.decoder import Instruction
from ringpair_hdl.control.isa import Base, Condition, Direction, Move, Op, Port
from ringpair_hdl.control.scratchpad import Field, Scratchpad
from ringpair_hdl.program import Memory

from formal.paths import Rule
from formal.states import Code, flow, sets

CALLS = (Base.CALL, Base.VECTOR)


def routines(code: Code) -> dict[int, set[int]]:
    """Entry of each routine to all its instructions, wherever its jumps lead."""
    following, _, _ = flow(code)
    entries = {code.rom.start} | {code.at(k).target for k in following if code.at(k).base in CALLS}
    found = {}
    for entry in entries:
        inside, waiting = set(), [entry]
        while waiting:
            address = waiting.pop()
            if address not in inside:
                inside.add(address)
                waiting += following[address]
        found[entry] = inside
    return found


def depth(code: Code) -> int:
    """How deep calls nest at most, counted in the bytes; RecursionError if they go in a circle."""
    inside = routines(code)

    def below(entry: int) -> int:
        calls = {code.at(k).target for k in inside[entry] if code.at(k).base in CALLS}
        return max((1 + below(target) for target in calls), default=0)

    return below(code.rom.start)


def check_memory(code: Code, pad: Scratchpad) -> None:
    """The stack is nobody's field; every fixed run lies in fields, those that are written are no constants; two runs of
    a move are of one length, and none is overwritten as it is read; the main routine never returns. Counted runs:
    `formal/lengths.py`."""
    following, returns, _ = flow(code)
    fields, nested = pad.fields.values(), depth(code)
    Rule.demand(nested <= isa.STACK_ROWS, f"calls nest {nested} deep")
    Rule.demand(not returns & routines(code)[code.rom.start], "the main routine returns")
    for i in map(code.at, following):
        Rule.demand(i.base != Base.SELECT or i.opcode < Base.SELECT + 4, f"{code.routine(i.address)}: no instruction")
        known = i.direction is None or i.port in MOVES[i.direction]
        Rule.demand(known, f"{code.routine(i.address)}: no instruction")
        Rule.demand(all(row >= nested for row in i.rows), f"{code.routine(i.address)} uses a row of the return stack")
        for run in i.runs:
            bytes_there = {k for field in fields for k in range(field.address, field.end)}
            Rule.demand(bytes_there.issuperset(range(*run.span)), f"{code.routine(i.address)} leaves all fields")
        if len(i.runs) == 2:
            target, source = i.runs
            Rule.demand(target.length == source.length, f"{code.routine(i.address)}: two lengths")
            apart = target.address != source.address + 1 or target.length == 1 or i.move == Move.LESS
            Rule.demand(apart, f"{code.routine(i.address)} overwrites what it reads")
        Rule.demand(not code.writes(i, *(f for f in fields if f.constant)), f"{code.routine(i.address)}: a constant")


class Bound(NamedTuple):
    """Steps of which there can be so many only.

    Attributes
    ----------
    is_step
    counter
        What they change, if it is a field of the scratchpad.
    asked
        The loop must have a way out that depends on it.
    """

    is_step: Callable[[Instruction], bool]
    counter: Field | None = None
    asked: bool = True


LOOKS = (Op.COMPARE, Op.TEST)


def span_of(bound: Bound) -> range:
    return range(bound.counter.address, bound.counter.end)


def loops(code: Code, bounds: dict[str, Bound]) -> dict[str, list[str]]:
    """Name of a bound to the routines in whose loops it is found; every loop of the program must have one.

    A loop is bounded by steps if nothing else in it changes their counter, a way out depends on that, and what goes in
    a circle without them is bounded again. The call of a routine that has a step on all its ways is one, too.
    """
    found: dict[str, set[str]] = {name: set() for name in bounds}
    following, returns, _ = flow(code)
    parts = routines(code)

    @cache
    def all_of(entry: int) -> frozenset[int]:
        """A routine with all that it calls."""
        calls = {code.at(k).target for k in parts[entry] if code.at(k).base in CALLS}
        return frozenset(parts[entry]).union(*map(all_of, calls))

    @cache
    def steps_at(k: int, bound: Bound) -> bool:
        i = code.at(k)
        if i.base not in CALLS:
            return bound.is_step(i)
        seen, waiting = set(), [i.target]
        while waiting:
            k = waiting.pop()
            if k not in seen and not steps_at(k, bound):
                seen.add(k)
                waiting += following[k]
        return not seen & returns

    def looks_at(k: int, bound: Bound) -> bool:
        """It looks at the counter; or calls what does, as its last, and does not branch."""
        i, last = code.at(k), None
        if i.base in CALLS:
            k = i.target
            while not (i := code.at(k)).returns and not i.test and i.base not in CALLS:
                last = i if sets(i, ()) else last
                k = i.target if i.base == Base.JUMP else i.following
            return not i.test and last is not None and last.op in LOOKS and last.place in span_of(bound)
        return i.op in LOOKS and i.place in span_of(bound)

    def way_out(ring: set[int], bound: Bound) -> bool:
        """A branch out of the loop is decided by the counter, looked at just before."""
        looks = {k for k in ring if looks_at(k, bound)}
        seen, waiting = set(), [k for step in looks | {k for k in ring if steps_at(k, bound)} for k in following[step]]
        while waiting:
            k = waiting.pop()
            i = code.at(k)
            if i.test and (k in returns or following[k] - ring):
                return True
            if k not in seen and k in ring and not sets(i, ()) and i.base not in CALLS:
                seen.add(k)
                waiting += following[k]
        return False

    def end(ring: set[int], entry: int) -> None:
        everything = ring.union(*(all_of(code.at(k).target) for k in ring if code.at(k).base in CALLS))
        for name, bound in bounds.items():
            steps = {k for k in ring if steps_at(k, bound)}
            other = (i for i in map(code.at, everything) if bound.counter and code.writes(i, bound.counter))
            asked = not bound.counter or not bound.asked or way_out(ring, bound)
            if steps and asked and all(bound.is_step(i) for i in other):
                found[name].add(code.routine(entry).split("+")[0])
                for rest in circles(ring - steps, following):
                    end(rest, entry)
                return
        Rule.demand(False, f"a loop without an end: {sorted(code.routine(k) for k in ring)}")

    for entry, inside in sorted(parts.items()):
        for ring in circles(inside, following):
            end(ring, entry)
    return {name: sorted(places) for name, places in found.items()}


def circles(nodes: set[int], following: dict[int, set[int]]) -> list[set[int]]:
    """Sets of nodes from each of which each other can be reached."""
    reach = {}
    for node in nodes:
        seen, waiting = set(), [k for k in following[node] if k in nodes]
        while waiting:
            k = waiting.pop()
            if k not in seen:
                seen.add(k)
                waiting += (n for n in following[k] if n in nodes)
        reach[node] = seen
    rings, done = [], set()
    for node in sorted(nodes):
        if node in reach[node] and node not in done:
            ring = {k for k in reach[node] if node in reach[k]}
            done |= ring
            rings.append(ring)
    return rings


def device_bounds(memory: Memory) -> dict[str, Bound]:
    """What ends the loops of the device's program."""

    def down(field: Field) -> Bound:
        return Bound(lambda i: i.op == Op.ADD and i.place == field.address and i.operand == 255, field)

    def up(field: Field, asked: bool = True) -> Bound:
        def is_step(i: Instruction) -> bool:
            byte = i.op == Op.ADD and i.place == field.address and i.operand == 1
            return byte or (i.move == Move.INCREMENT and i.runs[0].address == field.address)

        return Bound(is_step, field, asked)

    def asks(*conditions: Condition) -> Bound:
        return Bound(lambda i: i.test is not None and i.test[0] in conditions)

    def retires(i: Instruction) -> bool:
        return i.direction == Direction.CHECK and i.port == Port.SPI and i.runs[0].address == memory.buffer.address

    return {
        "the main loop looks for something to do": asks(Condition.ADMIN_FRAME),
        "`peer` goes up to the number of peers": up(memory.peer),
        "`walk` goes up to the number of peers": up(memory.walk),
        "`sectors` goes down to 0": down(memory.sectors),
        "`count` goes down to 0": down(memory.count),
        "`polls` goes up to the limit of the flash's busy time": up(memory.polls),
        "`tries` of the search, which the PUF engine limits": up(memory.tries, asked=False),
        "the PUF engine ends its command": asks(Condition.PUF_BUSY),
        "the start-up test of the noise ends": asks(Condition.TRNG_READY),
        "one live slot less, verified": Bound(retires),
    }
