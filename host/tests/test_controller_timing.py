"""Constant time of what is computed for controllers, on the compiled device: cycles do not depend on secrets.

Each time there are another PIN, scalar, controller and nonce. What the device computes it does in the phase ADMIN, in
which it also fetches the frame and writes the answer: there a byte takes a cycle more if it is the other line's turn.
So the cycles may differ by the number of these bytes, and by no more. A verification (the rest of a B3, an S3) takes
time by what is verified: signature and public key.
"""

import pytest
from ringpair_protocol import messages as msg
from ringpair_protocol.admin import Pin
from ringpair_protocol.controller import BindingRun, OpeningRun

from host.tests.rig_bound import DeviceBoard
from protocol.tests.rig_binding import bind, service

pytestmark = pytest.mark.slow

PUF, ADMIN = 1, 6
ROUNDS = 4
ON_THE_LINE = 3 + msg.LENGTHS[msg.S1] + msg.LENGTHS[msg.S2]
"""Bytes of an S1 and its reply; those of a B1 and its reply are fewer."""
SHORTEST = 1_000_000
"""Cycles of two multiplications at least: the phases that are meant were there."""


def spent(board: DeviceBoard, message: bytes) -> tuple[list[int], bytes]:
    """Cycles of each phase that a message takes, and the answer."""
    before = list(board.twin.device.status.phase_cycles)
    answer = board.answer(message)
    return [now - then for then, now in zip(before, board.twin.device.status.phase_cycles, strict=True)], answer


def same(steps: list[list[int]]) -> None:
    computed = [step[ADMIN] for step in steps]
    assert min(computed) > SHORTEST
    assert max(computed) - min(computed) <= ON_THE_LINE, computed
    assert len({step[PUF] for step in steps}) == 1, "the search took as many tries each time"


def test_pin_and_session_take_the_same_time() -> None:
    """B1: PIN to a point, and two multiplications. S1: two multiplications and a signature."""
    board, b1, s1 = DeviceBoard(), [], []
    for number in range(ROUNDS):
        who = service(f"controller {number}")
        run = BindingRun(who, board.id, board.pin(Pin.DYNAMIC))
        cycles, answer = spent(board, run.b1())
        run.b3(answer)
        b1.append(cycles)
    who = service("phone")
    key = bind(board, who, board.pin(Pin.PRESET))
    for _ in range(ROUNDS):
        run = OpeningRun(who, key)
        cycles, answer = spent(board, run.s1())
        run.s3(answer)
        s1.append(cycles)
    board.twin.close()
    same(b1)
    same(s1)
