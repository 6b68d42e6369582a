"""Boards against boards: messages that come back, that somebody carries elsewhere, that a third board makes.

The compiled device and its model are the victim; the others speak the protocol rightly and send to the wrong one.
"""

from ringpair_protocol import messages as msg
from ringpair_protocol.admin import Event, Opcode, Status
from ringpair_protocol.derivations import PAIR
from ringpair_protocol.ppake import PeerRecord

from host.tests.rig_device import Twin
from host.tests.rig_scenes import Far, carry, scene, two_devices


def in_session(twin: Twin) -> bool:
    return Status.from_bytes(twin.command(Opcode.STATUS)).session


def test_reflection() -> None:
    """All that a board sends comes back to it, at once and later, by wire and by tunnel."""
    twin, fars = scene(2)
    for number, far in enumerate(fars):
        m1 = twin.connect(number)
        assert twin.peer(m1) == []
        m3 = twin.peer(far.receive(m1)[0])[0]
        for message in (m1, m3):
            assert all(answer[0] == msg.RESYNC for answer in twin.peer(message) + twin.tunnel(message))
        assert in_session(twin)
        twin.command(Opcode.SEND, b"to my peer")
        data = twin.peer_out[0]
        assert twin.peer(data) == []
        assert twin.admin_out == [], "its own text"
        m1 = far.start()
        m2 = twin.peer(m1)[0]
        assert twin.peer(m2) == []
        assert not in_session(twin)
        twin.command(Opcode.DISCONNECT)
        far.party.disconnect()


def test_relay_of_a_third_board() -> None:
    """A third board pairs with neither: what it carries between the two makes their session, not one with it."""
    one, two = two_devices()
    third = Far(b"thethird")
    third.puzzle(one.entry)
    carried: list[bytes] = []

    def relay(message: bytes) -> list[bytes]:
        carried.append(message)
        assert third.receive(message) == [], "it understands what it carries"
        return two.peer(message)

    assert carry([one.connect()], one.peer, relay) == 3
    assert one.model.party.session.session_id == two.model.party.session.session_id
    two.command(Opcode.SEND, b"between us")
    (data,) = two.peer_out
    assert third.receive(data) == []
    assert third.party.session is None
    one.peer(data)
    assert one.admin_out == [bytes([Event.TEXT]) + b"between us"]
    assert len(carried) == 2


def test_relay_of_messages_for_another_pairing() -> None:
    """A board with two pairings: what one peer says in a run with it is worth nothing in a run with the other."""
    twin, (first, second) = scene(2)
    m1 = twin.connect(0)
    answer = first.receive(m1)[0]
    twin.command(Opcode.DISCONNECT)
    twin.connect(1)
    assert twin.peer(answer) == [], "M2 of the first in a run with the second"
    assert second.receive(m1) == []
    assert twin.peer(bytes([msg.M3]) + answer[17:]) == []
    assert not in_session(twin)


def test_unknown_key_share() -> None:
    """An insider who puts its own id in the place of the peer's has another key: what names a pairing goes into it."""
    twin, (far,) = scene()
    ids = sorted((b"an evil1", twin.entry.device_id))
    low = ids[0] == b"an evil1"
    keys = PAIR(pair_key=far.pair_key, id_low=ids[0], id_high=ids[1])
    evil = Far(b"an evil1")
    evil.record = PeerRecord(0, low, 0, keys["chain_key"], keys["auth_prev"])
    assert twin.peer(evil.start()) == []
    assert evil.receive(twin.connect()) == []
    swapped = Far(b"an evil2")
    swapped.record = PeerRecord(0, not far.record.low, 0, far.record.chain_key, far.record.auth_prev)
    twin.command(Opcode.DISCONNECT)
    assert twin.peer(swapped.start()) == [], "the right key in the other direction"
    assert not in_session(twin)
