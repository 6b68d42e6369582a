"""Peer messages carried by hosts: two admin ports on one machine, two bridges over UDP and TCP, and a bad network."""

import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ringpair.board import Board
from ringpair.bridge import MAX_MESSAGE, BoardEnd, Bridge, End, TcpEnd, UdpEnd, is_network_end, open_network_end
from ringpair.errors import TransportError, UsageError
from ringpair.events import SessionUp, Text
from ringpair_protocol.admin import Carrier
from ringpair_protocol.messages import HANDSHAKE_BYTES
from ringpair_protocol.pairing import make_puzzles

from host.tests.model_board import ModelBoard


@pytest.fixture
def boards():
    """Two paired boards without wires."""
    with ModelBoard("one", speed=5) as one, ModelBoard("two", speed=5) as two:
        with Board.open(one.port) as a, Board.open(two.port) as b:
            one.hold_button()
            two.hold_button()
            puzzles = make_puzzles(a.enroll(), b.enroll())[:2]
            a.import_puzzle(puzzles[0])
            b.import_puzzle(puzzles[1])
            yield a, b


def free_port(kind=socket.SOCK_DGRAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect_and_talk(a, b):
    up = a.connect(0, Carrier.TUNNEL, timeout=20)
    assert b.next_event(5, SessionUp).session_id == up.session_id
    a.send("from a")
    assert b.next_event(5, Text) == Text(b"from a")
    b.send("from b")
    assert a.next_event(5, Text) == Text(b"from b")


def receive(end, seconds=3.0):
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if (message := end.receive(0.1)) is not None:
            return message
    return None


def test_two_admin_ports(boards):
    a, b = boards
    seen = []
    with Bridge(BoardEnd(a), BoardEnd(b), lambda name, message: seen.append((name, len(message)))):
        connect_and_talk(a, b)
    assert sum(length for _, length in seen[:3]) == HANDSHAKE_BYTES
    assert [name for name, _ in seen[:3]] == [a.port, b.port, a.port]


def test_two_bridges_over_udp(boards):
    a, b = boards
    here, there = free_port(), free_port()
    ends = UdpEnd(f"udp://127.0.0.1:{there}?local={here}"), UdpEnd(f"udp://127.0.0.1:{here}?local={there}")
    with Bridge(BoardEnd(a), ends[0]), Bridge(BoardEnd(b), ends[1]):
        connect_and_talk(a, b)


def test_udp_answers_whoever_called_last(boards):
    a, b = boards
    there = free_port()
    ends = UdpEnd(f"udp://127.0.0.1:{there}?local=0"), UdpEnd(f"udp-listen://127.0.0.1:{there}")
    with Bridge(BoardEnd(a), ends[0]), Bridge(BoardEnd(b), ends[1]):
        connect_and_talk(a, b)


def test_two_bridges_over_tcp(boards):
    a, b = boards
    number = free_port(socket.SOCK_STREAM)
    with Bridge(BoardEnd(b), TcpEnd(f"tcp-listen://127.0.0.1:{number}")):
        with Bridge(BoardEnd(a), TcpEnd(f"tcp://127.0.0.1:{number}")):
            connect_and_talk(a, b)


class Lossy(End):
    """Another end behind a network that loses the first messages, repeats all, and adds noise."""

    def __init__(self, inner, lost):
        self.inner, self.left, self.name = inner, lost, "lossy"

    def receive(self, timeout):
        return self.inner.receive(timeout)

    def deliver(self, message):
        if self.left:
            self.left -= 1
            return
        for copy in (message, b"\x12noise", message):
            self.inner.deliver(copy)

    def close(self):
        self.inner.close()


def test_a_bad_network_delays_only(boards):
    a, b = boards
    with Bridge(BoardEnd(a), Lossy(BoardEnd(b), lost=1)):
        connect_and_talk(a, b)


def test_a_pulled_cable_ends_the_bridge():
    with ModelBoard("one") as one, ModelBoard("two") as two, Board.open(one.port) as a, Board.open(two.port) as b:
        with Bridge(BoardEnd(a), BoardEnd(b)) as bridge:
            one.unplug()
            with pytest.raises(TransportError):
                bridge.wait(5)


def test_tcp_line_is_framed_and_comes_back():
    number = free_port(socket.SOCK_STREAM)
    server = TcpEnd(f"tcp-listen://127.0.0.1:{number}")
    server.deliver(b"nobody is there yet")
    with socket.create_connection(("127.0.0.1", number)) as line:
        line.sendall(b"\x03ab")
        assert server.receive(0.3) is None
        line.sendall(b"c\x01d\x00\xff" + bytes(255) + b"\x01e")  # an empty and a long one are dropped
        assert [receive(server) for _ in range(3)] == [b"abc", b"d", b"e"]
        line.sendall(b"\x09half")
        server.deliver(b"xyz")
        assert line.recv(10) == b"\x03xyz"
    assert receive(server, 0.3) is None
    client = TcpEnd(f"tcp://127.0.0.1:{number}")
    client.deliver(b"after half a message")
    assert receive(server) == b"after half a message"
    server.close()
    assert receive(client, 0.3) is None
    again = TcpEnd(f"tcp-listen://127.0.0.1:{number}")
    deadline = time.monotonic() + 60
    while client._line is None and time.monotonic() < deadline:
        client.receive(0.1)
    client.deliver(b"again")
    assert receive(again) == b"again"
    again.close()
    client.close()


def test_udp_takes_messages_from_its_far_end_only():
    end = UdpEnd(f"udp://127.0.0.1:{free_port()}?local=0")
    number = end._socket.getsockname()[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"let me in", ("127.0.0.1", number))
        assert end.receive(0.3) is None
    end.close()


@given(st.binary(max_size=400))
def test_udp_drops_what_is_no_message(message):
    listener = UdpEnd("udp-listen://127.0.0.1:" + str(free_port()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.sendto(message, listener._socket.getsockname())
        caller.sendto(b"end", listener._socket.getsockname())
        first = receive(listener)
    assert first == (message if 1 <= len(message) <= MAX_MESSAGE else b"end")
    listener.close()


@pytest.mark.parametrize(
    "url", ["udp://host", "udp://:1", "tcp://:1", "udp://h:1?local=x", "udp://h:1?other=2", "tcp://h:99999"]
)
def test_what_is_no_end(url):
    assert is_network_end(url)
    with pytest.raises(UsageError, match="expected"):
        open_network_end(url)


def test_places_that_cannot_be_used():
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        with pytest.raises(TransportError, match="is the port free"):
            open_network_end(f"tcp-listen://127.0.0.1:{number}")
    with pytest.raises(TransportError, match="is the far bridge listening"):
        open_network_end(f"tcp://127.0.0.1:{number}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(TransportError, match="is the port free"):
            open_network_end(f"udp-listen://127.0.0.1:{taken.getsockname()[1]}")
    assert not is_network_end("/dev/ttyUSB0")
    assert not is_network_end("socket://h:1")
