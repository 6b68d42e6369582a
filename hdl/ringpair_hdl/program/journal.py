"""The journals of ``ringpair_protocol.records``: find, open, write and retire a slot, safe against power cuts.

A journal is chosen by ``region`` (flash address) and ``kind`` (peer or device). ``journal_load`` leaves the newest
valid slot opened in ``slot`` (``number``, then the secret fields) with its address in ``old``, or ``found`` zero.
``journal_commit`` writes what then stands in ``slot`` as the next slot and retires the old one.
"""

from ringpair_protocol import records
from ringpair_protocol.admin import Code
from ringpair_protocol.derivations import KEK
from ringpair_protocol.messages import DEVICE_NONCE, RECORD_NONCE

from ringpair_hdl.control.assembler import (
    CARRY,
    MATCH,
    ONES,
    ZERO,
    ZEROS,
    Direction,
    Op,
    Port,
    Program,
    Test,
    Unit,
    start_word,
)
from ringpair_hdl.control.scratchpad import Field

from . import flash
from .memory import DEVICE, PEER, Memory

SECTOR_STEP = 0x10  # of the middle byte of an address
PAGE_STEP = 0x01
REGION_STEP = records.JOURNAL_STRIDE >> 8
FIRST_PLACE = records.HEADER_LENGTH
LAST_PLACE = FIRST_PLACE + (records.SLOTS_PER_PAGE - 1) * records.SLOT_STRIDE
SEALED = {PEER: records.PEER_SLOT_LENGTH - 20, DEVICE: records.DEVICE_SLOT_LENGTH - 20}
MORE_SECTORS = records.JOURNAL_SECTORS - 1
CHUNK = 64
"""Bytes of a sector that are looked at in one go."""
CHUNKS = records.SECTOR // CHUNK


def minus(value: int) -> int:
    return 256 - value


def is_device(p: Program, v: Memory) -> None:
    """Condition ~ZERO afterwards: the open journal is the device's."""
    p.test(v.kind, DEVICE)


def set_length(p: Program, v: Memory, extra: int = 0) -> None:
    """LEN = sealed bytes of a slot of this kind, plus ``extra``."""
    p.control(Unit.LENGTH, SEALED[PEER] + extra)
    is_device(p, v)
    with p.If(~ZERO):
        p.control(Unit.LENGTH, SEALED[DEVICE] + extra)


def ok(p: Program, v: Memory) -> None:
    """Condition ZERO afterwards: nothing has failed so far."""
    p.test(v.status, 0xFF)


def refuse_if(p: Program, v: Memory, test: Test, code: Code) -> None:
    """Ends a command: its frame is dropped, the reply says why."""
    with p.If(test):
        p.set(v.status, code)
        p.jump("reply_status")


def program(p: Program, v: Memory, source: Field) -> None:
    """One slot's length from ``source`` at ``address``; leaves LEN so."""
    set_length(p, v, 20)
    flash.program(p, v, lambda: p.move(Direction.GIVE, Port.SPI, source, length=0))


def program_and_check(p: Program, v: Memory, source: Field) -> None:
    program(p, v, source)
    p.call("flash_read")
    p.move(Direction.CHECK, Port.SPI, source, length=0)
    flash.select(p, 0)


def add_journal(p: Program, v: Memory) -> None:
    _add_regions(p, v)
    _add_seal(p, v)
    _add_load(p, v)
    _add_commit(p, v)


def _add_regions(p: Program, v: Memory) -> None:
    with p.routine("open_device_journal"):
        p.set(v.kind, DEVICE)
        p.set(v.region, records.DEVICE_JOURNAL.to_bytes(3, "big"))

    with p.routine("open_peer_journal"):
        p.set(v.kind, PEER)
        p.set(v.region, records.PEER_BASE.to_bytes(3, "big"))
        p.copy(v.count, v.peer)
        p.compare(v.count, 0)
        with p.While(~ZERO):
            p.byte(Op.ADD, v.region[1], REGION_STEP)
            with p.If(CARRY):
                p.add(v.region[0], 1)
            p.byte(Op.ADD, v.count, minus(1))

    # To the next of the region's four sectors, its first slot.
    with p.routine("next_sector"):
        p.byte(Op.AND, v.address[1], 0xF0)
        p.byte(Op.ADD, v.address[1], SECTOR_STEP)
        p.test(v.address[1], 3 * SECTOR_STEP)
        with p.If(ZERO):
            p.byte(Op.ADD, v.address[1], minus(4 * SECTOR_STEP))
        p.set(v.address[2], 0)


def _add_seal(p: Program, v: Memory) -> None:
    # The sector's header (its slots are sealed with it), and what follows from it: nonce and key encryption key.
    with p.routine("read_header"):
        p.byte(Op.AND, v.address[1], 0xF0)
        p.set(v.address[2], 0)
        flash.read(p, v, v.header)
        p.jump("use_header")

    with p.routine("use_header"):
        p.zero(v.nonce)
        is_device(p, v)
        with p.If(~ZERO):
            p.copy(v.nonce[:5], p.pad.constant(DEVICE_NONCE))
            p.copy(v.header, p.pad.constant(records.DEVICE_HEADER))
            p.ret()
        p.copy(v.nonce[:5], p.pad.constant(RECORD_NONCE))
        p.copy(v.nonce[5:7], v.header[8:10])
        p.derive(KEK, puf_key=v.puf_key, salt=v.salt, pair_index=v.header[8:10])
        p.take(Port.SPONGE, v.seal_key)

    with p.routine("seal_head"):
        p.give(Port.SPONGE, v.seal_key)
        p.give(Port.SPONGE, v.nonce)
        p.give(Port.SPONGE, v.number)
        p.give(Port.SPONGE, v.seal_key)
        p.give(Port.SPONGE, v.header)
        p.give(Port.SPONGE, v.number)
        p.control(Unit.SPONGE_END)
        p.control(Unit.DEST, v.secret.address)
        set_length(p, v)
        p.move(Direction.CRYPT, Port.SPONGE, v.secret, length=0)
        p.control(Unit.SPONGE_END)
        p.give(Port.SPONGE, v.seal_key)

    # MATCH afterwards: the slot at ``address`` is genuine and lies open in ``slot``; if not, nothing is left there.
    with p.routine("open_slot"):
        p.call("flash_read")
        p.take(Port.SPI, v.number)
        set_length(p, v)
        p.move(Direction.TAKE, Port.SPI, v.secret, length=0)
        p.control(Unit.SPONGE, start_word(aead=1, decrypt=1, ad=1))
        p.call("seal_head")
        p.move(Direction.CRYPT, Port.SPI, v.seal_key)
        flash.select(p, 0)
        with p.If(~MATCH):
            p.zero(v.slot)

    with p.routine("seal_slot"):
        p.control(Unit.SPONGE, start_word(aead=1, ad=1))
        p.call("seal_head")
        is_device(p, v)
        for test, kind in ((ZERO, PEER), (~ZERO, DEVICE)):
            with p.If(test):
                p.control(Unit.DEST, v.slot.address + 4 + SEALED[kind])
                p.move(Direction.CRYPT, Port.SPONGE, v.seal_key)


def _add_load(p: Program, v: Memory) -> None:
    # First bytes of a slot: ONES means free, ZEROS means retired.
    with p.routine("read_mark"):
        flash.read(p, v, v.mark)

    # From the start of a sector to its last written slot; ONES if there is none.
    with p.routine("find_last"):
        p.set(v.address[2], FIRST_PLACE)
        p.call("read_mark")
        with p.If(ONES):
            p.ret()
        for step in (8, 4, 2, 1):
            p.byte(Op.ADD, v.address[1], step * PAGE_STEP)
            p.call("read_mark")
            with p.If(ONES):
                p.byte(Op.ADD, v.address[1], minus(step * PAGE_STEP))
        for _ in range(records.SLOTS_PER_PAGE - 1):
            p.byte(Op.ADD, v.address[2], records.SLOT_STRIDE)
            p.call("read_mark")
            with p.If(ONES):
                p.byte(Op.ADD, v.address[2], minus(records.SLOT_STRIDE))
        p.call("read_mark")

    # Is the slot at ``address`` valid, and newer than the best so far? Nothing is written.
    with p.routine("weigh_slot"):
        p.call("read_mark")
        with p.If(ZEROS):
            p.ret()
        p.call("open_slot")
        with p.If(~MATCH):
            p.ret()
        p.test(v.found, 1)
        with p.If(~ZERO):
            p.less(v.number, v.best_number)
            with p.If(~CARRY):
                p.ret()
        p.set(v.found, 1)
        p.copy(v.best_number, v.number)
        p.copy(v.old, v.address)
        p.copy(v.tail, v.last)

    with p.routine("journal_load"):
        p.set(v.found, 0)
        p.copy(v.address, v.region)
        p.set(v.count, records.JOURNAL_SECTORS)
        with p.While(~ZERO):
            p.call("read_header")
            p.call("find_last")
            with p.If(~ONES):
                p.set(v.last, 1)
                p.call("weigh_slot")
                p.set(v.last, 0)
                p.call("previous_slot")
                with p.If(CARRY):
                    p.call("weigh_slot")
            p.call("next_sector")
            p.byte(Op.ADD, v.count, minus(1))
        p.test(v.found, 1)
        with p.If(~ZERO):
            p.copy(v.address, v.old)
            p.call("read_header")
            p.copy(v.address, v.old)
            p.call("open_slot")
            with p.If(~MATCH):  # the flash says something else now: not a record of zeros, but none
                p.set(v.found, 0)

    # After a load: what a power cut left behind beside the live slot is retired, torn or not.
    with p.routine("journal_tidy"):
        p.call("journal_load")
        p.test(v.found, 1)
        with p.If(ZERO):
            p.ret()
        p.copy(v.address, v.region)
        p.set(v.count, records.JOURNAL_SECTORS)
        with p.While(~ZERO):
            p.set(v.address[2], 0)
            p.call("find_last")
            with p.If(~ONES):
                p.call("retire_other")
                p.call("previous_slot")
                with p.If(CARRY):
                    p.call("retire_other")
            p.call("next_sector")
            p.byte(Op.ADD, v.count, minus(1))

    with p.routine("retire_other"):
        p.less(v.address, v.old)
        with p.If(~ZERO):
            p.call("flash_read")
            set_length(p, v, 20)
            p.move(Direction.TAKE, Port.SPI, v.slot, length=0)
            flash.select(p, 0)
            p.jump("retire_slot", ~ZEROS)  # a cut while zeros were programmed may have left its end

    # CARRY: there is one before in this sector, and ``address`` is there now.
    with p.routine("previous_slot"):
        p.compare(v.address[2], LAST_PLACE - records.SLOT_STRIDE)
        with p.If(CARRY):
            p.byte(Op.ADD, v.address[2], minus(records.SLOT_STRIDE))
            p.ret()
        p.test(v.address[1], 0x0F)
        with p.If(~ZERO):
            p.byte(Op.ADD, v.address[1], minus(PAGE_STEP))
            p.set(v.address[2], LAST_PLACE)
            p.compare(v.address[2], 0)
            p.ret()
        p.compare(v.address[2], 255)


def _add_commit(p: Program, v: Memory) -> None:
    # MATCH: ``slot`` is in flash now. If not, what came of it is retired.
    with p.routine("program_slot"):
        program_and_check(p, v, v.slot)
        with p.If(~MATCH):
            p.zero(v.buffer)
            program(p, v, v.buffer)

    # Zeros over the slot at ``address``, checked.
    with p.routine("retire_slot"):
        p.zero(v.buffer)
        program_and_check(p, v, v.buffer)
        with p.If(~MATCH):
            p.set(v.status, Code.FLASH_FAILED)

    # ``slot`` becomes the next slot. Only when it is verified the old one is retired.
    with p.routine("journal_commit"):
        p.call("seal_slot")
        p.copy(v.address, v.old)
        p.set(v.sectors, MORE_SECTORS)
        p.call("next_place")
        p.jump("commit_elsewhere", ~CARRY)
        p.call("program_slot")
        p.jump("commit_done", MATCH)
        p.jump("commit_elsewhere")

    # In the first slot of the next sector, or of one behind it: one that is blank to the last bit, since a bit that an
    # erase has left would lead `find_last` astray.
    with p.routine("commit_elsewhere"):
        p.test(v.sectors, 0xFF)
        with p.If(ZERO):
            p.set(v.status, Code.FLASH_FAILED)
            p.ret()
        p.byte(Op.ADD, v.sectors, minus(1))
        p.call("next_sector")
        p.call("flash_erase")
        p.call("look_blank")
        p.jump("commit_elsewhere", ~ONES)
        flash.program(p, v, lambda: p.give(Port.SPI, v.header))
        p.call("flash_read")
        p.check(Port.SPI, v.header)
        flash.select(p, 0)
        p.jump("commit_elsewhere", ~MATCH)
        p.set(v.address[2], FIRST_PLACE)
        p.call("program_slot")
        p.jump("commit_elsewhere", ~MATCH)
        p.jump("commit_done")

    # ONES: the sector that begins at ``address`` is blank.
    with p.routine("look_blank"):
        p.set(v.count, CHUNKS)
        p.call("flash_read")
        with p.Loop() as loop:
            p.take(Port.SPI, v.buffer[:CHUNK])
            loop.leave(~ONES)
            p.byte(Op.ADD, v.count, minus(1))
            loop.leave(ZERO)
        flash.select(p, 0)

    with p.routine("commit_done"):
        p.test(v.found, 1)
        with p.If(~ZERO):
            p.copy(v.address, v.old)
            p.call("retire_slot")
            p.test(v.untidy, 1)
            with p.If(~ZERO):  # an older one before it that a cut has left would be out of sight from now on
                p.copy(v.address, v.old)
                p.call("previous_slot")
                p.call("retire_other", CARRY)

    # CARRY: the sector's next slot is free and ``address`` is there; the live slot must be the last written one.
    with p.routine("next_place"):
        p.compare(v.tail, 1)
        with p.If(~CARRY):
            p.ret()
        p.compare(v.address[2], LAST_PLACE)
        with p.If(~CARRY):
            p.byte(Op.ADD, v.address[2], records.SLOT_STRIDE)
            p.compare(v.address[2], 0)
            p.ret()
        p.byte(Op.ADD, v.address[1], PAGE_STEP)
        p.set(v.address[2], FIRST_PLACE)
        p.test(v.address[1], 0x0F)
        with p.If(~ZERO):
            p.compare(v.address[2], 0)
            p.ret()
        p.byte(Op.ADD, v.address[1], minus(PAGE_STEP))
        p.compare(v.address[2], 255)

    # A journal begins: all sectors blank, header and first slot in the first of them.
    with p.routine("journal_create"):
        p.copy(v.address, v.region)
        p.call("use_header")
        p.set(v.sectors, MORE_SECTORS)
        with p.Loop() as loop:
            p.call("next_sector")
            p.call("flash_erase")
            p.byte(Op.ADD, v.sectors, minus(1))
            loop.leave(ZERO)
        p.set(v.found, 0)
        p.set(v.tail, 0)  # so the first slot goes to the sector behind the last, which is the first
        p.copy(v.old, v.region)
        p.byte(Op.ADD, v.old[1], 3 * SECTOR_STEP)
        p.jump("journal_commit")
