"""Campaigns on bindings; `scripts/campaign.py` runs them."""

import random
from collections import Counter
from contextlib import suppress

from cpace import CPace, CPaceRole
from ringpair.controller import LibraryCurve
from ringpair_protocol import binding, cpace, curve25519
from ringpair_protocol.admin import Code, Pin, Role
from ringpair_protocol.controller import OPENING_TRIES, BindingRun, NotTheDevice, OpeningRun, open_session
from ringpair_protocol.curve25519 import PRIME, BadPoint
from ringpair_protocol.messages import B1, B3, B3_FIRST, DATA, S1, S3, SWITCH

from protocol.tests.rig_binding import bind, enrolled, service
from scripts.campaign import Trial

ROUNDS_OF_A_BOARD = 40
CURVE = LibraryCurve()


class Fuzzer:
    """A device with two bound services and a session, and somebody who alters every message that goes to it."""

    def __init__(self, dice: random.Random):
        self.dice = dice
        self.board = enrolled()
        self.pin = self.board.pin(Pin.PRESET)
        self.key = bind(self.board, service("phone"), self.pin)
        bind(self.board, service("hub"), self.pin)
        self.session = open_session(service("phone"), self.key, self.board.answer)
        self.old: dict[int, list[bytes]] = {}
        self.board.device.button = True  # never locked

    def genuine(self, header: int) -> bytes:
        """A message that the device would take now."""
        if header == DATA:
            return self.session.seal(bytes([SWITCH, 1]))[1]
        if header in (B1, B3):
            run = BindingRun(service("car"), self.board.id, self.pin, CURVE)
            return run.b1() if header == B1 else run.b3(self.board.answer(run.b1()))
        if header == S1:
            return OpeningRun(service("phone"), self.key, CURVE).s1()
        for _ in range(OPENING_TRIES):
            opening = OpeningRun(service("phone"), self.key, CURVE)
            with suppress(NotTheDevice):  # the hint has fitted the other record
                return opening.s3(self.board.answer(opening.s1()))[0]
        raise AssertionError(f"{OPENING_TRIES} hints for the phone fitted the other record only")

    def altered(self, message: bytes) -> tuple[str, bytes]:
        """What somebody makes of it, and how."""
        dice, raw = self.dice, bytearray(message)
        way = dice.choice(("bits", "random", "length", "header", "splice", "old"))
        known = self.old.setdefault(message[0], [])
        match way:
            case "bits":
                for _ in range(dice.choice((1, 1, 2, 9))):
                    raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
            case "random":
                raw[1:] = dice.randbytes(len(raw) - 1)
            case "length":
                cut = dice.randrange(1, len(raw) + 8)
                raw = raw[:cut] + dice.randbytes(max(0, cut - len(raw)))
            case "header":
                raw[0] = dice.randrange(256)
            case "splice" if known:
                cut = dice.randrange(1, len(raw))
                raw = raw[:cut] + dice.choice(known)[cut:]
            case "old" if known:
                raw = bytearray(dice.choice(known))
        known.append(message)
        return way, bytes(raw)

    def state(self) -> tuple[object, ...]:
        """What must not change by an altered message."""
        binder = self.board.device.binder
        return binder.session, binder.switch, tuple(self.board.bindings()[1])

    def round(self) -> tuple[str, str | None]:
        """One message altered; how, and what went wrong."""
        header = self.dice.choice((B1, B3, S1, S3, DATA))
        message = self.genuine(header)
        way, wrong = self.altered(message)
        if wrong == message:
            return way, None
        before = self.state()
        if len(wrong) > 125 or (wrong[0] == B3 and len(wrong) > B3_FIRST):
            code, _ = self.board.ask(0x0B, wrong[:B3_FIRST])
            if code is Code.OK:
                code, _ = self.board.ask(0x0C, wrong[B3_FIRST:])
        else:
            code, _ = self.board.controller_in(wrong)
        if self.state() != before:
            return way, f"{header:#04x} altered by {way} ({wrong.hex()}) was taken: {code.name}"
        if code is Code.OK and wrong[0] not in (B1, S1) and not (wrong[0] == B3 and len(wrong) == B3_FIRST):
            return way, f"{header:#04x} altered by {way} ({wrong.hex()}) was answered"
        return way, None


def messages(trial: Trial) -> None:
    """Every message to the device, altered in every way: no binding, no session, no command comes of it."""
    dice, ways = random.Random(trial.seed), Counter[str]()
    while trial.left:
        fuzzer = Fuzzer(dice)
        for _ in range(min(trial.left, ROUNDS_OF_A_BOARD)):
            way, problem = fuzzer.round()
            ways[way] += 1
            if problem:
                trial.lose(problem)
            trial.count()
    trial.notes |= dict(ways)


def curve(trial: Trial) -> None:
    """The reference's curve and PAKE against `cryptography` and `cpace`: random values, and those near an edge."""
    dice = random.Random(trial.seed)

    def number() -> bytes:
        if dice.random() < 0.7:
            return dice.randbytes(32)
        near = dice.choice((0, PRIME, 2 * PRIME, 2**255, 2**254, 2**256)) + dice.randrange(-300, 300)
        return (near % 2**256).to_bytes(32, "little")

    def same(name: str, *values: bytes) -> object:
        found: list[object] = []
        for one in (curve25519, CURVE):
            try:
                found.append(getattr(one, name)(*values))
            except BadPoint:
                found.append(BadPoint)
        if found[0] != found[1]:
            trial.lose(f"{name}({', '.join(value.hex() for value in values)})")
        return found[0]

    while trial.left:
        same("x25519", number(), number())
        seed, message = number(), dice.randbytes(dice.randrange(300))
        key, signature = same("public_key", seed), same("sign", seed, message)
        assert isinstance(key, bytes)
        assert isinstance(signature, bytes)
        same("verify", key, message, signature)
        same("verify", number(), message, signature)
        same("verify", key, message, number() + signature[32:])
        same("verify", key, message, signature[:32] + number())
        _run_of_cpace(trial, dice)
        trial.count()


def _run_of_cpace(trial: Trial, dice: random.Random) -> None:
    """The other implementation is the device, we are the controller."""
    pin, device_id, sid, scalar = (dice.randbytes(n) for n in (8, 8, 16, 32))
    theirs = CPace.start(
        role=CPaceRole.RESPONDER, prs=pin, sid=sid, ci=binding.CI_LABEL + device_id + sid[:8], ad=device_id
    )
    ours = binding.share(scalar, pin, device_id, sid)
    theirs.derive(ours, sid[:8])
    run = binding.Binding.agreed(Role.INITIATOR, scalar, sid, (ours, theirs.public_share), device_id, curve25519)
    agreed = cpace.agree(scalar, theirs.public_share, sid, (ours, sid[:8]), (theirs.public_share, device_id))
    if agreed.isk != theirs.isk or run.tag_d != theirs.tag()[:16] or not theirs.verify(agreed.tag_a):
        trial.lose(f"cpace: {pin.hex()} {device_id.hex()} {sid.hex()} {scalar.hex()}")
