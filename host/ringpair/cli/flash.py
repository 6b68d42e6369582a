"""``ringpair flash BOARD``: build, write the bitstream with the board's own tool, and ask the board who it is."""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from ringpair.errors import ProtocolError, RingpairError

from .common import add_baud, resolve
from .gateware import ToolMissing, add_build, build_for, builds, find
from .output import Output

if TYPE_CHECKING:
    from ringpair_protocol.admin import Identity

HELP = "write the gateware to BOARD's flash with the board's own tool, and check what answers"


class WrongBoard(ProtocolError):
    """What answers on the port is not the board that was flashed."""


def configure(parser: argparse.ArgumentParser) -> None:
    add_build(parser)
    parser.add_argument("--port", help="admin port of the board; its identity is checked after flashing")
    parser.add_argument("--tool", metavar="COMMAND", help="run this instead; {} stands for the bitstream")
    parser.add_argument("--check", action="store_true", help="write nothing, only check what answers on --port")
    add_baud(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    from ringpair.errors import UsageError

    if arguments.check and not arguments.port:
        raise UsageError("expected --port with --check: which board shall be asked?")
    with builds():
        board = find(arguments.board)
    command = [] if arguments.check else programmer(board, arguments.tool)
    with builds():
        report = build_for(arguments, output)
    if command:
        write(board, [part.replace("{}", report.bitstream) for part in command], output)
    result = {
        "board": board.name,
        "profile": report.profile,
        "bitstream": report.bitstream,
        "bitstream_sha256": report.bitstream_sha256,
        "gateware": report.gateware_hash,
        "flashed": bool(command),
        "checked": bool(arguments.port),
    }
    if arguments.port:
        check(read_identity(arguments), report, arguments.port)
    else:
        output.note(
            f"not checked: without --port nobody asked the board; `ringpair info PORT` must show gateware "
            f"{report.gateware_hash} (admin port: {board.admin.where})"
        )
    output.result(result)


def programmer(board: Any, own: str | None) -> list[str]:
    """Command that writes to the board's flash.

    Raises
    ------
    ToolMissing
        It is not installed; the message says how to get it.
    """
    command = shlex.split(own) if own else list(board.program)
    if shutil.which(command[0]) is None:
        how = f"it is not what --tool names; this board needs {board.programmer}" if own else board.programmer
        raise ToolMissing(f"{command[0]} is needed to flash the {board.title}, and is not on the PATH: {how}")
    return command if any("{}" in part for part in command) else [*command, "{}"]


def write(board: Any, command: list[str], output: Output) -> None:
    """Run the tool; what it says goes to standard error."""
    for note in board.notes:
        output.note(f"note: {note}")
    output.note(f"    {shlex.join(command)}")
    try:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except OSError as problem:
        raise RingpairError(f"cannot run {command[0]}: {problem}") from problem
    said = [line.strip() for line in result.stdout.splitlines() if line.strip()]
    for line in said:
        output.note(f"    {line}")
    if result.returncode:
        raise RingpairError(
            f"{command[0]} ended with {result.returncode} ({said[-1] if said else 'it said nothing'}): is the board "
            "plugged in, may this user use it (`ringpair doctor`), and does no other program have it?"
        )


def read_identity(arguments: argparse.Namespace) -> Identity:
    """Who answers on the port."""
    from ringpair.line import Line
    from ringpair.transport import open_port

    line = Line(open_port(resolve(arguments.port), arguments.baud))
    line.close()
    return line.identity


def check(identity: Identity, report: Any, port: str) -> None:
    """Compare who answers with what was flashed.

    Raises
    ------
    WrongBoard
    """
    profile = identity.profile.name.lower()
    if identity.simulated:
        problem = "it is a virtual board"
    elif identity.floorplan.hex() != report.floorplan_id:
        problem = f"its floorplan is {identity.floorplan.hex()}, not {report.floorplan_id}: another kind of board"
    elif profile != report.profile:
        problem = f"its profile is {profile}, not {report.profile}"
    elif identity.gateware.hex() != report.gateware_hash:
        problem = f"its gateware is {identity.gateware.hex()}, not {report.gateware_hash}"
    else:
        return
    raise WrongBoard(
        f"expected the {report.board} just built on {port}, but {problem}: choose the port of the board that was "
        "flashed, and reset or replug it so that it loads the new bitstream"
    )
