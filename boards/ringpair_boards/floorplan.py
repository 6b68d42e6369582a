"""A picture of the die of a finished build: ring tiles by channel, row and half, logic, RAM.

It is drawn from the bitstream, so it shows what is there and not what was asked for.
"""

from pathlib import Path

from ringpair_hdl.puf.ring_array import Floorplan

from . import logic_tile
from .asc import Bitstream, Tile
from .board import Board
from .build import NAME, build
from .canvas import Canvas, PngCanvas, SvgCanvas
from .report import BuildFailed

__all__ = ["draw", "draw_floorplan"]

CELL = 3  # pixels of a logic cell
TILE_WIDTH, TILE_HEIGHT = 10 * CELL, 8 * CELL
MARGIN_LEFT, MARGIN_TOP, MARGIN_BOTTOM, MARGIN = 32, 30, 104, 10

CHANNEL = ("#c0392b", "#d68910", "#1e8449", "#2471a3")  # lower left, upper left, lower right, upper right
SHADES = (0.95, 0.78, 0.62, 0.48)  # rows of a channel
HALF_B = 0.3  # half B is that much lighter than half A
LOGIC, LOGIC_FREE, RAM, RAM_FREE, OTHER = "#5d6d7e", "#eef1f4", "#7d3c98", "#efe3f5", "#f7f7f7"
INK = "#2c3e50"


def _mix(color: str, white: float) -> str:
    """A color, lightened by a share of white."""
    channels = bytes.fromhex(color[1:])
    return "#" + bytes(round(value + (255 - value) * white) for value in channels).hex()


def draw_floorplan(board: Board | str, profile: str = "pair", *, folder: Path | None = None, **options) -> list[Path]:
    """Build for a board, unless that is done, and draw its die beside the bitstream; returns the SVG and the PNG.

    The options are those of `build`.

    Raises
    ------
    BuildFailed
        The build is refused. It is drawn all the same, before: the picture may show why.
    """
    refused = None
    try:
        report = build(board, profile, folder=folder, **options)
    except BuildFailed as failure:
        refused, report = failure, failure.report
    bitstream = Path(report.bitstream)
    from .build import board as find

    target = find(board) if isinstance(board, str) else board
    title = f"{target.title}: {report.chip}, {report.cells} of {report.cells_available} cells, {report.rings} rings"
    title += ", refused" if refused else ""
    files = []
    for canvas_class, suffix in ((SvgCanvas, ".svg"), (PngCanvas, ".png")):
        content = draw(Bitstream.read(bitstream.parent / f"{NAME}.asc"), target.floorplan, title, canvas_class)
        path = bitstream.with_suffix(suffix)
        path.write_bytes(content)
        files.append(path)
    if refused:
        raise refused
    return files


def draw(bitstream: Bitstream, floorplan: Floorplan, title: str, canvas_class: type[Canvas]) -> bytes:
    """The die as the bytes of a picture. Row 0 is at the bottom, as in the coordinates of the tools."""
    columns = max(x for x, _ in bitstream.tiles) + 1
    rows = max(y for _, y in bitstream.tiles) + 1
    canvas = canvas_class(MARGIN_LEFT + columns * TILE_WIDTH + MARGIN, MARGIN_TOP + rows * TILE_HEIGHT + MARGIN_BOTTOM)

    def corner(x: int, y: int) -> tuple[int, int]:
        return MARGIN_LEFT + x * TILE_WIDTH, MARGIN_TOP + (rows - 1 - y) * TILE_HEIGHT

    canvas.text(MARGIN_LEFT, MARGIN, title, INK)
    sites = {(site.x, site.y): site for site in floorplan.sites()}
    for (x, y), tile in bitstream.tiles.items():
        left, top = corner(x, y)
        if (x, y) in sites:
            site = sites[x, y]
            color = _mix(CHANNEL[site.channel], 1 - SHADES[site.row])
            _ring_tile(canvas, left, top, color)
        elif tile.kind == "logic_tile":
            _logic_tile(canvas, left, top, tile)
        elif tile.kind in ("ramb_tile", "ramt_tile"):
            block = (x, y - (tile.kind == "ramt_tile"))
            canvas.rectangle(left, top, TILE_WIDTH, TILE_HEIGHT, RAM if block in bitstream.rams else RAM_FREE)
        else:
            canvas.rectangle(left + 1, top + 1, TILE_WIDTH - 2, TILE_HEIGHT - 2, OTHER)
    _frames(canvas, floorplan, corner)
    _scales(canvas, columns, rows, corner)
    _legend(canvas, MARGIN_TOP + rows * TILE_HEIGHT + 24)
    return canvas.encode()


def _ring_tile(canvas: Canvas, left: int, top: int, color: str) -> None:
    """Half A in the lower cells, half B in the upper ones, as they lie on the chip."""
    middle = TILE_HEIGHT // 2
    canvas.rectangle(left + 1, top + 1, TILE_WIDTH - 2, middle - 1, _mix(color, HALF_B))
    canvas.rectangle(left + 1, top + middle, TILE_WIDTH - 2, TILE_HEIGHT - middle - 1, color)


def _logic_tile(canvas: Canvas, left: int, top: int, tile: Tile) -> None:
    canvas.rectangle(left + 1, top + 1, TILE_WIDTH - 2, TILE_HEIGHT - 2, LOGIC_FREE)
    for cell in range(8):
        if any(tile[bit] for bit in logic_tile.cell_bits(cell)):
            canvas.rectangle(left + 2, top + (7 - cell) * CELL + 1, TILE_WIDTH - 4, CELL - 1, LOGIC)


def _frames(canvas: Canvas, floorplan: Floorplan, corner) -> None:
    """A border and a number around each channel."""
    width, height = floorplan.channel_columns * TILE_WIDTH, floorplan.channel_rows * TILE_HEIGHT
    for channel, color in enumerate(CHANNEL):
        right, upper = divmod(channel, 2)
        x = floorplan.x + right * floorplan.channel_columns
        top_row = floorplan.y + (upper + 1) * floorplan.channel_rows - 1
        left, top = corner(x, top_row)
        canvas.frame(left, top, width, height, INK, 2)
        canvas.rectangle(left + 2, top + 2, 11, 11, INK)
        canvas.text(left + 5, top + 4, str(channel), _mix(color, 0.8))


def _scales(canvas: Canvas, columns: int, rows: int, corner) -> None:
    for x in range(columns):
        left, top = corner(x, 0)
        canvas.text(left + TILE_WIDTH // 2 - 6, top + TILE_HEIGHT + 5, str(x), INK)
    for y in range(rows):
        left, top = corner(0, y)
        canvas.text(left - 20, top + TILE_HEIGHT // 2 - 4, f"{y:2d}", INK)


def _legend(canvas: Canvas, top: int) -> None:
    items = [(color, f"rings, channel {channel}") for channel, color in enumerate(CHANNEL)]
    items += [(LOGIC, "logic cell in use"), (RAM, "block RAM in use"), (RAM_FREE, "block RAM, free"), (OTHER, "other")]
    for number, (color, label) in enumerate(items):
        column, row = divmod(number, 4)
        x, y = MARGIN_LEFT + 210 * column, top + 16 * row
        canvas.rectangle(x, y, 20, 11, color)
        canvas.frame(x, y, 20, 11, INK)
        canvas.text(x + 28, y + 2, label, INK)
    x = MARGIN_LEFT + 420
    canvas.text(x, top + 2, "shade: row 0 (dark) to row 3 (light)", INK)
    canvas.text(x, top + 18, "lower part of a tile: half A, upper: half B", INK)
    canvas.text(x, top + 34, "numbers: X and Y of the tiles", INK)
