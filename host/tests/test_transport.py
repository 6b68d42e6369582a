"""Ports: what opens, what does not and why, and one process at a time."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ringpair.errors import PortBusy, TransportError, UsageError
from ringpair.transport import open_port, split_address

from host.tests.model_board import ModelBoard

HOLDER = """
import sys, time
from ringpair.transport import open_port
port = open_port(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""

UNPRIVILEGED = """
import os, sys
import platformdirs.unix, serial.tools.list_ports
from ringpair.transport import open_port
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
open_port(sys.argv[1])
"""


@pytest.fixture
def board():
    with ModelBoard("one") as board:
        yield board


def read_some(transport, seconds=2.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if data := transport.read(0.1):
            return data
    return b""


@pytest.mark.parametrize("tcp", [False, True])
def test_bytes_both_ways(tcp):
    with ModelBoard("one", tcp=tcp) as board:
        transport = open_port(board.port)
        transport.write(b"\x01\x00")  # no frame: a refusal comes back
        assert read_some(transport).endswith(b"\0")
        assert transport.read(0.01) == b""
        transport.close()
        transport.close()


def test_missing_port():
    with pytest.raises(TransportError, match="there is no port /dev/ttyNOWHERE") as caught:
        open_port("/dev/ttyNOWHERE")
    assert caught.value.exit_code == 3


def test_port_that_is_no_serial_port(tmp_path):
    file = tmp_path / "file"
    file.write_text("not a port")
    with pytest.raises(TransportError, match="is not a serial port"):
        open_port(str(file))
    with pytest.raises(TransportError, match=str(tmp_path)):
        open_port(str(tmp_path))


def test_permission_denied(board):
    os.chmod(board.port, 0)
    with tempfile.TemporaryDirectory() as home:
        os.chmod(home, 0o777)
        done = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, board.port],
            env=os.environ | {"XDG_CACHE_HOME": home},
            capture_output=True,
            text=True,
        )
    assert "no permission to open" in done.stderr


@pytest.mark.parametrize("tcp", [False, True])
def test_one_process_at_a_time(tcp):
    with ModelBoard("one", tcp=tcp) as board:
        holder = subprocess.Popen([sys.executable, "-c", HOLDER, board.port], stdout=subprocess.PIPE)
        try:
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(PortBusy, match=f"in use by process {holder.pid} "):
                open_port(board.port)
        finally:
            holder.kill()  # however it ends, the port is free again
            holder.wait()
            holder.stdout.close()
        open_port(board.port).close()


def test_the_same_port_by_another_name(board, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(board.port)
    transport = open_port(board.port)
    with pytest.raises(PortBusy, match=f"process {os.getpid()} "):
        open_port(str(link))
    transport.close()
    open_port(str(link)).close()


def test_port_in_use_by_another_program(board):
    import serial

    with serial.Serial(board.port, exclusive=True), pytest.raises(PortBusy, match="another program"):
        open_port(board.port)


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
    with pytest.raises(TransportError, match=f"cannot connect to socket://127.0.0.1:{number}"):
        open_port(f"socket://127.0.0.1:{number}")


def test_socket_closed_by_the_other_side():
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = open_port(f"socket://127.0.0.1:{server.getsockname()[1]}")
        server.accept()[0].close()
        with pytest.raises(TransportError, match="closed by the other side"):
            transport.read(1.0)
        transport.close()


def test_pulled_cable():
    with ModelBoard("one") as board:
        transport = open_port(board.port)
        board.unplug()
        with pytest.raises(TransportError, match="broke off"):
            transport.read(1.0)
        transport.close()


@pytest.mark.parametrize(
    "text", ["", "socket://", "socket://host", "socket://host:0", "socket://host:99999", "socket://:x"]
)
def test_what_is_no_port(text):
    with pytest.raises(UsageError, match="expected"):
        open_port(text)


@given(st.one_of(st.text(), st.text().map("socket://".__add__), st.text().map("udp://[".__add__)))
def test_any_text_is_an_address_or_a_usage_error(text):
    with suppress(UsageError):
        host, port = split_address(text)
        assert isinstance(host, str)
        assert 1 <= port <= 65535
