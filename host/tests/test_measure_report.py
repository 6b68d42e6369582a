"""The report: verdicts, figures with their numbers, one page that needs nothing else and shows in a browser."""

import contextlib
import csv
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
from ringpair.cli import main
from ringpair.measure.dataset import Condition, InMemory, Meta
from ringpair.measure.figures import all_figures
from ringpair.measure.page import claims, page
from ringpair.measure.svg import DARK, LIGHT, Plot, heat_maps, standalone
from ringpair.measure.table import write_parquet
from ringpair_protocol import puf


def modeled(chips=16, reads=20):
    """Boards of the ringpair floorplan at three temperatures."""
    rng = np.random.default_rng(1)
    ring = 1 + 0.0049 * rng.standard_normal((chips, 1, puf.RINGS, 1))
    slope = 1 - np.array([-25.0, 0, 35]).reshape(1, 3, 1, 1) * (4e-4 + 1.2e-5 * rng.standard_normal(ring.shape))
    noise = 1 + 1.5e-4 * rng.standard_normal((chips, 3, puf.RINGS, reads))
    at = tuple(Condition(celsius, 1.2, 42.67e-6) for celsius in (0.0, 25.0, 60.0))
    meta = Meta("simulated", "ringpair", {"gateware": "<0123> & more"})
    return InMemory(np.floor(2300 * ring * slope * noise).astype(np.int64), conditions=at, meta=meta, name="modeled")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_parquet(folder / "run.parquet", modeled())
    arguments = ["report", str(folder / "run.parquet"), "-o", str(folder / "report.html"), "--replicates", "40"]
    assert main([*arguments, "--export", str(folder / "figures"), "--title", "Boards <of> a lot"]) == 0
    return folder


@pytest.fixture(scope="module")
def result(files):
    """What the page was made of."""
    return json.loads((files / "figures" / "metrics.json").read_text())


NAMES = (
    *("maps", "distances", "aliasing", "reads", "conditions", "correlation", "spectrum", "entropy", "acceptance"),
    *("noise", "failure", "window"),
)


def test_every_figure_says_method_and_number_of_chips_and_has_its_numbers(result):
    figures = all_figures(result)
    assert tuple(figure.name for figure in figures) == NAMES
    for figure in figures:
        assert re.search(r"\b16\b.*chips|chips.*\b16\b|no chips", figure.caption), figure.caption
        assert figure.rows
        assert all(len(row) == len(figure.columns) for row in figure.rows)
        drawing = ET.fromstring(standalone(figure.svg))
        assert drawing.attrib["aria-label"]
        width, height = map(float, drawing.attrib["viewBox"].split()[2:])
        for element in drawing.iter("{http://www.w3.org/2000/svg}text"):
            assert -5 <= float(element.attrib["x"]) <= width, element.text
            assert 0 <= float(element.attrib["y"]) <= height, element.text
        assert "var(" not in standalone(figure.svg)
        assert "nan" not in figure.svg


def test_verdicts_follow_the_intervals(result):
    device = dict(result["methods"]["device"])

    def verdict(value, interval):
        changed = result | {"methods": {"device": device | {"uniqueness": value, "uniqueness_ci": interval}}}
        return next(row[3] for row in claims(changed) if row[0].startswith("Uniqueness"))

    assert verdict(0.496, [0.494, 0.498]) == "met"
    assert verdict(0.494, [0.492, 0.496]) == "open"
    assert verdict(0.48, [0.47, 0.49]) == "not met"
    rows = {row[0]: row for row in claims(result)}
    assert rows["No wrong bit after enrollment"][3] == "met"
    leaky = result | {"methods": {"device": device | {"leakage_bits_per_ring": 0.01, "leakage_bits_per_ring_ci": None}}}
    assert "not met" in [row[3] for row in claims(leaky)]


def test_page_stands_alone_and_escapes_what_it_is_given(files):
    text = (files / "report.html").read_text()
    assert "<h1>Boards &lt;of&gt; a lot</h1>" in text
    assert "&lt;0123&gt; &amp; more" in text
    assert "modeled" not in text or "simulated" in text
    assert "All values come from a model of silicon" in text
    for reference in re.findall(r"(?:src|href)\s*=\s*['\"]([^'\"]*)", text):
        assert not reference.startswith(("http", "//", "/")), reference
    assert "@import" not in text
    assert text.count("<figure") == len(NAMES)

    class Reader(HTMLParser):
        void = ("meta", "line", "rect", "circle", "polyline", "polygon", "br")

        def __init__(self):
            super().__init__()
            self.open = []

        def handle_starttag(self, tag, attributes):
            if tag not in self.void:
                self.open.append(tag)

        def handle_endtag(self, tag):
            if tag not in self.void:
                assert self.open.pop() == tag

    reader = Reader()
    reader.feed(text)
    assert reader.open == []


def test_exported_numbers_are_those_of_the_metrics(files):
    metrics = json.loads((files / "figures" / "metrics.json").read_text())
    assert metrics["chips"] == 16
    with (files / "figures" / "aliasing.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["ring", "share of ones"]
    assert [float(row[1]) for row in rows[1:]] == metrics["methods"]["device"]["bit_shares"]
    with (files / "figures" / "conditions.csv").open() as file:
        assert {row["condition"] for row in csv.DictReader(file)} == set(metrics["conditions"])
    assert len(list((files / "figures").glob("*.svg"))) == len(NAMES)


def test_colors_exist_for_light_and_dark(files):
    assert LIGHT.keys() == DARK.keys()
    used = set(re.findall(r"var\(--([a-z0-9-]+)\)", (files / "report.html").read_text()))
    assert used <= LIGHT.keys()

    def brightness(color):
        return sum(int(color[i : i + 2], 16) * share for i, share in ((1, 0.2126), (3, 0.7152), (5, 0.0722)))

    for colors in (LIGHT, DARK):
        for name in ("ink", "soft", "a", "b", "c", "e", "good", "bad", "open"):
            assert abs(brightness(colors[name]) - brightness(colors["page"])) > 80, name


def test_plot_puts_points_where_they_belong():
    plot = Plot((0, 10), (1e-6, 1), "x", "y", log_y=True)
    plot.line([(0, 1), (10, 1e-3), (12, 1e-3), (5, 1e-9)], "l", 0)
    points = re.search(r"points='([^']*)'", plot.svg("t"))[1].split()
    left, right, top, bottom = Plot.LEFT, Plot.WIDTH - Plot.RIGHT, Plot.TOP, Plot.HEIGHT - Plot.BOTTOM
    assert points == [f"{left:.1f},{top:.1f}", f"{right:.1f},{(top + bottom) / 2:.1f}"]
    assert "fill='var(--d10)'" in heat_maps([("m", [[1.0, None]])], 0.5, "%", "t")
    assert "fill='var(--d-5)'" in heat_maps([("m", [[-0.25]])], 0.5, "%", "t")


def test_page_of_rings_that_make_no_device(tmp_path, capsys):
    values = np.random.default_rng(0).integers(2000, 2100, (5, 20, 2))
    np.savez(tmp_path / "a.npz", freq_hz=values)
    assert main(["report", str(tmp_path / "a.npz"), "-o", str(tmp_path / "a.html"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["claims"] == []
    assert "maps" in found["figures"]
    assert main(["report", str(tmp_path / "a.npz"), "-o", str(tmp_path / "no" / "a.html")]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_without_table_is_shown_beside(result, files):
    text = page(result, result["methods"]["device"], all_figures(result), "t")
    assert "device, no table" in text
    text = (files / "report.html").read_text()
    row = re.search(r"<tr><td>entropy of 192 rings, bits</td>(.*?)</tr>", text)[1]
    cells = re.findall(r"<td>([^<]*)", row)
    assert cells[:2] == ["–", "–"]
    assert float(cells[2]) == pytest.approx(result["entropy"]["total"], abs=0.06)
    assert 60 < float(cells[3]) < 180
    assert cells[3] != cells[2]
    assert f"without a layout table: {float(cells[3]):.0f}" in text


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def browse(folder, page, *arguments):
    """What a headless browser prints about a page."""
    always = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,900"]
    command = [BROWSER, *always, f"--user-data-dir={folder / 'profile'}", *arguments, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout


SCHEMES = {"light": (LIGHT, 1), "dark": (DARK, 0)}


def rgb(color):
    return "rgb({}, {}, {})".format(*(int(color[at : at + 2], 16) for at in (1, 3, 5)))


@pytest.mark.skipif(BROWSER is None, reason="no Chromium to look at the page with")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_page_shows_in_a_browser(files, scheme):
    """Drawn by a real browser: scripts run, every drawing has a size, nothing is wider than the page; its colors."""
    probe = """<script>
    const found=[...document.querySelectorAll('figure svg')].map(svg=>svg.getBoundingClientRect());
    const texts=[...document.querySelectorAll('figure svg text')].filter(text=>{const a=text.getBoundingClientRect(),
    b=text.closest('svg').getBoundingClientRect();return a.left<b.left-2||a.right>b.right+2})
    .map(text=>text.textContent);
    const color=(element,name)=>getComputedStyle(element)[name];
    const colors=[color(document.body,'backgroundColor'),color(document.querySelector('h1'),'color'),
    color(document.querySelector('td.met'),'color'),color(document.querySelector('#spectrum polyline'),'stroke'),
    color(document.querySelector('#spectrum text'),'fill')];
    document.body.innerHTML='<pre>'+JSON.stringify({drawn:found.filter(box=>box.width>250&&box.height>100).length,
    wide:document.documentElement.scrollWidth>innerWidth,buttons:document.querySelectorAll('button').length,
    handlers:[...document.querySelectorAll('button')].filter(b=>b.onclick).length,texts,colors})+'</pre>'</script>"""
    page = (files / "report.html").read_text().replace("</body>", probe + "</body>")
    (files / "probe.html").write_text(page)
    setting = f"--blink-settings=preferredColorScheme={SCHEMES[scheme][1]}"
    printed = browse(files, files / "probe.html", "--dump-dom", setting)
    found = json.loads(re.search(r"<pre>(.*)</pre>", printed, re.DOTALL)[1])
    assert found == {
        "drawn": len(NAMES),
        "wide": False,
        "buttons": 3 * len(NAMES),
        "handlers": 3 * len(NAMES),
        "texts": [],
        "colors": [rgb(SCHEMES[scheme][0][name]) for name in ("page", "ink", "good", "b", "soft")],
    }


@pytest.mark.skipif(BROWSER is None, reason="no Chromium to look at the page with")
def test_page_prints_in_light_colors_whatever_the_screen_has(files):
    """Printed by a browser that is set to dark: dark ink on white paper, and no buttons."""
    browse(files, files / "report.html", "--blink-settings=preferredColorScheme=0", f"--print-to-pdf={files / 'a.pdf'}")
    document = (files / "a.pdf").read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b", document)) > 2
    used = set()
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", document, re.DOTALL):
        with contextlib.suppress(zlib.error):
            colors = re.findall(rb"([\d.]+) ([\d.]+) ([\d.]+) rg\b", zlib.decompress(stream))
            used |= {"#{:02x}{:02x}{:02x}".format(*(round(255 * float(part)) for part in color)) for color in colors}
    assert {LIGHT["ink"], LIGHT["soft"], LIGHT["good"]} <= used
    assert used.isdisjoint({DARK["page"], DARK["ink"], DARK["soft"], DARK["good"]})
