"""Campaigns on the curve engine, as written and as netlist after synthesis; `scripts/campaign.py` runs them."""

import random
from collections import Counter
from pathlib import Path

from ringpair.controller import LibraryCurve
from ringpair_hdl.curve.commands import Status
from ringpair_protocol.curve25519 import BadPoint

from host.tests.curve_bench import EDGES, Engine, Sequences, bytes32, number, synthesized, written
from protocol.tests.curve_vectors import ITERATED
from scripts.campaign import Trial

ROUNDS = max(ITERATED)
"""Of RFC 7748's iteration."""
LENGTHS = 0, 1, 46, 47, 63, 64, 65, 100, 144, 192, 500
"""Of signed messages: on both sides of a block's end, and what a binding signs."""
NEAR = 300
"""So far from a number where carries run through."""
LIBRARY = LibraryCurve()


class Against:
    """An engine beside the library: every result of one must be the other's.

    Parameters
    ----------
    trial
        Counts the cases; draws from its seed.
    path
        The compiled engine.
    """

    def __init__(self, trial: Trial, path: Path):
        self.trial, self.dice = trial, random.Random(trial.seed)
        self.does = Sequences(Engine(path))
        self.kinds: Counter[str] = Counter()

    def compare(self, kind: str, got: object, expected: object, *values: bytes) -> None:
        """One case."""
        if got != expected:
            given = ", ".join(value.hex() for value in values)
            self.trial.lose(f"{kind}({given}): the engine gives {_text(got)}, the library {_text(expected)}")
        self.kinds[kind] += 1
        self.trial.count()

    def number(self) -> bytes:
        """32 bytes: any, or near an edge."""
        if self.dice.random() < 0.7:
            return self.dice.randbytes(32)
        return bytes32((self.dice.choice(EDGES) + self.dice.randint(-NEAR, NEAR)) % 2**256)

    def x25519(self, scalar: bytes, point: bytes) -> bytes:
        """With what the engine says of a result of zero."""
        result = self.does.x25519(scalar, point)
        try:
            expected = LIBRARY.x25519(scalar, point), 0
        except BadPoint:
            expected = bytes(32), int(Status.REFUSED)
        self.compare("x25519", (result, self.does.engine.status()), expected, scalar, point)
        return result

    def iterate(self) -> None:
        """RFC 7748, section 5.2: each round takes the last two results; all of them if the goal has room for them."""
        k = u = bytes32(9)
        for done in range(1, min(ROUNDS, self.trial.left) + 1):
            k, u = self.x25519(k, u), k
            if done in ITERATED and k.hex() != ITERATED[done]:
                self.trial.lose(f"round {done} of the iteration gives {k.hex()}, not the published {ITERATED[done]}")
            self.trial.notes["iterated rounds"] = done

    def ed25519(self) -> None:
        """A key, its signature, the verdict on it, and on three that are altered: a bit, or a number in a place."""
        seed, message = self.number(), self.dice.randbytes(self.dice.choice(LENGTHS))
        public, signature = LIBRARY.public_key(seed), LIBRARY.sign(seed, message)
        self.compare("key", self.does.public_key(seed), public, seed)
        self.compare("sign", self.does.sign(seed, public, message), signature, seed, message)
        self.verify(public, message, signature)
        for _ in range(3):
            self.verify(*self.altered(public, message, signature))

    def verify(self, public: bytes, message: bytes, signature: bytes) -> None:
        good = LIBRARY.verify(public, message, signature)
        kind = "verify" if good else "verify a wrong one"
        self.compare(kind, self.does.verify(public, message, signature), good, public, message, signature)

    def altered(self, public: bytes, message: bytes, signature: bytes) -> list[bytes]:
        """The three with a bit flipped, or with a number in the place of key, R or S."""
        parts = [public, message or b"?", signature[:32], signature[32:]]
        which = self.dice.randrange(len(parts))
        if which != 1 and self.dice.random() < 0.4:
            parts[which] = self.number()
        else:
            bit = 1 << self.dice.randrange(8 * len(parts[which]))
            parts[which] = (number(parts[which]) ^ bit).to_bytes(len(parts[which]), "little")
        return [parts[0], parts[1], parts[2] + parts[3]]


def _text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def curve_engine(trial: Trial) -> None:
    """The engine as it is written."""
    _compare(trial, written())


def curve_netlist(trial: Trial) -> None:
    """The same after synthesis."""
    _compare(trial, synthesized())


def _compare(trial: Trial, path: Path) -> None:
    """The iteration, then X25519, keys, signatures and verdicts on random values and on those near an edge."""
    against = Against(trial, path)
    against.iterate()
    while trial.left:
        against.x25519(against.number(), against.number())
        if trial.left:
            against.ed25519()
    trial.notes |= dict(against.kinds)
    against.does.engine.close()
