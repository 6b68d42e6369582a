"""The program of the curve engine: all parts, and which command goes where."""

from collections.abc import Callable
from functools import cache

from .assembler import Code, Program
from .commands import Command, OnElement
from .common import common_leaves
from .ed25519 import ed25519
from .edwards import edwards
from .elements import Element as E
from .elligator import elligator
from .field import field_leaves, inversion
from .hmac import hmac
from .isa import Pre
from .ladder import ladder
from .scalar import scalar_arithmetic
from .selftest import self_test
from .sha512 import sha512

__all__ = ["curve_program"]

ROUTINES = {
    Command.CLEAR: "clear",
    Command.STATUS: "status",
    Command.HASH_START: "hash_start",
    Command.HASH: "hash",
    Command.HASH_PREFIXED: "hash_prefixed",
    Command.HASH_FINISH: "hash_finish",
    Command.X25519: "x25519",
    Command.X25519_BASE: "x25519_base",
    Command.ELLIGATOR: "elligator",
    Command.KEY: "key",
    Command.SIGN_BEGIN: "sign_begin",
    Command.SIGN_COMMIT: "sign_commit",
    Command.SIGN_END: "sign_end",
    Command.VERIFY_BEGIN: "verify_begin",
    Command.VERIFY_END: "verify_end",
    Command.HMAC_START: "hmac_start",
    Command.HMAC_AGAIN: "hmac_again",
    Command.HMAC_FINISH: "hmac_finish",
    OnElement.LOAD: "load",
    OnElement.READ: "read",
    OnElement.HASH: "hash_element",
    OnElement.PUT: "put",
    OnElement.GET: "get",
}


PARTS = (
    *(common_leaves, field_leaves, sha512, hmac, inversion, ladder, elligator, scalar_arithmetic),
    *(edwards, ed25519, self_test),
)
"""Each adds leaves and routines."""


@cache
def curve_program(*, parts=PARTS, extra: Callable[[Program], dict[int, str]] | None = None) -> Code:
    """Assembled and checked.

    Parameters
    ----------
    parts
        Those of `PARTS` that are wanted: commands of the others do nothing.
    extra
        Adds routines to the program, and returns which commands they are: for tests of what no command shows.
    """
    p = Program()
    with p.leaf("end"):  # the flag is always 0 between commands
        p.acc(pre=Pre.ZERO, flag=True)
        p.done()
        p.label("rest")
        p.idle()
    with p.leaf("unknown"):
        p.done()
        p.jump("rest")
    for part in parts:
        part(p)
    wiping(p)
    routines = {command: routine for command, routine in ROUTINES.items() if p.has(routine)}
    routines |= extra(p) if extra else {}
    return p.link({place(command): routine for command, routine in routines.items()})


def wiping(p: Program):
    """All of the memory but BROKEN; for SIGN_END what secrets passed through."""
    secret = (*range(12), E.SCALAR, E.PREFIX, E.NONCE, E.PRODUCT, E.PRODUCT_HIGH)
    with p.routine("wipe", secret=True):
        p.enter("overwrite")
        p.jump("rest")
    with p.routine("clear", secret=True):
        p.enter("overwrite")
        p.jump("end")
    with p.routine("overwrite", secret=True):
        p.enter("flag_off")
        for element in range(32):
            if element not in (*secret, E.SYSTEM):
                p.call("wipe_element", element)
        p.enter("wipe_system")
        p.enter("accept")
        p.jump("forget")
    with p.routine("forget", secret=True):
        for element in secret:
            p.call("wipe_element", element)
        p.ret()


def place(command: int) -> int:
    """In the dispatch table."""
    return 8 + command if command < 32 else command >> 5
