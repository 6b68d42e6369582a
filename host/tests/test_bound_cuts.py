"""Power cuts around the try counter and the records of controllers, on the compiled device.

The operations, and what must be true after a cut, are those of `bound_cuts.py`. Here a few; each flash command once in
`make slow`; before, behind and inside every one, and again while the device tidies up, in `make campaign`.
"""

import pytest

from host.tests.bound_cuts import OPERATIONS
from host.tests.cuts import ERASE, PROGRAM, counts, cut

FRACTIONS = (0.0, 0.5, 0.97)
"""Of a program or erase: it has not begun to change anything, it is in the middle, it is almost through."""

COMMANDS = {
    "first try": (2, 0),
    "fifth try": (2, 0),
    "try, next sector": (3, 1),
    "try behind the button": (2, 0),
    "binding": (4, 4),
    "binding at a used place": (4, 4),
    "binding again": (2, 0),
    "unbinding": (1, 0),
    "factory reset with controllers": (0, 5),
}
"""Programs and erases of each operation: written down, so that one more or less is noticed."""


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_commands_of_an_operation(operation: str) -> None:
    assert counts(operation, OPERATIONS) == dict(zip((PROGRAM, ERASE), COMMANDS[operation], strict=True))


@pytest.mark.parametrize(
    ("operation", "kind", "number", "fraction"),
    [
        ("first try", PROGRAM, 1, 0.5),
        ("fifth try", PROGRAM, 1, 1.0),
        ("try behind the button", PROGRAM, 2, 0.0),
        ("binding", PROGRAM, 4, 0.5),
        ("unbinding", PROGRAM, 1, 0.5),
        ("factory reset with controllers", ERASE, 2, 0.5),
    ],
)
def test_cut(operation: str, kind: str, number: int, fraction: float) -> None:
    cut(operation, kind, number, fraction, operations=OPERATIONS)


@pytest.mark.slow
@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name != "binding at a used place"])
def test_cut_of_each_command(operation: str) -> None:
    """At one of three moments; a used place has the same commands as a new one."""
    for kind, number in zip((PROGRAM, ERASE), COMMANDS[operation], strict=True):
        for ordinal in range(1, number + 1):
            cut(operation, kind, ordinal, FRACTIONS[ordinal % 3], operations=OPERATIONS)
