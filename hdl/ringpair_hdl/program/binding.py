"""Bindings on the device: a PIN, CPace, and the record of a controller (`ringpair_protocol.binding`, `.binder`).

Between messages a run lies on the shelf: what was said, and its keys in the form of a session's, with Ta in the place
of ``tag_3``. The curve engine keeps nothing. Of a B1, a try is written to flash and verified before anything is
computed with the PIN.
"""

from ringpair_protocol import messages as msg
from ringpair_protocol import records
from ringpair_protocol.admin import Code, Pin
from ringpair_protocol.binding import PIN_DIGITS, PIN_TRIES
from ringpair_protocol.cpace import DSI, HASH_BLOCK
from ringpair_protocol.derivations import BIND_KEYS, IDENTITY_SEED, PRESET_PIN, SERVICE_ID

from ringpair_hdl.control.assembler import (
    BUTTON,
    CARRY,
    MATCH,
    TRNG_ALARM,
    ZERO,
    Direction,
    Op,
    Phase,
    Port,
    Program,
    Unit,
)
from ringpair_hdl.curve.commands import Command, OnElement
from ringpair_hdl.curve.elements import Element
from ringpair_hdl.pin_display import PinCommand

from .curve import Unit32, Words, curve, get, hash_fields, load, on, pin_display, put, read, refused
from .imports import NO_PLACE, wipe_and_refuse_if
from .journal import ok, refuse_if
from .memory import Memory, Run

OCTAL = ord("0"), 7
FIRST_PLACE, PLACES_END = records.MAX_PEERS, records.MAX_PEERS + records.MAX_CONTROLLERS
"""Controllers' journals, as those of peers are numbered."""
DIGEST = Element.DIGEST, Element.DIGEST + 1


ZEROS = HASH_BLOCK - 1 - (1 + PIN_DIGITS) - (1 + len(DSI))
"""Zero bytes that fill the first block of CPace's generator string up."""


def add_binding(p: Program, v: Memory) -> None:
    _add_pin(p, v)
    words = Words(p)
    _add_first(p, v, words)
    _add_agreement(p, v, words)
    _add_rest(p, v, words)
    _add_identity(p, v)


def _add_pin(p: Program, v: Memory) -> None:
    # Eight bytes become digits.
    with p.routine("make_digits"):
        p.set(v.count, PIN_DIGITS)
        with p.Loop() as loop:
            p.copy(v.spi, v.digits[0])
            p.byte(Op.AND, v.spi, OCTAL[1])
            p.byte(Op.OR, v.spi, OCTAL[0])
            p.copy(v.digits[:-1], v.digits[1:])
            p.copy(v.digits[-1], v.spi)
            p.byte(Op.ADD, v.count, 255)
            loop.leave(ZERO)

    with p.routine("preset_digits"):
        p.derive(PRESET_PIN, puf_key=v.puf_key, salt=v.salt)
        p.take(Port.SPONGE, v.digits)
        p.jump("make_digits")

    with p.routine("command_pin"):
        refuse_if(p, v, ~BUTTON, Code.NEED_BUTTON)
        p.set(v.permitting, 1)
        p.take(Port.LINK, v.spi)
        p.compare(v.spi, Pin.PRESET)
        with p.If(ZERO):
            p.phase(Phase.PUF)
            p.call("regenerate")
            p.jump("reply_status", ~ZERO)
            p.call("preset_digits")
            p.jump("reply_digits")
        p.compare(v.spi, Pin.DISPLAYED + 1)
        refuse_if(p, v, CARRY, Code.BAD_VALUE)
        p.call("draw_scalar")
        p.jump("wipe_and_reply", ~ZERO)
        p.compare(v.spi, Pin.DISPLAYED)
        with p.If(ZERO):
            pin_display(p, PinCommand.SHOW)
            p.give(Port.PUF, v.random[:PIN_DIGITS])
            p.call("begin_reply")
            p.jump("end_reply")
        pin_display(p, PinCommand.KEEP)
        p.give(Port.PUF, v.random[:PIN_DIGITS])
        p.call("read_pin")
        p.jump("reply_digits")

    with p.routine("read_pin"):
        pin_display(p, PinCommand.TELL)
        p.take(Port.PUF, v.digits)

    with p.routine("reply_digits"):
        p.call("begin_reply")
        p.give(Port.LINK, v.digits)
        p.jump("end_reply")


def _add_first(p: Program, v: Memory, words: Words) -> None:
    # The device's slot, opened, after the key was made; ZERO if all is well.
    with p.routine("open_device"):
        p.phase(Phase.PUF)
        p.call("regenerate")
        with p.If(~ZERO):
            p.ret()
        p.phase(Phase.ADMIN | Phase.FLASH)
        p.jump("load_device")

    # A scalar into the engine; ZERO if there is one.
    with p.routine("draw_scalar"):
        with p.If(TRNG_ALARM):
            p.set(v.status, Code.TRNG_FAILED)
        ok(p, v)
        with p.If(~ZERO):
            p.ret()
        p.phase(Phase.TRNG)
        p.call("draw_random")
        p.phase(Phase.ADMIN)
        load(p, Element.SCALAR, v.random)
        ok(p, v)

    with p.routine("on_b1"):
        p.take(Port.LINK, v.said[:48])
        p.set(v.run, Run.NONE)
        p.call("open_device")
        p.jump("wipe_and_reply", ~ZERO)
        p.copy(v.spi, v.pin_tries)
        p.compare(v.spi, PIN_TRIES)
        with p.If(CARRY):
            wipe_and_refuse_if(p, v, ~BUTTON, Code.PIN_LOCKED)
            p.set(v.permitting, 1)
            p.set(v.spi, 0)
        p.byte(Op.ADD, v.spi, 1)
        p.copy(v.pin_tries, v.spi)
        p.call("draw_scalar")
        p.jump("wipe_and_reply", ~ZERO)
        p.phase(Phase.ADMIN | Phase.FLASH)
        p.call("commit_device")
        p.jump("wipe_and_reply", ~ZERO)
        p.phase(Phase.ADMIN)
        p.call("hash_pin")
        on(p, OnElement.GET, DIGEST[0])
        curve(p, Command.ELLIGATOR)
        on(p, OnElement.GET, Element.RESULT)
        curve(p, Command.X25519)
        read(p, Element.RESULT, v.share_d)
        p.call("agree")
        wipe_and_refuse_if(p, v, ~ZERO, Code.BAD_CONTROLLER)
        p.call("confirmations")
        put(p, Unit32.SAID, v.said[:80])
        put(p, Unit32.OPENING, v.buffer[:88])
        p.set(v.run, Run.ASKED)
        p.call("begin_reply")
        p.emit(Port.LINK, msg.B2)
        p.give(Port.LINK, v.share_d)
        p.give(Port.LINK, v.slot[:16])
        p.jump("end_reply")

    # The draft's generator string. Its zeros are those of ``buffer`` and ``bits``, of which the end has the digits.
    with p.routine("hash_pin"):
        p.call("read_pin")
        pin_display(p, PinCommand.CLEAR)
        p.copy(v.spi, v.digits[0])
        p.test(v.spi, 0xFF)
        p.call("preset_digits", ZERO)
        curve(p, Command.HASH_START)
        hash_fields(p, words.dsi, prefixed=True)
        hash_fields(p, v.digits, prefixed=True)
        p.control(Unit.LENGTH, ZEROS)
        curve(p, Command.HASH_PREFIXED)
        p.give(Port.PUF, p.pad.length)
        p.move(Direction.GIVE, Port.PUF, v.buffer, length=0)
        hash_fields(p, words.ci_label, v.own_id, v.service_id, prefixed=True)
        hash_fields(p, v.sid, prefixed=True)
        curve(p, Command.HASH_FINISH)


def _add_agreement(p: Program, v: Memory, words: Words) -> None:
    # RESULT = scalar times the controller's share; ZERO if it is a point for that.
    with p.routine("agree"):
        load(p, Element.POINT, v.share_c)
        curve(p, Command.X25519)
        refused(p, v)

    with p.routine("hash_controller"):
        hash_fields(p, v.share_c, prefixed=True)
        hash_fields(p, v.service_id, prefixed=True)

    with p.routine("hash_device"):
        hash_fields(p, v.share_d, prefixed=True)
        hash_fields(p, v.own_id, prefixed=True)

    # ``buffer`` becomes what goes onto the shelf: Ta, keys, zeros, half of the sid; Tb comes into ``slot``.
    with p.routine("confirmations"):
        curve(p, Command.HASH_START)
        hash_fields(p, words.dsi_isk, prefixed=True)
        hash_fields(p, v.sid, prefixed=True)
        hash_fields(p, p.pad.constant(bytes([32])))
        on(p, OnElement.HASH, Element.RESULT)
        p.call("hash_controller")
        p.call("hash_device")
        p.call("finish_hash")
        p.derive(BIND_KEYS, isk=v.slot[:64])
        p.take(Port.SPONGE, v.buffer[16:48])
        curve(p, Command.HASH_START)
        hash_fields(p, words.mac_label, v.sid, v.slot[:64])
        curve(p, Command.HASH_FINISH, Command.HMAC_START)
        p.call("hash_controller")
        p.call("finish_mac")
        p.copy(v.buffer[:16], v.slot[:16])
        curve(p, Command.HMAC_AGAIN)
        p.call("hash_device")
        p.call("finish_mac")
        p.copy(v.buffer[80:88], v.run_id)

    with p.routine("finish_mac"):
        curve(p, Command.HMAC_FINISH)
        p.jump("read_digest")

    with p.routine("finish_hash"):
        curve(p, Command.HASH_FINISH)
        p.jump("read_digest")

    with p.routine("read_digest"):
        read(p, DIGEST[0], v.slot[:32])
        read(p, DIGEST[1], v.slot[32:64])


def _add_rest(p: Program, v: Memory, words: Words) -> None:
    # The beginning of a B3: only whether Ta was right is kept.
    with p.routine("on_b3"):
        p.compare(v.run, Run.ASKED)
        refuse_if(p, v, ~CARRY, Code.NO_BINDING)
        get(p, Unit32.OPENING, v.seal_key)
        p.check(Port.LINK, v.seal_key)
        p.set(v.run, Run.WRONG)
        with p.If(MATCH):
            p.set(v.run, Run.RIGHT)
        p.zero(v.seal_key)
        p.jump("reply_status")

    # The rest of it: the tries are given back for a right Ta, together with the index that a new record needs.
    with p.routine("command_rest"):
        p.copy(v.former, v.run)
        p.set(v.run, Run.NONE)
        p.compare(v.former, Run.WRONG)
        wipe_and_refuse_if(p, v, ~CARRY, Code.NO_BINDING)
        p.call("open_device")
        p.jump("wipe_and_reply", ~ZERO)
        p.compare(v.former, Run.RIGHT)
        wipe_and_refuse_if(p, v, ~ZERO, Code.WRONG_PIN)
        p.zero(v.pin_tries)
        p.call("use_pair_index")
        p.jump("wipe_and_reply", ~ZERO)
        p.phase(Phase.ADMIN)
        get(p, Unit32.SAID, v.said[:80])
        p.set(v.message, msg.B3)
        p.control(Unit.LENGTH, 96)
        p.call("unseal_opening")
        wipe_and_refuse_if(p, v, ~MATCH, Code.BAD_CONTROLLER)
        p.copy(v.service_key, v.buffer[:32])
        p.derive(SERVICE_ID, service_key=v.service_key)
        p.check(Port.SPONGE, v.service_id)
        wipe_and_refuse_if(p, v, ~MATCH, Code.BAD_CONTROLLER)
        load(p, Element.PUBLIC, v.service_key)
        p.copy(v.slot[:64], v.buffer[32:])
        p.call("begin_verification")
        hash_fields(p, *words.bind_c, v.said[:80], v.service_key)
        p.call("end_verification")
        wipe_and_refuse_if(p, v, ~ZERO, Code.BAD_CONTROLLER)
        p.call("add_controller")
        p.jump("wipe_and_reply", ~ZERO)
        p.call("begin_signature")
        p.call("bind_statement")
        curve(p, Command.SIGN_COMMIT)
        p.call("bind_statement")
        p.call("end_signature")
        p.copy(v.buffer[:32], v.device_key)
        p.copy(v.buffer[32:], v.slot[:64])
        p.set(v.message, msg.B4)
        p.control(Unit.LENGTH, 96)
        p.call("seal_opening")
        p.call("begin_reply")
        p.give(Port.LINK, v.message)
        p.jump("reply_sealed")

    with p.routine("bind_statement"):
        hash_fields(p, *words.bind_d, v.said[:80], v.said[80:])

    # A record for the service of this run, unless there is one: its id is the hash of its key. ZERO if all is well.
    with p.routine("add_controller"):
        p.phase(Phase.ADMIN | Phase.FLASH)
        p.copy(v.sealed[6:14], v.service_id)
        p.set(v.peer, FIRST_PLACE)
        p.call("find_from")
        p.compare(v.peer, NO_PLACE)
        with p.If(ZERO):
            p.copy(v.peer, v.free)
            p.compare(v.peer, NO_PLACE)
            with p.If(ZERO):
                p.set(v.status, Code.CONTROLLERS_FULL)
                p.jump("status_ok")
            p.zero(v.header, v.slot)
            p.copy(v.header[:8], v.service_id)
            p.copy(v.header[8:10], v.pair_index)
            p.set(v.header[11], records.RECORD_VERSION)
            p.copy(v.chain_key, v.service_key)
            p.call("open_peer_journal")
            p.call("journal_create")
        p.jump("status_ok")

    with p.routine("status_ok"):
        ok(p, v)


def _add_identity(p: Program, v: Memory) -> None:
    # The seed into ``chain_key``, the public key onto the shelf, where it stays: that takes as long as a signature.
    with p.routine("make_identity"):
        p.derive(IDENTITY_SEED, puf_key=v.puf_key, salt=v.salt)
        p.take(Port.SPONGE, v.chain_key)
        p.test(v.has_key, 1)
        with p.If(~ZERO):
            p.ret()
        load(p, Element.SEED, v.chain_key)
        curve(p, Command.KEY)
        read(p, Element.PUBLIC, v.device_key)
        put(p, Unit32.IDENTITY, v.device_key)
        p.set(v.has_key, 1)

    # The public key into PUBLIC and ``device_key``; then the engine waits for a statement to be signed.
    with p.routine("begin_signature"):
        p.phase(Phase.ADMIN)
        p.call("make_identity")
        get(p, Unit32.IDENTITY, v.device_key)
        load(p, Element.PUBLIC, v.device_key)
        load(p, Element.SEED, v.chain_key)
        curve(p, Command.SIGN_BEGIN)

    with p.routine("end_signature"):
        curve(p, Command.SIGN_END)
        read(p, Element.R, v.slot[:32])
        read(p, Element.S, v.slot[32:64])

    # The signature in ``slot``, by PUBLIC. ZERO after the end: it is genuine.
    with p.routine("begin_verification"):
        load(p, Element.R, v.slot[:32])
        load(p, Element.S, v.slot[32:64])
        curve(p, Command.VERIFY_BEGIN)

    with p.routine("end_verification"):
        curve(p, Command.VERIFY_END)
        refused(p, v)
