"""PPAKE-1, both roles: the handshake as a state machine over bytes, independent of flash, PUF and wires.

::

    IDLE        CONNECT           send M1                                       -> PENDING_I
    PENDING_I   M2 right          commit e+1, send M3, session                  -> IDLE
                RS right          commit e+1, send a fresh M1 (at most twice)   -> PENDING_I
                2, 4, 8 s gone    send a fresh M1; after the third: failed      -> PENDING_I, IDLE
    any         M1 of epoch e     commit e+1, send M2                           -> PENDING_R
                M1 of epoch e+1   commit e+2 (once), send M2                    -> PENDING_R
                M1 of epoch e-1   send RS, no state changes, nothing is written
    PENDING_R   M3 right          session                                       -> IDLE
                5 s gone          keys are gone, the epoch stays                -> IDLE

A device has one run and one session. An M1 names nobody: the tag is tried for every live peer in order, for each under
the current epoch, the next one, and the last one. A valid M1 of epoch e or e+1 ends a running session, and a run of our
own, with one exception, for two devices that start at once: while a run of our own **with that peer** is pending and we
have the lower id, its M1 of the current epoch is ignored. Everything else is dropped silently, always in the same way.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from hmac import compare_digest
from typing import Protocol

from .admin import Code, Role
from .channel import CounterExhausted, Session
from .derivations import AUTH, EPOCH, SESSION
from .messages import (
    DATA,
    INITIATOR_TIMEOUT_S,
    INITIATOR_TRIES,
    LENGTHS,
    M1,
    M2,
    M3,
    MAX_EPOCH,
    MAX_RESYNC,
    NONCE_LENGTH,
    RESPONDER_TIMEOUT_S,
    RESYNC,
)


class Refused(Exception):
    """Something cannot be done now, for the reason of an admin status code."""

    def __init__(self, code: Code):
        super().__init__(code.name)
        self.code = code


@dataclass(frozen=True)
class PeerRecord:
    """A live pairing at one epoch: what a slot holds, and who has the lower id."""

    number: int
    low: bool
    epoch: int
    chain_key: bytes = field(repr=False)
    auth_prev: bytes = field(repr=False)

    def next(self) -> "Step":
        """Keys of this epoch, and the record of the next one. The chain key of this epoch does not follow from it."""
        keys = EPOCH(chain_key=self.chain_key)
        after = replace(self, epoch=self.epoch + 1, chain_key=keys["chain_next"], auth_prev=keys["auth_key"])
        return Step(after, keys["auth_key"], keys["session_root"])

    def direction(self, role: Role) -> int:
        """0 if the initiator of a run has the lower id, given our role in it."""
        return int(self.low is (role is Role.RESPONDER))


@dataclass(frozen=True)
class Step:
    """One epoch's keys, and the record after it."""

    after: PeerRecord
    auth_key: bytes = field(repr=False)
    session_root: bytes = field(repr=False)


class Peers(Protocol):
    """Where the pairings are kept. Every method may raise :class:`Refused`."""

    def live(self) -> Iterable[PeerRecord]:
        """All live pairings, by rising number."""

    def load(self, number: int) -> PeerRecord | None:
        """One live pairing."""

    def commit(self, record: PeerRecord) -> None:
        """Replace the record of this number: it is in flash, and the old one gone, when this returns."""


@dataclass(frozen=True)
class InitiatorRun:
    """An M1 is out."""

    record: PeerRecord
    step: Step
    carrier: int
    nonce_i: bytes
    tag_1: bytes
    left_ms: int
    tries: int = 1
    resyncs: int = 0


@dataclass(frozen=True)
class ResponderRun:
    """An M2 is out; the session waits for M3."""

    session: Session
    tag_3: bytes = field(repr=False)
    left_ms: int


class State(Enum):
    IDLE = 0
    PENDING_I = 1
    PENDING_R = 2


@dataclass(frozen=True)
class Send:
    """A message for the peer."""

    carrier: int
    message: bytes


@dataclass(frozen=True)
class Established:
    """Both proofs are done, as far as this side can know."""

    session: Session


@dataclass(frozen=True)
class Failed:
    """A run of our own has ended without a session."""

    code: Code
    peer: int


@dataclass(frozen=True)
class Closed:
    """The session has ended."""

    code: Code


@dataclass(frozen=True)
class Text:
    """A data message was genuine and new."""

    text: bytes


Output = Send | Established | Failed | Closed | Text


def auth_tag(auth_key: bytes, header: int, direction: int, nonce_i: bytes) -> bytes:
    """T1 of an M1 (header 0x11) or the tag of an RS (0x14)."""
    return AUTH(auth_key=auth_key, header=bytes([header]), direction=bytes([direction]), nonce_i=nonce_i)["tag"]


def session_keys(step: Step, direction: int, nonce_i: bytes, tag_1: bytes, nonce_r: bytes) -> dict[str, bytes]:
    """Tags, keys and the rest of one handshake."""
    return SESSION(
        session_root=step.session_root,
        header_1=bytes([M1]),
        header_2=bytes([M2]),
        direction=bytes([direction]),
        nonce_i=nonce_i,
        tag_1=tag_1,
        nonce_r=nonce_r,
    )


class Party:
    """One device's side of all its handshakes.

    Parameters
    ----------
    peers
        The pairings.
    nonce
        Draws 16 random bytes, or raises :class:`Refused`.
    """

    def __init__(self, peers: Peers, nonce: Callable[[], bytes]):
        self.peers = peers
        self.nonce = nonce
        self.run: InitiatorRun | ResponderRun | None = None
        self.session: Session | None = None

    @property
    def state(self) -> State:
        if self.run is None:
            return State.IDLE
        return State.PENDING_I if isinstance(self.run, InitiatorRun) else State.PENDING_R

    @property
    def peer(self) -> int | None:
        """The peer of the run or session; there is at most one of the two."""
        if isinstance(self.run, InitiatorRun):
            return self.run.record.number
        session = self.run.session if self.run else self.session
        return session.peer if session else None

    # ------------------------------------------------------------------ what the owner asks for
    def connect(self, number: int, carrier: int) -> list[Output]:
        """Start a handshake; a session or run that there was ends.

        Raises
        ------
        Refused
            There is no such pairing, it is used up, or flash, PUF or noise fail; then nothing has changed.
        """
        record = self.peers.load(number)
        if record is None:
            raise Refused(Code.NO_SUCH_PEER)
        run, first = self._first_message(record, carrier)
        ended = self.end(Code.SUPERSEDED)
        self.run = run
        return [*ended, first]

    def end(self, code: Code) -> list[Output]:
        """Wipe session and run, and say so."""
        ended: list[Output] = [Closed(code)] if self.session else []
        if isinstance(self.run, InitiatorRun):
            ended.append(Failed(code, self.run.record.number))
        self.run = self.session = None
        return ended

    def disconnect(self) -> bool:
        """Wipe session and run. False if there was none of them."""
        there = self.run is not None or self.session is not None
        self.run = self.session = None
        return there

    def forget(self, number: int) -> list[Output]:
        """A pairing is gone: what used it ends."""
        return self.end(Code.NO_SUCH_PEER) if number == self.peer else []

    def send(self, text: bytes) -> list[Output]:
        """Encrypt 1 to 96 bytes.

        Raises
        ------
        Refused
            There is no session, or its counter is used up.
        """
        if self.session is None:
            raise Refused(Code.NO_SESSION)
        try:
            self.session, message = self.session.seal(text)
        except CounterExhausted:
            raise Refused(Code.EXHAUSTED) from None
        return [Send(self.session.carrier, message)]

    def tick(self, milliseconds: int) -> list[Output]:
        """Let time pass: at the end of a wait, a fresh M1 or the end of the run."""
        if self.run is None:
            return []
        self.run = replace(self.run, left_ms=self.run.left_ms - milliseconds)
        if self.run.left_ms > 0:
            return []
        run, self.run = self.run, None
        if isinstance(run, ResponderRun):
            return []
        if run.tries == INITIATOR_TRIES:
            return [Failed(Code.TIMED_OUT, run.record.number)]
        return self._again(run.record, run.carrier, run.tries + 1, run.resyncs)

    # ------------------------------------------------------------------ what comes from the peer
    def receive(self, message: bytes, carrier: int) -> list[Output]:
        """Take one message that arrived by ``carrier``; whatever it is, nothing is raised."""
        if message[:1] == bytes([DATA]):
            return self._data(message)
        handler = {M1: self._m1, M2: self._m2, M3: self._m3, RESYNC: self._resync}.get(message[0] if message else 0)
        if handler is None or len(message) != LENGTHS[message[0]]:
            return []
        return handler(message, carrier)

    def _m1(self, message: bytes, carrier: int) -> list[Output]:
        nonce_i, tag_1 = message[1 : 1 + NONCE_LENGTH], message[1 + NONCE_LENGTH :]
        try:
            for record in self.peers.live():
                direction = record.direction(Role.RESPONDER)
                now = record.next()
                if compare_digest(tag_1, auth_tag(now.auth_key, M1, direction, nonce_i)):
                    return [] if self._mine_goes_first(record) else self._answer(now, nonce_i, tag_1, carrier)
                ahead = now.after.next()
                if compare_digest(tag_1, auth_tag(ahead.auth_key, M1, direction, nonce_i)):
                    return self._answer(ahead, nonce_i, tag_1, carrier)
                if compare_digest(tag_1, auth_tag(record.auth_prev, M1, direction, nonce_i)):
                    return [Send(carrier, bytes([RESYNC]) + auth_tag(now.auth_key, RESYNC, direction, nonce_i))]
        except Refused:  # as silent as a wrong tag: the far end learns nothing of our state
            pass
        return []

    def _mine_goes_first(self, record: PeerRecord) -> bool:
        """Two devices started at once, and ours is the lower id."""
        return isinstance(self.run, InitiatorRun) and self.run.record.number == record.number and record.low

    def _answer(self, step: Step, nonce_i: bytes, tag_1: bytes, carrier: int) -> list[Output]:
        """Draw a nonce, commit, only then send M2. No step leads beyond the last epoch."""
        if step.after.epoch > MAX_EPOCH:
            return []
        nonce_r = self.nonce()
        keys = session_keys(step, step.after.direction(Role.RESPONDER), nonce_i, tag_1, nonce_r)
        self.peers.commit(step.after)
        ended = self.end(Code.SUPERSEDED)
        session = _session(Role.RESPONDER, step, carrier, keys)
        self.run = ResponderRun(session, keys["tag_3"], RESPONDER_TIMEOUT_S * 1000)
        return [*ended, Send(carrier, bytes([M2]) + nonce_r + keys["tag_2"])]

    def _m2(self, message: bytes, carrier: int) -> list[Output]:
        run = self.run
        if not isinstance(run, InitiatorRun) or not self._reloaded(run):
            return []
        nonce_r, tag_2 = message[1 : 1 + NONCE_LENGTH], message[1 + NONCE_LENGTH :]
        keys = session_keys(run.step, run.record.direction(Role.INITIATOR), run.nonce_i, run.tag_1, nonce_r)
        if not compare_digest(tag_2, keys["tag_2"]):
            return []
        self.run = None
        try:
            self.peers.commit(run.step.after)
        except Refused as refused:
            return [Failed(refused.code, run.record.number)]
        self.session = _session(Role.INITIATOR, run.step, run.carrier, keys)
        return [Send(run.carrier, bytes([M3]) + keys["tag_3"]), Established(self.session)]

    def _m3(self, message: bytes, carrier: int) -> list[Output]:
        run = self.run
        if not isinstance(run, ResponderRun) or not compare_digest(message[1:], run.tag_3):
            return []
        self.run, self.session = None, run.session
        return [Established(run.session)]

    def _resync(self, message: bytes, carrier: int) -> list[Output]:
        """The peer is one epoch ahead: follow it, and start again."""
        run = self.run
        if not isinstance(run, InitiatorRun) or run.resyncs == MAX_RESYNC or not self._reloaded(run):
            return []
        ahead, direction = run.step.after.next(), run.record.direction(Role.INITIATOR)
        if not compare_digest(message[1:], auth_tag(ahead.auth_key, RESYNC, direction, run.nonce_i)):
            return []
        self.run = None
        try:
            self.peers.commit(run.step.after)
        except Refused as refused:
            return [Failed(refused.code, run.record.number)]
        return self._again(run.step.after, run.carrier, run.tries, run.resyncs + 1)

    def _data(self, message: bytes) -> list[Output]:
        opened = self.session.open(message) if self.session else None
        if opened is None:
            return []
        self.session, text = opened
        return [Text(text)]

    # ------------------------------------------------------------------ parts
    def _reloaded(self, run: InitiatorRun) -> bool:
        """A device keeps no key while it waits: whatever answers its M1, it opens the record again, or stays silent."""
        try:
            return self.peers.load(run.record.number) == run.record
        except Refused:
            return False

    def _first_message(
        self, record: PeerRecord, carrier: int, tries: int = 1, resyncs: int = 0
    ) -> tuple[InitiatorRun, Send]:
        """A run with a fresh nonce, and its M1."""
        if record.epoch >= MAX_EPOCH:
            raise Refused(Code.EXHAUSTED)
        nonce_i, step = self.nonce(), record.next()
        tag_1 = auth_tag(step.auth_key, M1, record.direction(Role.INITIATOR), nonce_i)
        wait = INITIATOR_TIMEOUT_S * 1000 << tries - 1
        run = InitiatorRun(record, step, carrier, nonce_i, tag_1, wait, tries, resyncs)
        return run, Send(carrier, bytes([M1]) + nonce_i + tag_1)

    def _again(self, record: PeerRecord, carrier: int, tries: int, resyncs: int) -> list[Output]:
        """A fresh M1 for a run that had begun."""
        try:
            self.run, first = self._first_message(record, carrier, tries, resyncs)
        except Refused as refused:
            return [Failed(refused.code, record.number)]
        return [first]


def _session(role: Role, step: Step, carrier: int, keys: dict[str, bytes]) -> Session:
    out, into = ("ir", "ri") if role is Role.INITIATOR else ("ri", "ir")
    return Session(
        role,
        step.after.number,
        step.after.epoch - 1,
        carrier,
        keys["session_id"],
        keys["exporter"],
        keys[f"key_{out}"],
        keys[f"iv_{out}"],
        keys[f"key_{into}"],
        keys[f"iv_{into}"],
    )
