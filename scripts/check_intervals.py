"""How often the intervals of the metrics hold the truth: many populations of modeled chips, each evaluated.

    python scripts/check_intervals.py [--populations N] [--chips N] [--rings N]

The truth of a figure is its mean over all populations: what such chips show on average. An interval of 95 % should hold
it in 95 of 100 populations. The intervals of the device method stay wider, as they come from one division into folds
while the figures are averaged over ten. The exit code is 1 if an interval holds the truth in less than 80 of 100.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
from ringpair.measure.dataset import InMemory
from ringpair.measure.evaluate import Options, evaluate

LEAST = 0.8
READS = 18
BITS = (
    *("uniqueness", "reliability", "uniformity", "bit_aliasing_sd", "bit_aliasing_sd_corrected"),
    *("min_entropy_per_bit", "min_entropy_per_bit_corrected", "steadiness", "diffuseness", "leakage_bits_per_ring"),
)
DIE = ("layout_sd", "residual_sd", "layout_share", "moran_raw", "moran_row", "chip_frequency_sd")
ENTROPY = ("lost_to_correlation", "total")


def population(number: int, chips: int, rings: int) -> InMemory:
    """Chips that share a pattern, with independent rings and white noise."""
    rng = np.random.default_rng([7, number])
    pattern = 0.0044 * np.random.default_rng(5).standard_normal(rings)
    ring = 1 + pattern + 0.005 * rng.standard_normal((chips, rings))
    board = 1 + 0.05 * rng.standard_normal((chips, 1, 1))
    noise = 1 + 2e-4 * rng.standard_normal((chips, rings, READS))
    return InMemory(np.floor(2300 * board * ring[:, :, None] * noise + rng.random(noise.shape)).astype(np.int64))


def figures(data: InMemory) -> dict[str, tuple[float, list[float]]]:
    """Every figure with its interval."""
    result: dict[str, Any] = evaluate(data, Options(replicates=150))
    groups = [(name, found, BITS) for name, found in result["methods"].items()]
    groups += [("die", result["die"], DIE), ("entropy", result["entropy"], ENTROPY)]
    return {
        f"{group} {name}": (found[name], found[f"{name}_ci"])
        for group, found, names in groups
        for name in names
        if found.get(f"{name}_ci")
    }


def coverage(populations: int, chips: int, rings: int) -> dict[str, tuple[float, float, float]]:
    """Of each figure: mean, standard deviation over the populations, share of intervals that hold the mean."""
    found = [figures(population(number, chips, rings)) for number in range(populations)]
    result = {}
    for name in found[0]:
        values = np.array([one[name][0] for one in found])
        low, high = np.array([one[name][1] for one in found]).T
        mean = values.mean()
        result[name] = float(mean), float(values.std()), float(((low <= mean) & (mean <= high)).mean())
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("populations", 60), ("chips", 50), ("rings", 192)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    held = coverage(arguments.populations, arguments.chips, arguments.rings)
    print(f"{'figure':46} {'mean':>10} {'spread':>9} {'held':>6}")
    for name, (mean, spread, share) in held.items():
        print(f"{name:46} {mean:10.6f} {spread:9.6f} {share:6.0%}")
    return int(min(share for _, _, share in held.values()) < LEAST)


if __name__ == "__main__":
    sys.exit(main())
