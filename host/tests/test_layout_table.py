"""A learned layout table on its way into gateware: refused for other rings, told by the board, heeded by enrollment."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from ringpair.cli import main
from ringpair.cli.layout import floorplan_of
from ringpair.cli.sim import design
from ringpair.errors import UsageError
from ringpair.measure.dataset import FirstRings, InMemory, Meta
from ringpair.measure.evaluate import Options, evaluate
from ringpair.measure.joined import Joined
from ringpair.measure.layout import LearnedLayout, write_layout
from ringpair.measure.readers import open_files
from ringpair.measure.survey import Tables
from ringpair.virtual import Design, build
from ringpair_boards import virtual
from ringpair_boards.build import LAYOUT_CELLS, board
from ringpair_boards.build import build as build_bitstream
from ringpair_boards.report import BuildFailed
from ringpair_boards.top import top_of
from ringpair_protocol import puf
from ringpair_protocol.admin import Code, DeviceStateCode, Opcode, Status

from host.tests.campaign_keys import modeled
from scripts.bench_device import Host

UP5K = board("icebreaker").floorplan.identifier.hex()


def table(floorplan, rings=192, version=7):
    entries = np.random.default_rng(1).integers(-2700, 2700, rings)
    return LearnedLayout(version, tuple(map(int, entries)), 5300, 40, "measured", floorplan, {})


@pytest.fixture
def run(capsys):
    """Run a command; its JSON object."""

    def run(*arguments, code=0):
        capsys.readouterr()
        assert main([*map(str, arguments), "--json"]) == code, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run


def boards(floorplan, *names):
    """A data set as captured from these boards."""
    extra = {"boards": {name: {"floorplan": floorplan} for name in names}}
    values = np.random.default_rng(len(names)).integers(2000, 2600, (len(names), 192, 4))
    return InMemory(values, meta=Meta("measured", "ringpair", extra))


def test_tables_know_from_which_rings_they_were_learned():
    a, b, other = boards("aa", "x"), boards("aa", "y", "z"), boards("bb", "v")
    assert floorplan_of(Joined([a, b])) == floorplan_of(FirstRings(b, 64)) == "aa"
    assert floorplan_of(InMemory(np.ones((1, 192, 4)))) is None
    with pytest.raises(UsageError, match="different floorplans, aa, bb: learn a table for each"):
        floorplan_of(Joined([a, other]))


def test_learning_writes_the_floorplan(run, tmp_path):
    from ringpair.measure.table import write_parquet

    rng = np.random.default_rng(5)
    counts = np.rint(2300 * (1 + 0.005 * rng.standard_normal((12, 192, 1)) + 1e-4 * rng.standard_normal((12, 192, 4))))
    meta = Meta("measured", "ringpair", {"boards": {"x": {"floorplan": UP5K}}})
    write_parquet(tmp_path / "run.parquet", InMemory(counts.astype(np.uint32), meta=meta))
    result = run("layout", "learn", tmp_path / "run.parquet", "-o", tmp_path / "layout.json", "--version", 3)
    assert (result["floorplan"], result["version"]) == (UP5K, 3)
    assert json.loads((tmp_path / "layout.json").read_text())["floorplan"] == UP5K


def test_the_build_takes_a_table(run, tmp_path, monkeypatch):
    """The gateware gets the table, rounded, and its spread; what is for other rings is refused."""
    made = []

    def top(target, profile, gateware, quantizer):
        made.append(quantizer)
        raise ValueError("far enough")

    monkeypatch.setattr("ringpair_boards.top.top_of", top)
    write_layout(tmp_path / "layout.json", table(UP5K))
    command = ("--layout", tmp_path / "layout.json", "-o", tmp_path / "build")
    for verb in ("build", "flash", "floorplan"):
        options = ("--tool", "true") if verb == "flash" else ()
        assert "far enough" in run(verb, "icebreaker", *command, *options, code=2)["error"]["message"]
    assert len(made) == 3
    for quantizer in made:
        assert quantizer == puf.Quantizer(table(UP5K).quantizer().layout.packed(), 5300)
    for target, name, wrong, text in (
        ("hx8k-evn", "other", table(UP5K), f"of floorplan {UP5K}, those of hx8k-evn (hx8k) are "),
        ("icebreaker", "rows", table("rows16"), "of floorplan rows16, those of icebreaker (up5k) are"),
        ("icebreaker", "many", table(UP5K, rings=512), "a layout table needs 192 entries, not 512"),
        ("icebreaker", "none", table(UP5K, version=0), "a layout table has a version from 1"),
    ):
        write_layout(tmp_path / name, wrong)
        assert text in run("build", target, "--layout", tmp_path / name, code=2)["error"]["message"]
    message = run("build", "icebreaker", "--profile", "characterize", *command, code=2)["error"]["message"]
    assert "it takes no layout table" in message
    assert "no such" in run("build", "icebreaker", "--layout", tmp_path / "no", code=1)["error"]["message"].lower()


def test_what_rounding_costs(monkeypatch):
    """Measured chips, tables by cross-validation, with all their bits and as the gateware holds them."""
    folder = os.environ.get("RINGPAIR_RO_DATA")
    if not folder:
        pytest.skip("RINGPAIR_RO_DATA (folder of spartan3e_ro_dev97.npz) is not set")
    learned = Tables.learned

    def packed(sums):
        tables = learned(sums)
        rows = tables.entries.reshape(-1, puf.RINGS).tolist()
        entries = [puf.Layout(1, tuple(row)).packed().entries for row in rows]
        return dataclasses.replace(tables, entries=np.array(entries).reshape(tables.entries.shape))

    def evaluated():
        data = open_files([Path(folder, "spartan3e_ro_dev97.npz")], puf.RINGS)
        return evaluate(data, Options(("device",), replicates=0, die=False))["methods"]["device"]

    exact = evaluated()
    monkeypatch.setattr(Tables, "learned", packed)
    rounded = evaluated()
    assert rounded["wrong_bits"] == exact["wrong_bits"] == 0
    assert exact["uniqueness"] - 0.0025 < rounded["uniqueness"] < exact["uniqueness"] + 0.0005
    assert rounded["uniqueness"] >= 0.493
    assert rounded["min_entropy_per_bit_corrected"] > exact["min_entropy_per_bit_corrected"] - 0.02
    assert rounded["leakage_bits_per_ring"] < 0.001
    print({name: (exact[name], rounded[name]) for name in ("uniqueness", "min_entropy_per_bit_corrected")})


def test_gateware_tells_the_version():
    quantizer = puf.Quantizer(table(UP5K).quantizer().layout.packed())
    top = top_of(board("icebreaker"), "pair", bytes(8), quantizer)
    assert (top.identity.layout_version, top.device.quantizer) == (7, quantizer)
    assert top_of(board("icebreaker"), "pair", bytes(8)).identity.layout_version == 0
    assert top_of(board("icebreaker"), "characterize", bytes(8)).identity.layout_version == 0


def test_virtual_boards_take_a_table(tmp_path):
    write_layout(tmp_path / "modeled", table(virtual.FLOORPLAN.hex()))
    write_layout(tmp_path / "measured", table("rows16"))
    for name, measured in (("modeled", False), ("measured", True)):
        arguments = design(tmp_path / name, measured)
        json.dumps(arguments)  # they name the compiled board
        quantizer = virtual.quantizer_of(arguments["layout"])
        assert quantizer == puf.Quantizer(table("").quantizer().layout.packed(), 5300)
        with pytest.raises(UsageError, match="learn a table from boards of this kind"):
            design(tmp_path / name, not measured)
    assert (design(None, False), design(None, True)) == ({}, {"layout": "none"})
    with pytest.raises(ValueError, match="one of modeled, none, not 'other'"):
        virtual.quantizer_of("other")


@pytest.mark.slow  # compiles another board
def test_another_table_asks_for_another_enrollment():
    """A board enrolled with one table, its gateware replaced by one without: told so, reset, enrolled again."""
    first = Host(build(Design()), 3, silicon=modeled(3))
    first.enroll()
    image = bytes(first.device.flash)
    first.device.close()
    second = Host(build(Design(arguments={"layout": "none"})), 3, flash=image, silicon=modeled(3))
    assert Status.from_bytes(second.ask(Opcode.STATUS)).state is DeviceStateCode.OTHER_FLOORPLAN
    assert second.code(Opcode.PEER, b"\0") is Code.OTHER_FLOORPLAN
    assert bytes(second.device.flash) == image
    second.device.press(11)
    second.device.run(12 * 12_000_000)
    second.device.settle()
    second.listen()
    second.enroll()
    assert Status.from_bytes(second.ask(Opcode.STATUS)).state is DeviceStateCode.ENROLLED
    third = Host(build(Design()), 3, flash=image, silicon=modeled(3))  # the gateware that it was enrolled with
    assert third.code(Opcode.PEER, b"\0") is Code.OK


@pytest.mark.slow
def test_a_table_fits_the_reference_board(tmp_path):
    """With a table: no more block RAMs than without, and fast enough."""
    quantizer = puf.Quantizer(puf.Layout(9, table(UP5K).entries), 5300)
    for seed in (1, 2, 3):  # the clock depends on the luck of placement
        try:
            report = build_bitstream("icebreaker", quantizer=quantizer, seed=seed, folder=tmp_path)
            break
        except BuildFailed as failed:
            report = failed.report
    assert not report.refused
    assert (report.layout_version, report.sigma_ppm, report.rams) == (9, 5300, 12)
    assert report.cells <= board("icebreaker").budgets["pair"].cells + LAYOUT_CELLS
