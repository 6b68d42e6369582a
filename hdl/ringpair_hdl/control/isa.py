"""Instruction set of the sequencer: bytes, one to three an instruction, and a table of fields.

::

    0x00  000 cond4 not  low8              BRANCH    within the page of 256 bytes, if the condition holds
    0x20  001 carry not skip3              SKIP      1 to 8 bytes forward, if ZERO or CARRY holds
    0x40  0100 page4     low8              JUMP
    0x50  0101 page4     low8              CALL
    0x60  011 vector5                      VECTOR    call by a jump in the table
    0x80  100 direction2 port3  index8     MOVE      a run of bytes, one a cycle; COPY, LESS, CRYPT: two indexes
    0xa0  101 op2 hot3   [address8] imm8   BYTE      on one byte of the scratchpad; with hot 7 the address follows
    0xc0  1100 op1 hot3  [address8] imm8   BYTE
    0xd0  1101 label4                      DERIVE    start CXOF128 with a label of the table
    0xe0  11100 flag2 not                  RETURN    if ZERO, CARRY, MATCH or ONES holds
    0xe8  11101 strobe3                    STROBE
    0xf0  111100 unit1 value1              SELECT    of the flash, of the line
    0xf8  11111 unit3    operand8          OPERAND

The first bytes of the code memory are no instructions but the table, two bytes a row. Row n < 16 is the nth level of
the return stack: CALL writes a JUMP there, RETURN jumps to it. DERIVE reads row 16 + label, VECTOR jumps to row
32 + vector. All others are fields of moves, low byte first: ``length6 address10``; rows without a label or a vector
serve as fields, too. Of a program that would not fit, the rows behind the vectors are in a memory of their own. A
length of 32 and more means ``(length - 32) * 4``; 0 means as many bytes as the byte at ``LENGTH_ADDRESS`` of the
scratchpad says.

=========  ======================================================================================================
GIVE       pad -> port
TAKE       port -> pad. From SPI it leaves in the conditions ONES and ZEROS whether all bytes were 0xff, or 0x00.
CHECK      port against pad. Leaves MATCH if all bytes were equal; takes the same time either way.
CRYPT      pad -> sponge, and the sponge's answer -> another field (port SPONGE; the index of that field comes first),
           or the sponge's answer against the bytes of the port, as CHECK does (any other port).
=========  ======================================================================================================

Timing in cycles, without waiting for a port: BRANCH, SKIP, JUMP, RETURN, STROBE, SELECT, OPERAND 2; VECTOR 5; CALL 3;
BYTE 4, BYTE with an address 5; MOVE 7 + length, 4 more with two indexes, GIVE_END one more; LESS 12 + 2 * length;
DERIVE 15, with a label of 7 bytes.
"""

from enum import IntEnum

ADDRESS = 10
TARGET = 12
LENGTH = 7
"""Bits of an address in the scratchpad, of an address in the code, of a length."""

STACK_ROWS = 16
LABEL_ROWS = range(16, 32)
VECTOR_ROWS = range(32, 64)
ROWS = 256
PAGE = 256
SKIP_MAX = 8
HOT = range((1 << ADDRESS) - 8, (1 << ADDRESS) - 1)
"""Bytes of the scratchpad that a BYTE instruction reaches without an address."""

LENGTH_ADDRESS = HOT[-1]
CUSTOM = 8
"""Operand of START that makes the sponge take a label, as DERIVE does."""
EXACT = 32
LONGEST = 4 * EXACT - 4
"""Lengths that a row of the table can tell: all below the first, multiples of 4 up to the second."""


class Base(IntEnum):
    """First opcode of each kind."""

    BRANCH = 0x00
    SKIP = 0x20
    JUMP = 0x40
    CALL = 0x50
    VECTOR = 0x60
    MOVE = 0x80
    BYTE = 0xA0
    DERIVE = 0xD0
    RETURN_IF = 0xE0
    STROBE = 0xE8
    SELECT = 0xF0
    OPERAND = 0xF8


class Op(IntEnum):
    """On M, a byte of the scratchpad, and the immediate. C is carry (no borrow), Z is zero. Value: bits 5..3."""

    COMPARE = 0  # M - imm          sets C (M >= imm), Z (M = imm)
    TEST = 1  # M & imm             sets Z
    SET = 4  # M = imm              sets Z
    ADD = 5  # M = M + imm          sets C, Z
    AND = 6  # M = M & imm          sets Z
    OR = 7  # M = M | imm           sets Z


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


class Move(IntEnum):
    """Opcodes of moves that are not just a direction and a port."""

    GIVE_END = Base.MOVE | Direction.GIVE << 3 | 4  # to the sponge, then end its segment
    INCREMENT = Base.MOVE | Direction.GIVE << 3 | 5  # field += 1, little-endian; sets C, Z
    COPY = Base.MOVE | Direction.GIVE << 3 | 7  # index of the target, index of the source
    TAKE_CODE = Base.MOVE | Direction.TAKE << 3 | 7  # the bytes follow in the code
    LESS = Base.MOVE | Direction.CHECK << 3 | 7  # right, left: C left >= right, Z equal; little-endian


class Strobe(IntEnum):
    RETURN = 0
    SPONGE_END = 1
    SPONGE_CLEAR = 2
    NOTHING = 3
    SEND = 4
    DROP = 5
    MARK = 6  # for whoever observes the sequencer
    WAIT = 7  # until a frame is there, the timer is done, or the button was pressed


class Operand(IntEnum):
    """Instructions with an operand, and what it means."""

    START = 0  # sponge: aead 1, decrypt 2, ad 4, custom 8 (with 7 bytes of label), fixed 16
    PUF = 1  # start a command of the PUF engine once the last is done
    TIMER = 2  # count down from the operand times 4 ticks; 0 stops
    OUTPUT = 3  # mask << 4 | value of the output register
    EMIT_SPONGE = 4  # the operand to a port: 4 + its number
    EMIT_LINK = 5
    EMIT_SPI = 6
    EVENTS = 7  # forget latched button events: 1 short, 2 long


class Condition(IntEnum):
    ZERO = 0
    CARRY = 1
    MATCH = 2
    ONES = 3
    ZEROS = 4
    ADMIN_FRAME = 5
    PEER_FRAME = 6
    PUF_BUSY = 7
    PUF_EXHAUSTED = 8
    PUF_DEAD = 9
    TRNG_ALARM = 10
    TRNG_READY = 11
    BUTTON = 12
    BUTTON_SHORT = 13
    BUTTON_LONG = 14
    TIMER_DONE = 15


SKIP_CONDITIONS = (Condition.ZERO, Condition.CARRY)
RETURN_CONDITIONS = (Condition.ZERO, Condition.CARRY, Condition.MATCH, Condition.ONES)


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


def branch(condition: Condition, unless: bool, target: int) -> bytes:
    return bytes([Base.BRANCH | condition << 1 | unless, target % PAGE])


def skip(condition: Condition, unless: bool, count: int) -> bytes:
    return bytes([Base.SKIP | condition << 4 | unless << 3 | count - 1])


def jump(target: int) -> bytes:
    return bytes([Base.JUMP | target >> 8, target & 255])


def call(target: int) -> bytes:
    return bytes([Base.CALL | target >> 8, target & 255])


def return_if(condition: Condition, unless: bool) -> bytes:
    return bytes([Base.RETURN_IF | condition << 1 | unless])


def byte(op: Op, address: int, immediate: int) -> bytes:
    if address in HOT:
        return bytes([Base.BYTE + (op ^ 4) * 8 + HOT.index(address), immediate])
    return bytes([Base.BYTE + (op ^ 4) * 8 + len(HOT), address, immediate])


def move(direction: Direction, port: Port) -> int:
    return Base.MOVE | direction << 3 | port


def fits(length: int) -> bool:
    """A row of the table can tell this length."""
    return 0 <= length < EXACT or (length < 4 * EXACT and length % 4 == 0)


def field(address: int, length: int) -> bytes:
    """A row of the table.

    Raises
    ------
    ValueError
        No row can tell this length.
    """
    if not fits(length):
        raise ValueError(f"a move has 0 to {EXACT - 1}, or a multiple of 4 to {LONGEST} bytes, not {length}")
    code = length if length < EXACT else EXACT + length // 4
    return bytes([address & 255, code << 2 | address >> 8])
