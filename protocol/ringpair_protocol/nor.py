"""SPI NOR flash: commands and timing constants, and a byte-exact model of the chip.

The model is that of the Winbond W25Q family (W25Q32JV and W25Q128JV data sheets, sections 8.1 and 9.5), in the part
that a small controller uses: SPI mode 0, one data line, 3-byte addresses, no quad mode, no block protection.
"""

from __future__ import annotations

import mmap
import os
import random
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

PAGE = 256
"""Bytes of a page: a program command wraps around within it."""
SECTOR = 4096
"""Bytes of a sector, the smallest piece that can be erased."""
JEDEC_W25Q32 = bytes.fromhex("ef4016")
JEDEC_W25Q128 = bytes.fromhex("ef4018")
PROGRAM_US = 400
ERASE_US = 45_000
WAKE_US = 3


class Command(IntEnum):
    """First byte after chip select falls."""

    PAGE_PROGRAM = 0x02
    READ = 0x03
    WRITE_DISABLE = 0x04
    READ_STATUS = 0x05
    WRITE_ENABLE = 0x06
    SECTOR_ERASE = 0x20
    JEDEC_ID = 0x9F
    RELEASE_POWER_DOWN = 0xAB
    POWER_DOWN = 0xB9


STATUS_BUSY = 0x01
STATUS_WRITE_ENABLED = 0x02


class Worn(NamedTuple):
    """Bits of the bytes at these addresses that an erase, or else a program, leaves as they are."""

    addresses: range
    mask: int
    erase: bool


class NorFlash:
    """One flash chip, seen from its pins a byte at a time.

    A transaction is ``select()``, any number of ``transfer(byte)``, ``deselect()``; ``command()`` does all of it.
    A program or erase starts at ``deselect()`` and takes its time on the clock that the user advances; meanwhile only
    the status can be read. Programming turns 1 into 0 only. `cut_power` in that time leaves a random part of it done.

    Parameters
    ----------
    memory : bytearray, mmap or path
        What the chip holds; blank is 0xff. A path is a file of `size` bytes (made blank if it is missing), mapped into
        memory: what is written is in the file at once, and survives when the process is killed.
    size : int
        Bytes of a new file, or of the default blank memory.
    jedec : bytes
        The three bytes of the JEDEC identification.
    seed : int
        Of what a power cut leaves.
    program_us, erase_us : int
        Busy times in microseconds.

    Attributes
    ----------
    worn : list of Worn
        What does not change any more; see also `hang`.
    """

    def __init__(
        self,
        memory: bytearray | mmap.mmap | str | os.PathLike[str] | None = None,
        *,
        size: int = 4 << 20,
        jedec: bytes = JEDEC_W25Q32,
        seed: int = 0,
        program_us: int = PROGRAM_US,
        erase_us: int = ERASE_US,
    ) -> None:
        if len(jedec) != 3:
            raise ValueError(f"a JEDEC identification has 3 bytes, got {len(jedec)}")
        if memory is None:
            memory = bytearray(b"\xff") * size
        self._mapped = not isinstance(memory, (bytearray, mmap.mmap))
        self.memory = memory if isinstance(memory, (bytearray, mmap.mmap)) else map_file(Path(memory), size)
        if len(self.memory) == 0 or len(self.memory) % SECTOR:
            raise ValueError(f"flash size must be a positive multiple of {SECTOR} bytes, got {len(self.memory)}")
        self.jedec, self.program_us, self.erase_us = bytes(jedec), program_us, erase_us
        self.erases = 0
        self.programs = 0
        self.now_us = 0.0
        self.worn: list[Worn] = []
        self._hangs = 0, False
        self._random = random.Random(seed)
        self._change: tuple[int, bytes] | None = None  # what is under way: address and bytes afterwards
        self._selected = self._asleep = self._write_enabled = False
        self._busy_until = 0.0
        self._input = bytearray()
        self._dropped = 0  # bytes of a long transaction that are not in _input any more
        self._power_on()

    def __enter__(self) -> NorFlash:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the clock run until nothing is under way; close the file if this object opened it."""
        self.advance(max(0.0, self._busy_until - self.now_us))
        if self._mapped and isinstance(self.memory, mmap.mmap):
            self.memory.close()

    # ------------------------------------------------------------------------------------------------------ pins

    def select(self) -> None:
        """Chip select falls."""
        if self._selected:
            raise RuntimeError("the flash is selected already: deselect it first")
        self._selected = True
        self._input = bytearray()

    def peek(self) -> int:
        """What the next transfer will answer, whatever comes in meanwhile: for a bench that works bit by bit."""
        return self._answer(len(self._input))

    def transfer(self, byte: int) -> int:
        """Eight clocks: one byte in, one out (0xff while the output is not driven)."""
        if not self._selected:
            raise RuntimeError("the flash is not selected: select it before a transfer")
        answer = self.peek()
        if len(self._input) < 4 + PAGE:
            self._input.append(byte)
        elif self._input[0] == Command.PAGE_PROGRAM:  # only the last 256 bytes of data count
            del self._input[4]
            self._input.append(byte)
            self._dropped += 1
        else:
            self._dropped += 1
        return answer

    def deselect(self) -> None:
        """Chip select rises: what was commanded starts. A command cut short of its address or data does nothing."""
        if not self._selected:
            return
        self._selected = False
        sent, dropped = bytes(self._input), self._dropped
        self._dropped = 0
        if not sent or self.busy:
            return
        if self._asleep:
            if sent[0] == Command.RELEASE_POWER_DOWN:
                self._asleep = False
                self._busy_until = self.now_us + WAKE_US
            return
        self._execute(sent, dropped)

    def command(self, data: bytes, answer: int = 0) -> bytes:
        """One transaction: send `data`, then read `answer` bytes."""
        self.select()
        for byte in data:
            self.transfer(byte)
        got = bytes(self.transfer(0) for _ in range(answer))
        self.deselect()
        return got

    def hang(self, number: int = 1, *, works: bool) -> None:
        """The n-th program or erase from now does its work or not, and keeps the chip busy until the power goes."""
        self._hangs = self.programs + self.erases + number, works

    # ------------------------------------------------------------------------------------------------------ time

    @property
    def busy(self) -> bool:
        """A program, an erase or the wake-up is under way."""
        return self.now_us < self._busy_until

    @property
    def status(self) -> int:
        """Status register 1."""
        return STATUS_BUSY * self.busy | STATUS_WRITE_ENABLED * self._write_enabled

    def advance(self, microseconds: float) -> None:
        """Let time pass."""
        if microseconds < 0:
            raise ValueError(f"time does not run backwards: {microseconds} us")
        self.now_us += microseconds
        if not self.busy and self._change is not None:
            self._apply(*self._change)
            self._change = None
            self._write_enabled = False

    def cut_power(self) -> None:
        """Power fails and comes back: a random subset of the bits of a running program or erase has changed."""
        if self._change is not None:
            start, new = self._change
            old = self.memory[start : start + len(new)]
            chance = self._random.random()  # how far it came
            mask = bytes(
                sum((self._random.random() < chance) << bit for bit in range(8)) if a != b else 0
                for a, b in zip(old, new, strict=True)
            )
            self._apply(start, bytes(a ^ ((a ^ b) & m) for a, b, m in zip(old, new, mask, strict=True)))
        self._power_on()

    # ------------------------------------------------------------------------------------------------------ inside

    def _power_on(self) -> None:
        self._selected = False
        self._write_enabled = False
        self._asleep = False
        self._busy_until = 0.0
        self._input = bytearray()
        self._dropped = 0
        self._change = None

    def _answer(self, position: int) -> int:
        """Byte that the chip drives while the byte number `position` of the transaction comes in."""
        if position == 0:
            return 0xFF
        command = self._input[0]
        if command == Command.READ_STATUS and not self._asleep:
            return self.status
        if self.busy or self._asleep:
            return 0xFF
        if command == Command.JEDEC_ID:
            return self.jedec[(position + self._dropped - 1) % 3]
        if command == Command.READ and position >= 4:
            offset = position + self._dropped - 4
            return self.memory[(self._address(self._input) + offset) % len(self.memory)]
        return 0xFF

    def _address(self, sent: bytes | bytearray) -> int:
        return int.from_bytes(sent[1:4], "big") % len(self.memory)

    def _execute(self, sent: bytes, dropped: int) -> None:
        command = sent[0]
        if command == Command.WRITE_ENABLE:
            self._write_enabled = True
        elif command == Command.WRITE_DISABLE:
            self._write_enabled = False
        elif command == Command.POWER_DOWN:
            self._asleep = True
        elif command == Command.PAGE_PROGRAM and len(sent) > 4 and self._write_enabled:
            self.programs += 1
            self._start(*self._programmed(self._address(sent), sent[4:], dropped), self.program_us, False)
        elif command == Command.SECTOR_ERASE and len(sent) == 4 and not dropped and self._write_enabled:
            self.erases += 1
            self._start(self._address(sent) // SECTOR * SECTOR, b"\xff" * SECTOR, self.erase_us, True)

    def _programmed(self, address: int, data: bytes, dropped: int) -> tuple[int, bytes]:
        """Page after programming `data`; it wraps around within the page, `dropped` bytes went before it."""
        start = address // PAGE * PAGE
        page = bytearray(self.memory[start : start + PAGE])
        for offset, byte in enumerate(data, address - start + dropped):
            page[offset % PAGE] &= byte
        return start, bytes(page)

    def _start(self, address: int, new: bytes, microseconds: int, erase: bool) -> None:
        new = self._worn(address, new, erase)
        self._change = address, new
        self._busy_until = self.now_us + microseconds
        last, works = self._hangs
        if last == self.programs + self.erases:
            self._change, self._busy_until = None, float("inf")
            if works:
                self._apply(address, new)
        self.advance(0)

    def _worn(self, start: int, new: bytes, erase: bool) -> bytes:
        """What an erase or program makes of it in the bytes that are worn."""
        left = bytearray(new)
        for worn in self.worn:
            if worn.erase is erase:
                for at in range(max(start, worn.addresses.start), min(start + len(new), worn.addresses.stop)):
                    left[at - start] = left[at - start] & ~worn.mask | self.memory[at] & worn.mask
        return bytes(left)

    def _apply(self, start: int, new: bytes) -> None:
        self.memory[start : start + len(new)] = new


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file in one step; if there is no room, the old one stays and the error names it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def map_file(path: Path, size: int) -> mmap.mmap:
    """Shared mapping of a file, made blank (0xff) with `size` bytes if it does not exist."""
    if not path.exists():
        write_whole(path, b"\xff" * size)
    with path.open("r+b") as file:
        length = path.stat().st_size
        if length == 0:
            raise ValueError(f"{path} is empty: expected a flash image of a multiple of {SECTOR} bytes; delete it")
        return mmap.mmap(file.fileno(), length)
