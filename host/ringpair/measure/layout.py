"""Layout tables: learned from characterized chips, judged on others, written for the build.

The table of a design is the mean over chips of each ring's deviation from its row, to the bit that of
`ringpair_protocol.puf.learn_layout`, together with the spread of what remains. The quantizer needs both: a spread that
is off makes the helper values of the two halves unequally likely, and so tells about the bits. A table is never judged
on the chips it was learned from: the figures beside it come from cross-validation.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ringpair_protocol import puf

from ..foreign import reading
from .dataset import DataError, Dataset
from .evaluate import Options, evaluate
from .files import write_whole
from .survey import Tables, survey
from .work import Runner, here

__all__ = ["KIND", "LearnedLayout", "learn_layout", "read_layout", "write_layout"]

KIND, LEVEL = "ringpair layout table", 1
COMPARED = (
    "uniqueness",
    "bit_aliasing_sd_corrected",
    "min_entropy_per_bit_corrected",
    "leakage_bits_per_ring",
    "wrong_bits",
)


@dataclass(frozen=True)
class LearnedLayout:
    """A layout table and where it comes from.

    Parameters
    ----------
    version : int
        1..65535; 0 is "no table".
    entries : tuple of int
        For each ring, in units of 2**-18.
    sigma_ppm : int
        Spread of what remains.
    chips : int
        Number of chips learned from.
    silicon, floorplan : str
        Of the data.
    cross_validation : dict
        Figures with the table, with the same rounded as the gateware holds it, and without; each with its interval.
    """

    version: int
    entries: tuple[int, ...]
    sigma_ppm: int
    chips: int
    silicon: str
    floorplan: str
    cross_validation: dict[str, Any]

    def quantizer(self) -> puf.Quantizer:
        """For the gateware and the reference model; only for tables of 192 rings."""
        return puf.Quantizer(puf.Layout(self.version, self.entries), self.sigma_ppm)

    def tables(self, rings: int) -> Tables:
        """For `evaluate`.

        Raises
        ------
        DataError
            The table has another number of rings.
        """
        if len(self.entries) != rings:
            raise DataError(f"the layout table has {len(self.entries)} rings, the data {rings}: choose with --rings")
        return Tables(np.array(self.entries)[None, None], np.array([[self.sigma_ppm]]))


def learn_layout(
    data: Dataset, version: int = 1, folds: int = 4, replicates: int = 400, run: Runner = here
) -> LearnedLayout:
    """Learn a table from all chips, and judge such tables by cross-validation.

    Raises
    ------
    DataError
        Too few chips, rings not in rows of 16, or a ring so far off that the table cannot hold it.
    """
    if not 1 <= version <= 0xFFFF:
        raise DataError(f"the version of a layout table must be 1..65535, not {version}")
    if data.rings % puf.ROW:
        raise DataError(
            f"a layout table needs rows of {puf.ROW} rings; {data.name} has {data.rings}: choose with --rings"
        )
    if data.chips < 2 * folds:
        raise DataError(
            f"{data.name} has {data.chips} chips; a layout table of {folds} folds needs {2 * folds}, better 30"
        )
    sums = survey(data, 1, run=run)
    table = Tables.learned(sums)
    if table.clipped:
        worst = int(np.argmax(np.abs(sums.pattern)))
        raise DataError(
            f"ring {worst} deviates from its row by {sums.pattern[worst]:.2%} on average, the spread is "
            f"{sums.deviation.mean():.2%}; a table holds ±3.1 % and a spread of up to 1 %: leave such rings out"
        )
    options = Options(("device",), folds, replicates=replicates, die=False)
    judged = {
        name: evaluate(data, replace(options, **change), run=run)["methods"]["device"]
        for name, change in (("with_table", {}), ("as_built", {"packed": True}), ("without_table", {"folds": 0}))
    }
    figures = {
        name: {key: values[key] for figure in COMPARED for key in (figure, figure + "_ci") if key in values}
        for name, values in judged.items()
    }
    return LearnedLayout(
        version,
        tuple(int(entry) for entry in table.entries[0, 0]),
        int(table.sigma_ppm[0, 0]),
        int(sums.chips[0, 0]),
        data.meta.silicon,
        data.meta.floorplan,
        {"folds": folds} | figures,
    )


def write_layout(path: str | Path, layout: LearnedLayout) -> None:
    """As JSON."""
    write_whole(Path(path), json.dumps({"kind": KIND, "level": LEVEL} | asdict(layout), indent=1) + "\n")


def read_layout(path: str | Path) -> LearnedLayout:
    """The table of a file.

    Raises
    ------
    DataError
        Not such a file, or entries that do not fit the device.
    """
    with reading(path, DataError, "expected a layout table: make one with ringpair layout learn"):
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if data.pop("kind") != KIND or data.pop("level") != LEVEL:
            raise DataError(f"{path} is no {KIND} of level {LEVEL}")
        layout = LearnedLayout(**data | {"entries": tuple(map(int, data["entries"]))})
    limit = 1 << puf.LAYOUT_BITS - 1
    if not 1 <= layout.sigma_ppm <= puf.SIGMA_PPM_MAX or not all(-limit <= entry < limit for entry in layout.entries):
        raise DataError(f"{path}: expected a spread of 1..{puf.SIGMA_PPM_MAX} ppm and entries of 14 bits")
    return layout
