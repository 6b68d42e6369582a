"""``ringpair doctor``: what is installed, what is missing, and which ports may be used."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from .gateware import ToolMissing, boards_module
from .output import Output

HELP = "check tools, versions, caches and the permissions of serial ports"

OK, ABSENT, BAD = "ok", "absent", "bad"
EXTRAS = {"": "the host", "virtual": "virtual boards", "gateware": "gateware", "build": "bitstreams", "test": "tests"}
HINTS = ("USB", "ACM", "usbmodem", "usbserial", "COM")
"""Parts of the names of ports that may be boards; others (modems of the mainboard) are left out."""


@dataclass(frozen=True)
class Finding:
    """One line: ``absent`` is no fault, something else just needs it; ``bad`` is."""

    what: str
    state: str
    detail: str


def configure(parser: argparse.ArgumentParser) -> None:
    pass


def run(arguments: argparse.Namespace, output: Output) -> int:
    findings = [*python(), *packages(), *programs(), *folders(), *ports()]
    bad = sum(finding.state == BAD for finding in findings)
    output.table(
        {"ok": not bad, "findings": [asdict(finding) for finding in findings]},
        ("what", "state", "detail"),
        ((finding.what, finding.state, finding.detail) for finding in findings),
    )
    if bad:
        output.note(f"ringpair: {bad} {'thing needs' if bad == 1 else 'things need'} attention")
    return 1 if bad else 0


def python() -> Iterator[Finding]:
    """The interpreter and this package."""
    yield Finding("Python", OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("ringpair", OK, importlib.metadata.version("ringpair"))


def packages() -> Iterator[Finding]:
    """What ``pyproject.toml`` asks for, with versions."""
    seen = set()
    for requirement in importlib.metadata.requires("ringpair") or []:
        terms, _, marker = requirement.partition(";")
        name = re.split(r"[^A-Za-z0-9_.-]", terms)[0]
        if name == "ringpair" or name in seen:
            continue
        least = next(iter(re.findall(r">=\s*([0-9.]+)", terms)), None)
        extra = next(iter(re.findall(r"extra == [\"'](\w+)", marker)), "")
        seen.add(name)
        purpose = EXTRAS.get(extra, extra)
        install = f"pip install 'ringpair[{extra}]'" if extra else "pip install ringpair"
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, ABSENT if extra else BAD, f"for {purpose}: {install}")
            continue
        if least and _numbers(version) < _numbers(least):
            yield Finding(name, BAD, f"{version} is too old, expected {least} or newer: {install}")
        else:
            yield Finding(name, OK, f"{version}, for {purpose}")


def programs() -> Iterator[Finding]:
    """Programs that no package brings: C++ compiler by choice, Icarus, the boards' own tools."""
    own = os.environ.get("CXX")
    if own:
        there = shutil.which(shlex.split(own)[0]) if shlex.split(own) else None
        detail = (
            f"{own}, named by CXX" if there else f"CXX names {own!r}, which is not on the PATH: unset or correct it"
        )
        yield Finding("C++ compiler", OK if there else BAD, detail)
    else:
        yield Finding("C++ compiler", OK, "that of ziglang; the variable CXX would name another one")
    yield _program("iverilog", ["-V"], "gateware tests: `apt-get install iverilog` or `brew install icarus-verilog`")
    try:
        boards = boards_module("build").boards()
    except ToolMissing as problem:
        yield Finding("boards", ABSENT, str(problem))
        return
    tools: dict[str, list[str]] = {}
    for board in boards:
        tools.setdefault(board.program[0], []).append(board.name)
    how = {board.program[0]: board.programmer for board in boards}
    for tool, names in tools.items():
        yield _program(tool, None, f"flashing {', '.join(names)}: {how[tool]}")


def folders() -> Iterator[Finding]:
    """Caches and the registry's place: there, writable, how large."""
    from ringpair.home import cache_folder, default_path

    for what, folder in (("cache of virtual boards", cache_folder()), ("registry", default_path().parent)):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        try:
            with tempfile.TemporaryFile(dir=existing):
                pass
        except OSError as problem:
            yield Finding(what, BAD, f"{existing} cannot be written to ({problem.strerror}): correct its owner or mode")
        else:
            yield Finding(what, OK, f"{folder}, {_size(folder)}")


def ports() -> Iterator[Finding]:
    """Serial ports, and whether this user may open them."""
    from serial.tools.list_ports import comports

    found = [port for port in comports() if any(hint in port.device for hint in HINTS)]
    for port in sorted(found, key=lambda entry: entry.device):
        allowed = sys.platform == "win32" or os.access(port.device, os.R_OK | os.W_OK)
        advice = "" if allowed else f"; not permitted: {_group_advice(port.device)}"
        yield Finding(port.device, OK if allowed else BAD, f"{port.description}{advice}")
    if not found:
        yield Finding("serial ports", ABSENT, "no USB serial port: is a board plugged in?")


def _group_advice(device: str) -> str:
    try:
        import grp

        group = grp.getgrgid(os.stat(device).st_gid).gr_name
    except (ImportError, KeyError, OSError):
        return "give this user access to it"
    return f"`sudo usermod -aG {group} $USER`, then log out and in"


def _program(name: str, arguments: list[str] | None, purpose: str) -> Finding:
    path = shutil.which(name)
    if path is None:
        return Finding(name, ABSENT, f"for {purpose}")
    if arguments is None:
        return Finding(name, OK, path)
    try:
        result = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return Finding(name, BAD, f"{path} does not run: {problem}")
    lines = (result.stdout or result.stderr).splitlines()
    return Finding(name, OK, lines[0].strip() if lines else path)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _size(folder: Path) -> str:
    if not folder.exists():
        return "not made yet"
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{total / 1e6:.1f} MB"
