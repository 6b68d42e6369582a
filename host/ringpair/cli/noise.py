"""``ringpair noise FILE...``: the min-entropy of raw noise, and whether the health tests of the gateware fit it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ringpair_protocol import health

from ringpair.errors import RingpairError, UsageError
from ringpair.foreign import reading

from .output import Output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HELP = "judge raw noise by NIST SP 800-90B: min-entropy, restart test, cut-offs of the health tests"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="raw samples, or an array of NumPy (.npy); several are one sequence",
    )
    parser.add_argument(
        "--bits-per-sample",
        type=int,
        choices=range(1, 9),
        metavar="N",
        help="one sample of N bits in each byte, 1 to 8 (default: 8 samples of one bit in each, the first lowest)",
    )
    parser.add_argument(
        "--restart",
        type=Path,
        metavar="FILE",
        help="samples after restarts, each restart's in turn (or .npy, a row each)",
    )
    parser.add_argument("--restarts", type=int, default=1000, metavar="N", help="restarts in there (%(default)s)")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Returns 1 if the noise has less entropy than the gateware counts on."""
    try:
        import numpy as np

        from ringpair.measure import noise
    except ImportError as problem:
        raise RingpairError(f"{problem.name} is missing: pip install 'ringpair[measure]'") from problem
    if arguments.restarts < 2:
        raise UsageError(f"--restarts must be 2 or more, not {arguments.restarts}")
    width = arguments.bits_per_sample or 1
    samples = np.concatenate([_read(path, arguments.bits_per_sample).ravel() for path in arguments.files])
    if len(samples) < noise.WANTED:
        output.note(f"{len(samples)} samples; the standard wants {noise.WANTED}: the estimates are coarse")
    try:
        found = noise.assess(samples, width)
    except ValueError as problem:
        raise RingpairError(f"{', '.join(map(str, arguments.files))}: {problem}") from problem
    entropy = found.entropy
    restart = None
    if arguments.restart is not None and not entropy:
        output.note("no restart test: it compares with the entropy of the samples, and there is none")
    elif arguments.restart is not None:
        matrix = _matrix(arguments.restart, arguments.bits_per_sample, arguments.restarts)
        if matrix.shape != (1000, 1000):
            output.note(f"restarts: {matrix.shape[0]} x {matrix.shape[1]} samples; the standard wants 1000 x 1000")
        try:
            restart = noise.restart_test(matrix, entropy, width)
        except ValueError as problem:
            raise RingpairError(f"{arguments.restart}: {problem}") from problem
        entropy = restart.entropy
    per_bit = entropy / width
    result = {
        "samples": found.samples,
        "bits_per_sample": width,
        "estimates": found.original,
        "bitstring_estimates": found.bitstring,
        "restart": restart and {**vars(restart), "passed": restart.passed},
        "min_entropy_per_bit": per_bit,
        "claimed_entropy_per_bit": health.ENTROPY,
        "cutoffs": vars(noise.cutoffs(per_bit)) if per_bit > 0 else None,
        "gateware_cutoffs": vars(noise.cutoffs(health.ENTROPY)),
        "holds": per_bit >= health.ENTROPY,
    }
    output.table(result, ("", "value", "gateware", "SP 800-90B"), _rows(result))
    if not result["holds"]:
        output.note(f"the gateware counts on {health.ENTROPY} bits of entropy a raw bit: these samples have less")
    return 0 if result["holds"] else 1


SECTIONS = {
    "most common value": "6.3.1",
    "collision": "6.3.2",
    "Markov": "6.3.3",
    "compression": "6.3.4",
    "t-tuple": "6.3.5",
    "longest repeated substring": "6.3.6",
    "multi most common in window": "6.3.7",
    "lag": "6.3.8",
    "MultiMMC": "6.3.9",
    "LZ78Y": "6.3.10",
}


def _rows(result: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    rows = [(name, f"{value:.4f}", "", SECTIONS[name]) for name, value in result["estimates"].items()]
    rows += [
        (f"{name}, as bits", f"{value:.4f}", "", SECTIONS[name])
        for name, value in result["bitstring_estimates"].items()
    ]
    if restart := result["restart"]:
        rows += [
            ("restart: rows", f"{restart['rows']:.4f}", "", "3.1.4"),
            ("restart: columns", f"{restart['columns']:.4f}", "", "3.1.4"),
            ("restart: most of one value", str(restart["most"]), f"below {restart['cutoff']}", "3.1.4.3"),
            ("restart test", "passed" if restart["passed"] else "failed", "", "3.1.4"),
        ]
    ours, gateware = result["cutoffs"] or {}, result["gateware_cutoffs"]
    rows += [
        ("min-entropy a bit", f"{result['min_entropy_per_bit']:.4f}", f"{result['claimed_entropy_per_bit']}", "3.1.3"),
        ("repetition count cut-off", str(ours.get("repetition", "-")), str(gateware["repetition"]), "4.4.1"),
        ("adaptive proportion cut-off", str(ours.get("proportion", "-")), str(gateware["proportion"]), "4.4.2"),
        ("claim", "holds" if result["holds"] else "does not hold", "", ""),
    ]
    return rows


def _read(path: Path, width: int | None) -> NDArray[np.integer]:
    """Samples of a file, in the shape it has."""
    import numpy as np

    if path.suffix == ".npy":
        hint = "expected an array of NumPy with one sample an entry"
        with reading(path, RingpairError, hint), path.open("rb") as file:
            samples: NDArray[np.integer] = np.load(file, allow_pickle=False)
        if samples.dtype.kind not in "biu":
            raise RingpairError(f"{path}: samples are whole numbers or truth values, not {samples.dtype}")
    else:
        raw = np.fromfile(path, np.uint8)
        samples = raw if width else np.unpackbits(raw, bitorder="little")
    if not samples.size:
        raise RingpairError(f"{path}: empty; it should hold raw samples, the standard wants 1000000")
    limit = 1 << (width or 1)
    wrong = samples.astype(np.int64).ravel()
    wrong = np.flatnonzero((wrong < 0) | (wrong >= limit))
    if len(wrong):
        value = samples.ravel()[wrong[0]]
        raise RingpairError(
            f"{path}: sample {wrong[0]} is {value}, expected 0 to {limit - 1}; say --bits-per-sample if there are more"
        )
    return samples


def _matrix(path: Path, width: int | None, restarts: int) -> NDArray[np.integer]:
    samples = _read(path, width)
    if samples.ndim == 2:
        return samples
    if samples.size % restarts:
        raise RingpairError(
            f"{path}: {samples.size} samples are not {restarts} restarts of equal length; say --restarts"
        )
    return samples.reshape(restarts, -1)
