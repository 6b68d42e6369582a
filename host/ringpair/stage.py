"""What the demonstration plays on: boards with their hosts, an eavesdropper on the wires, and a look into the flash."""

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ringpair_protocol import frames
from ringpair_protocol.records import (
    HEADER_LENGTH,
    PEER_BASE,
    PEER_SLOT_LENGTH,
    SECTOR,
    SLOTS_PER_SECTOR,
    STORE_END,
    slot_offset,
)

from .board import Board
from .events import AnyEvent
from .virtual import Control, VirtualBoard

WAIT_S = 120.0
"""For what takes milliseconds on a real board, and on a busy machine much longer."""

POLL_S = 0.01

E = TypeVar("E", bound=AnyEvent)
R = TypeVar("R")


class DemoFailed(Exception):
    """Something that was promised did not happen."""


def expect(condition: bool, otherwise: str) -> None:
    """Go on only if ``condition`` holds."""
    if not condition:
        raise DemoFailed(otherwise)


class Side:
    """One board of the demonstration, with its host.

    Parameters
    ----------
    name, peer
        The board, and the one at the other end of its peer wires.
    seed
        Its silicon.
    base
        Folder of all boards.
    library
        The compiled gateware.
    tap
        File to which every byte on its peer wires is recorded.
    """

    def __init__(self, name: str, peer: str | None, seed: int, base: Path, library: Path, tap: Path | None = None):
        self.name = name
        self.virtual = VirtualBoard(
            name, library, base=base, peer=peer, silicon={"seed": seed}, tap=str(tap) if tap else None
        )
        self._board: Board | None = None

    @property
    def board(self) -> Board:
        """The driver."""
        if self._board is None:
            raise DemoFailed(f"{self.name} is off")
        return self._board

    @property
    def control(self) -> Control:
        """Hands and eyes at the board."""
        return self.virtual.control

    @property
    def flash(self) -> bytes:
        """The content of its flash now."""
        return self.virtual.flash_path.read_bytes()

    def on(self) -> None:
        """Switch on; returns when the board has started up and its host listens."""
        self.virtual.start()
        self.settle()
        self._board = Board.open(self.virtual.port)

    def off(self) -> None:
        """Pull the plug."""
        if self._board is not None:
            self._board.close()
            self._board = None
        self.virtual.kill()

    def settle(self) -> dict[str, Any]:
        """Wait until nothing goes on, and return what the board counts."""
        return self.control.wait(lambda status: status["quiet"] and not status["peer_pending"], WAIT_S)

    def hold(self) -> None:
        """Press the button; returns when the device sees it."""
        self.control.press()
        self._button(True)

    def release(self) -> None:
        """Let go; returns when the device sees it."""
        self.control.request("release")
        self._button(False)

    def _button(self, held: bool) -> None:
        deadline = time.monotonic() + WAIT_S
        while self.board.status().button is not held:  # the device debounces it
            expect(time.monotonic() < deadline, f"{self.name} does not see what its button does")
            time.sleep(POLL_S)

    def wait_for(self, kind: type[E]) -> E:
        """The next event of this kind."""
        event = self.board.next_event(WAIT_S, kind)
        if event is None:
            raise DemoFailed(f"{self.name} should have reported {kind.__name__} within {WAIT_S:g} s")
        return event


def together(action: Callable[[Side], R], sides: Iterable[Side]) -> list[R]:
    """Do the same with several boards at once."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(action, sides))


class Wire:
    """What an eavesdropper on the peer wires records: the tap of one board, read as frames.

    Directions are those of that board.
    """

    def __init__(self, path: Path):
        self._path = path

    def messages(self) -> list[tuple[str, bytes]]:
        """Direction and content of every message so far, in the order of their last bytes."""
        decoders = {"in": frames.Decoder(), "out": frames.Decoder()}
        found = []
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            entry = json.loads(line)
            for item in decoders[entry["direction"]].feed(bytes([entry["byte"]])):
                if isinstance(item, bytes):
                    found.append((entry["direction"], item))
        return found


def readable(text: str, recording: bytes, piece: int = 6) -> bool:
    """Whether a recording has a piece of the text, of so many bytes, in the clear."""
    raw = text.encode()
    return any(raw[at : at + piece] in recording for at in range(len(raw) - piece + 1))


def stored_for_peers(image: bytes) -> int:
    """Bytes that the pairings in a flash image take: every header and every slot that is not blank.

    Raises
    ------
    DemoFailed
        Something was written beside headers and slots.
    """
    used = 0
    for base in range(PEER_BASE, STORE_END, SECTOR):
        sector = bytearray(image[base : base + SECTOR])
        places = [(0, HEADER_LENGTH)] + [(slot_offset(slot), PEER_SLOT_LENGTH) for slot in range(SLOTS_PER_SECTOR)]
        for start, length in places:
            blank = b"\xff" * length
            used += length * (sector[start : start + length] != blank)
            sector[start : start + length] = blank
        expect(sector == b"\xff" * SECTOR, f"the sector at {base:#x} holds something beside headers and slots")
    return used
