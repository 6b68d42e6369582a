"""The same of the program of the profile FULL, with what it does for controllers; bugs in that which are noticed."""

import pytest
from ringpair_hdl.program import binding, controllers
from ringpair_protocol.admin import Profile

from formal import shape
from formal.paths import explore
from formal.programs import SECRET, all_rules, device, notices
from formal.states import flow

QUICK = [
    *("SessionKeys", "PeerWrites", "Residue", "Epochs", "SentCounters SESSION", "OnlyPublic nothing"),
    *("AtRest session", "AtRest bits", "Secrets buffer"),
    *("Selected", "ReceivedFrames", "SentFrames", "Phases", "Commands"),
    *("PinCounter", "PinTold", "TriesBack", "Controllers", "Shelf", "Signing"),
]
THOROUGH = [
    *("CommitFirst", "SentCounters PPAKE", "SentCounters OPENING", "HeardCounters"),
    *(f"AtRest {field}" for field in SECRET if field not in ("session", "bits")),
    *(f"Secrets {field}" for field in SECRET if field != "buffer"),
]
"""Those that take longer together, or say what holds of the program of the profile PAIR by the same routines."""

pytestmark = pytest.mark.filterwarnings("ignore:can't resolve package:ImportWarning")  # of a module made from text


def test_shape():
    """Calls fit the stack, runs stay in their fields, every loop ends."""
    code, memory = device(Profile.FULL)
    shape.check_memory(code, memory.pad)
    assert shape.depth(code) == code.rom.depth
    assert all(shape.loops(code, shape.device_bounds(memory)).values())


def test_all_rules_are_tested():
    assert sorted(all_rules(Profile.FULL)) == sorted(QUICK + THOROUGH)


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in THOROUGH)])
def test_rule(name):
    code, _ = device(Profile.FULL)
    explored = explore(code, all_rules(Profile.FULL)[name])
    assert explored.states.keys() == flow(code)[0].keys(), "every instruction is on some path"


FIRST = "no try is counted"
BUGS = {
    FIRST: (
        "PinCounter",
        binding,
        'p.call("commit_device")\n        p.jump("wipe_and_reply", ~ZERO)\n        p.phase(Phase.ADMIN)',
        "p.phase(Phase.ADMIN)",
    ),
    "a commit that failed counts": (
        "PinCounter",
        binding,
        'p.call("commit_device")\n        p.jump("wipe_and_reply", ~ZERO)\n        p.phase(Phase.ADMIN)',
        'p.call("commit_device")\n        p.phase(Phase.ADMIN)',
    ),
    "who does not hold the button gets five more": (
        "PinCounter",
        binding,
        "wipe_and_refuse_if(p, v, ~BUTTON, Code.PIN_LOCKED)",
        "wipe_and_refuse_if(p, v, BUTTON, Code.PIN_LOCKED)",
    ),
    "tries stay what they were": (
        "PinCounter",
        binding,
        "p.byte(Op.ADD, v.spi, 1)\n",
        "p.byte(Op.ADD, v.spi, 0)\n",
    ),
    "a dynamic PIN is good for ever": (
        "PinCounter",
        binding,
        "pin_display(p, PinCommand.CLEAR)\n        p.copy",
        "p.copy",
    ),
    "who does not hold the button is told the PIN": (
        "PinTold",
        binding,
        "refuse_if(p, v, ~BUTTON, Code.NEED_BUTTON)",
        "refuse_if(p, v, BUTTON, Code.NEED_BUTTON)",
    ),
    "a wrong Ta is right": (
        "TriesBack",
        binding,
        "with p.If(MATCH):\n            p.set(v.run, Run.RIGHT)",
        "with p.If(~MATCH):\n            p.set(v.run, Run.RIGHT)",
    ),
    "tries are given back for a wrong Ta": (
        "TriesBack",
        binding,
        "wipe_and_refuse_if(p, v, ~ZERO, Code.WRONG_PIN)",
        "wipe_and_refuse_if(p, v, ZERO, Code.WRONG_PIN)",
    ),
    "a Ta of an S1": (
        "TriesBack",
        binding,
        "p.compare(v.run, Run.ASKED)\n",
        "p.compare(v.run, Run.OPENED)\n",
    ),
    "a record for a wrong signature": (
        "Controllers",
        binding,
        'wipe_and_refuse_if(p, v, ~ZERO, Code.BAD_CONTROLLER)\n        p.call("add_controller")',
        'p.call("add_controller")',
    ),
    "a record for another service": (
        "Controllers",
        binding,
        "p.check(Port.SPONGE, v.service_id)\n        wipe_and_refuse_if(p, v, ~MATCH, Code.BAD_CONTROLLER)",
        "p.check(Port.SPONGE, v.service_id)",
    ),
    "a session for a wrong signature": (
        "Controllers",
        controllers,
        "wipe_and_refuse_if(p, v, ~ZERO, Code.BAD_CONTROLLER)\n        get(p, Unit32.OPENING",
        "get(p, Unit32.OPENING",
    ),
    "a session for a wrong tag": (
        "Controllers",
        controllers,
        "wipe_and_refuse_if(p, v, ~MATCH, Code.BAD_CONTROLLER)\n        get(p, Unit32.SAID",
        "get(p, Unit32.SAID",
    ),
    "another statement is signed": (
        "Controllers",
        controllers,
        "hash_fields(p, *words.sts_c, v.share_d, v.share_c,",
        "hash_fields(p, *words.sts_c, v.share_c, v.share_d,",
    ),
    "the keys of a run that ended stay": (
        "Shelf",
        binding,
        "wipe_and_refuse_if(p, v, ~CARRY, Code.NO_BINDING)",
        "refuse_if(p, v, ~CARRY, Code.NO_BINDING)",
    ),
    "the keys of a session that ended stay": (
        "Shelf",
        controllers,
        "p.test(v.bound, 1)\n        with p.If(ZERO):\n            put(",
        "p.test(v.bound, 1)\n        with p.If(~ZERO):\n            put(",
    ),
    "the curve engine keeps its operands": (
        "Residue",
        controllers,
        "curve(p, Command.CLEAR)\n        p.test",
        "p.test",
    ),
    "a signature with another public key": (
        "Signing",
        binding,
        "load(p, Element.PUBLIC, v.device_key)\n        load(p, Element.SEED",
        "load(p, Element.PUBLIC, v.share_c)\n        load(p, Element.SEED",
    ),
    "the keys of the paired device do not come back": (
        "SessionKeys",
        controllers,
        "get(p, Unit32.PPAKE, v.keys)\n        put(p, Unit32.PPAKE, v.public)",
        "put(p, Unit32.PPAKE, v.public)",
    ),
    "a controller's counter is used again": (
        "SentCounters SESSION",
        controllers,
        'p.add(v.tx_counter, 1)\n        p.call("keep_session")',
        'p.call("keep_session")',
    ),
    "a controller's text can come again": (
        "HeardCounters",
        controllers,
        'p.call("keep_session")\n        p.call("begin_reply")\n        p.control',
        'p.call("ppake_keys")\n        p.call("begin_reply")\n        p.control',
    ),
    "Ta goes out as Tb": ("Secrets slot", binding, "curve(p, Command.HMAC_AGAIN)\n", "curve(p, Command.HMAC_START)\n"),
    "a shared secret goes to the controller": (
        "Secrets session_root",
        binding,
        'p.call("confirmations")\n',
        'read(p, Element.RESULT, v.share_d)\n        p.call("confirmations")\n',
    ),
    "a B1 is longer than it is": (
        "ReceivedFrames",
        binding,
        "p.take(Port.LINK, v.said[:48])",
        "p.take(Port.LINK, v.said[:52])",
    ),
    "a controller's text is as long as a device's": (
        "ReceivedFrames",
        controllers,
        "p.control(Unit.LENGTH, RECEIVED | msg.DATA_OVERHEAD + 1)",
        "p.control(Unit.LENGTH, RECEIVED | msg.DATA_OVERHEAD)",
    ),
    "an S3 is a byte longer": (
        "ReceivedFrames",
        controllers,
        'p.control(Unit.LENGTH, 64)\n        p.call("unseal_opening")',
        'p.control(Unit.LENGTH, 65)\n        p.call("unseal_opening")',
    ),
    "an S2 is as long as a B4": (
        "SentFrames",
        controllers,
        'p.control(Unit.LENGTH, 64)\n        p.call("seal_opening")',
        'p.control(Unit.LENGTH, 96)\n        p.call("seal_opening")',
    ),
    "the list of bindings has no end": (
        "SentFrames",
        controllers,
        'p.control(Unit.FRAME, SEND)\n        p.jump("wipe")',
        'p.jump("wipe")',
    ),
    "a share is longer than an element": (
        "Commands",
        binding,
        "read(p, Element.RESULT, v.share_d)",
        "read(p, Element.RESULT, v.said[48:84])",
    ),
    "a hash gets less than it is told": (
        "Commands",
        binding,
        "p.move(Direction.GIVE, Port.PUF, v.buffer, length=0)",
        "p.give(Port.PUF, v.buffer)",
    ),
    "digits are not taken": ("Commands", binding, "p.take(Port.PUF, v.digits)", ""),
    "keys come from behind the shelf": (
        "Commands",
        binding,
        "get(p, Unit32.IDENTITY, v.device_key)",
        "get(p, Unit32.IDENTITY, v.said[:80])",
    ),
    "a service's key lies among public bytes": (
        "Secrets buffer",
        binding,
        "put(p, Unit32.SAID, v.said[:80])",
        "put(p, Unit32.SAID, v.buffer[:80])",
    ),
}
"""What is wrong: the rule that notices, module, text, wrong text."""


@pytest.mark.parametrize("bug", [FIRST, *(pytest.param(bug, marks=pytest.mark.slow) for bug in BUGS if bug != FIRST)])
def test_bug_is_noticed(bug, monkeypatch):
    notices(Profile.FULL, *BUGS[bug], monkeypatch)
