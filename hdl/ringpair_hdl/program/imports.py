"""Sealed messages of the registry: puzzles that pair, revocations, resets. Each uses one wrap key up."""

from ringpair_protocol import messages as msg
from ringpair_protocol import records
from ringpair_protocol.admin import Code
from ringpair_protocol.derivations import DEVICE_ID, NEXT_WRAP, PAIR, PUZZLE_KEY

from ringpair_hdl.control.assembler import (
    CARRY,
    MATCH,
    ZERO,
    Direction,
    Op,
    Phase,
    Port,
    Program,
    Unit,
    start_word,
)

from .handshake import SEND, flag
from .journal import ok, refuse_if
from .memory import PENDING_INITIATOR, PENDING_RESPONDER, SESSION, Memory

NO_PLACE = 0xFF


def wipe_and_refuse_if(p: Program, v: Memory, test, code: Code) -> None:
    with p.If(test):
        p.set(v.status, code)
        p.jump("wipe_and_reply")


def add_imports(p: Program, v: Memory) -> None:
    _add_open(p, v)
    _add_effects(p, v)


def _add_open(p: Program, v: Memory) -> None:
    # The ciphertext stays in the frame's buffer until the keys are there.
    with p.routine("command_import"):
        p.compare(v.frame, 1 + msg.LENGTHS[msg.PUZZLE])
        with p.If(~ZERO):
            p.compare(v.frame, 1 + msg.LENGTHS[msg.REVOKE])
            refuse_if(p, v, ~ZERO, Code.BAD_LENGTH)
        p.call("need_enrollment")
        p.jump("reply_status", ~ZERO)
        p.take(Port.LINK, v.sealed)
        p.compare(v.sealed[0], msg.PUZZLE)
        refuse_if(p, v, ~CARRY, Code.BAD_VALUE)
        with p.If(ZERO):
            p.compare(v.frame, 1 + msg.LENGTHS[msg.PUZZLE])
        with p.Else():
            p.compare(v.sealed[0], msg.RESET + 1)
            refuse_if(p, v, CARRY, Code.BAD_VALUE)
            p.compare(v.frame, 1 + msg.LENGTHS[msg.REVOKE])
        refuse_if(p, v, ~ZERO, Code.BAD_VALUE)
        p.phase(Phase.PUF)
        p.call("regenerate")
        p.jump("reply_status", ~ZERO)
        p.phase(Phase.ADMIN | Phase.FLASH)
        p.call("load_device")
        p.jump("wipe_and_reply", ~ZERO)
        p.phase(Phase.ADMIN)
        p.less(v.sealed[2:6], v.wrap_index)
        wipe_and_refuse_if(p, v, ~CARRY, Code.OLD_PUZZLE)
        p.set(v.count, msg.MAX_FORWARD + 1)
        with p.Loop() as loop:
            p.less(v.sealed[2:6], v.wrap_index)
            loop.leave(ZERO)
            p.byte(Op.ADD, v.count, 255)
            wipe_and_refuse_if(p, v, ZERO, Code.FAR_PUZZLE)
            p.add(v.wrap_index, 1)
            p.derive(NEXT_WRAP, wrap_key=v.wrap_key)
            p.take(Port.SPONGE, v.wrap_key)
        p.call("unseal")
        wipe_and_refuse_if(p, v, ~MATCH, Code.BAD_PUZZLE)
        p.copy(v.new_index, v.wrap_index)
        p.add(v.new_index, 1)
        wipe_and_refuse_if(p, v, ZERO, Code.EXHAUSTED)
        p.derive(NEXT_WRAP, wrap_key=v.wrap_key)
        p.take(Port.SPONGE, v.new_wrap)
        p.phase(Phase.ADMIN | Phase.FLASH)
        p.compare(v.sealed[0], msg.REVOKE)
        p.jump("import_puzzle", ~CARRY)
        p.jump("import_revocation", ZERO)
        p.jump("import_reset")

    # MATCH: genuine; of a puzzle the pair key is in ``pair_key`` then.
    with p.routine("unseal"):
        p.derive(PUZZLE_KEY, wrap_key=v.wrap_key)
        p.take(Port.SPONGE, v.seal_key)
        p.control(Unit.SPONGE, start_word(aead=1, decrypt=1, ad=1))
        p.give(Port.SPONGE, v.seal_key)
        p.give(Port.SPONGE, p.pad.constant(msg.PUZZLE_NONCE))
        p.give(Port.SPONGE, v.sealed[2:6])
        p.give(Port.SPONGE, p.pad.constant(bytes(7)))
        p.give(Port.SPONGE, v.seal_key)
        p.give(Port.SPONGE, v.sealed)
        p.give(Port.SPONGE, v.own_id)
        p.control(Unit.SPONGE_END)
        p.compare(v.sealed[0], msg.PUZZLE)
        with p.If(ZERO):
            p.take(Port.LINK, v.pair_key)
            p.control(Unit.DEST, v.pair_key.address)
            p.move(Direction.CRYPT, Port.SPONGE, v.pair_key)
        p.control(Unit.SPONGE_END)
        p.give(Port.SPONGE, v.seal_key)
        p.move(Direction.CRYPT, Port.LINK, v.seal_key)


def _add_effects(p: Program, v: Memory) -> None:
    # A live pairing with that id? ``peer`` is its number (NO_PLACE: none), ``free`` the first place without one.
    with p.routine("find_peer"):
        p.set(v.peer, 0)
        p.jump("find_from")

    with p.routine("find_from"):
        p.set(v.free, NO_PLACE)
        with p.Loop() as loop:
            p.call("load_peer")
            with p.If(~ZERO):
                p.less(v.header[:8], v.sealed[6:14])
                with p.If(ZERO):
                    p.ret()
            with p.Else():
                p.compare(v.free, NO_PLACE)
                with p.If(ZERO):
                    p.copy(v.free, v.peer)
            p.add(v.peer, 1)
            p.compare(v.peer, records.MAX_PEERS)
            loop.leave(ZERO)
            if v.journals > records.MAX_PEERS:
                p.compare(v.peer, v.journals)
                loop.leave(ZERO)
        p.set(v.peer, NO_PLACE)

    # The message is used up: its wrap key is replaced by the next.
    with p.routine("use_up"):
        p.call("load_device")
        with p.If(~ZERO):
            p.ret()
        p.copy(v.wrap_index, v.new_index)
        p.copy(v.wrap_key, v.new_wrap)
        p.jump("commit_device")

    # A number that no record had before, in ``pair_index``; ZERO if all is well.
    with p.routine("use_pair_index"):
        p.copy(v.pair_index, v.next_pair)
        p.add(v.next_pair, 1)
        with p.If(ZERO):
            p.set(v.status, Code.EXHAUSTED)
            ok(p, v)
            p.ret()
        p.jump("commit_device")

    with p.routine("commit_device"):
        p.add(v.number, 1)
        p.call("journal_commit")
        ok(p, v)

    with p.routine("import_puzzle"):
        p.call("find_peer")
        p.compare(v.peer, NO_PLACE)
        with p.If(~ZERO):
            p.call("use_up")
            wipe_and_refuse_if(p, v, ZERO, Code.ALREADY_PAIRED)
            p.jump("wipe_and_reply")
        p.copy(v.peer, v.free)
        p.compare(v.peer, NO_PLACE)
        wipe_and_refuse_if(p, v, ZERO, Code.TABLE_FULL)
        # The pair index is used up before anything is sealed with it.
        p.call("load_device")
        p.jump("wipe_and_reply", ~ZERO)
        p.call("use_pair_index")
        p.jump("wipe_and_reply", ~ZERO)
        p.call("make_record")
        p.call("open_peer_journal")
        p.call("journal_create")
        ok(p, v)
        p.jump("wipe_and_reply", ~ZERO)
        p.call("use_up")
        p.jump("imported")

    # Header and slot of epoch 0, from the pair key and both ids.
    with p.routine("make_record"):
        p.copy(v.header[:8], v.sealed[6:14])
        p.copy(v.header[8:10], v.pair_index)
        p.copy(v.header[10], v.sealed[1])
        p.byte(Op.AND, v.header[10], records.FLAG_LOW)
        p.set(v.header[11], records.RECORD_VERSION)
        p.set(v.number, 0)
        p.test(v.sealed[1], msg.FLAG_RECIPIENT_LOW)
        with p.If(~ZERO):
            p.derive(PAIR, pair_key=v.pair_key, id_low=v.own_id, id_high=v.sealed[6:14])
        with p.Else():
            p.derive(PAIR, pair_key=v.pair_key, id_low=v.sealed[6:14], id_high=v.own_id)
        p.take(Port.SPONGE, v.chain_key)
        p.take(Port.SPONGE, v.auth_prev)

    with p.routine("import_revocation"):
        p.call("find_peer")
        p.compare(v.peer, NO_PLACE)
        with p.If(~ZERO):
            p.call("forget_peer")
            p.jump("wipe_and_reply", ~ZERO)
            p.call("use_up")
            p.call("imported")
            p.jump("end_revoked")
        p.call("use_up")
        wipe_and_refuse_if(p, v, ZERO, Code.NO_SUCH_PEER)
        p.jump("wipe_and_reply")

    # The record that is open goes; a cut may have left an older epoch behind, which must not come to life again.
    with p.routine("forget_peer"):
        with p.Loop() as loop:
            p.copy(v.address, v.old)
            p.call("retire_slot")
            ok(p, v)
            with p.If(~ZERO):
                p.ret()
            p.call("load_peer")
            loop.leave(ZERO)
        ok(p, v)

    # The session or run with a peer that is no more ends.
    with p.routine("end_revoked"):
        flag(p, v, PENDING_INITIATOR | PENDING_RESPONDER | SESSION)
        with p.If(~ZERO):
            p.less(v.peer, v.pending_peer)
            with p.If(ZERO):
                p.set(v.status, Code.NO_SUCH_PEER)
                p.jump("end_session")

    with p.routine("import_reset"):
        p.derive(DEVICE_ID, puf_key=v.puf_key, salt=v.salt)
        p.check(Port.SPONGE, v.sealed[6:14])
        wipe_and_refuse_if(p, v, ~MATCH, Code.BAD_PUZZLE)
        p.call("factory_reset")
        p.set(v.peer, NO_PLACE)
        p.jump("imported")

    with p.routine("imported"):
        p.call("wipe")
        p.zero(v.new_wrap)
        ok(p, v)
        p.jump("reply_status", ~ZERO)
        p.call("begin_reply")
        p.give(Port.LINK, v.peer)
        p.control(Unit.FRAME, SEND)
