"""Enrollment and factory reset: how a device comes to its identity, and how it loses it."""

from functools import partial

from ringpair_protocol import messages as msg
from ringpair_protocol import records
from ringpair_protocol.admin import NOBODY, Code, DeviceStateCode, Event
from ringpair_protocol.derivations import CHECK, DEVICE_KEY, ENROLL, FIRST_WRAP

from ringpair_hdl.control.assembler import (
    BUTTON,
    CARRY,
    MATCH,
    ONES,
    PUF_BUSY,
    PUF_DEAD,
    TRNG_ALARM,
    ZERO,
    Op,
    Output,
    Phase,
    Port,
    Program,
    Unit,
)
from ringpair_hdl.pin_display import PinCommand
from ringpair_hdl.puf.engine import Command

from . import flash
from .curve import pin_display
from .handshake import SEND, flag
from .journal import SECTOR_STEP, ok, refuse_if
from .keys import puf
from .memory import ENROLLING, Memory

REGION_SECTORS = records.JOURNAL_SECTORS


def add_enroll(p: Program, v: Memory, ticks_per_second: float) -> None:
    _add_wiping(p, v)
    _add_draft(p, v, ticks_per_second)
    _add_confirm(p, v)


def _add_wiping(p: Program, v: Memory) -> None:
    # Erases the sectors of all journals that are not blank to the last bit: an erase that was cut leaves a few behind.
    with p.routine("erase_journals"):
        p.set(v.address, records.DEVICE_JOURNAL.to_bytes(3, "big"))
        p.set(v.sectors, REGION_SECTORS)
        p.call("erase_sectors")
        p.set(v.address, records.PEER_BASE.to_bytes(3, "big"))
        p.set(v.sectors, v.journals * REGION_SECTORS)
        p.jump("erase_sectors")

    with p.routine("erase_sectors"):
        p.call("look_blank")
        p.call("flash_erase", ~ONES)
        p.byte(Op.ADD, v.address[1], SECTOR_STEP)
        with p.If(CARRY):
            p.add(v.address[0], 1)
        p.byte(Op.ADD, v.sectors, 255)
        p.jump("erase_sectors", ~ZERO)

    # Everything goes: the plain record first, because without it nothing else can be opened. If that stays, ``status``
    # says so.
    with p.routine("factory_reset"):
        p.phase(Phase.ADMIN | Phase.FLASH)
        p.output(off=Output.LED_READY | Output.LED_ERROR)
        p.set(v.status, Code.OK)
        p.control(Unit.TIMER, 0)
        p.set(v.flags, 0)
        p.call("wipe_session")
        p.call("go_to_record")
        p.call("flash_erase")
        p.call("read_state")
        with p.If(ZERO):
            p.set(v.status, Code.FLASH_FAILED)
        p.zero(v.own_id)
        p.set(v.untidy, 0)
        p.zero(v.new_wrap)
        if v.full:
            p.zero(v.binding)
            pin_display(p, PinCommand.CLEAR)
        p.call("erase_journals")
        p.call(v.end)

    with p.routine("reset_by_button"):
        p.call("factory_reset")
        p.set(v.pending_peer, NOBODY)
        ok(p, v)
        p.jump("failed_event", ~ZERO)
        p.control(Unit.SIDE, 0)
        p.emit(Port.LINK, Event.RESET_DONE)
        p.control(Unit.FRAME, SEND)


def _add_draft(p: Program, v: Memory, ticks_per_second: float) -> None:
    # E1: all that an enrollment makes, in the scratchpad; nothing lasting before E3. Answered by E2.
    with p.routine("command_enroll"):
        p.call("need_factory_state")
        p.jump("reply_status", ~ZERO)
        refuse_if(p, v, ~BUTTON, Code.NEED_BUTTON)
        p.take(Port.LINK, v.spi)
        p.compare(v.spi, msg.E1)
        refuse_if(p, v, ~ZERO, Code.BAD_VALUE)
        refuse_if(p, v, TRNG_ALARM, Code.TRNG_FAILED)
        p.call("end_enrollment")
        p.set(v.permitting, 1)
        p.take(Port.LINK, v.nonce_s)
        p.phase(Phase.PUF)
        puf(p, v, Command.MEASURE_16)
        p.phase(Phase.ADMIN | Phase.FLASH)
        p.call("erase_journals")
        p.phase(Phase.PUF)
        puf(p, v, Command.ENROLL)
        p.take(Port.PUF, v.helper)
        p.wait(~PUF_BUSY)
        with p.If(PUF_DEAD):
            p.set(v.status, Code.RING_DEAD)
            p.jump("no_enrollment")
        p.copy(v.buffer[:72], v.helper)
        p.call("helper_digest")
        puf(p, v, Command.BITS)
        p.take(Port.PUF, v.bits)
        p.derive(CHECK, digest=v.digest, bits=v.bits)
        p.take(Port.SPONGE, v.check)
        p.phase(Phase.TRNG)
        p.call("draw_random")
        p.copy(v.salt, v.random[:16])
        p.call("draw_random")
        ok(p, v)
        p.jump("no_enrollment", ~ZERO)
        p.phase(Phase.ADMIN)
        p.call("key_from_bits")
        p.derive(FIRST_WRAP, puf_key=v.puf_key, salt=v.salt, random=v.random)
        p.take(Port.SPONGE, v.new_wrap)
        p.call("wipe")
        p.byte(Op.OR, v.flags, ENROLLING)
        p.control(Unit.TIMER, round(msg.RESPONDER_TIMEOUT_S * ticks_per_second))
        p.call("begin_reply")
        p.emit(Port.LINK, msg.E2)
        p.give(Port.LINK, v.own_id)
        p.give(Port.LINK, v.new_wrap)
        p.control(Unit.FRAME, SEND)

    with p.routine("no_enrollment"):
        p.zero(v.helper)
        p.jump("wipe_and_reply")

    with p.routine("need_factory_state"):
        p.compare(v.state, DeviceStateCode.FACTORY)
        with p.If(~ZERO):
            p.set(v.status, Code.ALREADY_ENROLLED)
        p.compare(v.state, DeviceStateCode.NO_FLASH)
        with p.If(ZERO):
            p.set(v.status, Code.FLASH_FAILED)
        ok(p, v)

    with p.routine("end_enrollment"):
        p.compare(v.state, DeviceStateCode.FACTORY)
        with p.If(ZERO):
            p.zero(v.own_id)
        p.byte(Op.AND, v.flags, 0xFF ^ ENROLLING)
        p.control(Unit.TIMER, 0)
        p.zero(v.new_wrap, v.helper)


def _add_confirm(p: Program, v: Memory) -> None:
    # E3: the host has the wrap key. Now the record is written, tried, and made valid by its version byte, last of all.
    with p.routine("command_confirm"):
        p.call("need_factory_state")
        p.jump("reply_status", ~ZERO)
        p.take(Port.LINK, v.spi)
        p.compare(v.spi, msg.E3)
        refuse_if(p, v, ~ZERO, Code.BAD_VALUE)
        flag(p, v, ENROLLING)
        refuse_if(p, v, ZERO, Code.NO_ENROLLMENT)
        p.take(Port.LINK, v.tag_2)
        p.derive(ENROLL, wrap_key=v.new_wrap, nonce_s=v.nonce_s, device_id=v.own_id)
        p.check(Port.SPONGE, v.tag_2)
        p.control(Unit.SPONGE_CLEAR)
        with p.If(~MATCH):
            p.set(v.status, Code.BAD_CONFIRMATION)
        ok(p, v)
        with p.If(ZERO):
            p.call("write_record")
        p.call("end_enrollment")
        p.call(v.end)
        ok(p, v)
        p.jump("reply_status", ~ZERO)
        p.call("begin_reply")
        p.give(Port.LINK, v.own_id)
        p.control(Unit.FRAME, SEND)

    with p.routine("write_record"):
        p.phase(Phase.ADMIN | Phase.FLASH)
        p.call("go_to_record")
        p.call("flash_erase")
        p.set(v.address[2], 1)
        plain = (v.floorplan, v.layout_version, v.salt, v.helper, v.check)
        flash.program(p, v, *(partial(p.give, Port.SPI, field) for field in plain))
        p.call("flash_read")
        for field in plain:
            p.check(Port.SPI, field)
            p.jump("flash_failed", ~MATCH)
        flash.select(p, 0)
        p.phase(Phase.PUF)
        p.call("regenerate")
        with p.If(~ZERO):
            p.ret()
        p.phase(Phase.ADMIN | Phase.FLASH)
        p.derive(DEVICE_KEY, puf_key=v.puf_key, salt=v.salt)
        p.take(Port.SPONGE, v.seal_key)
        p.zero(v.slot)
        p.copy(v.wrap_key, v.new_wrap)
        p.call("open_device_journal")
        p.call("journal_create")
        ok(p, v)
        with p.If(~ZERO):
            p.ret()
        if v.full:
            p.set(v.has_key, 0)  # one of an enrollment that came to nothing
            p.call("make_identity")
        p.call("go_to_record")
        flash.program(p, v, lambda: p.emit(Port.SPI, records.RECORD_VERSION))
        p.call("read_state")
        with p.If(~ZERO):  # the version byte was not kept
            flash.select(p, 1)
            p.jump("flash_failed")

    # Behind a read that was not what it should be; it ends that.
    with p.routine("flash_failed"):
        flash.select(p, 0)
        p.set(v.status, Code.FLASH_FAILED)
