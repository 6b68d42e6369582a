"""What can go wrong around the measuring verbs: wrong outputs, a full disk, an interruption, two at once, no reader."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ringpair.cli import main
from ringpair.errors import RingpairError
from ringpair.measure.files import write_whole
from ringpair.measure.layout import read_layout

RINGPAIR = [sys.executable, "-m", "ringpair.cli"]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


@pytest.fixture(scope="module")
def chips(tmp_path_factory):
    """Twenty chips."""
    rng = np.random.default_rng(1)
    pattern = 0.003 * np.random.default_rng(5).standard_normal(32)
    ring = 1 + pattern + 0.005 * rng.standard_normal((20, 32))
    values = 2300 * ring[:, :, None] * (1 + 2e-4 * rng.standard_normal((20, 32, 20)))
    path = tmp_path_factory.mktemp("chips") / "chips.npz"
    np.savez(path, freq_hz=values.astype(np.int64))
    return path


def makes(verb, chips, output, *more):
    """The command that writes a report or a table."""
    few = ("--replicates", "20") if verb == "report" else ()
    words = ["report"] if verb == "report" else ["layout", "learn"]
    return [*words, str(chips), "-o", str(output), *few, *more]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Fewer failure rates in the reports: they are not what is tested here."""
    monkeypatch.setattr("ringpair.measure.failure.SHIFTS", (0.0, 0.15))
    monkeypatch.setattr("ringpair.measure.failure.WINDOWS", (256, 512))
    monkeypatch.setattr("ringpair.measure.failure.MORE_RINGS", (192,))


VERBS = [("report", ".html", "report of ringpair"), ("layout", ".json", "layout table")]


@pytest.mark.parametrize(("verb", "ending", "kind"), VERBS)
def test_output_is_never_put_over_something_else(chips, tmp_path, capsys, verb, ending, kind):
    before = chips.read_bytes()
    other = tmp_path / f"mine{ending}"
    other.write_text("{}")
    for output, message in (
        (chips, f"expected an output that ends in {ending}, got {chips}"),
        (tmp_path / "no" / f"a{ending}", "there is no folder"),
        (other, f"exists and is no {kind}: choose another name"),
        (tmp_path, f"expected an output that ends in {ending}"),
    ):
        start = time.monotonic()
        assert main(makes(verb, chips, output)) == 2
        assert message in capsys.readouterr().err
        assert time.monotonic() - start < 2, "said only after the work"
    assert (chips.read_bytes(), other.read_text()) == (before, "{}")
    folder = tmp_path / f"folder{ending}"
    folder.mkdir()
    assert main(makes(verb, chips, folder)) == 2
    assert "choose another name" in capsys.readouterr().err


@pytest.mark.parametrize(("verb", "ending", "kind"), VERBS)
def test_output_of_the_same_kind_is_replaced(chips, tmp_path, verb, ending, kind):
    output = tmp_path / f"a{ending}"
    assert main(makes(verb, chips, output)) == 0
    first = output.read_text()
    assert main(makes(verb, chips, output)) == 0
    assert output.read_text() == first
    assert list(tmp_path.iterdir()) == [output]


def test_exported_figures_do_not_mix_with_other_files(chips, tmp_path, capsys):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "reads.csv").write_text("my own")
    assert main(makes("report", chips, tmp_path / "a.html", "--export", str(folder))) == 2
    assert "holds other files: choose another folder" in capsys.readouterr().err
    assert main(makes("report", chips, tmp_path / "a.html", "--export", str(chips))) == 2
    assert "is no folder" in capsys.readouterr().err
    assert (folder / "reads.csv").read_text() == "my own"
    for _ in range(2):
        assert main(makes("report", chips, tmp_path / "a.html", "--export", str(tmp_path / "new"))) == 0
    assert (tmp_path / "new" / "metrics.json").is_file()


class NoRoom:
    """A file on a disk that is full from the first flush on."""

    def __init__(self, file):
        self._file = file

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def write(self, text):
        self._file.write(text[:10])
        raise OSError(28, "No space left on device")


def test_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path, right = tmp_path / "a.html", type(tmp_path).open
    path.write_text("before")
    monkeypatch.setattr(type(tmp_path), "open", lambda self, *mode, **more: NoRoom(right(self, *mode, **more)))
    with pytest.raises(RingpairError, match=r"cannot write .*a.html: .*space"):
        write_whole(path, "after")
    monkeypatch.undo()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_no_room_for_results(chips, form):
    with open("/dev/full", "w") as full:
        command = [*RINGPAIR, "metrics", str(chips), "--replicates", "20", *form]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, timeout=120)
    assert done.returncode == 1
    assert "no space left" in done.stderr.lower()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_reader_that_has_enough(chips, form):
    command = [*RINGPAIR, "metrics", str(chips), "--replicates", "20", *form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as made:
        made.stdout.close()
        said = made.stderr.read()
    assert made.returncode == 0
    assert "Traceback" not in said
    assert "Error" not in said


@pytest.mark.parametrize("verb", ["metrics", "report"])
def test_interrupted(tmp_path, verb):
    """In the middle of the work: exit code 130, one word, and no file."""
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "a.npz", freq_hz=rng.integers(2200, 2400, (400, 192, 40)))
    more = ["-o", str(tmp_path / "a.html")] if verb == "report" else []
    command = [*RINGPAIR, verb, str(tmp_path / "a.npz"), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as made:
        time.sleep(0.2)
        while f"{tmp_path}/a.npz" not in "".join(opened(made.pid)):
            assert made.poll() is None, made.stderr.read()
            time.sleep(0.02)
        time.sleep(0.3)
        made.send_signal(signal.SIGINT)
        out, said = made.communicate(timeout=60)
    # Python itself ends by the signal if it came within an exec of text, as dataclasses do while modules are loaded
    assert made.returncode in (130, -signal.SIGINT)
    assert out == ""
    assert said.splitlines()[-1] == "interrupted"
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def opened(process):
    """Paths of the files that a process has open."""
    folder = f"/proc/{process}/fd"
    for entry in os.listdir(folder) if os.path.isdir(folder) else ():
        try:
            yield os.readlink(f"{folder}/{entry}")
        except OSError:
            continue


def test_two_at_once_write_one_whole_file(chips, tmp_path):
    output = tmp_path / "a.json"
    commands = [[*RINGPAIR, *makes("layout", chips, output, "--version", str(version))] for version in (7, 8)]
    made = [subprocess.Popen(command, stdout=subprocess.DEVNULL, env=ENVIRONMENT) for command in commands]
    assert [process.wait(timeout=180) for process in made] == [0, 0]
    assert read_layout(output).version in (7, 8)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--rings", "0"], 2, "--rings must be at least 1"),
        (["--layout", "no.json"], 1, "cannot read no.json (No such file or directory); expected a layout table"),
        (["--seed", "5000000000"], 2, "--seed must be 0 to 4294967295"),
        (["--sigma-ppm", "0"], 2, "--sigma-ppm must be 1 to"),
    ],
)
def test_options_out_of_range(chips, capsys, more, code, message):
    assert main(["metrics", str(chips), *more, "--json"]) == code
    assert message in json.loads(capsys.readouterr().out)["error"]["message"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("nothing.npz", "there is no file"), ("/dev/null", "is no regular file"), ("a.docx", "expected .parquet, .npz")],
)
def test_inputs_that_are_none(tmp_path, monkeypatch, capsys, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.docx").write_text("")
    assert main(["metrics", name]) == 1
    assert message in capsys.readouterr().err


def test_file_that_is_named_twice(chips, capsys):
    assert main(["metrics", str(chips), str(chips)]) == 1
    assert f"{chips} is named twice" in capsys.readouterr().err
