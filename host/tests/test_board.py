"""The driver against the reference model on a real line, with faults of the line, the device and the host."""

import logging
import socket
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ringpair.board import Board, Enrollment, split_text
from ringpair.errors import ConnectFailed, NoReply, ProtocolError, Refused, RingpairError, TransportError
from ringpair.events import AnyEvent, PeerOut, ResetDone, SessionUp, Started, Text, parse_event
from ringpair_protocol import frames
from ringpair_protocol.admin import Carrier, Code, DeviceStateCode, Event, Opcode, PeerState, Role
from ringpair_protocol.messages import LENGTHS, PUZZLE
from ringpair_protocol.pairing import make_puzzles

from host.tests.model_board import ModelBoard, wire
from protocol.tests.rig import IDENTITY


@pytest.fixture
def device():
    with ModelBoard("one", speed=20) as device:
        yield device


@pytest.fixture
def board(device):
    with Board.open(device.port) as board:
        yield board


@pytest.fixture(params=[False, True], ids=["pty", "tcp"])
def couple(request):
    """Two boards, enrolled, paired and wired, with their devices."""
    with ModelBoard("one", tcp=request.param, speed=20) as one, ModelBoard("two", tcp=request.param, speed=20) as two:
        wire(one, two)
        with Board.open(one.port) as a, Board.open(two.port) as b:
            one.hold_button()
            two.hold_button()
            puzzles = make_puzzles(a.enroll(), b.enroll())[:2]
            assert a.import_puzzle(puzzles[0]) == b.import_puzzle(puzzles[1]) == 0
            yield a, b, one, two


def replies_only(opcode, change):
    """A fault on the device's way out that concerns the reply to one command."""

    def damage(raw):
        payload = frames.Decoder().feed(raw)[0]
        return change(raw) if payload[0] == 0x80 | opcode else raw

    return damage


def first_time(change):
    """A fault that happens once."""
    pending = [change]
    return lambda data: pending.pop()(data) if pending and data.strip(b"\0") else data


# ------------------------------------------------------------------------------ the plain way


def test_identity_and_status(device, board):
    assert board.identity == IDENTITY
    status = board.status()
    assert status.state is DeviceStateCode.FACTORY
    assert not status.session
    assert not status.button
    device.hold_button()
    assert board.status().button


def test_everything_two_boards_do(couple):
    a, b, one, _two = couple
    assert [(peer.number, peer.state, peer.epoch) for peer in a.peers()] == [(0, PeerState.LIVE, 0)]
    assert a.peer(0).low == (b.peer(0).peer_id < a.peer(0).peer_id)  # a's own id is the one that b knows
    up = a.connect(0)
    other = b.next_event(2, SessionUp)
    assert up == SessionUp(Role.INITIATOR, 0, 0, up.session_id)
    assert other == SessionUp(Role.RESPONDER, 0, 0, up.session_id)
    assert a.status().session
    assert a.send("Grüße") == 1
    assert b.next_event(2, Text) == Text("Grüße".encode())
    long = "äöü€" * 100
    assert b.send(long) > 5
    heard = b"".join(event.text for event in a.listen(0.3) if isinstance(event, Text))
    assert heard.decode() == long
    assert all(b"\xc3\xa4" not in message for message in one.peer_line)
    a.disconnect()
    with pytest.raises(Refused) as caught:
        a.send("again")
    assert caught.value.code is Code.NO_SESSION
    assert caught.value.opcode is Opcode.SEND
    assert a.connect(0).epoch == 1


def test_tunnel_messages_are_events(couple):
    a, b, _, _ = couple
    done = []
    thread = threading.Thread(target=lambda: done.append(a.connect(0, Carrier.TUNNEL)))
    thread.start()
    up = None
    for _ in range(300):  # M1, M2, M3, and those of another try where the computer is slow
        if up and not thread.is_alive():
            break
        for source, sink in ((a, b), (b, a)):
            if event := source.next_event(0.05, PeerOut):
                sink.peer_in(event.message)
        up = b.next_event(0.01, SessionUp) or up
    thread.join()
    assert done[0].session_id == up.session_id


@pytest.mark.parametrize("delay", [0, 0.002, 0.01])
def test_two_start_at_once(couple, delay):
    """Whoever gives way, both calls end in a session, and both boards are left with the same one."""
    a, b, _, _ = couple
    sessions = {a: [], b: []}

    def start(board, wait):
        time.sleep(wait)
        sessions[board].append(board.connect(0))

    threads = [threading.Thread(target=start, args=arguments) for arguments in ((a, delay), (b, 0))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for board in (a, b):
        assert len(sessions[board]) == 1
        sessions[board] += [event for event in board.listen(0.3) if isinstance(event, SessionUp)]
    last = [max(sessions[board], key=lambda session: session.epoch) for board in (a, b)]
    assert last[0].session_id == last[1].session_id
    a.send("which one?")
    assert b.next_event(2, Text) == Text(b"which one?")


def test_reset_by_the_button_is_told(device, board):
    device.long_press()
    assert board.next_event(2) == ResetDone()


# ------------------------------------------------------------------------------ refusals


def test_refusals_are_typed_and_say_what_to_do(device, board):
    cases = [
        (lambda: board.enroll(), Code.NEED_BUTTON, "hold the device's button"),
        (lambda: board.peer(0), Code.NOT_ENROLLED, "run enroll"),
        (lambda: board.send("x"), Code.NO_SESSION, "connect first"),
        (lambda: board.import_puzzle(bytes(3)), Code.BAD_LENGTH, "wrong length"),
        (lambda: board.peer_in(b""), Code.BAD_LENGTH, "wrong length"),
        (lambda: board.enroll_confirm(Enrollment(None, bytes([0x53]) + bytes(16))), Code.NO_ENROLLMENT, "start again"),
    ]
    for action, code, words in cases:
        with pytest.raises(Refused, match=words) as caught:
            action()
        assert caught.value.code is code
        assert caught.value.exit_code == 1
    device.hold_button()
    board.enroll()
    for action, code in (
        (lambda: board.enroll(), Code.ALREADY_ENROLLED),
        (lambda: board.connect(0), Code.NO_SUCH_PEER),
        (lambda: board.connect(99), Code.BAD_VALUE),
        (lambda: board.import_puzzle(bytes([PUZZLE]) + bytes(LENGTHS[PUZZLE] - 1)), Code.BAD_PUZZLE),
    ):
        with pytest.raises(Refused) as caught:
            action()
        assert caught.value.code is code


def test_nobody_at_the_other_end(couple):
    a, _, one, _ = couple
    one.wired = None
    with pytest.raises(ConnectFailed, match="is it powered") as caught:
        a.connect(0)
    assert caught.value.code is Code.TIMED_OUT
    assert len(one.peer_line) == 3


# ------------------------------------------------------------------------------ faults of the line


def test_a_lost_reply_is_told_and_the_line_recovers(device, board):
    device.damage_out = replies_only(Opcode.STATUS, lambda raw: b"")
    with pytest.raises(NoReply, match="may or may not have been carried out"):
        board.command(Opcode.STATUS, timeout=0.3)
    device.damage_out = lambda raw: raw
    assert board.status().state is DeviceStateCode.FACTORY


def test_a_late_reply_is_not_taken_for_another_command(device, board):
    held = []
    device.damage_out = replies_only(Opcode.STATUS, lambda raw: held.append(raw) or b"")
    with pytest.raises(NoReply):
        board.command(Opcode.STATUS, timeout=0.2)
    device.damage_out = lambda raw: raw
    device.emit(held[0])
    with pytest.raises(Refused, match="NEED_BUTTON"):
        board.enroll()


def test_a_late_reply_is_not_taken_for_a_new_one_to_the_same_command(device, board):
    held = []
    device.damage_out = replies_only(Opcode.STATUS, lambda raw: held.append(raw) or b"")
    with pytest.raises(NoReply):
        board.command(Opcode.STATUS, timeout=0.2)
    device.hold_button()
    device.damage_out = lambda raw: (held.pop() if held else b"") + raw  # the old one comes just before the next reply
    assert board.status().button


def test_a_damaged_command_is_sent_again(couple):
    a, b, one, _ = couple
    a.connect(0)
    one.damage_in = first_time(lambda data: data[:3] + bytes([data[3] ^ 0x55 or 1]) + data[4:])
    a.send("once")
    assert [event.text for event in b.listen(0.5) if isinstance(event, Text)] == [b"once"]


def test_noise_before_a_command_does_not_double_it(couple):
    a, b, one, _ = couple
    a.connect(0)
    one.damage_in = first_time(lambda data: b"\x05\x01\0" + data)
    a.send("once")
    assert [event.text for event in b.listen(0.5) if isinstance(event, Text)] == [b"once"]
    assert a.status().session


def test_a_line_that_damages_everything(device, board):
    original = frames.encode(bytes([Opcode.STATUS]))
    device.damage_in = lambda data: data if data != original else bytes([data[0], data[1] ^ 0x40]) + data[2:]
    with pytest.raises(ProtocolError, match="received STATUS damaged"):
        board.status()


def test_a_restart_in_the_middle_of_a_command(device, board):
    device.damage_in = first_time(lambda data: threading.Timer(0.1, device.power_cycle).start() or b"")
    with pytest.raises(NoReply, match="restarted before it replied"):
        board.status()
    assert board.next_event(1, Started) == Started(IDENTITY)
    assert board.status().state is DeviceStateCode.FACTORY


def test_a_pulled_cable(device, board):
    device.unplug()
    with pytest.raises(TransportError):
        board.status()
    with pytest.raises(TransportError):
        board.next_event(1)
    board.close()


def test_half_a_frame_of_a_killed_process_does_no_harm(device):
    device._receive = _prefixed(device._receive, b"\x13\x07half a command")
    with Board.open(device.port) as board:
        assert board.status().state is DeviceStateCode.FACTORY


def _prefixed(receive, garbage):
    state = [garbage]

    def wrapped():
        data = receive()
        return state.pop() + data if data and state else data

    return wrapped


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.binary(max_size=60), st.binary(min_size=1, max_size=100).map(frames.encode)), max_size=4))
def test_no_garbage_confuses_the_driver(device, board, garbage):
    """Whatever comes in, well-framed nonsense included, the next command gets its own reply or an honest error."""
    for piece in garbage:
        device.emit(piece + b"\0")
    try:
        state = board.status().state
    except RingpairError:
        state = board.status().state
    assert state is DeviceStateCode.FACTORY


# ------------------------------------------------------------------------------ enrollment


def test_lost_confirmation_reply_of_a_device_that_committed(device, board):
    device.hold_button()
    enrollment = board.enroll_begin()
    device.damage_out = replies_only(Opcode.ENROLL_CONFIRM, lambda raw: b"")
    board.command = _impatient(board.command)
    board.enroll_confirm(enrollment)
    assert board.status().state is DeviceStateCode.ENROLLED


def test_lost_confirmation_is_not_claimed_done(device, board):
    device.hold_button()
    enrollment = board.enroll_begin()
    device.damage_in = first_time(lambda data: b"")
    board.command = _impatient(board.command)
    with pytest.raises(RingpairError, match="nothing was stored"):
        board.enroll_confirm(enrollment)
    assert board.status().state is DeviceStateCode.FACTORY


def _impatient(command):
    return lambda opcode, body=b"", timeout=0.0: command(opcode, body, timeout=0.3)


def test_late_confirmation(device, board):
    device.hold_button()
    enrollment = board.enroll_begin()
    device.model.tick(6000)
    with pytest.raises(Refused, match="NO_ENROLLMENT"):
        board.enroll_confirm(enrollment)


# ------------------------------------------------------------------------------ strangers


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda data: b"", "nothing answers"),
        (lambda data: data, "without its identity"),
        (lambda data: b"login: \r\n", "without its identity"),
        (lambda data: frames.encode(b"\x81\x00ABCD" + bytes(22)), "expected a ringpair device"),
        (lambda data: frames.encode(b"\x81\x02"), "expected a ringpair device"),
        (lambda data: frames.encode(b"\x81\x00RNGP\x01"), "cannot be right"),
        (
            lambda data: frames.encode(b"\x81\x00" + IDENTITY.to_bytes().replace(b"RNGP\x01\x01", b"RNGP\x01\x77")),
            "cannot",
        ),
        (lambda data: frames.encode(b"\x81\x00" + replace(IDENTITY, level=2).to_bytes()), "speaks level 02"),
    ],
)
def test_strangers_are_refused(answer, words, monkeypatch):
    monkeypatch.setattr("ringpair.line.SYNC_TRIES", 2)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with server.accept()[0] as line:
                while data := line.recv(4096):
                    line.sendall(answer(data))

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ProtocolError, match=words) as caught:
            Board.open(f"socket://127.0.0.1:{server.getsockname()[1]}")
        assert caught.value.exit_code == 3
        thread.join()


# ------------------------------------------------------------------------------ secrets, parsers


def test_logs_hold_no_secret(couple, caplog):
    caplog.set_level(logging.DEBUG)
    a, b, one, _ = couple
    text = "the text of a message"
    a.connect(0)
    a.send(text)
    assert b.next_event(2, Text) is not None
    one.long_press()
    entry = a.enroll()
    logged = caplog.text + repr(entry) + repr(Text(text.encode())) + repr(Enrollment(entry, bytes(17)))
    assert "ENROLL" in logged
    for secret in (entry.wrap_key, text.encode()):
        assert secret.hex() not in logged
        assert repr(secret)[2:-1] not in logged


@given(
    st.one_of(
        st.binary(max_size=40),
        st.builds(bytes.__add__, st.sampled_from([bytes([e]) for e in Event]), st.binary(max_size=40)),
    )
)
def test_any_bytes_are_an_event_or_a_protocol_error(payload):
    try:
        event = parse_event(payload)
    except ProtocolError:
        return
    assert isinstance(event, AnyEvent)


@pytest.mark.parametrize(
    "body",
    [
        bytes([Event.SESSION, Role.RESPONDER, 3]) + bytes(4 + 8),
        bytes([Event.FAILED, Code.TIMED_OUT, 3]),
        bytes([Event.CLOSED, Code.OK]),
        bytes([Event.STARTED]) + IDENTITY.to_bytes(),
        bytes([Event.RESET_DONE]),
    ],
)
def test_events_have_one_length(body):
    parse_event(body)
    for wrong in (body[:-1], body + b"\0"):
        with pytest.raises(ProtocolError):
            parse_event(wrong)


@given(st.text(max_size=600))
def test_texts_are_split_between_characters(text):
    parts = split_text(text)
    assert all(1 <= len(part) <= 96 for part in parts)
    assert "".join(part.decode() for part in parts) == text


@given(st.binary(max_size=600))
def test_bytes_are_split_anywhere(raw):
    parts = split_text(raw)
    assert b"".join(parts) == raw
    assert [len(part) for part in parts[:-1]] == [96] * (len(parts) - 1 if parts else 0)
