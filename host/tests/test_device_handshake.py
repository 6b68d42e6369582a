"""Handshakes and the data channel: the compiled device against the model, and against made-up far ends."""

import pytest
from ringpair_protocol import messages as msg
from ringpair_protocol.admin import Carrier, Code, Event, Opcode, Role, Status
from ringpair_protocol.messages import MAX_EPOCH, TEXT_MAX
from ringpair_protocol.pairing import make_revocation
from ringpair_protocol.ppake import State, auth_tag
from ringpair_protocol.records import PEER_BASE, PEER_SLOT_LENGTH, PeerHeader, peer_journal, seal_peer, slot_offset

from host.tests.rig_device import CLOCK_HZ, Twin
from host.tests.rig_scenes import Far, carry, establish, far_id, scene, two_devices

LOW, HIGH = 1, 0
"""Numbers of two made-up peers: towards the first the device has the lower id."""


def session_of(twin: Twin) -> tuple[int, int, int]:
    """Role, peer and epoch of the SESSION event of the last step."""
    (event,) = (out for out in twin.admin_out if out[0] == Event.SESSION)
    return event[1], event[2], int.from_bytes(event[3:7], "little")


def in_session(twin: Twin) -> bool:
    return Status.from_bytes(twin.command(Opcode.STATUS)).session


def texts(twin: Twin) -> list[bytes]:
    """What the last step has brought."""
    return [out[1:] for out in twin.admin_out if out[0] == Event.TEXT]


# ---------------------------------------------------------------------------------------------------- both roles


@pytest.mark.parametrize("number", [LOW, HIGH])
def test_both_roles(number: int) -> None:
    """Either begins, several times; message counts, events, epochs; what comes late changes nothing."""
    twin, fars = scene(2)
    far = fars[number]
    assert far.record.low is (number == HIGH)
    for epoch in range(0, 8, 2):
        m1 = twin.connect(number)
        m2 = far.receive(m1)[0]
        m3 = twin.peer(m2)
        assert session_of(twin) == (Role.INITIATOR, number, epoch)
        assert far.receive(m3[0]) == []
        assert far.party.session.session_id == twin.admin_out[0][7:]
        assert twin.peer(m2) == []

        far_m1 = far.start()
        far_m2 = twin.peer(far_m1)
        assert twin.admin_out == [bytes([Event.CLOSED, Code.SUPERSEDED])]
        far_m3 = far.receive(far_m2[0])[0]
        assert twin.peer(far_m3[:-1] + bytes([far_m3[-1] ^ 1])) == []
        assert twin.admin_out == []
        assert twin.peer(far_m3) == []
        assert session_of(twin) == (Role.RESPONDER, number, epoch + 1)
        assert twin.peer(far_m3) == []
        assert twin.admin_out == []
        twin.peer(m1)
        assert in_session(twin), "an M1 of our own, sent back"
    assert far.record.epoch == 8


def test_all_sixteen_peers() -> None:
    """The receiver finds out by the tag who it is; the last one too, and under each of the three keys."""
    twin, fars = scene(16)
    for number in (0, 7, 15):
        m2 = twin.peer(fars[number].start())
        m3 = fars[number].receive(m2[0])
        twin.peer(m3[0])
        assert session_of(twin)[:2] == (Role.RESPONDER, number)
    fars[15].advance()
    assert carry([fars[15].start()], fars[15].receive, twin.peer) == 3
    stranger = Far(b"stranger")
    stranger.puzzle(twin.entry)
    assert twin.peer(stranger.start()) == []
    assert in_session(twin)


# ---------------------------------------------------------------------------------------------------- out of step


def test_stale_peer_gets_a_resync() -> None:
    """Also in a session of another pairing, which goes on; no flash is written for it."""
    twin, fars = scene(2)
    old = fars[LOW].record
    establish(twin, fars[LOW], LOW)
    establish(twin, fars[HIGH], HIGH)
    image, now = bytes(twin.device.flash), fars[LOW].record
    fars[LOW].record = old
    stale = fars[LOW].start()
    for _ in range(3):
        resync = twin.peer(stale)
        assert [message[0] for message in resync] == [msg.RESYNC]
    assert twin.tunnel(stale) == resync
    assert bytes(twin.device.flash) == image
    assert in_session(twin)
    again = fars[LOW].receive(resync[0])
    assert fars[LOW].record == now
    assert carry(again, fars[LOW].receive, twin.peer) == 3
    assert session_of(twin) == (Role.RESPONDER, LOW, 1)


def test_device_that_is_behind_follows() -> None:
    twin, (far,) = scene()
    far.advance()
    m1 = twin.connect()
    resync = far.receive(m1)
    assert resync[0][0] == msg.RESYNC
    assert twin.peer(resync[0][:-1] + bytes([resync[0][-1] ^ 1])) == []
    fresh = twin.peer(resync[0])
    assert fresh[0][1:17] != m1[1:17]
    assert twin.peer(resync[0]) == [], "a resync for the first M1"
    assert carry(fresh, twin.peer, far.receive) == 3
    assert session_of(twin)[2] == 1


def test_device_that_is_behind_by_two_is_lost() -> None:
    twin, (far,) = scene()
    far.advance()
    far.advance()
    assert far.receive(twin.connect()) == []


def test_peer_one_ahead_is_caught_up_with() -> None:
    twin, (far,) = scene()
    establish(twin, far)
    far.advance()
    assert carry([far.start()], far.receive, twin.peer) == 3
    assert session_of(twin) == (Role.RESPONDER, 0, 2)


def test_at_most_two_resyncs() -> None:
    """A peer that has the keys and plays games."""
    twin, (far,) = scene()
    record, m1 = far.record, twin.connect()
    for left in (2, 1, 0):
        ahead = record.next().after.next()
        tag = auth_tag(ahead.auth_key, msg.RESYNC, record.direction(Role.RESPONDER), m1[1:17])
        answer = twin.peer(bytes([msg.RESYNC]) + tag)
        assert len(answer) == (left > 0)
        if answer:
            record, m1 = record.next().after, answer[0]


@pytest.mark.parametrize("epoch", [MAX_EPOCH - 1, MAX_EPOCH])
def test_last_epochs(epoch: int) -> None:
    """The last handshake works, then the pairing is used up: CONNECT says so, M1 gets no answer, a stale one does."""
    twin, (far,) = scene()
    keyring = twin.model.vault.keys()
    header = PeerHeader(far.entry.device_id, 0, not far.record.low).to_bytes()
    slot = seal_peer(keyring._kek(header), header, epoch, far.record.chain_key, far.record.auth_prev)
    start = PEER_BASE + slot_offset(0)
    twin.device.flash[start : start + PEER_SLOT_LENGTH] = slot
    twin.boot()
    far.record = type(far.record)(0, far.record.low, epoch, far.record.chain_key, far.record.auth_prev)
    if epoch < MAX_EPOCH:
        old = far.record
        establish(twin, far)
        far.record = old
        assert twin.peer(far.start())[0][0] == msg.RESYNC
        far.advance()
    twin.command(Opcode.CONNECT, bytes(2), Code.EXHAUSTED)
    nonce = b"n" * 16
    tag = auth_tag(far.record.next().auth_key, msg.M1, far.record.direction(Role.INITIATOR), nonce)
    assert twin.peer(bytes([msg.M1]) + nonce + tag) == []
    twin.press()
    assert twin.admin_out == [bytes([Event.FAILED, Code.EXHAUSTED, 0])]


# ---------------------------------------------------------------------------------------------------- time


def test_timeouts_as_initiator() -> None:
    """2, 4 and 8 s, each time with a fresh nonce; then the failure is told."""
    twin, (far,) = scene()
    seen = {twin.connect()}
    for seconds in (2, 4, 8):
        begun = twin.device.status.cycle
        seen |= set(twin.expire())
        assert abs((twin.device.status.cycle - begun) / CLOCK_HZ - seconds) < 0.15
    assert len(seen) == 3
    assert twin.admin_out == [bytes([Event.FAILED, Code.TIMED_OUT, 0])]
    assert far.receive(min(seen))
    assert carry([twin.connect()], twin.peer, far.receive) == 5


def test_timeouts_as_responder() -> None:
    """5 s for M3; the keys are gone then, the epoch stays, and nothing is said."""
    twin, (far,) = scene()
    m2 = twin.peer(far.start())
    m3 = far.receive(m2[0])
    begun = twin.device.status.cycle
    assert twin.expire() == []
    assert 4.9 < (twin.device.status.cycle - begun) / CLOCK_HZ < 5.2
    assert twin.admin_out == []
    assert twin.peer(m3[0]) == []
    assert twin.command(Opcode.PEER, b"\0")[-4:] == (1).to_bytes(4, "little")
    establish(twin, far)


def test_connect_while_something_is_under_way() -> None:
    """A start that succeeds ends what there was, one that is refused leaves it."""
    twin, fars = scene(2)
    m1 = twin.connect(LOW)
    twin.connect(5, code=Code.NO_SUCH_PEER)
    assert twin.connect(HIGH)
    assert twin.admin_out[1:] == [bytes([Event.FAILED, Code.SUPERSEDED, LOW])]
    assert twin.peer(fars[LOW].receive(m1)[0]) == []
    m2 = twin.peer(fars[HIGH].start())
    assert m2 == [] or twin.admin_out == [bytes([Event.FAILED, Code.SUPERSEDED, HIGH])]
    twin.connect(7, code=Code.NO_SUCH_PEER)
    assert twin.model.party.state is State.PENDING_R
    fars[LOW].party.disconnect()
    assert carry([twin.connect(LOW)], twin.peer, fars[LOW].receive) == 5
    twin.connect(3, code=Code.NO_SUCH_PEER)
    assert in_session(twin)
    twin.command(Opcode.DISCONNECT)
    twin.command(Opcode.SEND, b"x", Code.NO_SESSION)


@pytest.mark.parametrize("number", [LOW, HIGH])
def test_simultaneous_starts(number: int) -> None:
    """The lower id goes on, the higher one answers; one handshake comes of it."""
    twin, fars = scene(2)
    far = fars[number]
    mine, theirs = twin.connect(number), far.start()
    answers = twin.peer(theirs)
    assert twin.admin_out == [bytes([Event.FAILED, Code.SUPERSEDED, number])] * (number == HIGH)
    far_answers = far.receive(mine)
    assert [bool(answers), bool(far_answers)] == [number == HIGH, number == LOW]
    if answers:
        assert carry(answers, twin.peer, far.receive) == 2
    else:
        assert carry(far_answers, far.receive, twin.peer) == 2
    assert twin.model.party.session.session_id == far.party.session.session_id


def test_m1_of_another_peer_takes_over() -> None:
    """Of another pairing even the lower id is given up."""
    twin, fars = scene(2)
    twin.connect(LOW)
    assert carry([fars[HIGH].start()], fars[HIGH].receive, twin.peer) == 3
    assert session_of(twin)[1] == HIGH


# ---------------------------------------------------------------------------------------------------- button


def test_button_tries_one_peer_after_the_other() -> None:
    twin, fars = scene(2)
    first = twin.press()
    assert far_answers(first, fars[0])
    assert twin.press() == [], "one thing at a time"
    twin.expire()
    twin.expire()
    second = twin.expire()
    assert twin.admin_out == [bytes([Event.FAILED, Code.TIMED_OUT, 0])]
    assert carry(second, twin.peer, fars[1].receive) == 3
    assert session_of(twin)[1] == 1
    assert twin.press(), "a session is no obstacle"
    assert twin.admin_out == [bytes([Event.CLOSED, Code.SUPERSEDED])]


def far_answers(messages: list[bytes], far: Far) -> bool:
    return bool(far.receive(messages[0]))


def test_button_without_pairings() -> None:
    twin, _ = scene(0)
    assert twin.press() == []
    assert twin.admin_out == [bytes([Event.FAILED, Code.NO_SUCH_PEER, 0xFF])]
    blank = Twin(3)
    assert blank.press() == []
    assert blank.admin_out == []


def test_button_that_fails_leaves_the_session_whole() -> None:
    """Its peer is still known: a revocation ends the session."""
    twin, fars = scene(2)
    establish(twin, fars[1], 1)
    twin.stick_noise()
    twin.press()
    assert twin.admin_out == [bytes([Event.FAILED, Code.TRNG_FAILED, 0])]
    twin.command(Opcode.SEND, b"still here")
    twin.command(Opcode.IMPORT, make_revocation(twin.entry, far_id(1))[0])
    assert twin.admin_out[1:] == [bytes([Event.CLOSED, Code.NO_SUCH_PEER])]


# ---------------------------------------------------------------------------------------------------- data channel


@pytest.mark.parametrize("carrier", list(Carrier))
def test_data_both_ways(carrier: Carrier) -> None:
    """All lengths at the block borders, over the wire or the tunnel; replays, old counters, altered bytes."""
    twin, (far,) = scene()
    deliver = twin.tunnel if carrier else twin.peer
    assert carry([twin.connect(0, carrier)], deliver, far.receive) == 3
    for length in (1, 15, 16, 17, 32, 95, TEXT_MAX):
        text = bytes(range(length))
        twin.command(Opcode.SEND, text)
        sent = [out[1:] for out in twin.admin_out[1:]] if carrier else twin.peer_out
        (heard,) = far.party.receive(sent[0], carrier)
        assert heard.text == text
        assert far.party.receive(sent[0], carrier) == []
        message = far.party.send(text)[0].message
        for place in {0, 1, 4, 5, 5 + length - 1, 5 + length, len(message) - 1}:
            deliver(message[:place] + bytes([message[place] ^ 0x40]) + message[place + 1 :])
            assert texts(twin) == []
        deliver(message[:-1])
        assert texts(twin) == []
        deliver(message)
        assert texts(twin) == [text]
        deliver(message)
        assert texts(twin) == []
    early, late = (far.party.send(text)[0].message for text in (b"one", b"two"))
    deliver(late)
    assert texts(twin) == [b"two"]
    deliver(early)
    assert texts(twin) == []
    twin.command(Opcode.DISCONNECT)
    deliver(far.party.send(b"gone")[0].message)
    assert texts(twin) == []


def test_handshake_in_the_tunnel_as_responder() -> None:
    twin, (far,) = scene()
    m2 = twin.tunnel(far.start())
    m3 = far.receive(m2[0])
    assert twin.tunnel(m3[0]) == []
    twin.command(Opcode.SEND, b"back the same way")
    assert twin.admin_out[1][0] == Event.PEER_OUT


def test_data_of_another_session() -> None:
    twin, (far,) = scene()
    establish(twin, far)
    recorded = far.party.send(b"once")[0].message
    establish(twin, far)
    assert twin.peer(recorded) == []
    assert twin.admin_out == []


# ---------------------------------------------------------------------------------------------------- two devices


def test_two_compiled_devices() -> None:
    """With the roles changing, a lost M2, a lost M3, and text both ways."""
    low, high = two_devices()
    ends = {low: high, high: low}
    for one, other in list(ends.items()) * 2:
        assert carry([one.connect()], one.peer, other.peer) == 3
        for end in ends:
            end.command(Opcode.SEND, end.entry.device_id)
            ends[end].peer(end.peer_out[0])
            assert ends[end].admin_out == [bytes([Event.TEXT]) + end.entry.device_id]
    high.peer(low.connect())  # M2 is lost
    low.expire()
    assert carry(low.peer_out, low.peer, high.peer) == 5
    low.peer(high.peer(low.connect())[0])  # M3 is lost
    assert carry([high.connect()], high.peer, low.peer) == 3
    epochs = {end.command(Opcode.PEER, b"\0")[-4:] for end in ends}
    assert len(epochs) == 1
    assert peer_journal(0) == PEER_BASE
