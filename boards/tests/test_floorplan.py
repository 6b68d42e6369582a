"""The picture of the die, checked by its pixels and elements."""

import shutil
import struct
import zlib
from xml.etree import ElementTree

import pytest
import ringpair_boards.build as build_module
from ringpair_boards.canvas import PngCanvas, SvgCanvas
from ringpair_boards.floorplan import CHANNEL, RAM, draw_floorplan
from ringpair_boards.harness_top import RingHarness
from ringpair_boards.report import BuildFailed
from ringpair_hdl.puf.ring_array import UP5K

SVG = "{http://www.w3.org/2000/svg}"


def decode(png):
    """Rows of RGB pixels of a PNG that this project wrote; every chunk's checksum is checked."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        name, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length)[0] == zlib.crc32(name + content)
        chunks[name], at = content, at + 12 + length
    width, height, *kind = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert kind == [8, 2, 0, 0, 0]
    raw = zlib.decompress(chunks[b"IDAT"])
    assert len(raw) == height * (3 * width + 1)
    rows = [raw[n * (3 * width + 1) : (n + 1) * (3 * width + 1)] for n in range(height)]
    assert all(row[0] == 0 for row in rows)
    return [[tuple(row[1 + 3 * x : 4 + 3 * x]) for x in range(width)] for row in rows]


def test_canvas():
    png, svg = PngCanvas(12, 10), SvgCanvas(12, 10)
    for canvas in (png, svg):
        canvas.rectangle(2, 3, 4, 2, "#102030")
        canvas.rectangle(-5, 8, 100, 100, "#ff0000")  # reaches over the edge
        canvas.text(0, 0, "1", "#000000")
    pixels = decode(png.encode())
    assert pixels[3][1] == (255, 255, 255)
    assert pixels[4][5] == (0x10, 0x20, 0x30)
    assert pixels[4][6] == (255, 255, 255)
    assert pixels[9] == [(255, 0, 0)] * 12
    assert [x for x in range(5) if pixels[0][x] == (0, 0, 0)] == [2]
    root = ElementTree.fromstring(svg.encode())
    assert [e.tag for e in root] == [f"{SVG}rect"] * 3 + [f"{SVG}text"]
    assert root[1].attrib == {"x": "2", "y": "3", "width": "4", "height": "2", "fill": "#102030"}


@pytest.fixture(scope="module")
def pictures(report, folder):
    svg, png = draw_floorplan("icebreaker", "characterize", folder=folder, top=RingHarness)
    return ElementTree.fromstring(svg.read_bytes()), decode(png.read_bytes())


def halves(svg):
    """The rectangles that are halves of ring tiles, by their size."""
    return [e for e in svg.iter(f"{SVG}rect") if e.get("width") == "28" and e.get("height") == "11"]


def test_ring_tiles(pictures):
    """Two halves for each of 96 tiles, in 4 x 4 x 2 colors."""
    fills = [e.get("fill") for e in halves(pictures[0])]
    assert len(fills) == 2 * len(list(UP5K.sites()))
    assert len(set(fills)) == 32


def test_both_pictures_agree(pictures):
    """The middle of every ring half has the same color in both files."""
    svg, pixels = pictures
    for e in halves(svg):
        x, y = int(e.get("x")) + 14, int(e.get("y")) + 5
        assert pixels[y][x] == tuple(bytes.fromhex(e.get("fill")[1:])), (x, y)


def test_labels(pictures):
    svg, _ = pictures
    text = [e.text for e in svg.iter(f"{SVG}text")]
    assert any("iCEBreaker 1.0: iCE40UP5K" in line and "192 rings" in line for line in text)
    assert {"rings, channel 0", "rings, channel 3", "block RAM in use"} <= set(text)
    fills = {e.get("fill") for e in svg.iter(f"{SVG}rect")}
    assert RAM in fills
    assert set(CHANNEL) <= fills


def test_a_refused_build_is_drawn(report, folder, tmp_path, monkeypatch):
    """And refused all the same."""
    copied = shutil.copytree(folder, tmp_path / "copied")
    monkeypatch.setattr(build_module, "judge", lambda *_: ["too large"])
    with pytest.raises(BuildFailed, match="too large"):
        draw_floorplan("icebreaker", "characterize", folder=copied, top=RingHarness)
    assert "192 rings, refused" in (copied / "icebreaker-characterize.svg").read_text()
    assert decode((copied / "icebreaker-characterize.png").read_bytes())
