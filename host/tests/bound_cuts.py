"""Operations on bindings that write flash, to be cut as those of `cuts.py` are.

After each cut the tries are those before or one less, never more; a controller's record is there wholly or not at all;
and what the device's record has besides, the wrap key of its registry, is still good.
"""

from collections.abc import Callable

from ringpair.controller import LibraryCurve
from ringpair_protocol.admin import DeviceStateCode, Opcode, Pin
from ringpair_protocol.binding import PIN_TRIES
from ringpair_protocol.controller import BindingRun
from ringpair_protocol.messages import B3_FIRST
from ringpair_protocol.pairing import make_reset
from ringpair_protocol.records import CONTROLLER_BASE, SLOTS_PER_SECTOR

from host.tests.cuts import Attempt, state
from host.tests.rig_bound import DeviceBoard, bound_image
from host.tests.rig_scenes import Far, establish
from protocol.tests.rig_binding import WRONG, bind, open_session, service, unbind_text

CURVE = LibraryCurve()
PHONE, HUB = "phone", "hub"


def board_with(*names: str, **history: int) -> DeviceBoard:
    """These services are bound; nothing is simulated for that."""
    return DeviceBoard(1, bound_image(1, names, **history))


def still_pairs(board: DeviceBoard) -> None:
    """The registry's next message is taken: wrap key and index are in the record that has the tries."""
    far = Far(b"another1")
    message, _ = far.puzzle(board.twin.entry)
    board.twin.command(Opcode.IMPORT, message)
    establish(board.twin, far, 1)
    establish(board.twin, board.far)


def guess(tries: int, commits: int = 0) -> Attempt:
    """A wrong B1 after so many tries; after five of them with the button held, which gives all of them back."""
    board = board_with(HUB, tries=tries, commits=commits)
    run = BindingRun(service(PHONE), board.id, WRONG, CURVE)
    if tries == PIN_TRIES:
        board.twin.hold()

    def check() -> None:
        left, bound = board.bindings()
        assert left in (PIN_TRIES - tries, (PIN_TRIES - tries or PIN_TRIES) - 1)
        assert bound == [service(HUB).id]
        still_pairs(board)

    return Attempt(board.twin, bytes([Opcode.CONTROLLER_IN]) + run.b1(), check)


def binding(*names: str, unbound: int = 0) -> Attempt:
    """The rest of a B3 after wrong tries: they are given back first, then there is a record, if there was none."""
    board = board_with(HUB, *names, tries=PIN_TRIES - 2, unbound=unbound)
    phone, hub = service(PHONE), service(HUB)
    run = BindingRun(phone, board.id, board.pin(Pin.PRESET), CURVE)
    b3 = run.b3(board.answer(run.b1()))
    board.answer(b3[:B3_FIRST])
    before = board.bindings()[1]

    def check() -> None:
        left, bound = board.bindings()
        assert left in (1, PIN_TRIES)
        assert bound in (before, [hub.id, phone.id])
        assert left == PIN_TRIES or bound == before, "the tries come first"
        if phone.id in bound:
            open_session(board, phone, board.twin.key)
        else:
            assert bind(board, phone, board.pin(Pin.PRESET)) == board.twin.key
            assert board.bindings() == (PIN_TRIES, [hub.id, phone.id])
        still_pairs(board)

    return Attempt(board.twin, bytes([Opcode.CONTROLLER_REST]) + b3[B3_FIRST:], check)


def unbinding() -> Attempt:
    """Bound as before, or not any more; the other service is."""
    board = board_with(PHONE, HUB)
    phone, hub = service(PHONE), service(HUB)
    _, message = open_session(board, phone, board.twin.key).seal(unbind_text(phone))

    def check() -> None:
        bound = board.bindings()[1]
        assert bound in ([hub.id], [phone.id, hub.id])
        open_session(board, service(PHONE if phone.id in bound else HUB), board.twin.key)

    return Attempt(board.twin, bytes([Opcode.CONTROLLER_IN]) + message, check)


def reset() -> Attempt:
    """As before, or in the factory state; then the next enrollment leaves no controller, and no try is used up."""
    board = board_with(PHONE, HUB, tries=PIN_TRIES)
    payload = bytes([Opcode.IMPORT]) + make_reset(board.twin.entry)

    def check() -> None:
        if state(board.twin) is not DeviceStateCode.FACTORY:
            assert board.bindings() == (0, [service(PHONE).id, service(HUB).id])
            open_session(board, service(PHONE), board.twin.key)
            return
        board.twin.enroll()
        assert board.bindings() == (PIN_TRIES, [])
        assert not bytes(board.twin.device.flash[CONTROLLER_BASE:]).strip(b"\xff"), "a record of a controller is left"

    return Attempt(board.twin, payload, check)


OPERATIONS: dict[str, Callable[[], Attempt]] = {
    "first try": lambda: guess(0),
    "fifth try": lambda: guess(PIN_TRIES - 1),
    "try, next sector": lambda: guess(
        1, commits=SLOTS_PER_SECTOR - 4
    ),  # an enrollment, a pairing, a try: the other four
    "try behind the button": lambda: guess(PIN_TRIES),
    "binding": binding,
    "binding at a used place": lambda: binding(unbound=1),
    "binding again": lambda: binding(PHONE),
    "unbinding": unbinding,
    "factory reset with controllers": reset,
}
"""By name."""
