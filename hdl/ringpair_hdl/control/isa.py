"""Instruction set of the sequencer: one 24-bit word an instruction.

::

     23 22 21 20 19 18 17 16          10 9                 0
    [ 0  0 |    op     |     immediate 8 |     address 10    ]  BYTE     one byte of the scratchpad
    [ 0  1 |   unit    |            argument 18              ]  CONTROL  a strobe or register of a unit
    [ 1  0 |call|not| condition 5 |  0   |     target 11     ]  BRANCH   jump or call if the condition holds
    [ 1  1 | direction |  port 3 | length 7 |   address 10   ]  MOVE     a run of bytes, one a cycle

A move of length 0 takes its length from the LEN register (set by ``Unit.LENGTH``). The scratchpad is always one side of
a move, the port is the other:

=========  ======================================================================================================
GIVE       pad -> port. Port PAD copies to where ``Unit.DEST`` points.
TAKE       port -> pad. Leaves in the conditions ONES and ZEROS whether all bytes were 0xff, or 0x00.
CHECK      port against pad. Leaves MATCH if all bytes were equal; takes the same time either way.
CRYPT      pad -> sponge, and the sponge's answer -> where DEST points (port SPONGE),
           or the sponge's answer against the bytes of the port, as CHECK does (any other port).
=========  ======================================================================================================

Timing in cycles, without waiting for a port: BRANCH and CONTROL 2, BYTE 3, MOVE 2 + length.
"""

from enum import IntEnum

WORD = 24
ADDRESS = 10
TARGET = 11
LENGTH = 7


class Class(IntEnum):
    BYTE = 0
    CONTROL = 1
    BRANCH = 2
    MOVE = 3


class Op(IntEnum):
    """On M, a byte of the scratchpad, the immediate, and the accumulator A. C is carry (no borrow), Z is zero."""

    SET = 0  # M = imm              sets Z
    ADD = 1  # M = M + imm          sets C, Z
    ADC = 2  # M = M + imm + C      sets C, Z (if it was set before, too)
    AND = 3  # M = M & imm          sets Z
    OR = 4  # M = M | imm           sets Z
    TEST = 5  # M & imm             sets Z
    COMPARE = 6  # M - imm          sets C (M >= imm), Z (M = imm)
    LOAD = 7  # A = M
    STORE = 8  # M = A
    SUB = 9  # A - M                sets C (A >= M), Z
    SBC = 10  # A - M - not C       sets C, Z (if it was set before, too)


class Unit(IntEnum):
    RETURN = 0
    SPONGE = 1  # start a mode; argument as ascon.modes.Start
    SPONGE_END = 2  # ends the sponge's present segment
    SPONGE_CLEAR = 3
    EMIT = 4  # immediate byte to a port: port << 8 | byte
    PUF = 5  # start a command of the PUF engine once the last is done
    SPI = 6  # flash select: 0 or 1
    SIDE = 7  # which frame port LINK means: 0 admin, 1 peer
    FRAME = 8  # 1 send what was given, 2 drop the received frame, 4 abort what was given
    LENGTH = 9  # LEN = argument; with bit 7 set LEN = received length - argument
    TIMER = 10  # count down from argument ticks; 0 stops
    OUTPUT = 11  # mask << 8 | value of the output register
    PHASE = 12  # what an observer may know the device is doing
    DEST = 13  # second pointer into the scratchpad
    EVENTS = 14  # forget latched button events: 1 short, 2 long


class Direction(IntEnum):
    GIVE = 0
    TAKE = 1
    CHECK = 2
    CRYPT = 3


class Port(IntEnum):
    SPONGE = 0
    LINK = 1
    SPI = 2
    PUF = 3
    TRNG = 4
    ZERO = 5
    FRAME = 6  # length of the received frame, or 0x80 | kind of its error
    PAD = 7


class Condition(IntEnum):
    ALWAYS = 0
    ZERO = 1
    CARRY = 2
    MATCH = 3
    ONES = 4
    ZEROS = 5
    ADMIN_FRAME = 6
    PEER_FRAME = 7
    FRAME_ERROR = 8
    PUF_BUSY = 9
    PUF_EXHAUSTED = 10
    PUF_DEAD = 11
    TRNG_ALARM = 12
    TRNG_READY = 13
    BUTTON = 14
    BUTTON_SHORT = 15
    BUTTON_LONG = 16
    TIMER_RUNS = 17
    TIMER_DONE = 18


class Output(IntEnum):
    """Bits of the output register."""

    LED_READY = 0x01
    LED_SESSION = 0x02
    LED_ERROR = 0x04
    TRNG = 0x08


class Phase(IntEnum):
    """What the device does, for an observer that counts cycles; FLASH may be set beside any other."""

    IDLE = 0
    PUF = 1
    INITIATOR = 2
    RESPONDER = 3
    CHANNEL = 4
    TRNG = 5
    ADMIN = 6
    BOOT = 7
    FLASH = 8


def byte(op: Op, address: int, immediate: int = 0) -> int:
    return Class.BYTE << 22 | op << 18 | immediate << 10 | address


def control(unit: Unit, argument: int = 0) -> int:
    return Class.CONTROL << 22 | unit << 18 | argument


def branch(target: int, condition: Condition = Condition.ALWAYS, *, call: bool = False, unless: bool = False) -> int:
    return Class.BRANCH << 22 | call << 21 | unless << 20 | condition << 15 | target


def move(direction: Direction, port: Port, address: int, length: int) -> int:
    return Class.MOVE << 22 | direction << 20 | port << 17 | length << 10 | address
