"""The metrics against pypuf's on the same responses in one run: equal values, times, and how both grow.

    make bench        # installs pypuf and runs this, then scripts/bench_scale.py
    python scripts/bench_measure.py [--boards N...] [--bits N] [--draw FILE.svg] [--json]

pypuf 3.2.1, its newest version, asks for TensorFlow 2.4, which exists for no Python that ringpair runs on. Its metrics
do not need it: `pip install --no-deps pypuf==3.2.1`. (So it cannot be an extra of ringpair.)

Both get the bits of N boards, five reads each. pypuf computes `bias_data`, `uniqueness_data` and `reliability_data`;
ours is everything that `ringpair metrics` says of bits: uniqueness, reliability, uniformity, aliasing, entropy,
steadiness, diffuseness, distances, false accept and reject. The exit code is 1 if a value differs, or if pypuf is less
than 20 times slower at 2 000 boards.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray
from ringpair.measure.bits import BitSums, Figures, bit_figures
from ringpair.measure.makers import Response
from ringpair.measure.resample import Weights
from ringpair.measure.svg import Plot, standalone

SIZES, BITS, READS = (125, 250, 500, 1000, 2000), 1024, 5
JUDGED, LEAST_RATIO = 2000, 20
BATCH = 256
TRIES = 3
TOLERANCE = 1e-12
PAIRWISE = 500
"""Up to so many boards, pypuf's similarity of every pair is computed, too (not timed)."""
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Result:
    """One size.

    Attributes
    ----------
    boards : int
    ours, pypuf : float
        Seconds of processor time, so that other programs do not count.
    values : dict
        Of each metric: ours, and pypuf's.
    """

    boards: int
    ours: float
    pypuf: float
    values: dict[str, tuple[float, float]]

    @property
    def ratio(self) -> float:
        """How many times faster we are."""
        return self.pypuf / self.ours

    @property
    def differing(self) -> list[str]:
        """Metrics whose values are not equal."""
        return [name for name, (ours, theirs) in self.values.items() if abs(ours - theirs) > TOLERANCE]


def responses(boards: int, bits: int) -> tuple[BoolArray, BoolArray]:
    """Reference bits (boards x bits), aliased a little, and five noisy reads of them."""
    rng = np.random.default_rng(boards)
    reference = rng.random((boards, bits)) < np.clip(0.5 + 0.1 * rng.standard_normal(bits), 0, 1)
    return reference, reference[:, :, None] ^ (rng.random((boards, bits, READS)) < 0.01)


def ours(reference: BoolArray, reads: BoolArray) -> Figures:
    """As `ringpair metrics` does: batches of boards into sums, figures of the sums."""
    boards, bits = reference.shape
    sums, weights = BitSums.empty(bits, 1, 1, 0, READS), Weights(0)
    for first in range(0, boards, BATCH):
        part = slice(first, first + BATCH)
        response = Response(reference[part], [reads[part]])
        number = len(response.reference)
        sums.add(response, 0, first, weights(first, number), np.zeros(number, np.intp))
    return bit_figures(sums, SimpleNamespace(bits=bits, reference="given"), 0)  # type: ignore[arg-type]


def compared(boards: int, bits: int) -> Result:
    """Time both, and compare what they mean alike."""
    from pypuf.metrics import bias_data, reliability_data, uniqueness_data  # type: ignore[import-not-found]

    reference, reads = responses(boards, bits)
    tries = []
    for _ in range(TRIES):
        start = time.process_time()
        found = ours(reference, reads)
        tries.append(time.process_time() - start)

    signs, signed_reads = 1 - 2 * reference.astype(np.int8), 1 - 2 * reads.astype(np.int8)
    start = time.process_time()
    bias, unique = bias_data(signs), uniqueness_data(signs)
    for board in signed_reads:
        reliability_data(board[None])
    theirs = time.process_time() - start
    return Result(boards, min(tries), theirs, _values(signs, found, bias, float(unique[0])))


def _values(
    signs: NDArray[np.int8], found: Figures, bias: NDArray[np.float64], unique: float
) -> dict[str, tuple[float, float]]:
    """What both mean alike; reliability they do not: pypuf's is that two reads are equal, ours that a read is right."""
    from pypuf.metrics import similarity_data

    boards, bits = signs.shape
    shares = (1 - bias) / 2
    values = {
        "uniformity; pypuf: mean bias": (found["uniformity"], float(shares.mean())),
        "bit-aliasing; pypuf: spread of bias": (found["bit_aliasing_sd"], float(shares.std())),
    }
    if boards <= PAIRWISE:
        similar = [float(similarity_data(a, b)[0]) for a, b in combinations(signs, 2)]
        values["uniqueness; pypuf: mean similarity"] = (found["uniqueness"], 1 - float(np.mean(similar)))
    if found["distances_chips"] == boards:  # above that, our distances are those of a sample of boards
        # pypuf's uniqueness is 2 times the mean distance, each distance above one half mirrored at one half
        steps, distances = np.arange(bits + 1) / bits, np.array(found["distances_between"])
        folded = float(2 * np.minimum(steps, 1 - steps) @ distances / distances.sum())
        values["distances, mirrored; pypuf: uniqueness"] = (folded, unique)
    return values


def draw(results: list[Result], bits: int) -> str:
    """Time by boards, as SVG."""
    times = [seconds for result in results for seconds in (result.ours, result.pypuf)]
    low, high = (10.0 ** np.floor(np.log10(min(times))), 10.0 ** np.ceil(np.log10(max(times))))
    ends = results[0].boards, results[-1].boards
    labels = f"boards of {bits} bits", "seconds of processor time"
    plot = Plot(ends, (float(low), float(high)), *labels, log_x=True, log_y=True)
    for color, (name, label) in enumerate((("ours", "ringpair"), ("pypuf", "pypuf 3.2.1"))):
        plot.line([(result.boards, getattr(result, name)) for result in results], label, color, dots=True)
    return standalone(plot.svg("Time of the metrics by number of boards"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--boards", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--bits", type=int, default=BITS)
    parser.add_argument("--draw", type=Path, metavar="FILE", help="the growth of both, as SVG")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        results = [compared(boards, arguments.bits) for boards in sorted(arguments.boards)]
    except ModuleNotFoundError as problem:
        raise SystemExit(f"{problem.name} is missing: see python scripts/bench_measure.py --help") from problem
    if arguments.draw:
        arguments.draw.write_text(draw(results, arguments.bits) + "\n", encoding="utf-8")
    if arguments.json:
        print(json.dumps([asdict(result) | {"ratio": result.ratio} for result in results]))
    else:
        _print(results)
    slow = [result for result in results if result.boards >= JUDGED and result.ratio < LEAST_RATIO]
    return int(bool(slow) or any(result.differing for result in results))


def _print(results: list[Result]) -> None:
    print(f"{'boards':>7} {'ringpair, s':>12} {'pypuf, s':>10} {'ratio':>7}")
    for result in results:
        print(f"{result.boards:7} {result.ours:12.4f} {result.pypuf:10.3f} {result.ratio:7.0f}")
    for result in results:
        print(f"\nValues at {result.boards} boards: ours, from pypuf")
        for name, (mine, theirs) in result.values.items():
            print(f"{name:40} {mine:.15f} {theirs:.15f} {'differs' if name in result.differing else 'equal'}")


if __name__ == "__main__":
    sys.exit(main())
