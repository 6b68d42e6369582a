"""The command line: ``ringpair VERB ...``, one file per verb.

Exit codes: 0 done - 1 refused or failed - 2 wrong usage - 3 port or device not reachable, or not ours - 4 registry -
130 interrupted. ``--json`` prints one object on standard output (``listen`` and ``bridge``: one a line), errors
included; progress and messages for humans go to standard error.

Each verb's module has ``HELP``, ``configure(parser)`` and ``run(arguments, output)``; it imports at its top nothing
that is slow or that a host-only installation lacks.
"""

import argparse
import os
import sys
from importlib import import_module
from keyword import iskeyword

from ringpair.errors import RingpairError
from ringpair.foreign import is_text
from ringpair.portlock import reason

from .output import Output, drop_results

VERBS = (
    "info",
    "enroll",
    "pair",
    "import",
    "peers",
    "connect",
    "send",
    "listen",
    "disconnect",
    "bridge",
    "revoke",
    "factory-reset",
    "registry",
    "service",
    "bind",
    "session",
    "unbind",
    "services",
    "devices",
    "pin",
    "label",
    "sim",
    "button",
    "demo",
    "characterize",
    "metrics",
    "noise",
    "layout",
    "report",
    "boards",
    "build",
    "floorplan",
    "flash",
    "doctor",
)

INTERRUPTED = 130


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="ringpair",
        description="Pair iCE40 boards by their silicon: enroll, pair offline, connect, talk encrypted.",
        epilog="exit codes: 0 done, 1 refused or failed, 2 usage, 3 device or port, 4 registry; "
        "PORT is a serial port, a pty, socket://HOST:PORT, or the name of a running virtual board",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in VERBS:
        name = verb.replace("-", "_") + "_" * iskeyword(verb)
        module = import_module(f"{__name__}.{name}")
        sub = verbs.add_parser(verb, help=module.HELP, description=module.HELP)
        module.configure(sub)
        sub.add_argument("--json", action="store_true", help="one JSON object on standard output")
        sub.add_argument("-v", "--verbose", action="count", default=0, help="log to standard error; twice for all")
        sub.set_defaults(run=module.run)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    _open_streams()
    parser = build_parser()
    for word in sys.argv[1:] if argv is None else argv:
        if not is_text(word):
            parser.error(f"expected arguments in UTF-8, got {word!r}: check the terminal's encoding")
    arguments = parser.parse_args(argv)
    output = Output(json=arguments.json)
    if arguments.verbose:
        _log(arguments.verbose)
    try:
        code = arguments.run(arguments, output)
        sys.stdout.flush()
        return int(code or 0)
    except RingpairError as problem:
        output.error(problem)
        return problem.exit_code
    except KeyboardInterrupt:
        output.note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has enough
        drop_results()
        return 0
    except OSError as problem:  # no room, no permission, no such folder
        where = f"{problem.filename}: " if problem.filename else ""
        output.error(RingpairError(f"{where}{reason(problem)}; check the folder, its permissions and the disk's space"))
        return RingpairError.exit_code


def _open_streams() -> None:
    """Standard streams that were closed before we began lead nowhere: no file of ours may get their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for as long as we run


def _log(verbosity: int) -> None:
    import logging

    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbosity > 1 else logging.INFO,
        format="%(asctime)s %(name)s %(levelname)s %(message)s",
    )
