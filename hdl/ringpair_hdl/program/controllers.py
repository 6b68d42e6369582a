"""Sessions with controllers, and what is said in them (`ringpair_protocol.binding`, `.binder`).

There is one session with a controller, besides PPAKE's. Its keys lie on the shelf; while a message is sealed or opened
they are in the place of PPAKE's, which lie on the shelf meanwhile. So both channels are the same routines.
"""

from ringpair_protocol import messages as msg
from ringpair_protocol.admin import Code, Event, Opcode
from ringpair_protocol.derivations import CONTROLLER_SESSION, HINT
from ringpair_protocol.frames import MAX_PAYLOAD

from ringpair_hdl.control.assembler import ALWAYS, CARRY, MATCH, ZERO, Direction, Op, Phase, Port, Program, Unit
from ringpair_hdl.curve.commands import Command
from ringpair_hdl.curve.elements import Element

from .binding import FIRST_PLACE, PLACES_END
from .channel import read_counter
from .curve import Unit32, Words, curve, get, hash_fields, load, put, read
from .handshake import SEND
from .imports import wipe_and_refuse_if
from .journal import refuse_if
from .memory import Memory, Run

RECEIVED = 0x80
IN_FRAME = 2
"""Bytes of a frame before the body of a controller's message: opcode and header."""
NUMBER = 0x0F
"""Of the number of a controller's journal: its place."""
COMMANDS = {
    Opcode.CONTROLLER_IN: (range(2, MAX_PAYLOAD + 1), "command_controller"),
    Opcode.CONTROLLER_REST: (1 + msg.LENGTHS[msg.B3] - msg.B3_FIRST, "command_rest"),
    Opcode.PIN: (2, "command_pin"),
    Opcode.BINDINGS: (1, "command_bindings"),
}
MESSAGES = {
    msg.B1: (msg.LENGTHS[msg.B1], "on_b1"),
    msg.B3: (msg.B3_FIRST, "on_b3"),
    msg.S1: (msg.LENGTHS[msg.S1], "on_s1"),
    msg.S3: (msg.LENGTHS[msg.S3], "on_s3"),
}
"""Header to length of what comes in one frame, and routine."""


def add_controllers(p: Program, v: Memory) -> None:
    _add_commands(p, v)
    _add_keys(p, v)
    _add_opening(p, v, Words(p))
    _add_data(p, v)
    _add_unbind(p, v)


def _add_commands(p: Program, v: Memory) -> None:
    with p.routine("command_controller"):
        p.take(Port.LINK, v.message)
        for header, (length, routine) in MESSAGES.items():
            p.compare(v.message, header)
            with p.If(ZERO):
                p.compare(v.frame, 1 + length)
                p.jump(routine, ZERO)
        p.compare(v.message, msg.DATA)
        p.jump("on_controller_data", ZERO)
        p.set(v.status, Code.BAD_VALUE)
        p.jump("reply_status")

    with p.routine("command_bindings"):
        p.call("open_device")
        p.jump("wipe_and_reply", ~ZERO)
        p.call("begin_reply")
        p.give(Port.LINK, v.pin_tries)
        p.set(v.peer, FIRST_PLACE)
        with p.Loop() as loop:
            p.call("load_peer")
            with p.If(ZERO):
                p.zero(v.header[:8])
            p.give(Port.LINK, v.header[:8])
            p.add(v.peer, 1)
            p.compare(v.peer, PLACES_END)
            loop.leave(ZERO)
        p.control(Unit.FRAME, SEND)
        p.jump("wipe")


def _add_keys(p: Program, v: Memory) -> None:
    # Which keys the channel has.
    with p.routine("opening_keys"):
        put(p, Unit32.PPAKE, v.keys)
        get(p, Unit32.OPENING, v.keys)

    with p.routine("session_keys"):
        put(p, Unit32.PPAKE, v.keys)
        get(p, Unit32.SESSION, v.keys)

    with p.routine("keep_session"):
        put(p, Unit32.SESSION, v.keys)
        p.jump("ppake_keys")

    with p.routine("ppake_keys"):
        get(p, Unit32.PPAKE, v.keys)
        put(p, Unit32.PPAKE, v.public)

    # The end of every operation on controllers: no key stays that is not needed any more.
    with p.routine("end_curve"):
        curve(p, Command.CLEAR)
        p.test(v.run, 0xFF)
        with p.If(ZERO):
            put(p, Unit32.OPENING, v.public)
        p.test(v.bound, 1)
        with p.If(ZERO):
            put(p, Unit32.SESSION, v.public)
        p.jump("wipe")

    with p.routine("end_reply"):
        p.control(Unit.FRAME, SEND)
        p.jump("end_curve")

    # LEN bytes from the frame, or of ``buffer``, under the keys of what is being opened, with the header ``message``.
    with p.routine("unseal_opening"):
        p.call("opening_keys")
        p.copy(v.rx_counter, v.rx_next)
        p.call("open_text")
        p.jump("ppake_keys")

    with p.routine("seal_opening"):
        p.call("opening_keys")
        p.call("seal_text")
        p.jump("ppake_keys")

    with p.routine("reply_sealed"):
        p.move(Direction.GIVE, Port.LINK, v.buffer, length=0)
        p.give(Port.LINK, v.tag)
        p.jump("end_reply")


def _add_opening(p: Program, v: Memory, words: Words) -> None:
    with p.routine("sts_statement"):
        hash_fields(p, *words.sts_d, v.said[16:80], v.said[80:])

    with p.routine("on_s1"):
        p.take(Port.LINK, v.sealed[0])
        p.take(Port.LINK, v.share_c)
        p.set(v.run, Run.NONE)
        p.phase(Phase.PUF)
        p.call("regenerate")
        p.jump("wipe_and_reply", ~ZERO)
        p.phase(Phase.ADMIN | Phase.FLASH)
        p.set(v.peer, FIRST_PLACE)
        with p.Loop() as loop:
            p.call("load_peer")
            with p.If(~ZERO):
                p.derive(HINT, service_id=v.header[:8], share_c=v.share_c)
                p.check(Port.SPONGE, v.sealed[0])
                loop.leave(MATCH)
            p.add(v.peer, 1)
            p.compare(v.peer, PLACES_END)
            wipe_and_refuse_if(p, v, ZERO, Code.UNKNOWN_CONTROLLER)
        p.copy(v.run_place, v.peer)
        p.byte(Op.AND, v.run_place, NUMBER)
        p.copy(v.service_key, v.chain_key)
        p.call("draw_scalar")
        p.jump("wipe_and_reply", ~ZERO)
        curve(p, Command.X25519_BASE)
        read(p, Element.RESULT, v.share_d)
        p.call("agree")
        wipe_and_refuse_if(p, v, ~ZERO, Code.BAD_CONTROLLER)
        p.call("derive_session")
        p.call("begin_signature")
        p.call("sts_statement")
        curve(p, Command.SIGN_COMMIT)
        p.call("sts_statement")
        p.call("end_signature")
        p.copy(v.buffer[:64], v.slot[:64])
        put(p, Unit32.SAID, v.said[:80], v.said[80:])
        p.set(v.run, Run.OPENED)
        p.set(v.message, msg.S2)
        p.control(Unit.LENGTH, 64)
        p.call("seal_opening")
        p.call("begin_reply")
        p.give(Port.LINK, v.message)
        p.give(Port.LINK, v.share_d)
        p.jump("reply_sealed")

    # From RESULT: the keys of this side, with the counter that no data message has.
    with p.routine("derive_session"):
        read(p, Element.RESULT, v.slot[:32])
        p.derive(CONTROLLER_SESSION, secret=v.slot[:32], share_c=v.share_c, share_d=v.share_d)
        for field in (v.buffer[16:72], v.slot[:32], v.buffer[80:88]):
            p.take(Port.SPONGE, field)
        p.copy(v.buffer[72:80], v.last_counters)
        put(p, Unit32.OPENING, v.buffer[:88])

    with p.routine("on_s3"):
        p.copy(v.former, v.run)
        p.set(v.run, Run.NONE)
        p.compare(v.former, Run.OPENED)
        wipe_and_refuse_if(p, v, ~ZERO, Code.NO_BINDING)
        p.control(Unit.LENGTH, 64)
        p.call("unseal_opening")
        wipe_and_refuse_if(p, v, ~MATCH, Code.BAD_CONTROLLER)
        get(p, Unit32.SAID, v.said[:80], v.said[80:])
        load(p, Element.PUBLIC, v.service_key)
        p.copy(v.slot[:64], v.buffer[:64])
        p.call("begin_verification")
        hash_fields(p, *words.sts_c, v.share_d, v.share_c, v.service_key, v.device_key)
        p.call("end_verification")
        wipe_and_refuse_if(p, v, ~ZERO, Code.BAD_CONTROLLER)
        get(p, Unit32.OPENING, v.buffer[:88])
        p.zero(v.buffer[72:80])
        put(p, Unit32.SESSION, v.buffer[:88])
        p.copy(v.place, v.run_place)
        p.set(v.bound, 1)
        p.call("begin_reply")
        p.jump("end_reply")


def _add_data(p: Program, v: Memory) -> None:
    with p.routine("on_controller_data"):
        p.phase(Phase.CHANNEL)
        p.test(v.bound, 1)
        refuse_if(p, v, ZERO, Code.NO_SESSION)
        p.compare(v.frame, IN_FRAME + msg.DATA_OVERHEAD)
        refuse_if(p, v, ~CARRY, Code.BAD_CONTROLLER)
        p.compare(v.frame, IN_FRAME + msg.DATA_OVERHEAD + msg.TEXT_MAX)
        refuse_if(p, v, CARRY, Code.BAD_CONTROLLER)
        p.call("session_keys")
        read_counter(p, v, "bad_data")
        p.control(Unit.LENGTH, RECEIVED | msg.DATA_OVERHEAD + 1)
        p.call("open_text")
        p.jump("bad_data", ~MATCH)
        p.call("count_received")
        p.copy(v.spi, v.buffer[0])
        p.compare(v.spi, msg.UNBIND)
        p.jump("unbind", ZERO)
        p.compare(v.spi, msg.SWITCH)
        with p.If(ZERO):
            p.compare(p.pad.length, 3)
            p.jump("switch", ~CARRY)
        p.call("keep_session")
        p.call("begin_reply")
        p.control(Unit.FRAME, SEND)
        p.emit(Port.LINK, Event.CONTROLLER_TEXT)
        p.give(Port.LINK, v.place)
        p.move(Direction.GIVE, Port.LINK, v.buffer, length=0)
        p.jump("end_reply")

    with p.routine("bad_data"):
        p.call("ppake_keys")
        wipe_and_refuse_if(p, v, ALWAYS, Code.BAD_CONTROLLER)

    with p.routine("switch"):
        p.compare(p.pad.length, 2)
        with p.If(ZERO):
            p.copy(v.switch, v.buffer[1])
        p.copy(v.buffer[1], v.switch)
        p.control(Unit.LENGTH, 2)
        p.jump("say")

    # LEN bytes of ``buffer`` go to the controller as the reply.
    with p.routine("say"):
        p.less(v.tx_counter, v.last_counter)
        with p.If(CARRY):
            p.set(v.status, Code.EXHAUSTED)
            p.call("keep_session")
            p.jump("wipe_and_reply")
        p.call("seal_text")
        p.call("begin_reply")
        p.give(Port.LINK, v.message)
        p.give(Port.LINK, v.tx_counter)
        p.add(v.tx_counter, 1)
        p.call("keep_session")
        p.jump("reply_sealed")


def _add_unbind(p: Program, v: Memory) -> None:
    with p.routine("unbind"):
        p.copy(v.sealed[:10], v.buffer[:10])
        p.call("keep_session")
        p.compare(p.pad.length, 10)
        wipe_and_refuse_if(p, v, ~ZERO, Code.BAD_VALUE)
        p.compare(v.sealed[1], msg.UNBIND_ASK)
        wipe_and_refuse_if(p, v, ~ZERO, Code.BAD_VALUE)
        p.phase(Phase.PUF)
        p.call("regenerate")
        p.jump("reply_status", ~ZERO)
        p.phase(Phase.ADMIN | Phase.FLASH)
        p.copy(v.peer, v.place)
        p.byte(Op.OR, v.peer, FIRST_PLACE)
        p.call("load_peer")
        wipe_and_refuse_if(p, v, ZERO, Code.BAD_VALUE)
        p.less(v.header[:8], v.sealed[2:10])
        wipe_and_refuse_if(p, v, ~ZERO, Code.BAD_VALUE)
        p.call("forget_peer")
        p.jump("wipe_and_reply", ~ZERO)
        p.call("session_keys")
        p.set(v.sealed[1], msg.UNBIND_DONE)
        p.copy(v.buffer[:10], v.sealed[:10])
        p.control(Unit.LENGTH, 10)
        p.set(v.bound, 0)
        p.set(v.run, Run.NONE)
        p.jump("say")
