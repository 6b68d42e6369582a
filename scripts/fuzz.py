"""Coverage-guided fuzzing of one reader of the host, with libFuzzer (atheris); `campaign.py` runs it for all of them.

    python scripts/fuzz.py "events of a device" -runs=100000 -seed=1 [CORPUS]
    python scripts/fuzz.py --list

The readers and their good inputs are in `host/tests/parsers.py`; what a reader lets through beyond its own errors ends
the run, and libFuzzer says on which input. Other arguments are libFuzzer's (-help=1).
"""

import sys
import tempfile
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]
with atheris.instrument_imports(include=["ringpair", "ringpair_protocol", "ringpair_boards", "json", "zipfile"]):
    from host.tests.parsers import PARSERS, attempt


def main() -> None:
    if sys.argv[1:] == ["--list"]:
        print("\n".join(PARSERS))
        return
    if len(sys.argv) < 2 or sys.argv[1] not in PARSERS:
        sys.exit(f"expected the name of a reader: {', '.join(PARSERS)}")
    name, *arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="ringpair-fuzz-") as seeds:
        for number, seed in enumerate(PARSERS[name].seeds()):
            (Path(seeds) / f"seed-{number}").write_bytes(seed)
        options = ["-max_len=65536", "-timeout=30", "-rss_limit_mb=3000", "-print_final_stats=1", "-verbosity=0"]
        atheris.Setup([sys.argv[0], *options, *arguments, seeds], lambda data: attempt(name, data))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
