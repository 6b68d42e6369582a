"""PPAKE-1 on the device: the protocol page, step by step, for both roles.

Nothing secret is kept while an answer is awaited as initiator: the keys are made again from the PUF when M2 comes. As
responder the session keys and T3 wait in the session fields, because the chain key that gave them is gone by then.
"""

from ringpair_protocol import messages as msg
from ringpair_protocol.admin import Carrier, Code, Event, Role
from ringpair_protocol.derivations import AUTH, EPOCH
from ringpair_protocol.derivations import SESSION as SESSION_KEYS
from ringpair_protocol.records import FLAG_LOW, MAX_PEERS

from ringpair_hdl.control.assembler import (
    CARRY,
    MATCH,
    TRNG_ALARM,
    ZERO,
    Op,
    Output,
    Phase,
    Port,
    Program,
    Unit,
)
from ringpair_hdl.control.scratchpad import Field

from .journal import ok
from .memory import BY_BUTTON, PENDING_INITIATOR, PENDING_RESPONDER, SESSION, Memory

SEND, DROP = 1, 2


def auth(p: Program, v: Memory, key: Field, header: int, nonce: Field) -> None:
    p.derive(AUTH, auth_key=key, header=header, direction=v.direction, nonce_i=nonce)


def flag(p: Program, v: Memory, mask: int) -> None:
    """Condition ZERO afterwards: the flag is not set."""
    p.test(v.flags, mask)


def add_handshake(p: Program, v: Memory, ticks_per_second: float) -> None:
    def timer(seconds: int) -> None:
        p.control(Unit.TIMER, round(seconds * ticks_per_second))

    _add_common(p, v)
    _add_start(p, v, timer)
    _add_responder(p, v, timer)
    _add_initiator(p, v)
    _add_timeouts(p, v)


def _add_common(p: Program, v: Memory) -> None:
    # A frame for the peer begins, on the way that the handshake goes; its message follows.
    with p.routine("peer_frame"):
        p.control(Unit.SIDE, 1)
        p.compare(v.carrier, Carrier.TUNNEL)
        with p.If(ZERO):
            p.control(Unit.SIDE, 0)
            p.emit(Port.LINK, Event.PEER_OUT)

    # CK_e in ``chain_key`` -> CK_(e+1), AK_e, DK_e.
    with p.routine("derive_epoch"):
        p.derive(EPOCH, chain_key=v.chain_key)
        p.jump("take_epoch")

    with p.routine("take_epoch"):
        p.take(Port.SPONGE, v.chain_next)
        p.take(Port.SPONGE, v.auth_key)
        p.take(Port.SPONGE, v.session_root)

    with p.routine("derive_epoch_ahead"):
        p.derive(EPOCH, chain_key=v.chain_next)
        p.jump("take_epoch")

    # The opened record moves to the next epoch, and the step is made lasting.
    with p.routine("advance"):
        p.copy(v.chain_key, v.chain_next)
        p.copy(v.auth_prev, v.auth_key)
        p.add(v.number, 1)

    # d: 0 if the initiator has the lower id.
    with p.routine("direction_as_responder"):
        p.copy(v.direction, v.header[10])
        p.byte(Op.AND, v.direction, FLAG_LOW)

    with p.routine("direction_as_initiator"):
        p.call("direction_as_responder")
        p.byte(Op.ADD, v.direction, 1)
        p.byte(Op.AND, v.direction, 1)

    # Record of ``peer``, opened; ZERO if there is none.
    with p.routine("load_peer"):
        p.call("open_peer_journal")
        p.call("journal_load")
        p.test(v.found, 1)

    with p.routine("session_event"):
        p.control(Unit.TIMER, 0)
        p.byte(Op.OR, v.flags, SESSION)
        p.byte(Op.AND, v.flags, 0xFF ^ (PENDING_INITIATOR | PENDING_RESPONDER | BY_BUTTON))
        p.set(v.has_session, 1)
        p.output(on=Output.LED_SESSION, off=Output.LED_ERROR)
        p.set(v.tx_counter, 0)
        p.set(v.rx_next, 0)
        p.control(Unit.SIDE, 0)
        p.emit(Port.LINK, Event.SESSION)
        for field in (v.role, v.pending_peer, v.pending_epoch, v.session_id):
            p.give(Port.LINK, field)
        p.control(Unit.FRAME, SEND)

    # ``status`` tells why.
    with p.routine("failed_event"):
        p.control(Unit.TIMER, 0)
        p.byte(Op.AND, v.flags, 0xFF ^ (PENDING_INITIATOR | PENDING_RESPONDER))
        p.output(on=Output.LED_ERROR)
        p.control(Unit.SIDE, 0)
        p.emit(Port.LINK, Event.FAILED)
        p.give(Port.LINK, v.status)
        p.give(Port.LINK, v.pending_peer)
        p.control(Unit.FRAME, SEND)

    # What there was of a session or of a run as initiator ends, and ``status`` tells why.
    with p.routine("end_session"):
        flag(p, v, SESSION)
        with p.If(~ZERO):
            p.control(Unit.SIDE, 0)
            p.emit(Port.LINK, Event.CLOSED)
            p.give(Port.LINK, v.status)
            p.control(Unit.FRAME, SEND)
        flag(p, v, PENDING_INITIATOR)
        with p.If(~ZERO):
            p.call("failed_event")
        p.set(v.flags, 0)
        p.control(Unit.TIMER, 0)
        p.jump("wipe_session")


def _add_start(p: Program, v: Memory, timer) -> None:
    # M1 for ``pending_peer`` is made ready: ZERO, or status tells why not.
    with p.routine("prepare_m1"):
        p.phase(Phase.PUF)
        p.call("regenerate")
        with p.If(~ZERO):
            p.ret()
        p.phase(Phase.INITIATOR | Phase.FLASH)
        p.copy(v.peer, v.pending_peer)
        p.call("load_peer")
        with p.If(ZERO):
            p.set(v.status, Code.NO_SUCH_PEER)
            p.jump("wipe_and_fail")
        p.phase(Phase.INITIATOR)
        p.less(v.number, p.pad.constant(msg.MAX_EPOCH.to_bytes(4, "little")))
        with p.If(CARRY):
            p.set(v.status, Code.EXHAUSTED)
            p.jump("wipe_and_fail")
        p.call("need_nonce")
        p.jump("wipe_and_fail", ~ZERO)
        p.phase(Phase.INITIATOR)
        p.copy(v.sent_nonce, v.nonce_pool)
        p.copy(v.pending_epoch, v.number)
        p.call("direction_as_initiator")
        p.call("derive_epoch")
        auth(p, v, v.auth_key, msg.M1, v.sent_nonce)
        p.take(Port.SPONGE, v.sent_tag)
        p.call("wipe")
        ok(p, v)

    with p.routine("send_m1"):
        p.phase(Phase.INITIATOR)
        p.byte(Op.OR, v.flags, PENDING_INITIATOR)
        p.call("peer_frame")
        p.emit(Port.LINK, msg.M1)
        p.give(Port.LINK, v.sent_nonce)
        p.give(Port.LINK, v.sent_tag)
        p.control(Unit.FRAME, SEND)
        timer(4 * msg.INITIATOR_TIMEOUT_S)
        p.compare(v.attempt, 1)
        with p.If(ZERO):
            timer(2 * msg.INITIATOR_TIMEOUT_S)
        with p.If(~CARRY):
            timer(msg.INITIATOR_TIMEOUT_S)

    # A fresh nonce in ``nonce_pool``: ZERO if there is one; it counts as used.
    with p.routine("need_nonce"):
        with p.If(TRNG_ALARM):
            p.set(v.status, Code.TRNG_FAILED)
        p.test(v.has_nonce, 1)
        with p.If(ZERO):
            p.call("fill_pool")
        p.set(v.has_nonce, 0)
        ok(p, v)


def _add_responder(p: Program, v: Memory, timer) -> None:
    # M1: try its tag against every peer, under the keys of this epoch, the last and the next.
    with p.routine("on_m1"):
        p.take(Port.LINK, v.nonce_i)
        p.take(Port.LINK, v.tag_1)
        p.control(Unit.FRAME, DROP)
        p.phase(Phase.PUF)
        p.call("regenerate")
        with p.If(~ZERO):
            p.ret()
        p.set(v.peer, 0)
        with p.Loop() as loop:
            p.phase(Phase.RESPONDER | Phase.FLASH)
            p.call("load_peer")
            with p.If(~ZERO):
                p.phase(Phase.RESPONDER)
                p.call("direction_as_responder")
                p.call("derive_epoch")
                auth(p, v, v.auth_key, msg.M1, v.nonce_i)
                p.check(Port.SPONGE, v.tag_1)
                p.jump("on_current_m1", MATCH)
                auth(p, v, v.auth_prev, msg.M1, v.nonce_i)
                p.check(Port.SPONGE, v.tag_1)
                p.jump("on_stale_m1", MATCH)
                p.call("derive_epoch_ahead")
                auth(p, v, v.auth_key, msg.M1, v.nonce_i)
                p.check(Port.SPONGE, v.tag_1)
                p.jump("on_ahead_m1", MATCH)
            p.add(v.peer, 1)
            p.compare(v.peer, MAX_PEERS)
            loop.leave(ZERO)
        p.jump("wipe")

    # Two starts at once: the lower id goes on with its own run, the higher one answers.
    with p.routine("on_current_m1"):
        flag(p, v, PENDING_INITIATOR)
        with p.If(~ZERO):
            p.less(v.peer, v.pending_peer)
            with p.If(ZERO):
                p.test(v.header[10], FLAG_LOW)
                p.jump("wipe", ~ZERO)
        p.jump("answer_m1")

    # The peer is one epoch ahead: catch up, then the same.
    with p.routine("on_ahead_m1"):
        p.add(v.number, 1)
        p.jump("answer_m1")

    # Commit first; only then keys and M2.
    with p.routine("answer_m1"):
        p.less(v.number, p.pad.constant(msg.MAX_EPOCH.to_bytes(4, "little")))
        p.jump("wipe", CARRY)
        p.call("need_nonce")
        p.jump("wipe", ~ZERO)
        p.copy(v.nonce_r, v.nonce_pool)
        p.copy(v.new_epoch, v.number)
        p.call("advance")
        p.phase(Phase.RESPONDER | Phase.FLASH)
        p.call("journal_commit")
        p.phase(Phase.RESPONDER)
        ok(p, v)
        p.jump("wipe", ~ZERO)
        p.set(v.status, Code.SUPERSEDED)
        p.call("end_session")
        p.set(v.status, Code.OK)
        p.copy(v.pending_peer, v.peer)
        p.copy(v.pending_epoch, v.new_epoch)
        p.copy(v.carrier, v.arrival)
        p.set(v.role, Role.RESPONDER)
        p.derive(
            SESSION_KEYS,
            session_root=v.session_root,
            header_1=msg.M1,
            header_2=msg.M2,
            direction=v.direction,
            nonce_i=v.nonce_i,
            tag_1=v.tag_1,
            nonce_r=v.nonce_r,
        )
        for field in (v.tag_2, v.tag_3, v.rx_key, v.tx_key, v.random, v.session_id, v.rx_iv, v.tx_iv):
            p.take(Port.SPONGE, field)
        p.call("wipe")
        p.byte(Op.OR, v.flags, PENDING_RESPONDER)
        p.call("peer_frame")
        p.emit(Port.LINK, msg.M2)
        p.give(Port.LINK, v.nonce_r)
        p.give(Port.LINK, v.tag_2)
        p.control(Unit.FRAME, SEND)
        timer(msg.RESPONDER_TIMEOUT_S)

    # A peer that lost the last M2, or a replay: say so, change nothing.
    with p.routine("on_stale_m1"):
        auth(p, v, v.auth_key, msg.RESYNC, v.nonce_i)
        p.take(Port.SPONGE, v.tag)
        p.call("wipe")
        p.copy(v.former, v.carrier)
        p.copy(v.carrier, v.arrival)
        p.call("peer_frame")
        p.emit(Port.LINK, msg.RESYNC)
        p.give(Port.LINK, v.tag)
        p.control(Unit.FRAME, SEND)
        p.copy(v.carrier, v.former)

    with p.routine("on_m3"):
        p.phase(Phase.RESPONDER)
        flag(p, v, PENDING_RESPONDER)
        with p.If(~ZERO):
            p.check(Port.LINK, v.tag_3)
            p.control(Unit.FRAME, DROP)
            with p.If(MATCH):
                p.zero(v.tag_3)
                p.jump("session_event")
            p.ret()
        p.control(Unit.FRAME, DROP)


def _add_initiator(p: Program, v: Memory) -> None:
    # The record of the pending run, as it was when M1 left; ZERO if all is well.
    with p.routine("reload_pending"):
        p.phase(Phase.PUF)
        p.call("regenerate")
        with p.If(~ZERO):
            p.ret()
        p.phase(Phase.INITIATOR | Phase.FLASH)
        p.copy(v.peer, v.pending_peer)
        p.call("load_peer")
        with p.If(ZERO):
            p.set(v.status, Code.NO_SUCH_PEER)
            p.jump("wipe_and_fail")
        p.phase(Phase.INITIATOR)
        p.less(v.number, v.pending_epoch)
        with p.If(~ZERO):
            p.set(v.status, Code.SUPERSEDED)
            p.jump("wipe_and_fail")
        p.call("direction_as_initiator")
        p.call("derive_epoch")
        ok(p, v)

    with p.routine("on_m2"):
        flag(p, v, PENDING_INITIATOR)
        with p.If(ZERO):
            p.control(Unit.FRAME, DROP)
            p.ret()
        p.take(Port.LINK, v.nonce_r)
        p.take(Port.LINK, v.tag_2)
        p.control(Unit.FRAME, DROP)
        p.call("reload_pending")
        with p.If(~ZERO):
            p.ret()
        p.derive(
            SESSION_KEYS,
            session_root=v.session_root,
            header_1=msg.M1,
            header_2=msg.M2,
            direction=v.direction,
            nonce_i=v.sent_nonce,
            tag_1=v.sent_tag,
            nonce_r=v.nonce_r,
        )
        p.check(Port.SPONGE, v.tag_2)
        p.jump("wipe", ~MATCH)
        for field in (v.tag_3, v.tx_key, v.rx_key, v.random, v.session_id, v.tx_iv, v.rx_iv):
            p.take(Port.SPONGE, field)
        p.call("advance")
        p.phase(Phase.INITIATOR | Phase.FLASH)
        p.call("journal_commit")
        p.phase(Phase.INITIATOR)
        p.call("wipe")
        ok(p, v)
        with p.If(~ZERO):
            p.call("wipe_session")
            p.jump("failed_event")
        p.call("peer_frame")
        p.emit(Port.LINK, msg.M3)
        p.give(Port.LINK, v.tag_3)
        p.control(Unit.FRAME, SEND)
        p.zero(v.tag_3)
        p.set(v.role, Role.INITIATOR)
        p.jump("session_event")

    # The peer is one epoch ahead, and proves it: go there, then a fresh M1.
    with p.routine("on_resync"):
        flag(p, v, PENDING_INITIATOR)
        with p.If(~ZERO):
            p.compare(v.resyncs, msg.MAX_RESYNC)
            with p.If(~CARRY):
                p.take(Port.LINK, v.tag_2)
                p.control(Unit.FRAME, DROP)
                p.call("reload_pending")
                with p.If(~ZERO):
                    p.ret()
                p.call("advance")
                p.call("derive_epoch_ahead")
                auth(p, v, v.auth_key, msg.RESYNC, v.sent_nonce)
                p.check(Port.SPONGE, v.tag_2)
                p.jump("wipe", ~MATCH)
                p.phase(Phase.INITIATOR | Phase.FLASH)
                p.call("journal_commit")
                p.call("wipe")
                ok(p, v)
                p.jump("failed_event", ~ZERO)
                p.add(v.resyncs, 1)
                p.jump("restart")
        p.control(Unit.FRAME, DROP)

    with p.routine("restart"):
        p.call("prepare_m1")
        p.jump("send_m1", ZERO)
        p.jump("failed_event")


def _add_timeouts(p: Program, v: Memory) -> None:
    with p.routine("on_timeout"):
        p.control(Unit.TIMER, 0)
        flag(p, v, PENDING_INITIATOR)
        p.jump("end_run", ZERO)
        p.add(v.attempt, 1)
        p.compare(v.attempt, msg.INITIATOR_TRIES)
        p.jump("restart_or_next", ~CARRY)
        p.set(v.status, Code.TIMED_OUT)
        p.call("failed_event")
        p.jump("next_by_button")

    # M3 did not come: the keys go, the epoch stays.
    with p.routine("end_run"):
        p.set(v.flags, 0)
        p.jump("wipe_session")

    with p.routine("restart_or_next"):
        p.call("restart")
        flag(p, v, PENDING_INITIATOR)
        with p.If(ZERO):
            p.jump("next_by_button")

    # The button: with the first peer, and with the next one when one does not answer.
    with p.routine("on_button"):
        flag(p, v, PENDING_INITIATOR | PENDING_RESPONDER)
        with p.If(~ZERO):
            p.ret()
        p.set(v.status, Code.SUPERSEDED)
        p.set(v.walk, 0xFF)
        p.set(v.tried, 0)
        p.copy(v.former, v.pending_peer)
        p.byte(Op.OR, v.flags, BY_BUTTON)
        p.call("next_by_button")
        p.test(v.tried, 1)
        with p.If(ZERO):
            p.set(v.status, Code.NO_SUCH_PEER)
            p.set(v.pending_peer, 0xFF)
            p.call("failed_event")
        flag(p, v, SESSION)
        with p.If(~ZERO):  # none has begun, and the session goes on
            p.copy(v.pending_peer, v.former)

    with p.routine("next_by_button"):
        flag(p, v, BY_BUTTON)
        with p.If(ZERO):
            p.ret()
        with p.Loop() as loop:
            p.add(v.walk, 1)
            p.compare(v.walk, MAX_PEERS)
            loop.leave(ZERO)
            p.copy(v.pending_peer, v.walk)
            p.call("prepare_m1")
            with p.If(ZERO):
                p.set(v.tried, 1)
                p.set(v.status, Code.SUPERSEDED)
                p.call("end_session")
                p.byte(Op.OR, v.flags, BY_BUTTON)
                p.set(v.carrier, Carrier.WIRE)
                p.set(v.attempt, 0)
                p.set(v.resyncs, 0)
                p.jump("send_m1")
            p.compare(v.status, Code.NO_SUCH_PEER)
            loop.again(ZERO)
            p.set(v.tried, 1)
            p.call("failed_event")
            p.compare(v.status, Code.EXHAUSTED)
            loop.leave(~ZERO)
        p.byte(Op.AND, v.flags, 0xFF ^ BY_BUTTON)
