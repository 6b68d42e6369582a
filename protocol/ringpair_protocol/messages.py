"""Peer messages: what two devices say to each other, and the puzzles that pair them. Integers are little-endian.

::

    M1   33 B  0x11 | nonce_i 16 | tag_1 16            initiator -> responder
    M2   33 B  0x12 | nonce_r 16 | tag_2 16            responder -> initiator, after its commit
    M3   17 B  0x13 | tag_3 16                         initiator -> responder, after its commit
    RS   17 B  0x14 | tag 16                           responder -> initiator: "you are one epoch behind"
    DATA       0x18 | counter 4 | ciphertext | tag 16  either way, at most TEXT_MAX bytes of text

    E1   17 B  0x51 | nonce_s 16                       host -> device, button held
    E2   41 B  0x52 | device_id 8 | wrap_key 32        device -> host, over the local wire
    E3   17 B  0x53 | tag 16                           host -> device, then the device commits

    puzzle   62 B  0x41 | flags 1 | index 4 | peer_id 8 | ciphertext 32 | tag 16
    revoke   30 B  0x42 | flags 1 | index 4 | peer_id 8 | tag 16
    reset    30 B  0x43 | flags 1 | index 4 | own_id 8  | tag 16

    B1   49 B  0x21 | sid 16 | Ya 32                   controller -> device; sid begins with the service id 8
    B2   49 B  0x22 | Yb 32 | tag Tb 16                device -> controller, a try is used up
    B3  129 B  0x23 | tag Ta 16 | ciphertext 96 | tag 16
    B4  113 B  0x24 | ciphertext 96 | tag 16           device -> controller, after its record is written
    S1   34 B  0x31 | hint 1 | X 32                    controller -> device
    S2  113 B  0x32 | Y 32 | ciphertext 64 | tag 16    device -> controller
    S3   81 B  0x33 | ciphertext 64 | tag 16           controller -> device
"""

M1, M2, M3, RESYNC, DATA = 0x11, 0x12, 0x13, 0x14, 0x18
PUZZLE, REVOKE, RESET = 0x41, 0x42, 0x43
E1, E2, E3 = 0x51, 0x52, 0x53
B1, B2, B3, B4 = 0x21, 0x22, 0x23, 0x24
S1, S2, S3 = 0x31, 0x32, 0x33

ID_LENGTH = 8
NONCE_LENGTH = 16
TAG_LENGTH = 16
KEY_LENGTH = 16
SESSION_ID_LENGTH = 8
COUNTER_LENGTH = 4
TEXT_MAX = 96
"""Bytes of text in one data message: with header, counter, tag and the tunnel's opcode it fits a frame of 126."""

DATA_HEADER = 1 + COUNTER_LENGTH
DATA_OVERHEAD = DATA_HEADER + TAG_LENGTH

LENGTHS = {M1: 33, M2: 33, M3: 17, RESYNC: 17, PUZZLE: 62, REVOKE: 30, RESET: 30, E1: 17, E2: 41, E3: 17}
LENGTHS |= {B1: 49, B2: 49, B3: 129, B4: 113, S1: 34, S2: 113, S3: 81}

HANDSHAKE_BYTES = LENGTHS[M1] + LENGTHS[M2] + LENGTHS[M3]
BINDING_BYTES = sum(LENGTHS[message] for message in (B1, B2, B3, B4))
OPENING_BYTES = sum(LENGTHS[message] for message in (S1, S2, S3))
"""Of a session between a controller and a device."""
B3_FIRST = 1 + TAG_LENGTH
"""A frame is too short for a B3: its header and Ta come in one, the rest in the next."""

SWITCH, UNBIND = 0x39, 0x38
"""First byte of a text of a controller's session that the device itself answers."""
UNBIND_ASK, UNBIND_DONE = 0x01, 0x02

SEALED_HEADER = 14
"""Bytes 0..13 of a puzzle, revocation or reset, in the clear and authenticated."""
FLAG_RECIPIENT_LOW = 0x01
"""Puzzle flag: the device that imports it has the lower id of the pair."""

MAX_FORWARD = 64
"""A device follows the chain of wrap keys by at most this many steps to reach a puzzle's index."""
MAX_EPOCH = 2**32 - 2
"""A pairing at this epoch refuses to go on (10^7 sessions wear the flash out long before)."""

INITIATOR_TIMEOUT_S = 2
RESPONDER_TIMEOUT_S = 5
INITIATOR_TRIES = 3
"""The initiator waits 2 s, then 4 s, then 8 s for M2, each time with a fresh M1."""
MAX_RESYNC = 2

PUZZLE_NONCE = b"P1puz"
RECORD_NONCE = b"P1rec"
DEVICE_NONCE = b"P1dev"


def puzzle_nonce(index: int) -> bytes:
    """``"P1puz" ‖ index 4 ‖ 0^7``."""
    return PUZZLE_NONCE + index.to_bytes(4, "little") + bytes(7)
