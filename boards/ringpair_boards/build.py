"""From a design to a bitstream for a board, with proof that its rings are equal.

The tools are Yosys, nextpnr-ice40 and icepack from PyPI, run with fixed options and a fixed seed, so that the same
source gives the same bitstream. Whatever would make the result untrustworthy refuses the build: see `judge`.
"""

import hashlib
import importlib
import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from amaranth.hdl import Elaboratable
from ringpair_protocol import puf

from . import tools
from .asc import Bitstream
from .blocks import cells_per_block, rams_per_block
from .board import SEED, Board
from .identity import Identity, check
from .locks import Lock
from .netlist import Netlist, ring_names
from .report import BuildFailed, BuildReport

__all__ = ["BOARDS", "PROFILES", "SEED", "Top", "UnknownBoard", "board", "boards", "build"]

BOARDS = ("icebreaker", "icebreaker-bitsy", "upduino-v3", "icesugar", "up5k-evn", "hx8k-evn", "tinyfpga-bx")
PROFILES = ("pair", "full", "characterize")
NAME = "top"
LAYOUT_CELLS = 40
"""What a layout table may take beside the budget: logic that picks its entries from words of a memory that is there."""
Top = Callable[[Board, str, bytes], Elaboratable]
"""Makes the design for a board, from (board, profile, gateware hash of 8 bytes); it requests its pins itself."""

SYNTHESIS = """
read_rtlil {name}.il
proc
setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2 r:CLK_ENABLE=1 %i
{blocks}
synth_ice40 -device {device} -top {name} -dff
write_json {name}.json
"""
"""The option -dff lets abc see the registers: some 80 cells less for the whole device, and a little faster.

A block RAM may give anything for a word that is read while it is written. Amaranth promises the old one, and Yosys
would add registers, a comparator and a multiplexer to each RAM to keep that promise. No block needs it: what is read in
such a cycle is not used (`LinkPorts`: proved; scratchpad: `Program` refuses fields that would; the code memory is
written in its first rows, where nobody jumps to; the PUF engine reads or writes; the curve engine's linker refuses
programs that would). So Yosys is told that it may give
anything, which saves 120 cells."""

BLOCK = (
    'setattr -set BLOCK "{module}" {module}/t:*dff* {module}/t:SB_*'  # flattening forgets where a register came from
)


class UnknownBoard(ValueError):
    """No board of that name."""


def boards() -> list[Board]:
    """All boards, the reference board first."""
    return [board(name) for name in BOARDS]


def board(name: str) -> Board:
    """A board by its name.

    Raises
    ------
    UnknownBoard
    """
    if name not in BOARDS:
        raise UnknownBoard(f"unknown board {name!r}: expected one of {', '.join(BOARDS)}")
    return importlib.import_module("." + name.replace("-", "_"), __package__).BOARD


def build(
    target: Board | str,
    profile: str = "pair",
    *,
    seed: int | None = None,
    quantizer: puf.Quantizer | None = None,
    folder: Path | None = None,
    top: Top | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> BuildReport:
    """Build a bitstream; nothing is done again when the design, the options and the tools are those of the last build.

    Parameters
    ----------
    target : Board or str
        What to build for.
    profile : str
        ``"pair"``, ``"full"`` or ``"characterize"``.
    seed : int, optional
        Of nextpnr; that of the profile's budget without it.
    quantizer : Quantizer, optional
        Layout table of the rings, rounded as `Layout.packed` does, and their spread; not for the profile
        ``"characterize"``. Without it there is no table.
    folder : Path, optional
        For all files; ``build/BOARD-PROFILE`` without it. The bitstream is ``BOARD-PROFILE.bin``, the report beside
        it ``.json``.
    top : callable, optional
        Another design than the shipped one: see `Top`.
    progress : callable
        Told of each slow step as it begins.

    Raises
    ------
    UnknownBoard, ToolMissing, ValueError
        Nothing was built.
    ToolError
        A tool failed, for instance because the design does not fit the chip.
    BuildFailed
        The result must not be used; its report is in the exception and in the folder, but no bitstream.
    """
    target = board(target) if isinstance(target, str) else target
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}: expected one of {', '.join(PROFILES)}")
    if profile not in target.budgets:
        raise ValueError(f"{target.name} has no profile {profile!r}: expected one of {', '.join(target.budgets)}")
    seed = target.budgets[profile].seed if seed is None else seed
    quantizer = _packed(quantizer, profile)
    folder = Path(folder or Path("build") / f"{target.name}-{profile}")
    lock = Lock(folder / f"{NAME}.lock")
    if not lock.acquire():
        progress(f"waiting for another build in {folder}")
        lock.acquire(wait=True)
    try:
        return _build(target, profile, seed, quantizer, folder, top or partial(_shipped, quantizer), progress)
    finally:
        lock.release()


def judge(target: Board, profile: str, report: BuildReport, netlist: Netlist, identity: Identity) -> list[str]:
    """The reasons to refuse a build; none if it is good."""
    reasons = list(netlist.problems(ring_names(target.floorplan)))
    if not identity.ok:
        reasons.append(str(identity))
    budget = target.budgets[profile]
    cells = budget.cells + (LAYOUT_CELLS if report.layout_version else 0)
    for what, used, allowed in (
        ("logic cells", report.cells, cells),
        ("block RAMs", report.rams, budget.rams),
        ("DSPs", report.dsps, budget.dsps),
    ):
        if used > allowed:
            reasons.append(f"{used} {what} are over the budget of {allowed}")
    for what, reached, needed in (
        ("the system clock reaches", report.fmax_mhz, budget.fmax_mhz),
        ("the dividers reach", report.divider_mhz, report.ring_mhz["slow"]),
        ("the counters reach", report.counter_mhz, report.ring_mhz["slow"] / 2),
    ):
        if reached < needed:
            reasons.append(f"{what} {reached:.1f} MHz at the slow corner, and {needed:.1f} MHz are needed")
    conflict = target.flash.conflict(report.bitstream_bytes)
    return [*reasons, conflict] if conflict else reasons


# ------------------------------------------------------------------------------------------------------------- steps


def _build(
    target: Board,
    profile: str,
    seed: int,
    quantizer: puf.Quantizer,
    folder: Path,
    top: Top,
    progress: Callable[[str], None],
) -> BuildReport:
    """What `build` does, in a folder that nobody else works in."""
    progress("elaborating the design")
    gateware_hash = _write_design(target, profile, top, seed, folder)
    bitstream = folder / f"{target.name}-{profile}.bin"
    bitstream.unlink(missing_ok=True)
    seconds = _run_tools(target, profile, seed, folder, progress)

    progress("comparing the rings in the bitstream")
    netlist = Netlist.read(folder / f"{NAME}.json")
    identity = check(Bitstream.read(folder / f"{NAME}.asc"), target.floorplan)
    measured = json.loads((folder / f"{NAME}.timing").read_text())
    report = _report(target, profile, seed, gateware_hash, bitstream, seconds, netlist, identity, measured)
    report = replace(report, layout_version=quantizer.layout.version, sigma_ppm=quantizer.sigma_ppm)
    report = replace(report, refused=judge(target, profile, report, netlist, identity))
    bitstream.with_suffix(".json").write_text(report.to_json())
    if report.refused:
        raise BuildFailed(report)
    shutil.copyfile(folder / f"{NAME}.bin", bitstream)
    return report


def _packed(quantizer: puf.Quantizer | None, profile: str) -> puf.Quantizer:
    """The quantizer as the gateware has it."""
    if quantizer is None:
        return puf.Quantizer()
    if profile == "characterize":
        raise ValueError(f"the profile {profile} counts rings and makes no bits of them: it takes no layout table")
    if quantizer.layout.version == puf.NO_LAYOUT.version:
        raise ValueError(f"a layout table has a version from 1; {puf.NO_LAYOUT.version} says that there is none")
    return replace(quantizer, layout=quantizer.layout.packed())


def _shipped(quantizer: puf.Quantizer, target: Board, profile: str, gateware_hash: bytes) -> Elaboratable:
    """The gateware of the profile, as shipped."""
    from .top import top_of

    return top_of(target, profile, gateware_hash, quantizer)


def _convert(target: Board, top: Elaboratable) -> tuple[str, str]:
    """RTLIL and pin constraints of a design; without source positions, which differ from machine to machine."""

    class Lean(target.platform):
        """Only these two files: the rest of Amaranth's build would look for tools on the PATH."""

        default_clk = target.clock
        resources = (*_clock_resources(target), *target.resources())
        connectors = ()

        @property
        def file_templates(self):
            templates = super().file_templates
            return {
                name: text for name, text in templates.items() if name.endswith((".il", ".pcf")) or "build_" in name
            }

    files = Lean().prepare(top, NAME, emit_src=False).files
    il, pcf = (files[f"{NAME}.{kind}"] for kind in ("il", "pcf"))
    # The clock is constrained by the budget, not by the crystal: see the option --freq.
    pcf = "".join(line for line in _text(pcf).splitlines(keepends=True) if not line.startswith(("set_frequency", "#")))
    il = "".join(line for line in _text(il).splitlines(keepends=True) if not line.startswith("#"))
    return il, pcf


def _clock_resources(target: Board) -> list[Any]:
    return [resource for resource in target.platform.resources if resource.name == target.clock]


def _text(content: str | bytes) -> str:
    return content if isinstance(content, str) else content.decode()


def _options(target: Board, profile: str, seed: int) -> list[str]:
    """What nextpnr is told besides file names. Loops and timing are judged here, not there."""
    package = target.platform.package.lower()
    frequency = f"{target.budgets[profile].fmax_mhz:g}"
    options = [target.chip.nextpnr, "--package", package, "--seed", str(seed), "--freq", frequency]
    return [*options, "--ignore-loops", "--timing-allow-fail"]


def _write_design(target: Board, profile: str, top: Top, seed: int, folder: Path) -> str:
    """Write RTLIL and constraints. The gateware hash is taken of the design with a zero in its place, then put in."""
    blank = _convert(target, top(target, profile, bytes(8)))
    parts = [*blank, *_options(target, profile, seed), SYNTHESIS, BLOCK, json.dumps(tools.versions(), sort_keys=True)]
    digest = hashlib.sha256("\0".join(parts).encode()).digest()[:8]
    il, pcf = _convert(target, top(target, profile, digest))
    (folder / f"{NAME}.il").write_text(il)
    (folder / f"{NAME}.pcf").write_text(pcf)
    return digest.hex()


def _run_tools(target: Board, profile: str, seed: int, folder: Path, progress: Callable[[str], None]) -> float:
    """Synthesis, placement, routing, packing, unless their results are there; returns the seconds they took."""
    il, pcf = ((folder / f"{NAME}.{kind}").read_text() for kind in ("il", "pcf"))
    blocks = (BLOCK.format(module=name) for name in re.findall(r"^module \\(\S+)", il, re.MULTILINE))
    script = SYNTHESIS.format(name=NAME, device=target.chip.synthesis, blocks="\n".join(blocks))
    options = _options(target, profile, seed)
    parts = [il, pcf, script, *options, json.dumps(tools.versions(), sort_keys=True)]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    key_file = folder / f"{NAME}.key"
    packed = folder / f"{NAME}.bin"
    if key_file.exists() and packed.exists():
        stored = json.loads(key_file.read_text())
        if stored["key"] == key and stored["bitstream"] == _sha256(packed):
            progress("design, options and tools are those of the last build: nothing to do")
            return stored["seconds"]
    key_file.unlink(missing_ok=True)
    start = time.monotonic()
    (folder / f"{NAME}.ys").write_text(script)
    progress("synthesis with Yosys (its first run on a machine takes a minute longer)")
    tools.run("yosys", "-s", f"{NAME}.ys", folder=folder, log=folder / "yosys.log")
    files = ["--json", f"{NAME}.json", "--pcf", f"{NAME}.pcf", "--asc", f"{NAME}.asc", "--report", f"{NAME}.timing"]
    progress("placement and routing with nextpnr")
    tools.run("nextpnr", *options, *files, folder=folder, log=folder / "nextpnr.log")
    tools.run("icepack", f"{NAME}.asc", packed.name, folder=folder)
    seconds = round(time.monotonic() - start, 1)
    key_file.write_text(json.dumps({"key": key, "seconds": seconds, "bitstream": _sha256(packed)}))
    return seconds


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# ------------------------------------------------------------------------------------------------------------ report


@dataclass(frozen=True)
class Clocks:
    """Highest frequencies per kind of clock in MHz, at the slow corner."""

    system: float
    divider: float
    counter: float

    @staticmethod
    def kind(name: str) -> str:
        """Which kind a clock is, by its name."""
        if re.search(r"\btile_\d+_\d+\.clk$", name):
            return "divider"
        return "counter" if re.search(r"\bcounter\d+\.clock$", name) else "system"

    @classmethod
    def of(cls, fmax: Mapping[str, Any]) -> "Clocks":
        """Sort nextpnr's clocks by their names: tile clocks, counter clocks, everything else."""
        kinds: dict[str, list[float]] = {"system": [], "divider": [], "counter": []}
        for name, values in fmax.items():
            kinds[cls.kind(name)].append(values["achieved"])
        return cls(**{kind: min(values, default=0.0) for kind, values in kinds.items()})


def _critical_path(paths: list[Mapping[str, Any]]) -> list[str]:
    """The slowest path from a flip-flop of the system clock to another one."""
    for path in paths:
        ends = {path["from"], path["to"]}
        if len(ends) == 1 and "<async>" not in ends and Clocks.kind(path["from"]) == "system":
            arrival, steps = 0.0, []
            for step in path["path"]:
                arrival += step["delay"]
                if step["type"] != "routing":
                    steps.append(f"{arrival:5.1f} {re.split('_SB_|_LC$', step['to']['cell'])[0]}")
            return steps
    return []


def _report(
    target: Board,
    profile: str,
    seed: int,
    gateware_hash: str,
    bitstream: Path,
    seconds: float,
    netlist: Netlist,
    identity: Identity,
    measured: Mapping[str, Any],
) -> BuildReport:
    chip, clocks = target.chip, Clocks.of(measured["fmax"])
    used = {name: values["used"] for name, values in measured["utilization"].items()}
    rams, dsps = used.get("ICESTORM_RAM", 0), used.get("ICESTORM_DSP", 0)
    setup_ns = max(chip.ram_setup_ns if rams else 0.0, chip.dsp_setup_ns if dsps else 0.0)
    return BuildReport(
        board=target.name,
        profile=profile,
        chip=chip.name,
        seed=seed,
        cells=used["ICESTORM_LC"],
        cells_available=chip.cells,
        rams=rams,
        rams_available=chip.rams,
        dsps=dsps,
        dsps_available=chip.dsps,
        fmax_mhz=round(1e3 / (1e3 / clocks.system + setup_ns), 2) if clocks.system else 0.0,
        rings=identity.rings,
        rings_identical=identity.identical,
        floorplan=target.floorplan.name,
        floorplan_id=target.floorplan.identifier.hex(),
        gateware_hash=gateware_hash,
        bitstream=str(bitstream),
        bitstream_sha256=_sha256(bitstream.parent / f"{NAME}.bin"),
        bitstream_bytes=(bitstream.parent / f"{NAME}.bin").stat().st_size,
        seconds=seconds,
        ring_mhz=chip.ring_mhz(),
        divider_mhz=round(clocks.divider, 1),
        counter_mhz=round(clocks.counter, 1),
        select_variants=identity.select_variants,
        blocks=cells_per_block(netlist),
        block_rams=rams_per_block(netlist),
        critical_path=_critical_path(measured["critical_paths"]),
        tools=tools.versions(),
    )
