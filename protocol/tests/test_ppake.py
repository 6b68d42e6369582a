"""The handshake as a state machine: every transition, every drop, time, ties, resync, and the data channel."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ringpair_protocol.admin import Code, Role
from ringpair_protocol.ascon import xof128
from ringpair_protocol.channel import MAX_COUNTER
from ringpair_protocol.derivations import PAIR
from ringpair_protocol.messages import DATA, DATA_OVERHEAD, HANDSHAKE_BYTES, M1, M2, M3, MAX_EPOCH, RESYNC, TEXT_MAX
from ringpair_protocol.ppake import (
    Closed,
    Established,
    Failed,
    Output,
    Party,
    PeerRecord,
    Refused,
    Send,
    State,
    Text,
)

from protocol.tests.explore import Explorer

WIRE = 0


class Memory:
    """A store in memory that counts its writes; ``code`` makes it refuse them."""

    def __init__(self, *records: PeerRecord):
        self.records = {record.number: record for record in records}
        self.writes = 0
        self.code: Code | None = None

    def live(self) -> list[PeerRecord]:
        return [self.records[number] for number in sorted(self.records)]

    def load(self, number: int) -> PeerRecord | None:
        return self.records.get(number)

    def commit(self, record: PeerRecord) -> None:
        if self.code is not None:
            raise Refused(self.code)
        self.writes += 1
        self.records[record.number] = record


class End:
    """A party with its store, and noise that can fail."""

    def __init__(self, name: str, *records: PeerRecord):
        self.store = Memory(*records)
        self.silent = False
        self._draws = itertools.count()
        self.name = name
        self.party = Party(self.store, self._nonce)

    def _nonce(self) -> bytes:
        if self.silent:
            raise Refused(Code.TRNG_FAILED)
        return xof128(f"{self.name} {next(self._draws)}".encode(), 16)

    @property
    def epoch(self) -> int:
        return self.store.records[0].epoch

    def connect(self) -> bytes:
        return message(self.party.connect(0, WIRE))

    def hears(self, data: bytes) -> list[Output]:
        return self.party.receive(data, WIRE)


def message(outputs: list[Output]) -> bytes:
    """The one message among the outputs."""
    (found,) = (item.message for item in outputs if isinstance(item, Send))
    return found


def record(low: bool, number: int = 0, pair: int = 0, epoch: int = 0) -> PeerRecord:
    keys = PAIR(pair_key=bytes([pair]) * 32, id_low=b"aaaaaaaa", id_high=b"bbbbbbbb")
    found = PeerRecord(number, low, 0, keys["chain_key"], keys["auth_prev"])
    for _ in range(epoch):
        found = found.next().after
    return found


def pair(low_epoch: int = 0, high_epoch: int = 0) -> tuple[End, End]:
    return End("low", record(True, epoch=low_epoch)), End("high", record(False, epoch=high_epoch))


def handshake(i: End, r: End) -> None:
    m2 = message(r.hears(i.connect()))
    m3 = message(i.hears(m2))
    assert r.hears(m3)
    assert i.party.session
    assert r.party.session


@pytest.mark.parametrize("low_starts", [True, False])
def test_three_messages(low_starts: bool) -> None:
    i, r = pair() if low_starts else pair()[::-1]
    for epoch in range(3):
        m1 = i.connect()
        assert (i.party.state, r.party.state) == (State.PENDING_I, State.IDLE)
        m2 = message(r.hears(m1))
        assert (r.party.state, r.epoch, i.epoch) == (State.PENDING_R, epoch + 1, epoch)
        assert r.party.session is None
        first, second = i.hears(m2)
        assert i.epoch == epoch + 1
        assert isinstance(first, Send)
        (accepted,) = r.hears(first.message)
        assert (m1[0], m2[0], first.message[0]) == (M1, M2, M3)
        assert len(m1) + len(m2) + len(first.message) == HANDSHAKE_BYTES == 83
        assert isinstance(second, Established)
        assert isinstance(accepted, Established)
        assert (second.session.role, accepted.session.role) == (Role.INITIATOR, Role.RESPONDER)
        assert second.session.epoch == accepted.session.epoch == epoch
        assert i.party.state is r.party.state is State.IDLE
        i.party.disconnect()
        r.party.disconnect()
    assert i.store.writes == r.store.writes == 3


def test_nothing_is_sent_before_the_commit() -> None:
    i, r = pair()
    m1 = i.connect()
    r.store.code = Code.FLASH_FAILED
    assert r.hears(m1) == []
    assert r.party.state is State.IDLE
    r.store.code = None
    m2 = message(r.hears(m1))
    i.store.code = Code.FLASH_FAILED
    assert i.hears(m2) == [Failed(Code.FLASH_FAILED, 0)]
    assert (i.party.state, i.party.session) == (State.IDLE, None)
    i.store.code = None
    assert i.hears(m2) == [], "the run is over"


def situations() -> dict[str, tuple[End, bytes]]:
    """An end that waits for something, and the very message that it waits for."""
    i, r = pair()
    idle = (r, i.connect())
    i, r = pair()
    pending_i = (i, message(r.hears(i.connect())))
    i, r = pair()
    pending_r = (r, message(i.hears(message(r.hears(i.connect())))))
    i, r = End("behind", record(True)), pair(0, 1)[1]
    behind = (i, message(r.hears(i.connect())))
    return {"M1": idle, "M2": pending_i, "M3": pending_r, "RS": behind}


@pytest.mark.parametrize("name", ["M1", "M2", "M3", "RS"])
def test_whatever_is_not_right_is_dropped(name: str) -> None:
    """Any byte changed, cut, lengthened, of another kind, or genuine but for another situation: silence, no change."""
    end, right = situations()[name]
    before = (end.party.run, end.party.session, dict(end.store.records), end.store.writes)
    genuine = {kind: data for kind, (_, data) in situations().items()}
    assert genuine.pop(name) == right
    if name != "M1":
        del genuine["M1"]  # is right at any time
    bad = [b"", *genuine.values()]
    for data in situations().values():
        bad += [data[1][:k] + bytes([data[1][k] ^ 0x40]) + data[1][k + 1 :] for k in range(len(data[1]))]
        bad += [data[1][:-1], data[1] + b"\0"]
    bad += [bytes([header]) + right[1:] for header in range(256) if header != right[0]]
    bad += [
        bytes([k]) * length for k in (0, M1, M2, M3, RESYNC, DATA, 255) for length in (1, 16, 17, 18, 32, 33, 34, 125)
    ]
    for data in bad:
        assert end.hears(data) == [], data.hex()
    assert (end.party.run, end.party.session, dict(end.store.records), end.store.writes) == before
    assert end.hears(right) != []


@given(st.binary(max_size=130))
def test_garbage_is_dropped(data: bytes) -> None:
    i, r = pair()
    i.connect()
    assert i.hears(data) == r.hears(data) == []


# ---------------------------------------------------------------------------------------------------- epochs apart


def test_resync_after_a_lost_m2() -> None:
    i, r = pair()
    lost = message(r.hears(i.connect()))
    m1 = message(i.party.tick(2000))
    writes = r.store.writes
    rs = message(r.hears(m1))
    assert rs[0] == RESYNC
    assert (r.store.writes, r.party.state) == (writes, State.PENDING_R), "an RS changes nothing"
    assert i.hears(lost) == [], "that M2 answered another nonce"
    again = message(i.hears(rs))
    assert (again[0], i.epoch) == (M1, 1)
    assert i.hears(rs) == [], "an RS is good once"
    m3 = message(i.hears(message(r.hears(again))))
    assert r.hears(m3)
    assert i.epoch == r.epoch == 2


def test_replayed_m1_gets_rs_only() -> None:
    i, r = pair()
    m1 = i.connect()
    r.hears(m1)
    r.party.disconnect()
    for _ in range(5):
        assert message(r.hears(m1))[0] == RESYNC
    assert (r.epoch, r.store.writes, r.party.state) == (1, 1, State.IDLE)
    r.store.records[0] = r.store.records[0].next().after
    assert r.hears(m1) == [], "two epochs back is too far"


def test_responder_behind_catches_up_in_one_commit() -> None:
    i, r = pair(3, 2)
    m3 = message(i.hears(message(r.hears(i.connect()))))
    assert r.hears(m3)
    assert (i.epoch, r.epoch, r.store.writes) == (4, 4, 1)
    assert i.store.records[0].chain_key == r.store.records[0].chain_key
    i, r = pair(4, 2)
    assert r.hears(i.connect()) == [], "two epochs ahead is too far"


def test_resync_at_most_twice() -> None:
    """A responder that loses its power before each third message, and then runs ahead by itself."""
    i, r = pair(0, 1)
    m1 = i.connect()
    for epoch in (1, 2):
        m1 = message(i.hears(message(r.hears(m1))))
        assert i.epoch == epoch
        r.store.records[0] = r.store.records[0].next().after
    assert i.hears(message(r.hears(m1))) == []
    assert (i.epoch, i.party.state) == (2, State.PENDING_I)


def test_resync_whose_commit_fails() -> None:
    i, r = pair(0, 1)
    rs = message(r.hears(i.connect()))
    i.store.code = Code.PUF_FAILED
    assert i.hears(rs) == [Failed(Code.PUF_FAILED, 0)]
    assert i.party.state is State.IDLE


@pytest.mark.parametrize("initiator_low", [True, False])
def test_last_epoch_refuses(initiator_low: bool) -> None:
    def at(low: bool, epoch: int) -> PeerRecord:
        return replace(record(low), epoch=epoch)

    end = End("end", at(True, MAX_EPOCH))
    with pytest.raises(Refused, match="EXHAUSTED"):
        end.party.connect(0, WIRE)
    for i_epoch, r_epoch, answered in [
        (MAX_EPOCH - 1, MAX_EPOCH - 1, True),  # the last handshake there is
        (MAX_EPOCH - 1, MAX_EPOCH, False),
    ]:
        i, r = End("i", at(initiator_low, i_epoch)), End("r", at(not initiator_low, r_epoch))
        assert bool(r.hears(i.connect())) == answered
        assert r.epoch == MAX_EPOCH
    ahead = record(initiator_low, epoch=1)
    i, r = End("i", replace(ahead, epoch=MAX_EPOCH - 1)), End("r", at(not initiator_low, MAX_EPOCH - 1))
    assert r.hears(i.connect()) == [], "catching up would pass the last epoch"
    assert r.store.writes == 0


# ---------------------------------------------------------------------------------------------------- ties, time, peers


def test_simultaneous_start() -> None:
    """The lower id's run goes through: the higher one gives its own up, and says so."""
    low, high = pair()
    from_low, from_high = low.connect(), high.connect()
    assert low.hears(from_high) == []
    outputs = high.hears(from_low)
    assert outputs[0] == Failed(Code.SUPERSEDED, 0)
    m3 = message(low.hears(message(outputs)))
    assert high.hears(m3)
    assert low.party.session
    assert high.party.session
    assert low.party.session.role is Role.INITIATOR


def test_lower_id_gives_way_to_an_m1_from_ahead() -> None:
    low, high = pair(1, 2)
    low.connect()
    outputs = low.hears(high.connect())
    assert outputs[0] == Failed(Code.SUPERSEDED, 0)
    assert high.hears(message(outputs))
    assert low.epoch == high.epoch == 3


def test_tries_and_waits() -> None:
    i, _ = pair()
    sent = [i.connect()]
    for wait in (2000, 4000):
        assert i.party.tick(wait - 1) == []
        sent.append(message(i.party.tick(1)))
    assert len(set(sent)) == 3, "each M1 has a fresh nonce"
    assert i.party.tick(7999) == []
    assert i.party.tick(1) == [Failed(Code.TIMED_OUT, 0)]
    assert i.party.state is State.IDLE
    assert i.party.tick(10_000) == []
    assert (i.epoch, i.store.writes) == (0, 0)


def test_responder_waits_five_seconds() -> None:
    i, r = pair()
    m3 = message(i.hears(message(r.hears(i.connect()))))
    assert r.party.tick(4999) == []
    assert r.party.state is State.PENDING_R
    assert r.party.tick(1) == []
    assert r.party.state is State.IDLE
    assert r.hears(m3) == [], "the keys are gone"
    assert r.epoch == 1, "the epoch stays"


def test_noise_that_fails() -> None:
    i, r = pair()
    i.silent = True
    with pytest.raises(Refused, match="TRNG_FAILED"):
        i.party.connect(0, WIRE)
    assert i.party.state is State.IDLE
    i.silent = False
    m1 = i.connect()
    r.silent = True
    assert r.hears(m1) == []
    assert r.store.writes == 0
    i.silent = True
    assert i.party.tick(2000) == [Failed(Code.TRNG_FAILED, 0)]


def test_the_right_one_of_many_peers_answers() -> None:
    records = [record(True, number, pair=number, epoch=number % 3) for number in range(16)]
    hub = End("hub", *records)
    for number in range(16):
        for gap in (-1, 0, 1):
            epoch = hub.store.records[number].epoch + gap
            if epoch < 0:
                continue
            spoke = End(f"spoke {number}", record(False, 0, pair=number, epoch=epoch))
            before = dict(hub.store.records)
            answer = message(hub.hears(spoke.connect()))
            assert answer[0] == (RESYNC if gap < 0 else M2)
            changed = {k for k in before if before[k] != hub.store.records[k]}
            assert changed == (set() if gap < 0 else {number})
            if gap >= 0:
                assert hub.hears(message(spoke.hears(answer)))
                assert hub.party.session
                assert hub.party.session.peer == number
    with pytest.raises(Refused, match="NO_SUCH_PEER"):
        End("nobody").party.connect(0, WIRE)


def test_direction_byte_stops_reflection() -> None:
    """An M1 thrown back at its sender, and one of a pairing whose both ends think they are low, is worth nothing."""
    i, _ = pair()
    m1 = i.connect()
    i.party.disconnect()
    assert i.hears(m1) == []
    assert End("also low", record(True)).hears(m1) == []


def test_a_valid_m1_replaces_session_and_run() -> None:
    i, r = pair()
    handshake(i, r)
    first = r.party.session
    outputs = r.hears(i.connect())
    assert outputs[0] == Closed(Code.SUPERSEDED)
    assert i.party.session is None, "the one who starts anew has ended it, too"
    assert r.party.session is None
    r.hears(message(i.hears(message(outputs))))
    assert r.party.session != first
    hub = End("hub", record(True, 0, pair=0), record(True, 1, pair=1))
    hub.party.connect(0, WIRE)
    outputs = hub.hears(End("spoke", record(False, 0, pair=1)).connect())
    assert outputs[0] == Failed(Code.SUPERSEDED, 0), "another peer's M1 goes before our own run, even if we are low"
    assert message(outputs)[0] == M2


def test_answers_go_where_the_question_came_from() -> None:
    i, r = pair()
    (m1,) = i.party.connect(0, 7)
    assert isinstance(m1, Send)
    (m2,) = r.party.receive(m1.message, 9)
    assert isinstance(m2, Send)
    m3, _ = i.party.receive(m2.message, 7)
    assert isinstance(m3, Send)
    r.party.receive(m3.message, 9)
    (text,) = r.party.send(b"hello")
    assert isinstance(text, Send)
    assert (m1.carrier, m2.carrier, m3.carrier, text.carrier) == (7, 9, 7, 9)


# ---------------------------------------------------------------------------------------------------- data


def test_data_both_ways() -> None:
    i, r = pair()
    handshake(i, r)
    for k in range(3):
        for a, b in ((i, r), (r, i)):
            for text in (b"x", bytes(TEXT_MAX), b"%d" % k):
                data = message(a.party.send(text))
                assert len(data) == len(text) + DATA_OVERHEAD
                assert text not in data or text == b"x"
                assert b.hears(data) == [Text(text)]
                assert b.hears(data) == [], "once"
                assert a.hears(data) == [], "not thrown back"


def test_data_lost_late_and_altered() -> None:
    i, r = pair()
    handshake(i, r)
    sent = [message(i.party.send(b"%d" % k)) for k in range(5)]
    assert r.hears(sent[2]) == [Text(b"2")]
    for late in sent[:3]:
        assert r.hears(late) == []
    for k in range(len(sent[3])):
        assert r.hears(sent[3][:k] + bytes([sent[3][k] ^ 1]) + sent[3][k + 1 :]) == []
    assert r.hears(sent[3][:-1]) == r.hears(sent[3] + b"\0") == r.hears(sent[3][:DATA_OVERHEAD]) == []
    assert r.hears(sent[3]) == [Text(b"3")]
    assert r.hears(sent[4]) == [Text(b"4")]


def test_data_needs_a_session() -> None:
    i, r = pair()
    m3 = message(i.hears(message(r.hears(i.connect()))))
    early = message(i.party.send(b"early"))
    assert r.hears(early) == [], "not before M3"
    r.hears(m3)
    assert r.hears(early) == [Text(b"early")]
    assert r.party.disconnect()
    assert r.hears(message(i.party.send(b"late"))) == []
    with pytest.raises(Refused, match="NO_SESSION"):
        r.party.send(b"late")
    assert not r.party.disconnect()
    for text in (b"", bytes(TEXT_MAX + 1)):
        with pytest.raises(ValueError, match="a text has 1 to 96 bytes"):
            i.party.send(text)


def test_data_counter_ends() -> None:
    i, r = pair()
    handshake(i, r)
    assert i.party.session
    i.party.session = replace(i.party.session, next_out=MAX_COUNTER)
    assert r.hears(message(i.party.send(b"last"))) == [Text(b"last")]
    with pytest.raises(Refused, match="EXHAUSTED"):
        i.party.send(b"one more")


def test_secrets_are_not_printed() -> None:
    i, r = pair()
    i.connect()
    shown = repr(i.party.run) + repr(i.store.live())
    handshake(i, r)
    shown += repr(i.party.session)
    assert i.party.session
    for secret in (record(True).chain_key, record(True).next().session_root, i.party.session.key_in):
        assert repr(secret) not in shown


# ---------------------------------------------------------------------------------------------------- all of it


def test_every_interleaving_within_bounds() -> None:
    explorer = Explorer(epochs=2, nonces=2)
    assert explorer.run() > 1000
    assert explorer.longest_recovery == 5
