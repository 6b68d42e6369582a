"""The admin port's commands and the main loop: who is served next, and how a refusal is told."""

from ringpair_protocol import messages as msg
from ringpair_protocol import records
from ringpair_protocol.admin import REPLY, Carrier, Code, DeviceStateCode, Event, Opcode, PeerState

from ringpair_hdl.control.assembler import (
    ADMIN_FRAME,
    BUTTON,
    BUTTON_LONG,
    BUTTON_SHORT,
    CARRY,
    MATCH,
    ONES,
    PEER_FRAME,
    TIMER_DONE,
    TRNG_ALARM,
    TRNG_READY,
    ZERO,
    Direction,
    Op,
    Output,
    Phase,
    Port,
    Program,
    Unit,
)

from . import flash
from .handshake import DROP, SEND, flag
from .journal import refuse_if
from .memory import ENROLLING, PENDING_INITIATOR, PENDING_RESPONDER, SESSION, Memory

RECEIVED = 0x80
SHORT, LONG = 1, 2
Commands = dict[Opcode, tuple[int | range | None, str]]
COMMANDS: Commands = {
    Opcode.IDENTITY: (1, "command_identity"),
    Opcode.STATUS: (1, "command_status"),
    Opcode.ENROLL: (1 + msg.LENGTHS[msg.E1], "command_enroll"),
    Opcode.ENROLL_CONFIRM: (1 + msg.LENGTHS[msg.E3], "command_confirm"),
    Opcode.IMPORT: (None, "command_import"),
    Opcode.PEER: (2, "command_peer"),
    Opcode.CONNECT: (3, "command_connect"),
    Opcode.SEND: (None, "command_send"),
    Opcode.PEER_IN: (None, "command_peer_in"),
    Opcode.DISCONNECT: (1, "command_disconnect"),
}
"""Opcode to length of the whole command (None: the command looks itself; a range up to the longest) and routine."""

MESSAGES = {
    msg.M1: "on_m1",
    msg.M2: "on_m2",
    msg.M3: "on_m3",
    msg.RESYNC: "on_resync",
}


HANDLERS = (
    (ADMIN_FRAME, "on_admin_frame"),
    (PEER_FRAME, "on_peer_frame"),
    (TIMER_DONE, "on_timer"),
    (BUTTON_LONG, "on_long_press"),
    (BUTTON_SHORT, "on_short_press"),
)
"""What the main loop waits for, the most urgent first."""


def add_admin(p: Program, v: Memory, more: Commands) -> None:
    """``more``: commands that an enrolled device has besides."""
    _add_replies(p, v)
    _add_small_commands(p, v)
    _add_session_commands(p, v)
    _add_dispatch(p, v, more)
    _add_peer_message(p, v)


def add_main(p: Program, v: Memory) -> None:
    """Power-up and the loop; the first routine of the program."""
    with p.routine("main", returns=False):
        p.phase(Phase.BOOT)
        p.call("flash_start")
        p.call("read_state")
        p.compare(v.state, DeviceStateCode.ENROLLED)
        p.call("tidy", ZERO)
        p.wait_either(TRNG_READY, TRNG_ALARM)
        p.control(Unit.SIDE, 0)
        p.emit(Port.LINK, Event.STARTED)
        p.give(Port.LINK, v.identity)
        p.control(Unit.FRAME, SEND)
        with p.Loop() as loop:
            p.test(v.has_nonce, 1)
            with p.If(ZERO):
                with p.If(~TRNG_ALARM):
                    p.call("fill_pool")
            p.phase(Phase.IDLE)
            for test, handler in HANDLERS:
                with p.If(test):
                    p.phase(Phase.ADMIN)
                    p.call(handler)
                    if test == ADMIN_FRAME:  # never on behalf of the peer port
                        p.test(v.untidy, 1)
                        p.call("tidy", ~ZERO)
                    loop.again()
            with p.If(~BUTTON):
                if v.full:  # it may have been let go behind the test of BUTTON_SHORT; who has no peers does not care
                    p.test(v.permitting, 1)
                    with p.If(~ZERO):
                        p.control(Unit.EVENTS, SHORT | LONG)
                p.set(v.permitting, 0)
            p.test(v.permitting, 1)
            with p.If(ZERO):
                p.wait_event()

    # A press that permitted an enrollment, or has to do with a PIN, does nothing else.
    with p.routine("on_long_press"):
        p.control(Unit.EVENTS, SHORT | LONG)
        p.test(v.permitting, 1)
        with p.If(ZERO):
            p.compare(v.state, DeviceStateCode.NO_FLASH)
            p.jump("reset_by_button", ~ZERO)

    with p.routine("on_short_press"):
        p.control(Unit.EVENTS, SHORT)
        p.test(v.permitting, 1)
        with p.If(ZERO):
            p.compare(v.state, DeviceStateCode.ENROLLED)
            p.jump("on_button", ZERO)

    with p.routine("go_to_record"):
        p.set(v.address, records.DEVICE_BASE.to_bytes(3, "big"))

    # What the flash says of this device. If it can be read, ZERO tells afterwards whether there is a record.
    with p.routine("read_state"):
        p.set(v.state, DeviceStateCode.NO_FLASH)
        p.output(off=Output.LED_READY)
        p.test(v.jedec[0], 0xFF)
        with p.If(ZERO):
            p.ret()
        p.compare(v.jedec[2], v.smallest_flash)
        with p.If(~CARRY):
            p.ret()
        p.compare(v.jedec[2], 0xFF)
        with p.If(CARRY):
            p.ret()
        p.set(v.state, DeviceStateCode.FACTORY)
        p.call("go_to_record")
        p.call("flash_read")
        p.take(Port.SPI, v.spi)
        p.compare(v.spi, records.RECORD_VERSION)
        with p.If(ZERO):
            p.set(v.state, DeviceStateCode.OTHER_FLOORPLAN)
            p.check(Port.SPI, v.floorplan)
            with p.If(MATCH):
                p.check(Port.SPI, v.layout_version)
                with p.If(MATCH):
                    p.set(v.state, DeviceStateCode.ENROLLED)
                    p.output(on=Output.LED_READY)
            p.compare(v.spi, records.RECORD_VERSION)
        flash.select(p, 0)

    with p.routine("on_timer"):
        flag(p, v, ENROLLING)
        p.jump("end_enrollment", ~ZERO)
        p.jump("on_timeout")


def _add_replies(p: Program, v: Memory) -> None:
    # The command's frame goes, the reply begins: opcode and status; the body and SEND follow.
    with p.routine("begin_reply"):
        p.call("note_failure")
        p.control(Unit.SIDE, 0)
        p.control(Unit.FRAME, DROP)
        p.byte(Op.OR, v.opcode, REPLY)
        p.give(Port.LINK, v.opcode)
        p.give(Port.LINK, v.status)

    with p.routine("reply_status"):
        p.call("begin_reply")
        p.control(Unit.FRAME, SEND)

    with p.routine("wipe_and_reply"):
        p.call(v.end)
        p.zero(v.new_wrap)
        p.jump("reply_status")


def _add_small_commands(p: Program, v: Memory) -> None:
    with p.routine("command_identity"):
        p.call("begin_reply")
        p.give(Port.LINK, v.identity)
        p.control(Unit.FRAME, SEND)

    with p.routine("command_status"):
        p.set(v.trng, 0)
        with p.If(TRNG_ALARM):
            p.byte(Op.OR, v.trng, 1)
        with p.If(TRNG_READY):
            p.byte(Op.OR, v.trng, 2)
        p.set(v.button, 0)
        with p.If(BUTTON):
            p.set(v.button, 1)
        p.call("begin_reply")
        p.give(Port.LINK, v.report)
        p.control(Unit.FRAME, SEND)

    with p.routine("command_peer"):
        p.take(Port.LINK, v.peer)
        p.compare(v.peer, records.MAX_PEERS)
        refuse_if(p, v, CARRY, Code.BAD_VALUE)
        p.phase(Phase.PUF)
        p.call("regenerate")
        p.jump("reply_status", ~ZERO)
        p.phase(Phase.ADMIN | Phase.FLASH)
        p.call("load_peer")
        p.set(v.spi, PeerState.LIVE)
        p.test(v.found, 1)
        with p.If(ZERO):
            p.set(v.spi, PeerState.REVOKED)
            p.copy(v.address, v.region)
            flash.read(p, v, v.header)
            with p.If(ONES):
                p.set(v.spi, PeerState.EMPTY)
                p.zero(v.header)
            p.zero(v.number)
        p.call("begin_reply")
        p.give(Port.LINK, v.spi)
        p.give(Port.LINK, v.header)
        p.give(Port.LINK, v.number)
        p.control(Unit.FRAME, SEND)
        p.jump("wipe")


def _add_session_commands(p: Program, v: Memory) -> None:
    with p.routine("command_connect"):
        p.take(Port.LINK, v.peer)
        p.take(Port.LINK, v.message)
        p.compare(v.peer, records.MAX_PEERS)
        refuse_if(p, v, CARRY, Code.BAD_VALUE)
        p.compare(v.message, Carrier.TUNNEL + 1)
        refuse_if(p, v, CARRY, Code.BAD_VALUE)
        refuse_if(p, v, TRNG_ALARM, Code.TRNG_FAILED)
        p.control(Unit.FRAME, DROP)
        p.copy(v.former, v.pending_peer)
        p.copy(v.pending_peer, v.peer)
        p.call("prepare_m1")
        with p.If(~ZERO):
            p.copy(v.pending_peer, v.former)
            p.jump("reply_without_frame")
        p.call("reply_without_frame")
        p.copy(v.peer, v.pending_peer)
        p.copy(v.pending_peer, v.former)
        p.set(v.status, Code.SUPERSEDED)
        p.call("end_session")
        p.copy(v.pending_peer, v.peer)
        p.copy(v.carrier, v.message)
        p.set(v.attempt, 0)
        p.set(v.resyncs, 0)
        p.jump("send_m1")

    with p.routine("reply_without_frame"):
        p.control(Unit.SIDE, 0)
        p.byte(Op.OR, v.opcode, REPLY)
        p.give(Port.LINK, v.opcode)
        p.give(Port.LINK, v.status)
        p.control(Unit.FRAME, SEND)

    with p.routine("command_send"):
        p.compare(v.frame, 2)
        refuse_if(p, v, ~CARRY, Code.BAD_LENGTH)
        p.compare(v.frame, msg.TEXT_MAX + 2)
        refuse_if(p, v, CARRY, Code.BAD_LENGTH)
        p.call("check_sender")
        p.test(v.status, 0xFF)
        p.jump("reply_status", ~ZERO)
        p.control(Unit.LENGTH, RECEIVED | 1)
        p.move(Direction.TAKE, Port.LINK, v.buffer, length=0)
        p.control(Unit.FRAME, DROP)
        p.call("reply_without_frame")
        p.jump("send_text")

    # A message that came through the host is treated as one that came by wire.
    with p.routine("command_peer_in"):
        p.compare(v.frame, 2)
        refuse_if(p, v, ~CARRY, Code.BAD_LENGTH)
        p.set(v.arrival, Carrier.TUNNEL)
        p.byte(Op.ADD, v.frame, 255)
        p.call("reply_without_frame")
        p.control(Unit.SIDE, 0)
        p.jump("on_message")

    with p.routine("command_disconnect"):
        flag(p, v, PENDING_INITIATOR | PENDING_RESPONDER | SESSION)
        refuse_if(p, v, ZERO, Code.NO_SESSION)
        p.control(Unit.TIMER, 0)
        p.set(v.flags, 0)
        p.call("wipe_session")
        p.jump("reply_status")


def _add_dispatch(p: Program, v: Memory, more: Commands) -> None:
    with p.routine("on_admin_frame"):
        p.control(Unit.SIDE, 0)
        p.set(v.status, Code.OK)
        p.set(v.opcode, Opcode.NONE)
        p.take(Port.FRAME, v.frame)
        p.test(v.frame, 0x80)
        with p.If(~ZERO):
            p.set(v.status, Code.BAD_FRAME)
            p.byte(Op.AND, v.frame, 0x7F)
            p.call("begin_reply")
            p.give(Port.LINK, v.frame)
            p.control(Unit.FRAME, SEND)
            p.ret()
        p.take(Port.LINK, v.opcode)
        for opcode, (length, routine) in (COMMANDS | more).items():
            p.compare(v.opcode, opcode)
            with p.If(ZERO):
                if isinstance(length, range):
                    p.compare(v.frame, length.start)
                    p.jump("refuse_length", ~CARRY)
                elif length is not None:
                    p.compare(v.frame, length)
                    p.jump("refuse_length", ~ZERO)
                if opcode in (Opcode.PEER, Opcode.CONNECT, *more):
                    p.call("need_enrollment")
                    p.jump("reply_status", ~ZERO)
                p.jump(routine)
        p.set(v.status, Code.UNKNOWN_COMMAND)
        p.compare(v.opcode, REPLY >> 1)  # a reply can only name an opcode of the commands' range
        with p.If(CARRY):
            p.set(v.opcode, Opcode.NONE)
        p.jump("reply_status")

    with p.routine("refuse_length"):
        p.set(v.status, Code.BAD_LENGTH)
        p.jump("reply_status")

    # ZERO: the device is enrolled; else status tells what it is.
    with p.routine("need_enrollment"):
        p.compare(v.state, DeviceStateCode.ENROLLED)
        with p.If(ZERO):
            p.ret()
        p.set(v.status, Code.NOT_ENROLLED)
        p.compare(v.state, DeviceStateCode.OTHER_FLOORPLAN)
        with p.If(ZERO):
            p.set(v.status, Code.OTHER_FLOORPLAN)
        p.compare(v.state, DeviceStateCode.NO_FLASH)
        with p.If(ZERO):
            p.set(v.status, Code.FLASH_FAILED)
        p.test(v.status, 0xFF)

    with p.routine("on_peer_frame"):
        p.control(Unit.SIDE, 1)
        p.set(v.arrival, Carrier.WIRE)
        p.take(Port.FRAME, v.frame)
        p.jump("on_message")

    with p.routine("on_message"):
        p.compare(v.state, DeviceStateCode.ENROLLED)
        p.jump("on_peer_message", ZERO)
        p.jump("drop_frame")


def _add_peer_message(p: Program, v: Memory) -> None:
    # ``frame`` is the message's length; what is not of an exact form vanishes.
    with p.routine("on_peer_message"):
        p.take(Port.LINK, v.message)
        for opcode, routine in MESSAGES.items():
            p.compare(v.message, opcode)
            with p.If(ZERO):
                p.compare(v.frame, msg.LENGTHS[opcode])
                p.jump(routine, ZERO)
                p.jump("drop_frame")
        p.compare(v.message, msg.DATA)
        with p.If(ZERO):
            p.compare(v.frame, msg.DATA_OVERHEAD + 1)
            with p.If(CARRY):
                p.compare(v.frame, msg.DATA_OVERHEAD + msg.TEXT_MAX + 1)
                p.jump("on_data", ~CARRY)
        p.jump("drop_frame")
