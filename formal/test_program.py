"""What the control program may do on all its paths, proven of its bytes in the code memory; bugs that are noticed."""

import pytest
from ringpair_hdl import program
from ringpair_hdl.control import Program
from ringpair_hdl.control.isa import Move
from ringpair_hdl.control.nodes import Plain
from ringpair_hdl.program import admin, channel, enroll, handshake, journal, keys
from ringpair_protocol.admin import Profile

from formal import shape
from formal.paths import Violation, explore
from formal.programs import SECRET, all_rules, device, notices
from formal.states import Code, flow

PER_FIELD = ("AtRest", "Secrets")
NAMES = [
    *("SessionKeys", "CommitFirst", "PeerWrites", "Residue", "Epochs", "SentCounters PPAKE", "HeardCounters"),
    *("OnlyPublic nothing", "Selected", "ReceivedFrames", "SentFrames", "Phases", "Commands"),
    *(f"{rule} {field}" for rule in PER_FIELD for field in SECRET),
]
"""Of all rules: linking the program only to collect the tests would take too long."""

pytestmark = pytest.mark.filterwarnings("ignore:can't resolve package:ImportWarning")  # of a module made from text


def test_shape():
    """Calls fit the stack, runs stay in their fields, every instruction that is there can be reached."""
    code, memory = device(Profile.PAIR)
    shape.check_memory(code, memory.pad)
    assert shape.depth(code) == code.rom.depth
    following, _, _ = flow(code)
    reached = {k for address in following for k in range(address, code.at(address).following)}
    missing = set(range(code.rom.start, len(code.rom))) - reached
    assert {code.rom.data[k] for k in missing} <= {0xEB}, "only the linker's fillings are never run"


@pytest.mark.parametrize(
    ("target", "source", "message"),
    [((1, 4), (0, 4), "overwrites what it reads"), ((4, 3), (0, 4), "two lengths"), ((4, 8), (0, 8), "leaves all")],
)
def test_wrong_rows_are_noticed(target, source, message):
    """Even if the assembler had let them pass."""
    p = Program()
    p.pad.field("field", 8)
    with p.routine("main", returns=False), p.Loop():
        p._emit(Plain(Move.COPY, (target, source)))
    with pytest.raises(Violation, match=message):
        shape.check_memory(Code(p.link(), p.pad.init), p.pad)


def test_loops_end():
    code, memory = device(Profile.PAIR)
    found = shape.loops(code, shape.device_bounds(memory))
    assert all(found.values()), "a bound that no loop needs"


def test_all_rules_are_tested():
    assert sorted(all_rules(Profile.PAIR)) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_rule(name):
    code, _ = device(Profile.PAIR)
    explored = explore(code, all_rules(Profile.PAIR)[name])
    assert explored.states.keys() == flow(code)[0].keys(), "every instruction is on some path"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_rule_before_shortening(name):
    """In this form the bugs below are looked for: it is the one that is linked in no time."""
    explore(device(Profile.PAIR, shorten=False)[0], all_rules(Profile.PAIR, shorten=False)[name])


BUGS = {
    "T2 is not asked for": (
        "SessionKeys",
        handshake,
        'p.jump("wipe", ~MATCH)\n        for field',
        "for field",
    ),
    "T2 is compared by 15 bytes": (
        "SessionKeys",
        handshake,
        'p.check(Port.SPONGE, v.tag_2)\n        p.jump("wipe", ~MATCH)\n        for',
        'p.check(Port.SPONGE, v.tag_2[:15])\n        p.jump("wipe", ~MATCH)\n        for',
    ),
    "a wrong T3 is right": (
        "SessionKeys",
        handshake,
        "with p.If(MATCH):\n                p.zero(v.tag_3)",
        "with p.If(~MATCH):\n                p.zero(v.tag_3)",
    ),
    "M2 after a commit that failed": (
        "CommitFirst",
        handshake,
        'p.phase(Phase.RESPONDER)\n        ok(p, v)\n        p.jump("wipe", ~ZERO)',
        "p.phase(Phase.RESPONDER)",
    ),
    "M3 without a commit": (
        "CommitFirst",
        handshake,
        'p.call("journal_commit")\n        p.phase(Phase.INITIATOR)',
        "p.phase(Phase.INITIATOR)",
    ),
    "what was read back is not compared": (
        "CommitFirst",
        journal,
        "p.move(Direction.CHECK, Port.SPI, source, length=0)",
        "p.check(Port.SPI, v.number)",
    ),
    "the old slot stays": (
        "CommitFirst",
        journal,
        'p.call("retire_slot")\n            p.test(v.untidy, 1)',
        "p.test(v.untidy, 1)",
    ),
    "a stale M1 is a current one": (
        "PeerWrites",
        handshake,
        'p.jump("on_stale_m1", MATCH)',
        'p.jump("on_current_m1", MATCH)',
    ),
    "a wrong M1 is a current one": (
        "PeerWrites",
        handshake,
        'p.jump("on_current_m1", MATCH)',
        'p.jump("on_current_m1", ~MATCH)',
    ),
    "any RESYNC is believed": ("PeerWrites", handshake, 'p.jump("wipe", ~MATCH)\n                p.phase', "p.phase"),
    "the PUF key is not wiped": (
        "AtRest puf_key",
        keys,
        "p.zero(*v.operation_secrets)",
        "p.zero(*v.operation_secrets[:-1])",
    ),
    "a run that ended leaves its keys": (
        "AtRest session",
        handshake,
        'p.set(v.flags, 0)\n        p.jump("wipe_session")\n\n    with p.routine("restart_or_next")',
        'p.set(v.flags, 0)\n\n    with p.routine("restart_or_next")',
    ),
    "T3 stays in a session": (
        "AtRest session",
        handshake,
        "p.control(Unit.FRAME, SEND)\n        p.zero(v.tag_3)",
        "p.control(Unit.FRAME, SEND)",
    ),
    "a reset leaves the draft": (
        "AtRest new_wrap",
        enroll,
        "p.set(v.untidy, 0)\n        p.zero(v.new_wrap)",
        "p.set(v.untidy, 0)",
    ),
    "a drawn nonce stays in the sponge": (
        "Residue",
        keys,
        "p.control(Unit.SPONGE_CLEAR)\n        p.zero(v.random)",
        "p.zero(v.random)",
    ),
    "the PUF engine keeps its counts": (
        "Residue",
        keys,
        "puf(p, v, Command.CLEAR)\n        p.wait(~PUF_BUSY)",
        "p.wait(~PUF_BUSY)",
    ),
    "the epoch stays": (
        "Epochs",
        handshake,
        "p.copy(v.auth_prev, v.auth_key)\n        p.add(v.number, 1)",
        "p.copy(v.auth_prev, v.auth_key)",
    ),
    "a record that does not unseal is used": (
        "Epochs",
        journal,
        "p.set(v.found, 0)\n\n    # After a load",
        "p.set(v.found, 1)\n\n    # After a load",
    ),
    "a counter is used again": (
        "SentCounters PPAKE",
        channel,
        "p.zero(v.buffer)\n        p.add(v.tx_counter, 1)",
        "p.zero(v.buffer)",
    ),
    "a counter wraps": (
        "SentCounters PPAKE",
        channel,
        "with p.If(CARRY):\n            p.set(v.status, Code.EXHAUSTED)",
        "with p.If(~CARRY):\n            p.set(v.status, Code.EXHAUSTED)",
    ),
    "an old text is told": ("HeardCounters", channel, "p.jump(otherwise, ~CARRY)", "p.jump(otherwise, CARRY)"),
    "a forged text is told": (
        "HeardCounters",
        channel,
        'with p.If(MATCH):\n            p.call("count_received")',
        'with p.If(~MATCH):\n            p.call("count_received")',
    ),
    "a text is a byte too long": (
        "Lengths",
        admin,
        "p.compare(v.frame, msg.TEXT_MAX + 2)",
        "p.compare(v.frame, msg.TEXT_MAX + 3)",
    ),
    "a key goes to the line": (
        "Secrets auth_key",
        handshake,
        "p.take(Port.SPONGE, v.tag)\n",
        "p.take(Port.SPONGE, v.tag)\n        p.give(Port.LINK, v.auth_key)\n",
    ),
    "a record goes to the flash unsealed": (
        "Secrets slot",
        journal,
        "p.control(Unit.SPONGE, start_word(aead=1, ad=1))",
        "p.control(Unit.SPONGE, start_word(aead=1, decrypt=1, ad=1))",
    ),
    "a text goes to the peer in the clear": (
        "Secrets buffer",
        channel,
        "p.move(Direction.CRYPT, Port.SPONGE, v.buffer, length=0)",
        "p.move(Direction.CRYPT, Port.SPONGE, v.buffer[:1])",
    ),
    "T3 goes to the host": (
        "Secrets session",
        handshake,
        "p.check(Port.LINK, v.tag_3)\n",
        "p.give(Port.LINK, v.tag_3)\n            p.check(Port.LINK, v.tag_3)\n",
    ),
    "a branch asks for a key": (
        "Secrets puf_key",
        keys,
        "p.zero(v.bits)\n",
        "p.zero(v.bits)\n        p.less(v.puf_key[:8], v.own_id)\n",
    ),
    "a key lies in a public field": (
        "OnlyPublic nothing",
        keys,
        "p.zero(v.bits)\n",
        "p.zero(v.bits)\n        p.copy(v.nonce_s, v.puf_key[:16])\n",
    ),
    "a flash that is not selected is deselected": (
        "Selected",
        enroll,
        "flash.select(p, 1)\n            p.jump",
        "p.jump",
    ),
    "a flash that is not selected is read": (
        "Selected",
        journal,
        'p.call("flash_read")\n            set_length(p, v, 20)',
        "set_length(p, v, 20)",
    ),
    "an M3 is a byte longer": (
        "ReceivedFrames",
        handshake,
        "p.check(Port.LINK, v.tag_3)",
        "p.check(Port.LINK, v.session[:17])",
    ),
    "a text is as long as its frame": ("ReceivedFrames", admin, "RECEIVED | 1)", "RECEIVED)"),
    "what comes through the host is as long as by wire": (
        "ReceivedFrames",
        channel,
        "RECEIVED | msg.DATA_OVERHEAD + 1",
        "RECEIVED | msg.DATA_OVERHEAD",
    ),
    "a short command is taken for a long one": (
        "ReceivedFrames",
        admin,
        'p.compare(v.frame, length)\n                    p.jump("refuse_length", ~ZERO)',
        "p.compare(v.frame, length)",
    ),
    "a damaged frame is a command": (
        "ReceivedFrames",
        admin,
        "p.give(Port.LINK, v.frame)\n            p.control(Unit.FRAME, SEND)\n            p.ret()",
        "p.give(Port.LINK, v.frame)\n            p.control(Unit.FRAME, SEND)",
    ),
    "a frame is read that was dropped": (
        "ReceivedFrames",
        handshake,
        "p.take(Port.LINK, v.tag_1)\n        p.control(Unit.FRAME, DROP)",
        "p.control(Unit.FRAME, DROP)\n        p.take(Port.LINK, v.tag_1)",
    ),
    "a frame stays": (
        "ReceivedFrames",
        channel,
        'p.control(Unit.FRAME, DROP)\n\n    with p.routine("check',
        'p.ret()\n\n    with p.routine("check',
    ),
    "the peer's frame is looked for at the host": (
        "ReceivedFrames",
        admin,
        "p.control(Unit.SIDE, 1)\n        p.set(v.arrival",
        "p.control(Unit.SIDE, 0)\n        p.set(v.arrival",
    ),
    "M3 is not sent off": (
        "SentFrames",
        handshake,
        "p.control(Unit.FRAME, SEND)\n        p.zero(v.tag_3)",
        "p.zero(v.tag_3)",
    ),
    "an event goes to the peer's side": (
        "SentFrames",
        handshake,
        "p.control(Unit.SIDE, 0)\n        p.emit(Port.LINK, Event.SESSION)",
        "p.emit(Port.LINK, Event.SESSION)\n        p.control(Unit.SIDE, 0)",
    ),
    "a reply is too long": (
        "SentFrames",
        admin,
        "p.give(Port.LINK, v.report)",
        "for _ in range(9):\n            p.give(Port.LINK, v.report)",
    ),
    "a frame without a byte": (
        "SentFrames",
        channel,
        "p.control(Unit.FRAME, DROP)\n\n    with",
        "p.control(Unit.FRAME, DROP)\n        p.control(Unit.FRAME, SEND)\n\n    with",
    ),
    "the header of a text has no end": (
        "Phases",
        channel,
        "p.give(Port.SPONGE, v.session_id)\n    p.control(Unit.SPONGE_END)",
        "p.give(Port.SPONGE, v.session_id)",
    ),
    "a text has no end": (
        "Phases",
        channel,
        "p.control(Unit.SPONGE_END)\n    p.give(Port.SPONGE, key)",
        "p.give(Port.SPONGE, key)",
    ),
    "a tag is not taken": ("Phases", journal, "p.move(Direction.CRYPT, Port.SPI, v.seal_key)", ""),
    "a tag has 20 bytes": (
        "Phases",
        channel,
        "p.move(Direction.CRYPT, Port.LINK, v.rx_key)",
        "p.move(Direction.CRYPT, Port.LINK, v.session[16:36])",
    ),
    "a nonce is too long": ("Phases", journal, "p.give(Port.SPONGE, v.nonce)", "p.give(Port.SPONGE, v.digest)"),
    "a tag is taken as a hash": (
        "Phases",
        channel,
        "p.move(Direction.CRYPT, Port.LINK, v.rx_key)",
        "p.check(Port.SPONGE, v.rx_key)",
    ),
    "helper data are too long": (
        "Commands",
        keys,
        "p.give(Port.PUF, v.buffer[:72])",
        "p.give(Port.PUF, v.buffer[:76])",
    ),
    "helper data stay in the engine": ("Commands", enroll, "p.take(Port.PUF, v.helper)", ""),
    "bits of no command": ("Commands", enroll, "puf(p, v, Command.BITS)", ""),
    "the flash is polled for ever": (
        "loops",
        program.flash,
        "p.set(v.status, Code.FLASH_FAILED)\n                loop.leave()",
        "p.set(v.status, Code.FLASH_FAILED)",
    ),
    "the sectors are not counted": (
        "loops",
        journal,
        'p.byte(Op.ADD, v.sectors, minus(1))\n        p.call("next_sector")',
        'p.call("next_sector")',
    ),
}
"""What is wrong: the rule that notices, module, text, wrong text."""


@pytest.mark.parametrize("bug", BUGS)
def test_bug_is_noticed(bug, monkeypatch):
    notices(Profile.PAIR, *BUGS[bug], monkeypatch)
