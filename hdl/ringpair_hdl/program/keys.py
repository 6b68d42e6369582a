"""Secrets: the PUF key and what is derived from it, random bytes, and wiping."""

from ringpair_protocol import records
from ringpair_protocol.admin import Code
from ringpair_protocol.derivations import CHECK, DEVICE_ID, DEVICE_KEY, HELPER_DIGEST, PUF_KEY, RANDOM

from ringpair_hdl.control.assembler import (
    CARRY,
    MATCH,
    PUF_BUSY,
    PUF_EXHAUSTED,
    TRNG_ALARM,
    ZERO,
    Op,
    Output,
    Phase,
    Port,
    Program,
    Unit,
)
from ringpair_hdl.puf.engine import Command

from . import flash
from .journal import ok
from .memory import PENDING_RESPONDER, SESSION, Memory

SALT_OFFSET = 1 + 8 + 2  # behind version, floorplan and layout version of the plain record


SHARED = 0xE0
"""Upper bits of what is meant for the PUF engine, where others share its port."""


def puf(p: Program, v: Memory, command: Command) -> None:
    p.control(Unit.PUF, command.value | (SHARED if v.full else 0))


def add_keys(p: Program, v: Memory) -> None:
    _add_wipe(p, v)
    _add_puf_key(p, v)
    _add_random(p, v)


def _add_wipe(p: Program, v: Memory) -> None:
    # For STATUS: the last failure of the hardware, which PUF_FAILED and the codes behind it tell of.
    with p.routine("note_failure"):
        p.compare(v.status, Code.PUF_FAILED)
        with p.If(CARRY):
            p.copy(v.failure, v.status)

    # The end of every operation: nothing secret stays behind except a session's keys.
    with p.routine("wipe"):
        p.call("note_failure")
        p.control(Unit.SPONGE_CLEAR)
        p.zero(*v.operation_secrets)
        puf(p, v, Command.CLEAR)
        p.wait(~PUF_BUSY)

    with p.routine("wipe_session"):
        p.byte(Op.AND, v.flags, 0xFF ^ (PENDING_RESPONDER | SESSION))
        p.set(v.has_session, 0)
        p.output(off=Output.LED_SESSION)
        p.zero(*v.session_secrets)


def _add_puf_key(p: Program, v: Memory) -> None:
    # K_PUF from a fresh measurement and the helper data in flash; ZERO afterwards if it worked.
    with p.routine("regenerate"):
        p.set(v.status, Code.OK)
        puf(p, v, Command.MEASURE_1)
        p.set(v.address, (records.DEVICE_BASE + SALT_OFFSET).to_bytes(3, "big"))
        flash.read(p, v, v.salt, v.buffer[:72], v.check)
        p.call("helper_digest")
        puf(p, v, Command.RECONSTRUCT)
        p.give(Port.PUF, v.buffer[:72])
        p.set(v.tries, 0)
        with p.Loop() as loop:
            puf(p, v, Command.BITS)
            p.take(Port.PUF, v.bits)
            p.add(v.tries, 1)
            p.derive(CHECK, digest=v.digest, bits=v.bits)
            p.check(Port.SPONGE, v.check)
            loop.leave(MATCH)
            puf(p, v, Command.NEXT)
            p.wait(~PUF_BUSY)
            with p.If(PUF_EXHAUSTED):
                p.set(v.status, Code.PUF_FAILED)
                p.jump("wipe_and_fail")
        p.jump("key_from_bits")

    with p.routine("wipe_and_fail"):
        p.call("wipe")
        ok(p, v)

    with p.routine("helper_digest"):
        p.derive(HELPER_DIGEST, helper=v.buffer[:72], floorplan=v.floorplan, layout_version=v.layout_version)
        p.take(Port.SPONGE, v.digest)

    # Bits and salt are there: the key, this device's id, and no bits any more.
    with p.routine("key_from_bits"):
        p.derive(PUF_KEY, bits=v.bits, digest=v.digest)
        p.take(Port.SPONGE, v.puf_key)
        puf(p, v, Command.CLEAR)
        p.zero(v.bits)
        p.derive(DEVICE_ID, puf_key=v.puf_key, salt=v.salt)
        p.take(Port.SPONGE, v.own_id)
        ok(p, v)

    # After power-up: nothing that a cut left behind stays. If the key could not be made, again later.
    with p.routine("tidy"):
        p.phase(Phase.PUF)
        p.set(v.untidy, 1)
        p.call("regenerate")
        with p.If(~ZERO):
            p.ret()
        p.set(v.untidy, 0)
        p.phase(Phase.BOOT | Phase.FLASH)
        p.call("open_own_journal")
        p.call("journal_tidy")
        p.test(v.found, 1)
        with p.If(ZERO):
            p.set(v.status, Code.RECORD_DAMAGED)
        p.set(v.peer, 0)
        with p.Loop() as loop:
            p.call("open_peer_journal")
            p.call("journal_tidy")
            p.add(v.peer, 1)
            p.compare(v.peer, v.journals)
            loop.leave(ZERO)
        if v.full:
            p.call("make_identity")
        p.jump(v.end)

    with p.routine("open_own_journal"):
        p.derive(DEVICE_KEY, puf_key=v.puf_key, salt=v.salt)
        p.take(Port.SPONGE, v.seal_key)
        p.jump("open_device_journal")

    # The device's own journal, opened: wrap key and its index, next pair index.
    with p.routine("load_device"):
        p.call("open_own_journal")
        p.call("journal_load")
        p.test(v.found, 1)
        with p.If(ZERO):
            p.set(v.status, Code.RECORD_DAMAGED)
        ok(p, v)


def _add_random(p: Program, v: Memory) -> None:
    # 32 conditioned bytes in ``random``; on an alarm of the health tests status TRNG_FAILED, and nothing in ``random``.
    with p.routine("draw_random"):
        p.output(on=Output.TRNG)
        p.take(Port.TRNG, v.buffer[:64])
        p.output(off=Output.TRNG)
        with p.If(TRNG_ALARM):
            p.zero(v.buffer)
            p.set(v.status, Code.TRNG_FAILED)
            p.ret()
        p.derive(RANDOM, raw=v.buffer[:64])
        p.take(Port.SPONGE, v.random)
        p.zero(v.buffer)

    # A nonce for the next handshake, drawn while nothing else is to do.
    with p.routine("fill_pool"):
        p.phase(Phase.TRNG)
        p.set(v.status, Code.OK)
        p.call("draw_random")
        ok(p, v)
        with p.If(ZERO):
            p.copy(v.nonce_pool, v.random[:16])
            p.set(v.has_nonce, 1)
        p.control(Unit.SPONGE_CLEAR)
        p.zero(v.random)
