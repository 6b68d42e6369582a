"""Tables of the documents about boards and builds; `doc_tables.py` puts them there.

Figures of builds come from ``docs/resources.json``, which `report_cells.py --device` writes: a build takes a minute,
and the documents are checked with every test.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from ringpair_protocol import records

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "docs" / "resources.json"
BLOCKS = {
    "device.sponge": "Ascon: permutation, hash, XOF, AEAD",
    "rings.tiles": "192 rings in 96 tiles, with their dividers",
    "device.sequencer": "runs the program; code memory and scratchpad",
    "device.puf": "measurement, quantizer, search",
    "device.reader": "selects rings, times the window, collects counts",
    "device.link": "both serial ports: UART, COBS, CRC, frames",
    "device.trng": "health tests and collection of the noise",
    "device.spi": "flash",
    "device.button": "debounce, timer",
    "noise": "noise source: sampled rings",
    "cd_sync": "reset after power-up",
    "device.to_puf": "a register on the way to the PUF engine",
    "device.from_puf": "a register on the way from it",
    "rings.counters": "four counters of 16 bits, one a channel",
    "device.curve": "Curve25519, Ed25519, SHA-512: a microprogrammed engine with one DSP",
    "device.display": "keeps the dynamic PIN, for the seven-segment display",
    "device.shelf": "memory for keys that are not in use, in single-port RAM",
    "core": "characterization: commands, readings, noise capture",
    "core.port": "serial port of the characterization",
    "core.reader": "selects rings, times the window, collects counts",
    "(top)": "commands between the blocks, pins; segments of a digit",
}
"""What a block does; others come with their name only."""


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def figures() -> dict[str, dict]:
    """Reports of the iCEBreaker's builds, by profile."""
    return json.loads(FIGURES.read_text(encoding="utf-8"))


def board_table() -> str:
    """Every board and its pins; needs amaranth-boards."""
    from ringpair_boards.build import boards

    rows = (
        (
            f"`{b.name}`",
            b.title,
            b.chip.name,
            b.admin.where,
            b.peer.where,
            b.button,
            f"{b.lights.ready.pin}, {b.lights.session.pin}, {b.lights.error.pin}",
            f"`{b.program[0]}`",
        )
        for b in boards()
    )
    return table(("name", "board", "chip", "admin port", "peer port", "button", "lights", "flashed by"), rows)


def board_notes() -> str:
    """What one must know of each board; needs amaranth-boards."""
    from ringpair_boards.build import boards

    def words(board) -> str:
        display = (f"Display of the PIN, profile `full`: {board.display.where}.",) if board.display else ()
        return " ".join(board.notes + display)

    return "".join(f"* **{board.title}.** {words(board)}\n" for board in boards() if words(board))


def flash_table() -> str:
    """Bitstream and records in the flash of each board; needs amaranth-boards."""
    from ringpair_boards.build import boards

    def span(first: int, end: int) -> str:
        return f"`{first:#08x}` to `{end - 1:#08x}`"

    rows = (
        (
            f"`{b.name}`",
            f"{b.flash.size >> 20} MB",
            span(b.flash.bitstream_at, b.flash.bitstream_at + b.chip.bitstream_bytes),
            span(records.DEVICE_BASE, records.STORE_END),
        )
        for b in boards()
    )
    return table(("board", "flash", "bitstream", "records"), rows)


def frequency_table() -> str:
    """Estimated frequency of a ring per chip and corner; needs amaranth-boards."""
    from ringpair_boards.board import HX8K, LP8K, UP5K

    rows = []
    for chip in (UP5K, HX8K, LP8K):
        rings = chip.ring_mhz()
        rows.append((chip.name, *(f"{mhz:g} ({mhz / 2:.0f})" for mhz in rings.values())))
    return table(("chip", "fast corner, MHz", "typical, MHz", "slow corner, MHz"), rows)


def build_table() -> str:
    rows = (
        (
            profile,
            f"{build['cells']} of {build['cells_available']}",
            f"{build['rams']} of {build['rams_available']}",
            f"{build['dsps']} of {build['dsps_available']}",
            f"{build['fmax_mhz']:.1f} MHz",
            f"{build['divider_mhz']:.0f}, {build['counter_mhz']:.0f} MHz",
            f"{build['rings_identical']} of {build['rings']}",
        )
        for profile, build in figures().items()
    )
    head = ("profile", "logic cells", "block RAMs", "DSPs", "system clock", "dividers, counters", "identical rings")
    return table(head, rows)


def block_table() -> str:
    """Cells and block RAMs of each block, in each profile; small ones that only join the pins are one row."""
    builds = figures()
    counts: dict[str, dict[str, tuple[int, int]]] = {}
    for profile, build in builds.items():
        for name, cells in build["blocks"].items():
            block = "(top)" if name.endswith("_buffer") else "rings.counters" if "counter" in name else name
            before = counts.setdefault(block, {}).get(profile, (0, 0))
            counts[block][profile] = (before[0] + cells, before[1] + build["block_rams"].get(name, 0))
    rows = []
    for block, by_profile in sorted(counts.items(), key=lambda item: -max(cells for cells, _ in item[1].values())):
        rows.append((f"`{block}`", BLOCKS.get(block, ""), *(_cell(by_profile.get(profile)) for profile in builds)))
    sums = [tuple(map(sum, zip(*(c[p] for c in counts.values() if p in c), strict=True))) for p in builds]
    return table(("block", "what", *builds), [*rows, ("**in all**", "", *map(_cell, sums))])


def _cell(count: tuple[int, int] | None) -> str:
    if count is None:
        return "–"
    cells, rams = count
    return f"{cells} + {rams} RAM" if rams else str(cells)


TABLES = {
    "boards": board_table,
    "board-notes": board_notes,
    "board-flash": flash_table,
    "ring-frequencies": frequency_table,
    "builds": build_table,
    "blocks": block_table,
}
