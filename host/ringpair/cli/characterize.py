"""``ringpair characterize PORT... -o run.parquet``: raw counts of the rings of any number of boards."""

from __future__ import annotations

import argparse
import json
import math
import re
import shlex
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ringpair.errors import RingpairError, UsageError

from .common import add_baud, count, resolve
from .output import Output

if TYPE_CHECKING:
    from rich.progress import TaskID

    from ringpair.measure.partial import Partial, Plan

HELP = "capture raw ring counts from boards with the characterization gateware"

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
COMMAND_TIMEOUT_S = 60.0
QUANTITIES = ("temperature", "voltage")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "ports",
        nargs="+",
        metavar="[NAME=]PORT",
        help="boards; NAME (default: the USB serial number, or the port's last part) names the chip in the file",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the file, .parquet")
    parser.add_argument("--reads", type=count, default=100, metavar="N", help="reads of every ring (%(default)s)")
    parser.add_argument(
        "--window",
        type=count,
        action="append",
        metavar="CLOCKS",
        help="counting time; several are captured one after the other (default: that of the pairing gateware)",
    )
    parser.add_argument(
        "--restarts", type=int, default=0, metavar="N", help="repeat all reads after each of N power cycles"
    )
    parser.add_argument(
        "--cycle",
        metavar="COMMAND",
        help="switches a board off and on; {} stands for its NAME (default: somebody does it by hand)",
    )
    parser.add_argument(
        "--restart-noise",
        type=int,
        default=0,
        metavar="BITS",
        help="also the first raw TRNG samples after each of the --restarts, a multiple of 8",
    )
    parser.add_argument("--noise", type=int, default=0, metavar="BITS", help="also raw TRNG samples of each board")
    parser.add_argument("--temperature", type=float, metavar="CELSIUS", help="to be noted in the file")
    parser.add_argument("--voltage", type=float, metavar="VOLT", help="core voltage, to be noted in the file")
    parser.add_argument("--ambient", metavar="COMMAND", help="prints both, as JSON: it is run at the beginning and end")
    parser.add_argument("--resume", action="store_true", help="go on with the run that broke off")
    add_baud(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    try:
        import_module("pyarrow")  # writes the file in the end
        from ringpair.measure.capture import Capture
        from ringpair.measure.partial import Partial
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is not installed: pip install 'ringpair[measure]'") from error
    ports = named(arguments.ports)
    partial = Partial(arguments.output, make_plan(arguments, list(ports)), arguments.resume)
    note_ambient(partial.plan, arguments)
    if not arguments.resume:
        partial.plan.extra = facts()
    resolvers = {name: lambda port=port: resolve(port) for name, port in ports.items()}
    with Bars(output, partial) as bars:
        try:
            if not partial.complete:
                cycle = cycler(arguments.cycle) if arguments.cycle else None
                Capture(partial, resolvers, arguments.baud, output.note, bars, cycle).run()
        except BaseException:
            if partial.folder.exists():
                output.note(kept(partial))
            raise
    if arguments.ambient:
        note_ambient(partial.plan, arguments)
    files = partial.finish()
    plan = partial.plan
    result = {
        "file": str(files[0]),
        "noise_files": [str(path) for path in files[1:]],
        "boards": plan.names,
        "rings": partial.rings,
        "windows": plan.windows,
        "reads": partial.reads,
        "silicon": partial.meta.silicon,
        "temperature": partial.conditions[0].temperature,
        "voltage": partial.conditions[0].voltage,
    }
    output.result(result)


def make_plan(arguments: argparse.Namespace, names: list[str]) -> Plan:
    """What the options ask for."""
    from ringpair_protocol.characterize import BUFFER_BYTES, INTERVAL

    from ringpair.measure.partial import Plan

    for option, most in (("restarts", 1000), ("noise", 1 << 33), ("restart_noise", 8 * BUFFER_BYTES)):
        value = getattr(arguments, option)
        if not 0 <= value <= most:
            raise UsageError(f"--{option.replace('_', '-')} must be 0 to {most}, not {value}")
    if arguments.restart_noise % 8 or (arguments.restart_noise and not arguments.restarts):
        raise UsageError(
            f"expected --restart-noise as a multiple of 8, with --restarts, got {arguments.restart_noise} bits and "
            f"{arguments.restarts} restarts"
        )
    windows = arguments.window or []
    for window in windows:
        if window > 0xFFFF or windows.count(window) > 1:
            raise UsageError(f"expected each --window once, from 1 to 65535 clocks, got {', '.join(map(str, windows))}")
    if arguments.ambient and (arguments.temperature is not None or arguments.voltage is not None):
        raise UsageError("--ambient excludes --temperature and --voltage: let the command print both")
    return Plan(
        names,
        windows,
        arguments.reads,
        1 + arguments.restarts,
        -(-arguments.noise // 8),
        arguments.restart_noise // 8,
        INTERVAL,
    )


def named(ports: list[str]) -> dict[str, str]:
    """Ports by the names of their boards.

    Raises
    ------
    UsageError
        A name is no name, or comes twice.
    """
    found: dict[str, str] = {}
    for entry in ports:
        name, given, port = entry.partition("=")
        if not given:
            name, port = default_name(entry), entry
        if not NAME.fullmatch(name):
            raise UsageError(f"expected a name of letters, digits, '.', '_' and '-' in {entry!r}, got {name!r}")
        if name in found or port in found.values():
            raise UsageError(f"{entry} is the second board with that name or port: expected each once, as NAME=PORT")
        found[name] = port
    return found


def default_name(port: str) -> str:
    """USB serial number of the board at a port, or else the last part of the port."""
    from serial.tools.list_ports import comports

    serials = [entry.serial_number for entry in comports() if entry.device == port and entry.serial_number]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", serials[0] if serials else port.rstrip("/").rpartition("/")[2])
    return name.strip("-.")


def facts() -> dict[str, Any]:
    """Date and versions, for the file."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version()}
    for package in ("ringpair", "numpy", "pyarrow", "pyserial"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed as a package"
    return {"created": _now(), "versions": versions, "host": platform.platform()}


# ------------------------------------------------------------------------------------------------------ surroundings


def cycler(command: str) -> Callable[[str], None]:
    """Switches boards off and on by a command."""

    def cycle(name: str) -> None:
        _done("--cycle", command, "expected a command that switches the board off and on", name)

    return cycle


def note_ambient(plan: Plan, arguments: argparse.Namespace) -> None:
    """Add the temperature and voltage of this moment to the plan."""
    found = {name: getattr(arguments, name) for name in QUANTITIES}
    if arguments.ambient:
        found = ask(arguments.ambient)
    for name, value in found.items():
        if value is not None and not math.isfinite(value):
            raise UsageError(f"expected the {name} as a finite number, got {value}")
    if arguments.resume and not arguments.ambient:
        for name, value in found.items():
            before = plan.ambient[0][name]
            if value is not None and value != before:
                raise UsageError(f"this run began with {name} {before}, not {value}: begin another one for that")
    else:
        plan.ambient.append({"time": _now()} | found)


def ask(command: str) -> dict[str, float | None]:
    """Temperature and voltage from a command.

    Raises
    ------
    RingpairError
        It fails, or prints something else.
    """
    hint = 'expected JSON such as {"temperature": 24.8, "voltage": 1.2}'
    printed = _done("--ambient", command, hint)
    try:
        values = json.loads(printed)
        found = {name: None if values.get(name) is None else float(values[name]) for name in QUANTITIES}
    except (ValueError, TypeError, AttributeError) as problem:
        raise RingpairError(f"--ambient {command!r} printed {printed.strip()[:60]!r}; {hint}") from problem
    if all(value is None for value in found.values()):
        raise RingpairError(f"--ambient {command!r} printed neither temperature nor voltage; {hint}")
    return found


def _done(option: str, command: str, hint: str, name: str = "") -> str:
    """What the command of an option prints; {} in it stands for the name."""
    what = f"{option} {command!r}"
    try:
        words = [word.replace("{}", name) for word in shlex.split(command)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as problem:
        raise RingpairError(f"cannot run {what}: {problem}; {hint}") from problem
    if done.returncode:
        raise RingpairError(f"{what} ended with {done.returncode}: {done.stderr.strip()}; {hint}")
    return done.stdout


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


# ---------------------------------------------------------------------------------------------------------- progress


def kept(partial: Partial) -> str:
    """What a broken run leaves."""
    done = ", ".join(f"{name} {partial.done(name)}" for name in partial.plan.names)
    return (
        f"reads kept in {partial.folder} (of {partial.plan.records} each): {done}; "
        "go on with the same command and --resume"
    )


class Bars:
    """A bar for each board on a terminal's standard error, nothing elsewhere."""

    def __init__(self, output: Output, partial: Partial) -> None:
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

        console = Console(stderr=True)
        self._bar = Progress(
            *Progress.get_default_columns()[:2],
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=output.json or not console.is_terminal,
        )
        self._partial = partial
        self._tasks: dict[str, TaskID] = {name: self._bar.add_task(name, total=None) for name in partial.plan.names}

    def __enter__(self) -> Bars:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, name: str, done: int) -> None:
        self._bar.update(self._tasks[name], completed=done, total=self._partial.plan.records)
