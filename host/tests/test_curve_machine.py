"""The curve engine as a machine: its single operations, constant time, what stays in its memory, stalls, self-test."""

import random
from dataclasses import replace
from itertools import pairwise, product

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from ringpair_hdl.curve.commands import Command, OnElement, Status
from ringpair_hdl.curve.constants import SMALL, L, P
from ringpair_hdl.curve.ed25519 import ed25519
from ringpair_hdl.curve.edwards import edwards
from ringpair_hdl.curve.elements import KEPT
from ringpair_hdl.curve.elements import Element as E
from ringpair_hdl.curve.field import frozen
from ringpair_hdl.curve.hmac import hmac as hmac_part
from ringpair_hdl.curve.isa import Word
from ringpair_hdl.curve.program import PARTS, curve_program
from ringpair_hdl.curve.scalar import HIGH, LOW, canonical

from host.tests.curve_bench import EDGES, VARIANTS, Engine, Sequences, bytes32, number, written

FIELD = {
    "mul": lambda a, b: a * b,
    "square": lambda a, b: a * a,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul_a24_add": lambda a, b: 60833 * a + b,
    "mul_9_add": lambda a, b: 9 * a + b,
}
FIRST_TEST_COMMAND = 20
FREEZE, REDUCE = FIRST_TEST_COMMAND + len(FIELD), FIRST_TEST_COMMAND + len(FIELD) + 1


def single_operations(p):
    """Commands that show what no other shows: one operation of SCALAR and POINT, not reduced; freeze; modulo L."""
    commands = {}
    for place, name in enumerate(FIELD, FIRST_TEST_COMMAND):
        commands[place] = f"test_{name}"
        with p.routine(f"test_{name}", secret=True):
            square = name == "square"
            p.call("mul" if square else name, E.RESULT, E.SCALAR, E.SCALAR if square else E.POINT, square=square)
            p.jump("end")
    with p.routine("test_freeze", secret=True):
        frozen(p, E.RESULT, E.SCALAR)
        p.jump("end")
    with p.routine("test_reduce", secret=True):
        p.call("copy", HIGH, 0, E.POINT)
        p.call("copy", LOW, 0, E.SCALAR)
        p.enter("reduce")
        p.jump("test_canonical")
    with p.routine("test_canonical", secret=True):
        canonical(p)
        p.call("copy", E.RESULT, 0, LOW)
        p.jump("end")
    return commands | {FREEZE: "test_freeze", REDUCE: "test_reduce"}


@pytest.fixture(scope="module", params=VARIANTS)
def engine(request):
    return Engine(request.param())


@pytest.fixture(scope="module", params=VARIANTS)
def arithmetic(request):
    """With the commands of `single_operations`."""
    parts = tuple(part for part in PARTS if part not in (hmac_part, edwards, ed25519))  # to make room
    return Engine(request.param(curve_program(parts=parts, extra=single_operations)))


@pytest.fixture(scope="module")
def does(engine):
    return Sequences(engine)


# ------------------------------------------------------------------------------------------------------ arithmetic


def operate(arithmetic, command, a, b):
    """RESULT of a command on two numbers."""
    arithmetic.load(E.SCALAR, bytes32(a))
    arithmetic.load(E.POINT, bytes32(b))
    arithmetic.command(command)
    return number(arithmetic.read(E.RESULT))


def cases(seed, count):
    """The grid of edges, and random numbers."""
    rng = random.Random(seed)
    return [*product(EDGES, EDGES), *((rng.getrandbits(256), rng.getrandbits(256)) for _ in range(count))]


@pytest.mark.parametrize("name", FIELD)
def test_field_operations(arithmetic, name):
    """The right residue, in the right range, in the same time; random numbers alone would miss a lost borrow."""
    command, cycles = FIRST_TEST_COMMAND + list(FIELD).index(name), set()
    for a, b in cases(name, 300):
        got = operate(arithmetic, command, a, b)
        arithmetic.command(command)
        cycles.add(arithmetic.cycles)
        assert (got - FIELD[name](a, b)) % P == 0, (hex(a), hex(b))
    assert len(cycles) == 1


def test_freeze(arithmetic):
    for a, b in pairwise([*EDGES, *(P + n for n in range(-40, 40)), *(2**256 - n for n in range(1, 60))]):
        assert operate(arithmetic, FREEZE, a, b) == a % P


def test_modulo_order(arithmetic):
    cycles = set()
    for low, high in cases("modulo L", 300):
        assert operate(arithmetic, REDUCE, low, high) == (high << 256 | low) % L, (hex(low), hex(high))
        arithmetic.command(REDUCE)
        cycles.add(arithmetic.cycles)
    assert len(cycles) == 1


# ------------------------------------------------------------------------------------------------------ secrets


def test_constant_cycles(does):
    """Every command that meets a secret takes the same time for all, to the cycle."""
    rng, engine = random.Random(9), does.engine
    seen: dict[int, set[int]] = {}
    values = [bytes(32), b"\xff" * 32, *(rng.randbytes(32) for _ in range(6))]
    for seed in values:
        for element, value in ((E.SEED, seed), (E.PUBLIC, rng.randbytes(32)), (E.POINT, rng.randbytes(32))):
            engine.load(element, value)
            seen.setdefault(OnElement.LOAD, set()).add(engine.cycles)
        commands = (Command.ELLIGATOR, Command.X25519, Command.X25519_BASE, Command.KEY)
        for command in (*commands, Command.SIGN_BEGIN, Command.SIGN_COMMIT, Command.SIGN_END):
            engine.command(command)
            seen.setdefault(command, set()).add(engine.cycles)
            if command in (Command.SIGN_BEGIN, Command.SIGN_COMMIT):
                engine.command(Command.HASH, bytes([32]) + rng.randbytes(32))
                seen.setdefault(Command.HASH, set()).add(engine.cycles)
            if command == Command.X25519_BASE:
                engine.load(E.SEED, seed)
    assert {len(cycles) for cycles in seen.values()} == {1}, seen


def test_budgets(does):
    """Whole operations, with the messages that a session signs, are as quick as they have to be."""
    seed, message = bytes(range(32)), bytes(135)
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    before = does.engine.spent
    signature = does.sign(seed, public, message)
    signed = does.engine.spent
    assert signed - before <= 750_000
    assert does.verify(public, message, signature)
    assert does.engine.spent - signed <= 1_300_000
    does.x25519(seed, public)
    assert does.cycles <= 650_000


def test_sign_leaves_no_secret(does):
    """After SIGN_END nothing in the memory has to do with the secret: all is 0 but the results."""
    left = set()
    for seed in (bytes(32), bytes(range(32)), b"\xff" * 32):
        does.engine.command(Command.CLEAR)
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        does.sign(seed, public, b"message")
        known = (E.PUBLIC, E.R, E.S, E.SYSTEM)
        left.add(tuple(does.engine.read(element) for element in range(32) if element not in known))
    assert left == {(bytes(32),) * 28}


def test_kept_elements_survive(does):
    """No routine writes to elements 20..27."""
    values = {element: random.Random(element).randbytes(32) for element in KEPT}
    for element, value in values.items():
        does.engine.load(element, value)
    public = does.public_key(bytes(32))
    assert does.verify(public, b"m", does.sign(bytes(32), public, b"m"))
    does.x25519(bytes(32), bytes32(9))
    does.elligator(bytes(32))
    assert {element: does.engine.read(element) for element in KEPT} == values


def test_put_and_get(does):
    value = bytes(range(32))
    result = does.x25519(value, bytes32(9))
    does.engine.command(OnElement.PUT | KEPT[3])
    assert does.engine.read(KEPT[3]) == result
    does.engine.command(OnElement.GET | KEPT[3])
    assert does.engine.read(E.POINT) == result


@pytest.mark.parametrize("how", ["command", "port"])
def test_clear(does, how):
    """Every element is overwritten, after CLEAR and after the port, in the middle of anything."""
    for element in (*range(28), E.PRODUCT, E.PRODUCT_HIGH):
        does.engine.load(element, b"\xa5" * 32)
    if how == "command":
        does.engine.command(Command.CLEAR)
    else:
        does.engine.idle(clear=True)
    assert all(does.engine.read(element) == bytes(32) for element in range(32) if element != E.SYSTEM)


def test_stalls(engine):
    """Streams that pause change nothing but the time."""
    stalled, message = Sequences(Engine(engine.path, stall=3)), bytes(range(100))
    seed = message[:32]
    public = stalled.public_key(seed)
    assert public == Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    signature = stalled.sign(seed, public, message)
    assert signature == Ed25519PrivateKey.from_private_bytes(seed).sign(message)
    assert stalled.verify(public, message, signature)


@pytest.mark.parametrize("leaf", ["sub", "mul", "minus"])
def test_self_test_sees_a_wrong_sum(leaf):
    """Of a leaf that adds where it should subtract, or the other way round: BROKEN stays until the power goes."""
    code = curve_program()
    words = list(code.words)
    place = next(at for at in range(code.labels[leaf], len(words)) if code.listing[at].form and code.listing[at].w)
    words[place] ^= Word.const({"more": {"compute": {"sub": 1}}}).as_value().value
    engine = Engine(written(replace(code, words=words)))
    assert engine.status() == Status.BROKEN
    engine.idle(clear=True)
    engine.command(Command.CLEAR)
    assert engine.status() == Status.BROKEN
    engine.load(E.SCALAR, bytes(32))
    engine.load(E.POINT, bytes(32))
    engine.command(Command.X25519)
    assert engine.status() & Status.BROKEN
    assert Engine(written()).status() == 0


def test_constants_of_one_limb_are_different():
    assert len(set(SMALL)) == len(SMALL) == 16
