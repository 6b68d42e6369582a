"""A virtual board in its own process: real pty, TCP, peer wires, control channel, power cuts by SIGKILL."""

import json
import os
import signal
import socket
import subprocess
import time

import pytest
import serial
from ringpair.errors import RingpairError, TransportError, UsageError
from ringpair.virtual import (
    BoardBusy,
    BoardFolder,
    Control,
    FlashParameters,
    Parameters,
    VirtualBoard,
    attach,
    serve,
)

from host.tests.designs.boards import flash_command, library

PLAIN = {"plain": True, "seed": 7}
AWAKE = Parameters(flash=FlashParameters(size=1 << 16, asleep=False))


@pytest.fixture
def board(tmp_path):
    def make(name="alice", **settings):
        return VirtualBoard(name, library(), base=tmp_path, **{"parameters": AWAKE, "silicon": PLAIN, **settings})

    return make


def open_serial(port):
    return serial.serial_for_url(port, 1_000_000, timeout=10)


def ask(port, data, size):
    port.write(data)
    answer = port.read(size)
    assert len(answer) == size, f"expected {size} bytes, got {answer!r}"
    return answer


# ---------------------------------------------------------------------------------------------------------- ports


def test_pty_and_tcp_at_once(board):
    with board() as alice:
        with open_serial(alice.port) as pty, open_serial(alice.url) as tcp:
            for byte in range(20):
                assert ask(pty, bytes([1, byte]), 1) == bytes([byte])
                assert ask(tcp, bytes([1, byte ^ 0xFF]), 1) == bytes([byte ^ 0xFF])
        with open_serial(alice.url) as tcp:  # a port can be opened again
            assert ask(tcp, b"\x01a", 1) == b"a"
        with open_serial(alice.port) as pty:
            assert ask(pty, b"\x01b", 1) == b"b"


def test_found_by_name_as_soon_as_it_is_announced(board, tmp_path):
    class Announced(Exception):
        pass

    def ready(addresses):
        assert BoardFolder("alice", tmp_path).read_json("running.json") == addresses
        raise Announced

    with pytest.raises(Announced):
        serve(board().settings, ready)
    assert BoardFolder("alice", tmp_path).running() is None


def test_start_that_fails_leaves_no_silicon(board):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(TransportError, match=f"TCP port {taken.getsockname()[1]} cannot be had"):
            board(silicon={"seed": 1}, tcp_port=taken.getsockname()[1]).start()
    with board(silicon={"seed": 2}) as alice:
        assert alice.folder.read_json("silicon.json")["seed"] == 2
    with pytest.raises(RingpairError, match=r"^/nowhere/tap: No such file or directory; check"):
        board(silicon={}, tap="/nowhere/tap").start()  # one that ran keeps its silicon
    assert alice.folder.read_json("silicon.json")["seed"] == 2


def test_newest_tcp_client_takes_over(board):
    with board() as alice, open_serial(alice.url) as old, open_serial(alice.url) as new:
        assert ask(new, b"\x01a", 1) == b"a"
        with pytest.raises(serial.SerialException):
            old.read(1)
        assert ask(new, b"\x01c", 1) == b"c"


def test_a_long_stream_is_not_lost(board):
    data = os.urandom(20_000)
    with board(pace=0) as alice, open_serial(alice.port) as port:
        got = b""
        for at in range(0, len(data), 2000):
            port.write(b"".join(bytes([1, byte]) for byte in data[at : at + 2000]))
            got += port.read(2000)
        assert got == data


def test_ports_end_with_the_board(board):
    alice = board().start()
    port, url = alice.port, alice.url
    alice.stop()
    assert not alice.running
    assert not os.path.exists(port)
    with pytest.raises(serial.SerialException):
        open_serial(url)
    assert alice.folder.running() is None


# ---------------------------------------------------------------------------------------------------------- power


def test_kill_in_a_program_leaves_the_flash_as_it_was_then(board):
    slow = Parameters(flash=FlashParameters(size=1 << 16, asleep=False, first_byte_s=1.0, page_s=1.0))
    alice = board(parameters=slow).start()
    try:
        with open_serial(alice.port) as port:
            port.write(flash_command(b"\x06") + flash_command(b"\x02\x00\x01\x00" + bytes(256)))
            alice.control.wait(lambda status: status["flash_busy"])
            alice.control.wait(lambda status: status["cycle"] > 3_000_000)
            alice.kill()
        content = alice.flash_path.read_bytes()
        page = content[0x100:0x200]
        cleared = sum(8 - byte.bit_count() for byte in page)
        assert 300 < cleared < 1800
        assert content == b"\xff" * 0x100 + page + b"\xff" * (len(content) - 0x200)
        alice.start()
        with open_serial(alice.port) as port:
            assert ask(port, flash_command(b"\x03\x00\x01\x00", 256), 256) == page
        assert alice.control.status()["boots"] == 1
    finally:
        alice.stop()


def test_power_by_the_control_channel(board):
    with board() as alice, open_serial(alice.port) as port:
        ask(port, b"\x06\x05\x01x", 1)
        assert alice.control.status()["led"] == 5
        alice.control.request("cut", program=1, fraction=0.5)
        port.write(flash_command(b"\x06") + flash_command(b"\x02\x00\x00\x00" + bytes(256)))
        alice.control.wait(lambda status: not status["powered"])
        port.write(b"\x01a")
        time.sleep(0.1)
        alice.control.request("power", on=True)
        assert ask(port, b"\x01b", 1) == b"b"  # the same port; what was sent meanwhile is lost
        assert alice.control.status()["led"] == 0
        assert 900 < sum(8 - byte.bit_count() for byte in alice.flash_path.read_bytes()) < 1100
        alice.control.request("power", on=False)
        assert not alice.control.status()["powered"]


def test_the_board_ends_with_its_parent(board):
    alice = board().start()
    pid = alice.addresses["pid"]
    assert alice._process is not None
    alice._process.stdin.close()
    alice._process.wait(10)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    alice.kill()


def test_sigterm_stops_in_order(board):
    alice = board().start()
    os.kill(alice.addresses["pid"], signal.SIGTERM)
    assert alice._process is not None
    assert alice._process.wait(10) == 0
    assert alice.folder.read_json("running.json") is None
    alice.stop()


# ---------------------------------------------------------------------------------------------------------- identity


def test_silicon_stays_and_two_processes_do_not_share_a_board(board, tmp_path):
    with board() as alice:
        with open_serial(alice.port) as port:
            counts = ask(port, b"\x03\x05", 8)
        with pytest.raises(BoardBusy, match=f"process {alice.addresses['pid']}, port {alice.port}"):
            board().start()
        control, addresses = attach("alice", tmp_path)
        with control:
            assert addresses == alice.addresses
            assert control.status()["pid"] == addresses["pid"]
    with board(silicon={}) as again, open_serial(again.port) as port:
        assert abs(ask(port, b"\x03\x05", 8)[0] - counts[0]) <= 1
    with board("bob", silicon={"plain": True, "seed": 8}) as bob, open_serial(bob.port) as port:
        assert ask(port, b"\x03\x05", 8) != counts
    with pytest.raises(UsageError, match="seed 7, not 9"):
        board(silicon={"seed": 9}).start()
    with pytest.raises(RingpairError, match="ringpair sim alice"):
        attach("alice", tmp_path)


def test_bad_names_and_damaged_folders(board, tmp_path):
    for name in ("", "../x", "a b", "x" * 33):
        with pytest.raises(UsageError, match="board name"):
            BoardFolder(name, tmp_path)
    alice = board()
    alice.folder.path.mkdir(parents=True)
    alice.flash_path.write_bytes(b"\xff" * 4096)
    with pytest.raises(RingpairError, match="4096 bytes, but the board's flash has 65536"):
        alice.start()
    alice.flash_path.unlink()
    (alice.folder.path / "silicon.json").write_text("{")
    with pytest.raises(RingpairError, match=r"silicon\.json is damaged"):
        alice.start()


# ---------------------------------------------------------------------------------------------------------- peer wires


def test_two_boards_joined_and_joined_again_after_a_power_cycle(board, tmp_path):
    tap = tmp_path / "tap.jsonl"
    with board("alice", peer="bob", tap=str(tap)) as alice, board("bob", peer="alice") as bob:
        for board_ in (alice, bob, alice):
            with open_serial(alice.port) as a, open_serial(bob.port) as b:
                alice.control.wait(lambda status: status["connected"])
                bob.control.wait(lambda status: status["connected"])
                a.write(b"\x05A")
                assert b.read(1) == b"A"
                b.write(b"\x05B")
                assert a.read(1) == b"B"
            board_.power_cycle()
    entries = [json.loads(line) for line in tap.read_text().splitlines()]
    assert [(entry["direction"], chr(entry["byte"])) for entry in entries] == [("out", "A"), ("in", "B")] * 3


def test_wires_out_and_bytes_injected(board):
    with board("alice", peer="bob") as alice, board("bob", peer="alice") as bob:
        bob.control.wait(lambda status: status["connected"])
        alice.control.wait(lambda status: status["connected"])
        with open_serial(alice.port) as a, open_serial(bob.port) as b:
            bob.control.request("wire", connected=False)
            ask(a, b"\x05A\x01x", 1)
            time.sleep(0.1)
            bob.control.request("wire", connected=True)
            ask(a, b"\x05B\x01x", 1)
            assert b.read(1) == b"B"
            bob.control.request("inject", hex="43")
            assert b.read(1) == b"C"


# ---------------------------------------------------------------------------------------------------------- control


def test_button_leds_and_counters(board):
    with board() as alice, open_serial(alice.port) as port:
        control = alice.control
        control.press()
        assert ask(port, b"\x07", 1) == b"\x01"
        control.request("release")
        assert ask(port, b"\x07", 1) == b"\x00"
        start = time.monotonic()
        control.press(0.2, wait=True)
        assert time.monotonic() - start > 0.19
        ask(port, b"\x06\x05\x01x", 1)
        assert ["led", 5] in [event[1:] for event in control.request("events")["events"]]
        assert control.request("events")["events"] == []
        status = control.status()
        assert status["phase_entries"][6] == 1
        assert status["clock_hz"] == 12_000_000
        control.request("noise", one=1.0)
        assert ask(port, b"\x04\x04", 4)[1:] == b"\xff\xff\xff"


def test_wrong_requests_are_refused(board):
    with board() as alice:
        control = alice.control
        with pytest.raises(RingpairError, match="unknown request 'dance': expected one of cut, events, inject"):
            control.request("dance")
        with pytest.raises(RingpairError, match=r"'press'.*unexpected keyword"):
            control.request("press", minutes=1)
        with pytest.raises(RingpairError, match="non-hexadecimal"):
            control.request("inject", hex="zz")
        with pytest.raises(RingpairError, match="probability"):
            control.request("noise", one=3)
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(alice.addresses["control"])
            raw.sendall(b'nonsense\n[1]\n{"do": "status"}\n')
            with raw.makefile() as lines:
                assert [json.loads(lines.readline())["ok"] for _ in range(3)] == [False, False, True]
        assert control.status()["powered"]
        control.request("quit")
        with pytest.raises(RingpairError, match="start it again"):
            control.request("status")
    with pytest.raises(RingpairError, match="expected a running board"):
        Control(alice.addresses["control"])


# ---------------------------------------------------------------------------------------------------------- time


@pytest.mark.parametrize("pace", [1.0, 0.1])
def test_timers_run_at_most_in_real_time(board, pace):
    with board(pace=pace) as alice, open_serial(alice.port) as port:
        start = time.monotonic()
        assert ask(port, b"\x08\x10", 1) == b"\x10"
        assert time.monotonic() - start > 0.95 * 0x10 * 65536 / 12e6 / pace
        time.sleep(0.1)
        cycle = alice.control.status()["cycle"]
        time.sleep(0.2)
        assert alice.control.status()["cycle"] == cycle


def test_an_idle_board_needs_no_processor(board):
    with board() as alice, open_serial(alice.port) as port:
        ask(port, b"\x01x", 1)
        time.sleep(0.1)
        used = processor_time(alice.addresses["pid"])
        time.sleep(1)
        assert processor_time(alice.addresses["pid"]) - used < 0.05


def processor_time(pid):
    text = subprocess.run(["ps", "-o", "cputimes=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except FileNotFoundError:
        return float(text)
