"""What a build says about itself, for programs and for people."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ringpair_protocol import puf

__all__ = ["BuildFailed", "BuildReport"]


@dataclass(frozen=True)
class BuildReport:
    """Result of a build.

    Attributes
    ----------
    fmax_mhz : float
        Highest frequency of the system clock at the slow corner, with the setup times that nextpnr leaves out.
    rings, rings_identical : int
        From the route identity check.
    gateware_hash : str
        First 8 bytes of the SHA-256 of the netlist before placement, the constraints, the seed and the tool
        versions, in hex: what the board tells on connect.
    ring_mhz, divider_mhz, counter_mhz
        Nominal ring frequency per corner, and what dividers and counters stand at the slow corner.
    critical_path : list of str
        The slowest path between flip-flops of the system clock: arrival time in ns and name of each cell.
    blocks, block_rams : mapping
        Logic cells before packing, and block RAMs, per block of the design.
    layout_version, sigma_ppm : int
        Of the layout table and the spread in the quantizer; version 0 is no table.
    select_variants : int
        Ways by which the select lines reach the tiles; harmless.
    refused : list of str
        Why the build must not be used; empty if it is good. Only then the bitstream exists.
    seconds : float
        Time of synthesis, placement, routing and packing when they last ran.
    """

    board: str
    profile: str
    chip: str
    seed: int
    cells: int
    cells_available: int
    rams: int
    rams_available: int
    dsps: int
    dsps_available: int
    fmax_mhz: float
    rings: int
    rings_identical: int
    floorplan: str
    floorplan_id: str
    gateware_hash: str
    bitstream: str
    bitstream_sha256: str
    bitstream_bytes: int
    seconds: float
    ring_mhz: Mapping[str, float] = field(default_factory=dict)
    divider_mhz: float = 0.0
    counter_mhz: float = 0.0
    select_variants: int = 0
    blocks: Mapping[str, int] = field(default_factory=dict)
    block_rams: Mapping[str, int] = field(default_factory=dict)
    critical_path: list[str] = field(default_factory=list)
    tools: Mapping[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    layout_version: int = 0
    sigma_ppm: int = puf.SIGMA_PPM

    def to_json(self) -> str:
        """JSON text with all fields."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "BuildReport":
        return cls(**json.loads(text))

    @classmethod
    def read(cls, path: Path) -> "BuildReport":
        return cls.from_json(path.read_text())

    def table(self) -> str:
        """The report for people."""
        lines = [
            f"{self.board}, {self.profile}: {self.chip}, seed {self.seed}",
            f"  logic cells   {self.cells:5d} of {self.cells_available}",
            f"  block RAMs    {self.rams:5d} of {self.rams_available}",
            f"  DSPs          {self.dsps:5d} of {self.dsps_available}",
            f"  system clock  {self.fmax_mhz:5.1f} MHz at the slow corner, setup of RAM and DSP inputs included",
            f"  rings         {self.rings_identical:5d} of {self.rings} identical, floorplan {self.floorplan} "
            f"({self.floorplan_id})",
            "  ring          "
            + ", ".join(f"{mhz:g} MHz {corner}" for corner, mhz in self.ring_mhz.items())
            + f"; at the slow corner dividers stand {self.divider_mhz:.0f}, counters {self.counter_mhz:.0f} MHz",
            "  layout table  "
            + (f"version {self.layout_version}, spread {self.sigma_ppm} ppm" if self.layout_version else "none"),
            f"  gateware      {self.gateware_hash}",
            f"  bitstream     {self.bitstream}",
            f"                {self.bitstream_bytes} bytes, sha256 {self.bitstream_sha256}",
            "  cells per block before packing, and block RAMs",
        ]
        for block, count in self.blocks.items():
            rams = self.block_rams.get(block)
            lines.append(f"    {count:5d}  {block}" + (f"  + {rams} RAM" if rams else ""))
        lines += ["  slowest path of the system clock, ns", *(f"    {step}" for step in self.critical_path)]
        return "\n".join(lines)


class BuildFailed(RuntimeError):
    """A build is refused; `report` has the reasons, and all figures."""

    def __init__(self, report: BuildReport):
        self.report = report
        reasons = "\n".join(f"- {reason}" for reason in report.refused)
        super().__init__(f"the build of {report.profile} for {report.board} is refused:\n{reasons}")
