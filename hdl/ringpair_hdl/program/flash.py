"""Flash commands of a SPI NOR (W25Q and its like: 256-byte pages, 4 KB sectors, JEDEC command set)."""

from ringpair_protocol.admin import Code
from ringpair_protocol.nor import STATUS_BUSY, Command

from ringpair_hdl.control.assembler import ZERO, Phase, Port, Program, Unit

from .memory import Memory

POLL_LIMIT = 0x08
"""Polls of the busy bit in units of 65536: about 3 s at 12 MHz, seven times the slowest erase of such parts."""


def select(p: Program, on: int) -> None:
    p.control(Unit.SPI, on)


def command(p: Program, *values: int) -> None:
    """A command that stands alone."""
    select(p, 1)
    p.emit(Port.SPI, *values)
    select(p, 0)


def read(p: Program, v: Memory, *fields) -> None:
    """Reads at ``address`` into fields one after the other."""
    p.call("flash_read")
    for field in fields:
        p.take(Port.SPI, field)
    select(p, 0)


def program(p: Program, v: Memory, *moves) -> None:
    """Programs at ``address``: each of ``moves`` gives bytes to the port SPI."""
    p.call("flash_program")
    for give in moves:
        give()
    p.call("flash_done")


def add_flash(p: Program, v: Memory) -> None:
    with p.routine("flash_read"):
        select(p, 1)
        p.emit(Port.SPI, Command.READ)
        p.give(Port.SPI, v.address)

    with p.routine("flash_program"):
        command(p, Command.WRITE_ENABLE)
        select(p, 1)
        p.emit(Port.SPI, Command.PAGE_PROGRAM)
        p.give(Port.SPI, v.address)

    with p.routine("flash_erase"):
        command(p, Command.WRITE_ENABLE)
        select(p, 1)
        p.emit(Port.SPI, Command.SECTOR_ERASE)
        p.give(Port.SPI, v.address)
        p.jump("flash_done")

    # Deselecting starts what was asked for; then the part is busy for a bounded time.
    with p.routine("flash_done"):
        select(p, 0)
        p.set(v.polls, 0)
        with p.Loop() as loop:
            select(p, 1)
            p.emit(Port.SPI, Command.READ_STATUS)
            p.take(Port.SPI, v.spi)
            select(p, 0)
            p.test(v.spi, STATUS_BUSY)
            loop.leave(ZERO)
            p.add(v.polls, 1)
            p.test(v.polls[2], POLL_LIMIT)
            with p.If(~ZERO):
                p.set(v.status, Code.FLASH_FAILED)
                loop.leave()

    with p.routine("flash_start"):
        command(p, Command.RELEASE_POWER_DOWN)
        p.set(v.count, 255)
        with p.While(~ZERO):  # the part wakes within 3 us
            p.add(v.count, 255)
        select(p, 1)
        p.emit(Port.SPI, Command.JEDEC_ID)
        p.take(Port.SPI, v.jedec)
        select(p, 0)


def flash_phase(p: Program, phase: Phase) -> None:
    p.phase(phase | Phase.FLASH)
