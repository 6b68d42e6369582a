"""Model of the NOR flash: what the data sheet says, checked from the pins."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ringpair_protocol.nor import (
    ERASE_US,
    JEDEC_W25Q32,
    PAGE,
    PROGRAM_US,
    SECTOR,
    STATUS_BUSY,
    STATUS_WRITE_ENABLED,
    Command,
    NorFlash,
    write_whole,
)

SIZE = 4 * SECTOR


def at(command: Command, address: int) -> bytes:
    return bytes([command]) + address.to_bytes(3, "big")


def read(flash: NorFlash, address: int, count: int) -> bytes:
    return flash.command(at(Command.READ, address), count)


def status(flash: NorFlash) -> int:
    return flash.command(bytes([Command.READ_STATUS]), 1)[0]


def write(flash: NorFlash, data: bytes, wait: float = ERASE_US) -> None:
    flash.command(bytes([Command.WRITE_ENABLE]))
    flash.command(data)
    flash.advance(wait)


@pytest.fixture
def flash() -> NorFlash:
    return NorFlash(size=SIZE)


def test_identification(flash: NorFlash) -> None:
    assert flash.command(bytes([Command.JEDEC_ID]), 3) == JEDEC_W25Q32
    assert flash.command(bytes([Command.JEDEC_ID]), 600)[-3:] == JEDEC_W25Q32


def test_blank_and_wrap_of_reading(flash: NorFlash) -> None:
    flash.memory[0:2] = b"\x12\x34"
    assert read(flash, SIZE - 1, 3) == b"\xff\x12\x34"
    assert read(flash, 0, 2000)[:3] == b"\x12\x34\xff"
    assert read(flash, 0xFF0001, 1) == b"\x34", "address bits above the size are ignored"


def test_programs_only_ones_to_zeros(flash: NorFlash) -> None:
    write(flash, at(Command.PAGE_PROGRAM, 5) + b"\xf0")
    write(flash, at(Command.PAGE_PROGRAM, 5) + b"\x3f")
    assert read(flash, 4, 3) == b"\xff\x30\xff"


def test_needs_write_enable_each_time(flash: NorFlash) -> None:
    flash.command(at(Command.PAGE_PROGRAM, 0) + b"\0")
    assert not flash.busy
    write(flash, at(Command.PAGE_PROGRAM, 1) + b"\0")
    flash.command(at(Command.PAGE_PROGRAM, 2) + b"\0")
    flash.command(at(Command.SECTOR_ERASE, 0))
    flash.advance(ERASE_US)
    assert read(flash, 0, 3) == b"\xff\0\xff"
    flash.command(bytes([Command.WRITE_ENABLE]))
    assert status(flash) == STATUS_WRITE_ENABLED
    flash.command(bytes([Command.WRITE_DISABLE]))
    assert status(flash) == 0


def test_busy_time(flash: NorFlash) -> None:
    write(flash, at(Command.PAGE_PROGRAM, 0) + b"\0", wait=0)
    assert status(flash) == STATUS_BUSY | STATUS_WRITE_ENABLED
    assert read(flash, 0, 2) == b"\xff\xff", "no reading while it is busy"
    assert flash.memory[0] == 0xFF
    write(flash, at(Command.PAGE_PROGRAM, 1) + b"\0", wait=PROGRAM_US - 1)
    assert flash.busy
    flash.advance(1)
    assert status(flash) == 0
    assert read(flash, 0, 2) == b"\0\xff", "a command to a busy chip is ignored"


def test_incomplete_commands_do_nothing(flash: NorFlash) -> None:
    flash.memory[:SIZE] = bytes(SIZE)
    for data in (at(Command.SECTOR_ERASE, 0)[:3], at(Command.SECTOR_ERASE, 0) + b"\0", at(Command.PAGE_PROGRAM, 0)):
        write(flash, data, wait=0)
        assert not flash.busy
    write(flash, at(Command.SECTOR_ERASE, 0) + bytes(600), wait=0)
    assert not flash.busy


@given(address=st.integers(0, SIZE - 1), data=st.binary(min_size=1, max_size=600))
def test_page_wrap(address: int, data: bytes) -> None:
    flash = NorFlash(size=SIZE)
    write(flash, at(Command.PAGE_PROGRAM, address) + data)
    expected = bytearray(b"\xff") * SIZE
    start = address // PAGE * PAGE
    image = {start + (address - start + i) % PAGE: byte for i, byte in enumerate(data)}  # later bytes replace earlier
    for place, byte in image.items():
        expected[place] = byte
    assert flash.memory == expected


def test_erases_one_sector(flash: NorFlash) -> None:
    flash.memory[:SIZE] = bytes(SIZE)
    write(flash, at(Command.SECTOR_ERASE, SECTOR + 77), wait=ERASE_US - 1)
    assert flash.busy
    flash.advance(1)
    assert flash.memory == bytes(SECTOR) + b"\xff" * SECTOR + bytes(2 * SECTOR)
    assert (flash.erases, flash.programs) == (1, 0)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1 << 32), old=st.binary(min_size=PAGE, max_size=PAGE), new=st.binary(min_size=1, max_size=PAGE)
)
def test_power_cut_in_a_program(seed: int, old: bytes, new: bytes) -> None:
    results = []
    for _ in range(2):
        flash = NorFlash(bytearray(old) + bytearray(SECTOR - PAGE), seed=seed)
        write(flash, at(Command.PAGE_PROGRAM, 0) + new, wait=PROGRAM_US / 2)
        flash.cut_power()
        assert status(flash) == 0
        results.append(bytes(flash.memory[:PAGE]))
        assert flash.memory[PAGE:] == bytes(SECTOR - PAGE)
    assert results[0] == results[1], "same seed, same remains"
    full = bytes(a & b for a, b in zip(old, new, strict=False)) + old[len(new) :]
    for before, after, got in zip(old, full, results[0], strict=True):
        assert got | before == before, "only 1 to 0"
        assert got & after == after, "nothing beyond the data"


def test_power_cut_in_an_erase_is_partial() -> None:
    shares = set()
    for seed in range(10):
        flash = NorFlash(bytearray(2 * SECTOR), seed=seed)
        write(flash, at(Command.SECTOR_ERASE, 0), wait=1)
        flash.cut_power()
        flash.advance(ERASE_US)
        ones = sum(byte.bit_count() for byte in flash.memory[:SECTOR])
        assert 0 < ones < 8 * SECTOR
        assert flash.memory[SECTOR:] == bytes(SECTOR)
        shares.add(ones)
    assert len(shares) == 10


def test_power_cut_at_rest_changes_nothing(flash: NorFlash) -> None:
    write(flash, at(Command.PAGE_PROGRAM, 0) + b"\x55")
    before = bytes(flash.memory)
    flash.select()
    flash.transfer(Command.READ)
    flash.cut_power()
    assert flash.memory == before
    assert read(flash, 0, 1) == b"\x55"


def test_power_down_and_release(flash: NorFlash) -> None:
    flash.command(bytes([Command.POWER_DOWN]))
    assert flash.command(bytes([Command.JEDEC_ID]), 3) == b"\xff\xff\xff"
    flash.command(bytes([Command.WRITE_ENABLE]))
    flash.command(bytes([Command.RELEASE_POWER_DOWN]))
    flash.advance(3)
    assert flash.command(bytes([Command.JEDEC_ID]), 3) == JEDEC_W25Q32
    assert status(flash) == 0


def test_file_survives_a_kill(tmp_path: Path) -> None:
    image = tmp_path / "flash.bin"
    child = (
        "import os, sys, time; from ringpair_protocol.nor import *\n"
        "flash = NorFlash(sys.argv[1], size=8192)\n"
        "flash.command(bytes([Command.WRITE_ENABLE])); flash.command(bytes([2, 0, 0, 7]) + b'alive')\n"
        "flash.advance(1000); print('done', flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen([sys.executable, "-c", child, str(image)], stdout=subprocess.PIPE, env=environment)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"done"
        process.send_signal(signal.SIGKILL)
    with NorFlash(image, size=1 << 20) as flash:
        assert len(flash.memory) == 8192
        assert read(flash, 6, 7) == b"\xffalive\xff"


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="positive multiple of 4096 bytes, got 100"):
        NorFlash(bytearray(100))
    with pytest.raises(ValueError, match="3 bytes, got 2"):
        NorFlash(size=SECTOR, jedec=b"\xef\x40")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ValueError, match="is empty: expected a flash image"):
        NorFlash(tmp_path / "empty")
    flash = NorFlash(size=SECTOR)
    with pytest.raises(RuntimeError, match="not selected"):
        flash.transfer(0)
    flash.select()
    with pytest.raises(RuntimeError, match="selected already"):
        flash.select()
    with pytest.raises(ValueError, match="backwards"):
        flash.advance(-1)


def test_no_room_for_a_file(tmp_path, monkeypatch):
    """The old content stays, nothing else is left, and the error names the file."""
    path = tmp_path / "flash.bin"
    write_whole(path, b"old")

    def full(self, data):
        with self.open("wb") as file:
            file.write(data[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*flash\.bin'"):
        write_whole(path, b"new")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("flash.bin", b"old")]
