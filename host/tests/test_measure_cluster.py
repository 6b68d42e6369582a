"""The metrics on a real local cluster of two worker processes: the same figures, and clear words when it fails."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from distributed import Client
from ringpair.cli import main
from ringpair.measure.cluster import Cluster
from ringpair.measure.dataset import Condition, InMemory
from ringpair.measure.layout import read_layout
from ringpair.measure.readers import open_files
from ringpair.measure.survey import FirstPass
from ringpair.measure.table import write_parquet
from ringpair.measure.work import here

START = "from distributed.cli.dask_{0} import main; main()"


def start(log, kind, *arguments):
    """A process of the cluster, as its command line starts it."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    command = [sys.executable, "-c", START.format(kind), *arguments, "--no-dashboard"]
    with open(log, "w") as file:
        return subprocess.Popen(command, env=environment, stderr=file)


def line_with(log, text):
    """The first line of a log with this text, once it is there."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for line in log.read_text().splitlines():
            if text in line:
                return line
        time.sleep(0.1)
    raise AssertionError(f"no {text!r} in {log.read_text()}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Scheduler and two workers; address and workers."""
    folder = tmp_path_factory.mktemp("dask")
    processes = [start(folder / "scheduler.log", "scheduler", "--host", "127.0.0.1", "--port", "0")]
    try:
        address = line_with(folder / "scheduler.log", "Scheduler at:").split()[-1]
        for name in "ab":
            more = ("--no-nanny", "--nthreads", "1", "--name", name, "--local-directory", str(folder / name))
            processes.append(start(folder / f"{name}.log", "worker", address, *more))
        for name in "ab":
            line_with(folder / f"{name}.log", "Registered to:")
        yield address, processes[1:]
    finally:
        for process in processes[::-1]:
            process.kill()
            process.wait()


def files_of(folder, chips=80):
    """The chips in four files, two temperatures."""
    rng = np.random.default_rng(1)
    ring = 1 + 0.003 * np.random.default_rng(5).standard_normal(64) + 0.005 * rng.standard_normal((chips, 64))
    slope = 1 + np.array([0, -0.014])[:, None] + 4e-4 * rng.standard_normal((chips, 2, 64))
    values = 2300 * (ring[:, None] * slope)[..., None] * (1 + 2e-4 * rng.standard_normal((chips, 2, 64, 20)))
    at = (Condition(25.0, 1.2, 4e-5), Condition(60.0, 1.2, 4e-5))
    names = [f"board {chip}" for chip in range(chips)]
    paths = [folder / f"run{number}.parquet" for number in range(4)]
    for number, path in enumerate(paths):
        own = slice(number * chips // 4, (number + 1) * chips // 4)
        write_parquet(path, InMemory(np.rint(values[own]).astype(np.int64), names[own], conditions=at))
    return paths


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return files_of(tmp_path_factory.mktemp("files"))


def told(capsys, *arguments):
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def same(ours, theirs, where=""):
    """Equal, but for the order in which floating-point numbers are added."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours.keys() - {"name", "metadata"}:
            same(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(ours, list):
        assert len(ours) == len(theirs), where
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            same(*pair, f"{where}[{number}]")
    elif isinstance(ours, float):
        assert theirs == pytest.approx(ours, rel=1e-9, abs=1e-12), where
    else:
        assert ours == theirs, where


def test_metrics_of_many_files_are_those_of_one_process(cluster, files, capsys, monkeypatch):
    def margins(sums, chips):
        return {"rings": sums.rings.tolist(), "corner": [], "measured": []}

    monkeypatch.setattr("ringpair.measure.evaluate.failure_figures", margins)  # the sums count here, not the rates
    arguments = ["metrics", *files, "--replicates", "50", "--failure"]
    local = told(capsys, *arguments)
    monkeypatch.chdir(files[0].parent)  # workers have other working directories
    arguments[1:5] = [path.name for path in files]
    same(local, told(capsys, *arguments, "--scheduler", cluster[0]))
    assert local["chips"] == 80


def test_both_workers_work(cluster, files):
    """Each sums pieces of its own; the sums of all pieces are exactly those of one process."""
    data = open_files(files)
    work = FirstPass(data, 4)
    with Cluster(cluster[0]) as run:
        done = []
        sums = run(data, work, done.append)
    local = here(data, work, lambda chips: None)
    np.testing.assert_array_equal(sums.entries, local.entries)
    np.testing.assert_array_equal(sums.chips, local.chips)
    assert done == sorted(done)
    assert done[-1] == 80
    with Client(cluster[0], set_as_default=False) as client:
        executed = client.run(lambda dask_worker: sum("executing" in entry for entry in dask_worker.state.log))
    assert len(executed) == 2
    assert all(executed.values()), executed


def test_layout_takes_a_scheduler_too(cluster, files, tmp_path, capsys):
    found = told(capsys, "layout", "learn", *files, "-o", tmp_path / "a.json")
    there = told(capsys, "layout", "learn", *files, "-o", tmp_path / "b.json", "--scheduler", cluster[0])
    same(found | {"file": ""}, there | {"file": ""})
    assert read_layout(tmp_path / "a.json").entries == read_layout(tmp_path / "b.json").entries


def test_what_is_wrong_with_a_file_is_said_as_in_one_process(cluster, files, tmp_path, capsys):
    values = np.full((3, 64, 20), 2000) + np.arange(3)[:, None, None]
    at = (Condition(25.0, 1.2, 4e-5), Condition(60.0, 1.2, 4e-5))
    double = tmp_path / "double.parquet"
    write_parquet(double, InMemory(values[:, None].repeat(2, 1), ["x", "board 9", "y"], conditions=at))
    assert main(["metrics", *map(str, files), str(double), "--scheduler", cluster[0], "--json"]) == 1
    assert (
        "chip board 9 comes twice; leave one of the two out" in json.loads(capsys.readouterr().out)["error"]["message"]
    )
    values[1, 3, 7] = -1
    np.savez(tmp_path / "bad.npz", freq_hz=values)
    assert main(["metrics", str(tmp_path / "bad.npz"), "--scheduler", cluster[0]]) == 1
    assert "chip 1, ring 3, read 7 is -1" in capsys.readouterr().err


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "code", "message"),
    [
        ("localhost", 2, "expected the address of a Dask scheduler, such as tcp://HOST:8786, got 'localhost'"),
        ("tcp://127.0.0.1:{free}", 1, "no Dask scheduler answers at tcp://127.0.0.1:"),
    ],
)
def test_no_scheduler(files, capsys, monkeypatch, address, code, message):
    monkeypatch.setattr("ringpair.measure.cluster.CONNECT_SECONDS", 1)
    assert main(["metrics", str(files[0]), "--scheduler", address.format(free=free_port())]) == code
    assert message in capsys.readouterr().err


def test_worker_without_ringpair(cluster, files, capsys, monkeypatch):
    monkeypatch.setattr("ringpair.measure.cluster.version", lambda name: "99.0")
    assert main(["metrics", str(files[0]), "--scheduler", cluster[0]]) == 1
    assert "we have 99.0: install the same everywhere" in capsys.readouterr().err


def test_workers_gone(cluster, files, capsys):
    """Last, as it ends them: one worker takes over from the other; without any, it is said that there are none."""
    _, workers = cluster
    before = told(capsys, "metrics", *files, "--method", "chain", "--replicates", "20")
    workers[0].send_signal(signal.SIGKILL)
    workers[0].wait()
    same(before, told(capsys, "metrics", *files, "--method", "chain", "--replicates", "20", "--scheduler", cluster[0]))
    workers[1].terminate()
    workers[1].wait()
    assert main(["metrics", str(files[0]), "--scheduler", cluster[0]]) == 1
    assert "has no workers: start some" in capsys.readouterr().err
