"""Reference of the sequencer: an interpreter of its code in Python, and the random programs that both must run alike.

The interpreter knows nothing of cycles. What a program does is told as a list of events, in order: every byte given to
a port, every strobe, every change of an output. Bytes to take come from a queue per port.
"""

from collections import deque

from ringpair_hdl.control import isa
from ringpair_hdl.control.decoder import decode
from ringpair_hdl.control.isa import Base, Condition, Direction, Move, Op, Operand, Port, Strobe

NAMES = {Port.SPONGE: "sponge", Port.LINK: "link", Port.SPI: "spi", Port.PUF: "puf", Port.TRNG: "trng"}


class Machine:
    """Runs the code of a `Rom` until the program ends with a MARK; then `events`, `pad` and the flags tell what it did.

    Parameters
    ----------
    rom, pad
        As of `Sequencer`.
    inputs
        Port name to the bytes it will give.
    levels
        Conditions from outside, by name, and `length` and `error` of the received frame.
    """

    def __init__(self, rom, pad, inputs, levels=None):
        self.table = rom.table
        self.code, self.pad, self.pc = bytearray(rom.data), bytearray(pad), rom.start
        self.inputs = {name: deque(data) for name, data in inputs.items()}
        self.levels = levels or {}
        self.flags = dict.fromkeys(list(Condition)[:5], False)
        self.depth = self.deepest = 0
        self.events = []
        self.steps = 0

    def run(self, limit=100_000):
        while ("mark",) not in self.events[-1:]:
            self.step()
            self.steps += 1
            assert self.steps < limit, "the program does not end"
        return self

    def holds(self, condition, unless):
        level = self.flags[condition] if condition in self.flags else self.levels.get(condition.name, False)
        return bool(level) != unless

    def step(self):
        self.do(decode(self.code, self.pc, self.table))

    def do(self, instruction):
        self.pc = instruction.following
        match instruction.base:
            case Base.BRANCH | Base.SKIP:
                if self.holds(*instruction.test):
                    self.pc = instruction.target
            case Base.JUMP:
                self.pc = instruction.target
            case Base.CALL | Base.VECTOR:
                self.code[2 * self.depth : 2 * self.depth + 2] = isa.jump(self.pc)
                self.depth += 1
                self.deepest = max(self.depth, self.deepest)
                self.pc = instruction.target
            case Base.MOVE:
                self.move(instruction)
            case Base.BYTE:
                self.byte(instruction.op, instruction.place, instruction.operand)
            case Base.DERIVE:
                self.events.append(("start", 8))
                self.give(Port.SPONGE, self.span(instruction.runs[0]))
                self.events.append(("sponge", "end"))
            case Base.RETURN_IF:
                if self.holds(*instruction.test):
                    self.leave()
            case Base.STROBE:
                self.strobe(instruction.strobe)
            case Base.SELECT:
                self.events.append(("side" if instruction.opcode & 2 else "select", instruction.opcode & 1))
            case Base.OPERAND:
                self.operand(instruction.unit, instruction.operand)

    def leave(self):
        self.depth -= 1
        self.pc = 2 * self.depth

    def strobe(self, strobe):
        if strobe == Strobe.RETURN:
            self.leave()
        elif strobe == Strobe.SPONGE_END:
            self.events.append(("sponge", "end"))
        elif strobe == Strobe.WAIT:
            assert any(self.levels.get(name) for name in ("ADMIN_FRAME", "PEER_FRAME")), "it would wait for ever"
        elif strobe != Strobe.NOTHING:
            self.events.append((strobe.name.lower().removeprefix("sponge_"),))

    def operand(self, unit, value):
        if unit.name.startswith("EMIT"):
            self.events.append((unit.name[5:].lower(), value))
        elif unit == Operand.OUTPUT:
            self.events.append(("output", value >> 4, value & 15))
        elif unit == Operand.START:
            self.events.append(("start", value))
        elif unit == Operand.PUF:
            self.events.append(("command", value))

    def byte(self, op, address, immediate):
        memory = self.pad[address]
        value = {
            Op.SET: immediate,
            Op.ADD: memory + immediate,
            Op.AND: memory & immediate,
            Op.OR: memory | immediate,
            Op.TEST: memory & immediate,
            Op.COMPARE: memory - immediate,
        }[op]
        self.flags[Condition.ZERO] = value & 255 == 0
        if op == Op.ADD:
            self.flags[Condition.CARRY] = value > 255
        elif op == Op.COMPARE:
            self.flags[Condition.CARRY] = value >= 0
        if op not in (Op.TEST, Op.COMPARE):
            self.pad[address] = value & 255

    def span(self, run):
        length = self.pad[isa.LENGTH_ADDRESS] & 127 if run.length is None else run.length
        return range(run.address, run.address + length)

    def take(self, port):
        if port == Port.FRAME:
            error = self.levels.get("error", 0)
            return 0x80 | error if error else self.levels.get("length", 0)
        return 0 if port == Port.ZERO else self.inputs[NAMES[port]].popleft()

    def give(self, port, row):
        self.events += [(NAMES[port], self.pad[address]) for address in row]

    def move(self, instruction):
        op, direction, port = instruction.opcode, instruction.direction, instruction.port
        *others, row = map(self.span, instruction.runs)
        first = others[0] if others else None
        if op == Move.LESS:
            left, right = (int.from_bytes(bytes(self.pad[k] for k in r), "little") for r in (row, first))
            self.flags |= {Condition.ZERO: left == right, Condition.CARRY: left >= right}
        elif op == Move.COPY:
            for source, target in zip(row, range(first.start, first.start + len(row)), strict=True):
                self.pad[target] = self.pad[source]
        elif op == Move.INCREMENT:
            value = int.from_bytes(bytes(self.pad[k] for k in row), "little") + 1
            overflow = value >> 8 * len(row)
            value &= (1 << 8 * len(row)) - 1
            self.pad[row[0] : row[0] + len(row)] = value.to_bytes(len(row), "little")
            self.flags |= {Condition.ZERO: value == 0, Condition.CARRY: overflow > 0}
        elif op == Move.TAKE_CODE:
            self.pad[row.start : row.stop] = self.code[self.pc - len(instruction.data) :][: len(row)]
            self.pc += len(row) - len(instruction.data)
        elif op == Move.GIVE_END:
            self.give(Port.SPONGE, row)
            self.events.append(("sponge", "end"))
        elif direction == Direction.GIVE:
            self.give(port, row)
        elif direction == Direction.TAKE:
            self.take_row(port, row)
        elif direction == Direction.CHECK:
            taken = [self.take(port) for _ in row]
            self.flags[Condition.MATCH] = taken == [self.pad[k] for k in row]
        elif first is not None:
            self.crypt(row, first.start)
        else:
            self.crypt_check(port, row)

    def take_row(self, port, row):
        taken = []
        for address in row:
            if port == Port.TRNG and self.levels.get("TRNG_ALARM"):
                break
            taken.append(self.take(port))
            self.pad[address] = taken[-1]
        if port == Port.SPI:
            self.flags |= {Condition.ONES: set(taken) <= {255}, Condition.ZEROS: set(taken) <= {0}}

    def crypt(self, row, target):
        for count, address in enumerate(row):
            self.events.append(("sponge", self.pad[address]))
            self.pad[target + count] = self.inputs["sponge"].popleft()
        self.flags[Condition.MATCH] = None  # whatever; no program may use it

    def crypt_check(self, port, row):
        equal = True
        for address in row:
            self.events.append(("sponge", self.pad[address]))
            equal &= self.inputs["sponge"].popleft() == self.take(port)
        self.flags[Condition.MATCH] = equal
