"""`ringpair characterize` with compiled virtual boards: counts into a file, whatever the cable does."""

import json
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from ringpair.characterize import Characterizer
from ringpair.cli import main
from ringpair.errors import UsageError
from ringpair.measure import capture, partial
from ringpair.measure.readers import open_files
from ringpair.virtual import Design, VirtualBoard, build
from ringpair_protocol import puf

from host.tests.model_board import ModelBoard

DESIGN = Design("ringpair_boards.virtual_characterize:virtual_characterize")


@pytest.fixture(scope="module")
def library():
    return build(DESIGN)


@pytest.fixture(scope="module")
def boards(library, tmp_path_factory):
    """Two chips of one design, as fast as this machine can."""
    base = tmp_path_factory.mktemp("boards")
    with (
        VirtualBoard("one", library, base=base, silicon={"seed": 1}, pace=0.0) as one,
        VirtualBoard("two", library, base=base, silicon={"seed": 2}, pace=0.0) as two,
    ):
        yield one, two


@pytest.fixture
def run(capsys):
    """Run the command; its JSON object and standard error."""

    def run(*arguments, code=0):
        capsys.readouterr()
        assert main(["characterize", *map(str, arguments), "--json"]) == code, capsys.readouterr().err
        out, err = capsys.readouterr()
        return json.loads(out), err

    return run


def values_of(path):
    """Chips x windows x rings x reads."""
    return np.concatenate([batch.values for batch in open_files([path]).batches()])


def cut_after(monkeypatch, reads, action):
    """Do something to the world once so many reads are kept."""
    append, left = partial.Partial.append, [reads]

    def counted(self, name, counts):
        append(self, name, counts)
        left[0] -= 1
        if not left[0]:
            action()

    monkeypatch.setattr(partial.Partial, "append", counted)


def test_two_boards(boards, run, tmp_path):
    one, two = boards
    path = tmp_path / "run.parquet"
    ambient = f"{sys.executable} -c 'print({json.dumps(json.dumps({'temperature': 24.5, 'voltage': 1.19}))})'"
    result, _ = run(
        f"a={one.port}", f"b={two.url}", "-o", path, "--reads", 3, "--window", 512, "--window", 1024,
        "--ambient", ambient, "--noise", 9_001,
    )  # fmt: skip
    assert (result["boards"], result["rings"], result["reads"], result["windows"]) == (["a", "b"], 192, 3, [512, 1024])
    data = open_files([path])
    assert (data.chips, data.rings, data.reads, data.meta.silicon, data.meta.floorplan) == (
        2, 192, 3, "simulated", "ringpair",
    )  # fmt: skip
    assert [(at.temperature, at.voltage, round(at.window * 12e6)) for at in data.conditions] == [
        (24.5, 1.19, 512), (24.5, 1.19, 1024),
    ]  # fmt: skip
    values = values_of(path)
    for chip, board in enumerate(boards):  # each ring under its own number, in its own chip
        with Characterizer.open(board.port) as device:
            (counts,) = device.counts_of_all()
            gateware = device.identity.gateware.hex()
        for window, factor in enumerate((1, 2)):
            assert np.abs(values[chip, window] - factor * np.array(counts)[:, None]).max() <= 6 * factor
        assert capture.unlikeness(list(values[chip, 0, :, 0]), counts) < capture.SAME_BOARD / 2
    assert capture.unlikeness(list(values[0, 0, :, 0]), list(values[1, 0, :, 0])) > 2 * capture.SAME_BOARD
    extra = data.meta.extra
    assert [entry["gateware"] for entry in extra["boards"].values()] == [gateware] * 2
    assert extra["created"].startswith("20")
    assert extra["versions"]["numpy"] == np.__version__
    assert (extra["clock_mhz"], extra["window_clocks"], len(extra["ambient"])) == (12, [512, 1024], 2)
    noise = [(tmp_path / f"run.{name}.noise").read_bytes() for name in "ab"]
    assert [len(entry) for entry in noise] == [1126, 1126]
    assert noise[0] != noise[1]
    share = np.unpackbits(np.frombuffer(noise[0], dtype=np.uint8)).mean()
    assert abs(share - 0.5) < 0.032  # 6 standard deviations
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["run.a.noise", "run.b.noise", "run.parquet"]


def test_goes_on_after_a_cut_cable(library, boards, run, tmp_path, monkeypatch):
    path, folder = tmp_path / "run.parquet", tmp_path / "run.parquet.partial"
    start = {"base": tmp_path / "boards", "silicon": {"seed": 3}, "pace": 0.0}
    command = ["-o", path, "--reads", 6, "--temperature", 30]
    with VirtualBoard("three", library, **start) as three:
        with monkeypatch.context() as patch:
            cut_after(patch, 5, three.kill)
            failed, err = run(f"x={three.port}", f"y={boards[0].port}", *command, code=3)
    assert failed["error"]["kind"] == "TransportError"
    assert failed["error"]["message"].startswith("x: ")
    assert "y 6; go on with the same command and --resume" in err
    assert not path.exists()
    kept = (folder / "x.counts").read_bytes()
    assert 1 <= len(kept) // 384 < 6
    (folder / "x.counts").write_bytes(kept + b"half a read")
    # what is not the same run, or not the same boards, is refused, and nothing is lost by it
    for arguments, text in (
        ([f"y={boards[0].port}", *command], "has names x, y, this command y"),
        ([f"x={boards[1].port}", f"y={boards[0].port}", *command[:2], "--reads", 7], "has reads 6, this command 7"),
        ([f"x={boards[1].port}", f"y={boards[0].port}", *command[:-1], 31], "began with temperature 30.0, not 31.0"),
    ):
        assert text in run(*arguments, "--resume", code=2)[0]["error"]["message"]
    assert "holds an unfinished run" in run(f"x={boards[1].port}", *command, code=2)[0]["error"]["message"]
    wrong, _ = run(f"x={boards[1].port}", f"y={boards[0].port}", *command, "--resume", code=1)
    assert "is not the x that this run began with: its rings differ by 0." in wrong["error"]["message"]
    with VirtualBoard("three", library, **start) as three:
        run(f"x={three.port}", f"y={boards[0].port}", *command, "--resume")
        with Characterizer.open(three.port) as device:
            (counts,) = device.counts_of_all()
    values = values_of(path)
    assert values.shape == (2, 1, 192, 6)
    first = np.frombuffer(kept, "<u2").reshape(-1, 192).T
    assert (values[0, 0, :, : first.shape[1]] == first).all()  # what was read before the cut is in the file
    assert np.abs(values[0, 0] - np.array(counts)[:, None]).max() <= 6
    data = open_files([path])
    assert data.conditions[0].temperature == 30
    assert [entry["resumed_at"][-1] for entry in data.meta.extra["boards"].values()] == [first.shape[1], 6]
    assert not folder.exists()


def test_an_interrupt_keeps_what_was_read(boards, tmp_path, monkeypatch, capsys):
    path = tmp_path / "run.parquet"
    cut_after(monkeypatch, 3, lambda: os.kill(os.getpid(), signal.SIGINT))
    start = time.monotonic()
    assert main(["characterize", f"x={boards[0].port}", "-o", str(path), "--reads", "1000000"]) == 130
    assert time.monotonic() - start < 10
    assert "reads kept in" in capsys.readouterr().err
    assert 3 <= (tmp_path / "run.parquet.partial" / "x.counts").stat().st_size / 384 < 20
    assert not path.exists()


def test_order_of_the_reads(tmp_path):
    """Series by series, in each window by window: each read ends up where it belongs."""
    plan = partial.Plan(["a", "b"], [256, 512], reads=3, series=2, clock_mhz=12)
    plan.boards = {"a": {"simulated": False}, "b": {"simulated": True}}
    run = partial.Partial(tmp_path / "run.parquet", plan, resume=False)
    run.save_plan()
    for chip, name in enumerate("ab"):
        for number in range(plan.records):
            assert not run.complete
            run.append(name, [1 + chip + 2 * number + 100 * ring for ring in range(puf.RINGS)])
    assert run.complete
    assert run.finish() == [tmp_path / "run.parquet"]
    assert open_files([tmp_path / "run.parquet"]).meta.silicon == "mixed"
    values = values_of(tmp_path / "run.parquet") - 1
    assert (values[0, 0, 0] == [0, 2, 4, 12, 14, 16]).all()  # window 0: reads 0 to 2 and 6 to 8
    assert (values[1, 1, 0] == [7, 9, 11, 19, 21, 23]).all()
    assert (np.diff(values, axis=2) == 100).all()


def test_power_cycles(library, run, tmp_path):
    path, waited = tmp_path / "run.parquet", []
    with VirtualBoard("four", library, base=tmp_path / "boards", silicon={"seed": 4}, pace=0.0) as four:

        def human():
            """Switches the board off and on when its first series is there."""
            counts = tmp_path / "run.parquet.partial" / "f.counts"
            while not counts.exists() or counts.stat().st_size < 2 * 384:
                time.sleep(0.05)
            time.sleep(0.5)
            waited.append(counts.stat().st_size == 2 * 384)
            four.control.request("power", on=False)
            time.sleep(0.1)
            four.control.request("power", on=True)

        hand = threading.Thread(target=human)
        hand.start()
        result, err = run(f"f={four.port}", "-o", path, "--reads", 2, "--restarts", 1)
        hand.join()
    assert (result["reads"], waited) == (4, [True])
    assert "switch off and on again, for series 2 of 2: f" in err
    assert "f started anew" in err
    data = open_files([path])
    assert (data.meta.extra["series"], data.meta.extra["reads_per_series"]) == (2, 2)
    assert values_of(path).shape == (1, 1, 192, 4)


def test_noise_after_power_cycles(library, run, tmp_path, monkeypatch):
    """Each restart's first samples are kept in turn; a command switches the board."""
    monkeypatch.setenv("RINGPAIR_HOME", str(tmp_path))
    path = tmp_path / "run.parquet"
    with VirtualBoard("five", library, base=tmp_path, silicon={"seed": 5}, pace=0.0) as five:
        five.control.request("noise", one=0.75)
        cycle = f"{sys.executable} -m ringpair.cli button {{}} --power-cycle"
        result, err = run(
            "five", "-o", path, "--reads", 1, "--restarts", 3, "--restart-noise", 800, "--noise", 8000, "--cycle", cycle
        )
        assert five.control.status()["boots"] == 4
    assert "switch off" not in err
    assert result["noise_files"] == [str(tmp_path / f"run.five.{kind}") for kind in ("noise", "restarts")]
    rows = np.frombuffer((tmp_path / "run.five.restarts").read_bytes(), np.uint8).reshape(3, 100)
    assert len({row.tobytes() for row in rows}) == 3
    assert abs(np.unpackbits(rows).mean() - 0.75) < 0.06  # 6 standard deviations
    extra = open_files([path]).meta.extra
    assert extra["restart_noise"]["five"]["bits_a_restart"] == 800
    assert extra["noise"]["five"]["bits"] == 8000
    assert not (tmp_path / "run.parquet.partial").exists()


def test_a_row_of_a_restart_is_kept_once(tmp_path):
    """A run that broke off between the noise and the reads of a series takes that noise again."""
    plan = partial.Plan(["a"], [512], reads=1, series=4, restart_bytes=2, clock_mhz=12)
    run = partial.Partial(tmp_path / "run.parquet", plan, resume=False)
    run.save_plan()
    for series, data in ((1, b"aa"), (2, b"bb"), (2, b"cc"), (3, b"dd")):
        run.keep_restart("a", series, data)
    assert (tmp_path / "run.parquet.partial" / "a.restarts").read_bytes() == b"aaccdd"


def test_a_board_that_is_gone_in_a_power_cycle(library, run, tmp_path, monkeypatch):
    """Switched off, and not on again: said so; with --resume, the run goes on with that series."""
    path = tmp_path / "run.parquet"
    command = ["-o", path, "--reads", 2, "--restarts", 2, "--restart-noise", 64]
    counts = tmp_path / "run.parquet.partial" / "f.counts"
    six = VirtualBoard("six", library, base=tmp_path, silicon={"seed": 6}, pace=0.0)

    def human(reads, action):
        while not counts.exists() or counts.stat().st_size < reads * 384:
            time.sleep(0.05)
        time.sleep(0.5)
        action()

    def power_cycle():
        six.control.request("power", on=False)
        six.control.request("power", on=True)

    monkeypatch.setattr(capture, "REOPEN_S", 2.0)
    hands = [threading.Thread(target=human, args=(2, power_cycle)), threading.Thread(target=human, args=(4, six.kill))]
    six.start()
    for hand in hands:
        hand.start()
    failed, err = run(f"f={six.port}", *command, code=3)
    for hand in hands:
        hand.join()
    assert "f was switched off for series 3 of 3 and did not come back within 2 s" in failed["error"]["message"]
    assert "go on with --resume" in failed["error"]["message"]
    assert "reads kept in" in err
    assert "f 4; go on with the same command and --resume" in err
    assert not path.exists()
    with six:  # being on again is no power cycle that the run has seen: it asks for one
        hand = threading.Thread(target=lambda: (time.sleep(6), power_cycle()))
        hand.start()
        result, err = run(f"f={six.port}", *command, "--resume")
        hand.join()
    assert "for series 3 of 3: f" in err
    assert result["reads"] == 6
    assert values_of(path).shape == (1, 1, 192, 6)
    assert len((tmp_path / "run.f.restarts").read_bytes()) == 2 * 8


def test_a_full_disk_keeps_what_was_read(boards, run, tmp_path, monkeypatch):
    path, folder = tmp_path / "run.parquet", tmp_path / "run.parquet.partial"
    command = [f"x={boards[0].port}", "-o", path, "--reads", 2]

    def fill():
        (folder / "x.counts").rename(folder / "kept")
        (folder / "x.counts").symlink_to("/dev/full")

    with monkeypatch.context() as patch:
        cut_after(patch, 1, fill)
        failed, _ = run(*command, code=1)
    assert "No space left on device; what was read is kept: make room" in failed["error"]["message"]
    (folder / "kept").replace(folder / "x.counts")
    (folder / "output").symlink_to("/dev/full")
    failed, _ = run(*command, "--resume", code=1)
    assert f"cannot write {path}: " in failed["error"]["message"]
    assert "all reads are kept" in failed["error"]["message"]
    assert not path.exists()
    gone = [f"x={tmp_path / 'unplugged'}", *command[1:], "--resume"]  # all is there: the board is not needed again
    assert run(*gone)[0]["reads"] == 2
    assert values_of(path).shape == (1, 1, 192, 2)


def test_one_board_at_two_ports(library, boards, run, tmp_path):
    with VirtualBoard("twin", library, base=tmp_path / "boards", silicon={"seed": 1}, pace=0.0) as twin:
        error = run(f"a={boards[0].port}", f"b={twin.port}", "-o", tmp_path / "run.parquet", code=1)[0]["error"]
    assert error["message"] == "b and a are one and the same board: name each board once"
    assert not (tmp_path / "run.parquet.partial").exists()


def test_errors(boards, run, tmp_path):
    path = tmp_path / "run.parquet"
    port = boards[0].port
    with ModelBoard("other") as other:
        text = run(other.port, "-o", path, code=3)[0]["error"]["message"]
        assert "expected the characterization gateware" in text
    for arguments, code, expected in (
        ((tmp_path / "ttyNone",), 3, "there is no port"),
        ((port, "--resume"), 2, "there is no unfinished run"),
        ((port, "--window", 65535), 2, "its counters hold 16 bits: expected"),
        ((port, "--window", 1), 2, "its counters hold 16 bits: expected"),
        ((port, "--window", 9, "--window", 9), 2, "expected each --window once"),
        ((port, "--noise", -1), 2, "--noise must be 0 to"),
        ((port, "--restart-noise", 8), 2, "expected --restart-noise as a multiple of 8, with --restarts, got 8"),
        ((port, "--restarts", 2, "--restart-noise", 9), 2, "multiple of 8"),
        ((f"../a={port}",), 2, "expected a name of letters"),
        ((f"a={port}", f"a={boards[1].port}"), 2, "second board with that name"),
        ((port, "--ambient", "false"), 1, "ended with 1"),
        ((port, "--ambient", "echo 21"), 1, "expected JSON such as"),
        ((port, "--ambient", "echo {}", "--voltage", 1), 2, "--ambient excludes"),
    ):
        message = run(*arguments, "-o", path, code=code)[0]["error"]["message"]
        assert expected in message
    assert not list(tmp_path.iterdir()), "what was refused leaves nothing behind"
    path.write_text("mine")
    assert "exists: choose another name" in run(port, "-o", path, code=2)[0]["error"]["message"]
    assert path.read_text() == "mine"
    with pytest.raises(UsageError, match=r"ends in \.parquet"):
        partial.Partial(tmp_path / "run.csv", partial.Plan(["a"], [], 1), False)
    assert puf.RINGS * 2 == partial.READ_BYTES
    assert os.listdir(tmp_path) == ["run.parquet"]


def test_a_cycle_command_that_fails(boards, run, tmp_path):
    """It is said, and the reads before it are kept."""
    path = tmp_path / "run.parquet"
    arguments = (boards[0].port, "--restarts", 1, "--reads", 1, "--cycle", "false")
    message = run(*arguments, "-o", path, code=1)[0]["error"]["message"]
    assert "--cycle 'false' ended with 1" in message
    assert not path.exists()
    assert "--resume" in run(*arguments, "-o", path, code=2)[0]["error"]["message"]
