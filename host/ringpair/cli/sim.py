"""``ringpair sim NAME``: run a virtual board, with the real gateware inside, until interrupted."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .gateware import boards_module, read_quantizer
from .output import Output

HELP = "run a virtual board; other commands take NAME as its PORT"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name of the board; its flash and silicon are kept under it")
    parser.add_argument("--profile", choices=("pair", "full"), default="pair", help="which gateware (%(default)s)")
    parser.add_argument("--seed", type=int, help="which silicon a new board has (default: drawn at random)")
    parser.add_argument("--silicon", metavar="FILE.npz:CHIP", help="measured silicon: reads of this chip's rings")
    parser.add_argument(
        "--layout",
        type=Path,
        metavar="FILE",
        help="layout table in the gateware (default: that of the model, none for measured silicon)",
    )
    parser.add_argument("--temperature", type=float, metavar="CELSIUS", help="ambient temperature (default 25)")
    parser.add_argument("--voltage", type=float, metavar="VOLT", help="core voltage (default 1.2)")
    parser.add_argument("--age", type=float, metavar="YEARS", help="aging of the rings (default 0)")
    parser.add_argument("--peer", metavar="OTHER", help="the virtual board at the other end of the peer wires")
    parser.add_argument("--tcp", type=tcp_port, default=0, metavar="PORT", help="TCP port of the admin port (0: any)")
    parser.add_argument("--tap", metavar="FILE", help="log every byte on the peer wires to this file")


def run(arguments: argparse.Namespace, output: Output) -> None:
    from ringpair.errors import UsageError

    chosen = silicon(arguments)
    try:
        from ringpair.virtual import BoardFolder, Design, Parameters, Settings, Silicon, build, serve
        from ringpair.virtual.silicon import rings_of
    except ModuleNotFoundError as problem:
        raise UsageError(
            f"virtual boards need {problem.name}, which is not installed: pip install 'ringpair[virtual]'"
        ) from problem

    if arguments.peer is not None and BoardFolder(arguments.peer).path == BoardFolder(arguments.name).path:
        raise UsageError(f"expected another board as --peer, got {arguments.peer} itself")
    stored = BoardFolder(arguments.name).read_json("silicon.json") or {}
    measured = (chosen.get("file") or stored.get("file")) is not None
    fields = {name: value for name, value in (stored | chosen).items() if name in Silicon.__dataclass_fields__}
    rings_of(Silicon(**fields), Parameters())  # refuses what cannot be, before it is stored
    profile = {"profile": "full"} if arguments.profile == "full" else {}
    settings = Settings(
        arguments.name,
        str(build(Design(arguments=design(arguments.layout, measured) | profile), output.note)),
        silicon=chosen,
        peer=arguments.peer,
        tcp_port=arguments.tcp,
        tap=arguments.tap,
    )

    def ready(addresses: dict[str, Any]) -> None:
        output.result(
            {key: addresses[key] for key in ("name", "pid", "port", "url")},
            f"{addresses['name']} runs: {addresses['port']} or {addresses['url']}; "
            f"ringpair button {addresses['name']} presses its button; Ctrl-C switches it off",
        )

    serve(settings, ready, shown=lambda digits: output.note(f"{arguments.name} displays {digits}"))


def design(table: Path | None, measured: bool) -> dict[str, Any]:
    """Arguments of the gateware for a layout table, if there is one, and the kind of silicon.

    Raises
    ------
    UsageError
        The table was learned from other rings.
    """
    if table is None:
        return {"layout": "none"} if measured else {}
    virtual = boards_module("virtual")
    floorplan, whose = virtual.FLOORPLAN.hex(), "modeled silicon"
    if measured:  # its rings 0 to 191, in rows of 16
        floorplan, whose = "rows16", "measured silicon"
    return {"layout": virtual.layout_argument(read_quantizer(table, floorplan, whose))}


def tcp_port(text: str) -> int:
    """0 to 65535, as the type of an argument."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a TCP port from 1 to 65535, or 0 for any, got {text!r}")
    return int(text)


def silicon(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that say what the board is made of and where it works.

    Raises
    ------
    UsageError
        ``--silicon`` is not FILE:CHIP, or comes with ``--seed``.
    """
    from ringpair.errors import UsageError

    chosen = {key: getattr(arguments, key) for key in ("seed", "temperature", "voltage", "age")}
    if arguments.silicon is not None:
        file, _, chip = arguments.silicon.rpartition(":")
        if not file or not chip.isdigit():
            raise UsageError(f"expected --silicon FILE.npz:CHIP with the chip's number, got {arguments.silicon!r}")
        if arguments.seed is not None:
            raise UsageError("--silicon and --seed exclude each other: silicon is either measured or modeled")
        chosen |= {"file": file, "chip": int(chip)}
    return {key: value for key, value in chosen.items() if value is not None}
