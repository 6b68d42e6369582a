"""Two canvases for simple drawings, SVG and PNG, without any library: rectangles and short labels."""

import struct
import zlib
from collections.abc import Iterable
from xml.sax.saxutils import escape

__all__ = ["Canvas", "PngCanvas", "SvgCanvas"]

GLYPH_ROWS, GLYPH_COLUMNS = 7, 5
FONT = {
    " ": "00000000000000", "0": "0E11131519110E", "1": "040C040404040E", "2": "0E11010204081F", "3": "1F02040201110E",
    "4": "02060A121F0202", "5": "1F101E0101110E", "6": "0608101E11110E", "7": "1F010204080808", "8": "0E11110E11110E",
    "9": "0E11110F01020C", "A": "0E11111F111111", "B": "1E11111E11111E", "C": "0E11101010110E", "D": "1C12111111121C",
    "E": "1F10101E10101F", "F": "1F10101E101010", "G": "0E11101711110F", "H": "1111111F111111", "I": "0E04040404040E",
    "J": "0702020202120C", "K": "11121418141211", "L": "1010101010101F", "M": "111B1515111111", "N": "11111915131111",
    "O": "0E11111111110E", "P": "1E11111E101010", "Q": "0E11111115120D", "R": "1E11111E141211", "S": "0F10100E01011E",
    "T": "1F040404040404", "U": "1111111111110E", "V": "11111111110A04", "W": "11111115151B11", "X": "11110A040A1111",
    "Y": "1111110A040404", "Z": "1F01020408101F", "-": "0000001F000000", ".": "00000000000C0C", ",": "00000000040408",
    "(": "02040808080402", ")": "08040202020408", ":": "000C0C000C0C00", "/": "00010204081000",
}  # fmt: skip
"""Rows of five pixels, top down, two hex digits a row; small letters are drawn as capitals."""


class Canvas:
    """Something to draw on. Coordinates are pixels from the upper left; colors are ``#rrggbb``."""

    def __init__(self, width: int, height: int, background: str = "#ffffff"):
        self.width, self.height = width, height
        self.rectangle(0, 0, width, height, background)

    def rectangle(self, x: int, y: int, width: int, height: int, fill: str) -> None:
        raise NotImplementedError

    def text(self, x: int, y: int, text: str, color: str = "#333333") -> None:
        """A label whose upper left corner is (x, y); a letter takes 6 by 8 pixels."""
        raise NotImplementedError

    def frame(self, x: int, y: int, width: int, height: int, color: str, thickness: int = 1) -> None:
        """The border of a rectangle, drawn inwards."""
        for rx, ry, rw, rh in (
            (x, y, width, thickness),
            (x, y + height - thickness, width, thickness),
            (x, y, thickness, height),
            (x + width - thickness, y, thickness, height),
        ):
            self.rectangle(rx, ry, rw, rh, color)

    def encode(self) -> bytes:
        """The finished file."""
        raise NotImplementedError


class SvgCanvas(Canvas):
    """Scalable vector graphics."""

    def __init__(self, width: int, height: int, background: str = "#ffffff"):
        self.elements: list[str] = []
        super().__init__(width, height, background)

    def rectangle(self, x: int, y: int, width: int, height: int, fill: str) -> None:
        self.elements.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{fill}"/>')

    def text(self, x: int, y: int, text: str, color: str = "#333333") -> None:
        self.elements.append(f'<text x="{x}" y="{y + 8}" fill="{color}">{escape(text)}</text>')

    def encode(self) -> bytes:
        style = 'font-family="ui-monospace, monospace" font-size="10" shape-rendering="crispEdges"'
        size = f'width="{self.width}" height="{self.height}" viewBox="0 0 {self.width} {self.height}"'
        lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>', *self.elements, "</svg>", ""]
        return "\n".join(lines).encode()


class PngCanvas(Canvas):
    """Portable network graphics, 8 bits a channel, no alpha."""

    def __init__(self, width: int, height: int, background: str = "#ffffff"):
        self.rows = [bytearray(3 * width) for _ in range(height)]
        super().__init__(width, height, background)

    def rectangle(self, x: int, y: int, width: int, height: int, fill: str) -> None:
        left, right = max(x, 0), min(x + width, self.width)
        if right <= left:
            return
        span = bytes.fromhex(fill[1:]) * (right - left)
        for row in self.rows[max(y, 0) : max(y + height, 0)]:
            row[3 * left : 3 * right] = span

    def text(self, x: int, y: int, text: str, color: str = "#333333") -> None:
        for number, letter in enumerate(text.upper()):
            glyph = bytes.fromhex(FONT.get(letter, FONT[" "]))
            for row in range(GLYPH_ROWS):
                for column in range(GLYPH_COLUMNS):
                    if glyph[row] >> (GLYPH_COLUMNS - 1 - column) & 1:
                        self.rectangle(x + 6 * number + column, y + row, 1, 1, color)

    def encode(self) -> bytes:
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        pixels = zlib.compress(b"".join(b"\0" + bytes(row) for row in self.rows), 9)
        chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunks(chunks))


def _chunks(chunks: Iterable[tuple[bytes, bytes]]) -> Iterable[bytes]:
    for name, content in chunks:
        yield struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
