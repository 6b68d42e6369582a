"""The admin port: commands of the host, replies and events of the device, each the payload of one frame.

::

    command   opcode 1 (0x01..0x3f) | body
    reply     0x80 | opcode         | status 1 | body      exactly one per command, in order
    event     kind 1 (0xc0..)       | body                 at any time between replies

A frame that cannot be a command (wrong CRC, length or stuffing) is answered by the reply to opcode 0, status
``BAD_FRAME``, with the frame error as body.

==============  ===========================================  =====================================================
command         body                                         body of the reply when OK
==============  ===========================================  =====================================================
IDENTITY        -                                            :class:`Identity`, 26 bytes
STATUS          -                                            :class:`Status`, 10 bytes
ENROLL          E1 (17)                                      E2 (41)
ENROLL_CONFIRM  E3 (17)                                      device id 8
IMPORT          puzzle (62), revocation or reset (30)        peer number 1 (0xff for a reset)
PEER            peer number 1                                state 1 | header 12 | epoch 4
CONNECT         peer number 1 | carrier 1                    -   then SESSION or FAILED
SEND            text 1..96                                   -
PEER_IN         one peer message 1..125                      -   taken (whatever it was worth)
DISCONNECT      -                                            -
CONTROLLER_IN   one message of a controller, 1..125          the device's answer, or nothing
CONTROLLER_REST 112, what is left of a B3                    B4
PIN             :class:`Pin` 1, button held                  8 digits
BINDINGS        -                                            wrong tries 1 | 8 service ids 8, zero: a free place
==============  ===========================================  =====================================================

The last four are those of a device that controllers can bind (profile ``FULL``). A B3 is longer than a frame: header
and Ta come by ``CONTROLLER_IN``, what is left by ``CONTROLLER_REST``.

Events: ``SESSION`` role 1 | peer 1 | epoch 4 | session id 8 (the epoch that the handshake used up) - ``FAILED``
status 1 | peer 1 (`NOBODY` if there was no peer, or if a reset by the button failed) - ``PEER_OUT`` one peer message
for the tunnel - ``TEXT`` text - ``STARTED`` the identity body, once after power-up - ``CLOSED`` reason status 1 -
``RESET_DONE`` after a factory reset by the button - ``CONTROLLER_TEXT`` place 1 | text, what a controller said that is
not for the device itself.
"""

from dataclasses import dataclass
from enum import IntEnum

from . import LEVEL

REPLY = 0x80
MAGIC = b"RNGP"
NOBODY = 0xFF
"""Peer number in replies and events that concern no peer."""


class Opcode(IntEnum):
    """What the host may ask for."""

    NONE = 0x00
    IDENTITY = 0x01
    STATUS = 0x02
    ENROLL = 0x03
    ENROLL_CONFIRM = 0x04
    IMPORT = 0x05
    PEER = 0x06
    CONNECT = 0x07
    SEND = 0x08
    PEER_IN = 0x09
    DISCONNECT = 0x0A
    CONTROLLER_IN = 0x0B
    CONTROLLER_REST = 0x0C
    PIN = 0x0D
    BINDINGS = 0x0E


class Event(IntEnum):
    """What the device says unasked."""

    STARTED = 0xC0
    SESSION = 0xC1
    FAILED = 0xC2
    PEER_OUT = 0xC3
    TEXT = 0xC4
    CLOSED = 0xC5
    RESET_DONE = 0xC6
    CONTROLLER_TEXT = 0xC7


class Code(IntEnum):
    """Status of a reply: OK, or the reason of a refusal."""

    OK = 0x00
    BAD_FRAME = 0x01
    UNKNOWN_COMMAND = 0x02
    BAD_LENGTH = 0x03
    BAD_VALUE = 0x04
    NOT_ENROLLED = 0x10
    ALREADY_ENROLLED = 0x11
    NEED_BUTTON = 0x12
    NO_ENROLLMENT = 0x13
    BAD_CONFIRMATION = 0x14
    OTHER_FLOORPLAN = 0x15
    BAD_PUZZLE = 0x20
    OLD_PUZZLE = 0x21
    FAR_PUZZLE = 0x22
    ALREADY_PAIRED = 0x23
    TABLE_FULL = 0x24
    NO_SUCH_PEER = 0x25
    EXHAUSTED = 0x26
    NO_SESSION = 0x30
    TIMED_OUT = 0x31
    SUPERSEDED = 0x32
    WRONG_PIN = 0x34
    PIN_LOCKED = 0x35
    NO_BINDING = 0x36
    BAD_CONTROLLER = 0x37
    UNKNOWN_CONTROLLER = 0x38
    CONTROLLERS_FULL = 0x39
    PUF_FAILED = 0x40
    RING_DEAD = 0x41
    TRNG_FAILED = 0x42
    FLASH_FAILED = 0x43
    RECORD_DAMAGED = 0x44


EXPLANATION = {
    Code.OK: "done",
    Code.BAD_FRAME: "the frame arrived damaged: check cable, baud rate and ground, then send it again",
    Code.UNKNOWN_COMMAND: "this gateware does not know the command: update host or gateware to one protocol level",
    Code.BAD_LENGTH: "the command has a wrong length",
    Code.BAD_VALUE: "a field of the command is out of range",
    Code.NOT_ENROLLED: "the device is not enrolled: hold its button and run enroll",
    Code.ALREADY_ENROLLED: "the device is enrolled already: factory-reset it first (hold the button for 10 s)",
    Code.NEED_BUTTON: "hold the device's button while enrolling",
    Code.NO_ENROLLMENT: "no enrollment is under way (it waits 5 s for the confirmation): start again",
    Code.BAD_CONFIRMATION: "the confirmation does not match; nothing was stored: start the enrollment again",
    Code.OTHER_FLOORPLAN: "the device was enrolled with other rings or another layout table: "
    "flash that gateware, or reset and enroll",
    Code.BAD_PUZZLE: "the puzzle is not for this device, or was altered",
    Code.OLD_PUZZLE: "the puzzle was used already, or a newer one was",
    Code.FAR_PUZZLE: "the puzzle is too far ahead (more than 64 steps): import the ones between, or factory-reset",
    Code.ALREADY_PAIRED: "the device is paired with that peer already: revoke the pairing first",
    Code.TABLE_FULL: "all 16 places are taken: revoke a pairing first",
    Code.NO_SUCH_PEER: "there is no live pairing under that number: see peers",
    Code.EXHAUSTED: "a counter is used up: pair or enroll again",
    Code.NO_SESSION: "there is no session: connect first",
    Code.TIMED_OUT: "the peer did not answer in three tries: is it powered, enrolled, paired and wired?",
    Code.SUPERSEDED: "another handshake took over",
    Code.WRONG_PIN: "the PIN is wrong; each run is one try: begin again with the right one",
    Code.PIN_LOCKED: "too many wrong PINs: hold the device's button while binding",
    Code.NO_BINDING: "no binding and no session is being opened: begin again",
    Code.BAD_CONTROLLER: "the controller's message is not genuine, or was altered: begin again",
    Code.UNKNOWN_CONTROLLER: "this service is not bound to the device (any more): bind it",
    Code.CONTROLLERS_FULL: "all 8 places for controllers are taken: unbind one first",
    Code.PUF_FAILED: "the PUF key could not be reproduced; nothing was changed: "
    "let the board reach its usual temperature and try again",
    Code.RING_DEAD: "a ring does not oscillate or overflows its counter: this board cannot be enrolled",
    Code.TRNG_FAILED: "the noise source failed its health tests: "
    "power-cycle the board; if it stays, the board is defective",
    Code.FLASH_FAILED: "the flash does not take or keep data, or is of an unknown kind",
    Code.RECORD_DAMAGED: "the device record in flash is damaged: factory-reset and enroll again",
}


class Profile(IntEnum):
    """What a gateware can do."""

    PAIR = 1
    CHARACTERIZE = 2
    FULL = 3


class Carrier(IntEnum):
    """Which way peer messages go."""

    WIRE = 0
    TUNNEL = 1


class Pin(IntEnum):
    """Which PIN the device shall show."""

    DYNAMIC = 0
    """A new one, for the next binding only."""
    PRESET = 1
    """The one for the label, the same until the device is enrolled again."""
    DISPLAYED = 2
    """As DYNAMIC; but it stands on the device's display, and the reply does not tell it."""


class Role(IntEnum):
    INITIATOR = 0
    RESPONDER = 1


class PeerState(IntEnum):
    EMPTY = 0
    LIVE = 1
    REVOKED = 2


BAUD = 1_000_000
"""Of the admin port, and of the peer port, unless a board says otherwise."""

FLAG_SIMULATED = 0x01
"""Identity flag: rings and noise come from a model, not from silicon."""

IDENTITY_FIELDS = (
    ("magic", 4),
    ("level", 1),
    ("profile", 1),
    ("flags", 1),
    ("clock_mhz", 1),
    ("gateware", 8),
    ("floorplan", 8),
    ("layout_version", 2),
)
IDENTITY_LENGTH = sum(length for _, length in IDENTITY_FIELDS)

STATUS_FIELDS = (
    ("state", 1),
    ("session", 1),
    ("trng", 1),
    ("button", 1),
    ("jedec", 3),
    ("failure", 1),
    ("tries", 2),
    ("device_id", 8),
)
STATUS_LENGTH = sum(length for _, length in STATUS_FIELDS)


class DeviceStateCode(IntEnum):
    """``state`` of the status: what the flash says."""

    FACTORY = 0
    ENROLLED = 1
    OTHER_FLOORPLAN = 2
    NO_FLASH = 3


@dataclass(frozen=True)
class Identity:
    """What a device says of itself on connect."""

    profile: Profile
    simulated: bool
    clock_mhz: int
    gateware: bytes
    floorplan: bytes
    layout_version: int
    level: int = LEVEL

    def to_bytes(self) -> bytes:
        head = MAGIC + bytes([self.level, self.profile, self.simulated * FLAG_SIMULATED, self.clock_mhz])
        return head + self.gateware + self.floorplan + self.layout_version.to_bytes(2, "little")

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Identity":
        if len(raw) != IDENTITY_LENGTH or raw[:4] != MAGIC:
            raise ValueError(f"an identity has {IDENTITY_LENGTH} bytes and begins with {MAGIC!r}, not {raw[:8].hex()}…")
        return cls(
            Profile(raw[5]),
            bool(raw[6] & FLAG_SIMULATED),
            raw[7],
            raw[8:16],
            raw[16:24],
            int.from_bytes(raw[24:26], "little"),
            raw[4],
        )


@dataclass(frozen=True)
class Status:
    """How the device is: nothing in it is secret.

    The device id follows from the PUF key: it is zero in the factory state, and until the key was made once.
    """

    state: DeviceStateCode
    session: bool
    trng_alarm: bool
    trng_ready: bool
    button: bool
    jedec: bytes
    failure: Code
    tries: int
    device_id: bytes

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Status":
        if len(raw) != STATUS_LENGTH:
            raise ValueError(f"a status has {STATUS_LENGTH} bytes, not {len(raw)}")
        return cls(
            DeviceStateCode(raw[0]),
            bool(raw[1]),
            bool(raw[2] & 1),
            bool(raw[2] & 2),
            bool(raw[3]),
            raw[4:7],
            Code(raw[7]),
            int.from_bytes(raw[8:10], "little"),
            raw[10:18],
        )

    def to_bytes(self) -> bytes:
        trng = self.trng_alarm | self.trng_ready << 1
        head = bytes([self.state, self.session, trng, self.button]) + self.jedec
        return head + bytes([self.failure]) + self.tries.to_bytes(2, "little") + self.device_id
