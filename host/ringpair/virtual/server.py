"""Runs one virtual board in this process: `serve` until told to stop.

Time
    While nothing goes on (no byte on a line, no flash operation, no button, no PIN on the display, gateware idle)
    virtual time stands still and the process sleeps. Otherwise the board runs in slices of 200 us, at most at the speed
    of the real board (``pace`` 1.0): a timeout of 2 s takes at least 2 real seconds, so that the other board, in a
    process of its own, gets its time to answer. A board that fell behind does not catch up. ``pace`` 0 runs as fast as
    the machine can; good for one board.

Power
    Killing the process is a power cut, starting it again powers up. The control channel can also take the power away,
    at once or at a chosen moment, and give it back; the ports stay.
"""

import json
import os
import selectors
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from .control import ControlPort
from .device import NoiseSource, SimulatedDevice
from .display import PAUSE_S, digits_of
from .native import EventKind, Stop
from .parameters import FlashParameters, Parameters
from .silicon import rings_of
from .state import BoardFolder
from .streams import AdminPort, PeerLink

SLICES_PER_SECOND = 5000
AHEAD_S = 0.002
BEHIND_S = 0.02
MOST_PENDING = 4096
EVENTS_KEPT = 10_000
LOGGED = frozenset({EventKind.PEER_IN, EventKind.PEER_OUT, EventKind.LED, EventKind.POWER, EventKind.DISPLAY})


@dataclass(frozen=True)
class Settings:
    """How to run a board; plain values, so that they can be given to another process.

    Attributes
    ----------
    name : str
        The board; see `BoardFolder`.
    library : str
        Compiled gateware.
    base : str, optional
        Folder instead of ``RINGPAIR_HOME``.
    parameters : Parameters
        Clock and rates. The seed of the noise is drawn anew at each start unless ``noise_seed`` is given.
    silicon : dict
        Fields of `Silicon`.
    noise : NoiseSource
        Raw random bits.
    peer : str, optional
        The board (of the same home) at the other end of the peer wires.
    tcp_port : int
        Of the admin port; 0 lets the system choose.
    tap : str, optional
        File to which every byte on the peer wires is logged, a JSON object a line.
    pace : float
        Fastest speed relative to the real board, 0 for no limit.
    """

    name: str
    library: str
    base: str | None = None
    parameters: Parameters = field(default_factory=Parameters)
    silicon: Mapping[str, Any] = field(default_factory=dict)
    noise: NoiseSource = field(default_factory=NoiseSource)
    noise_seed: int | None = None
    peer: str | None = None
    tcp_port: int = 0
    tap: str | None = None
    pace: float = 1.0

    def to_json(self) -> str:
        """For another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """From another process."""
        values = json.loads(text)
        parameters = values.pop("parameters")
        flash = FlashParameters(**parameters.pop("flash"))
        return cls(**values | {"parameters": Parameters(**parameters, flash=flash),
                               "noise": NoiseSource(**values["noise"])})  # fmt: skip


class Server:
    """One running board: device, ports, clock.

    Raises
    ------
    BoardBusy
        Another process runs this board.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = BoardFolder(settings.name, Path(settings.base) if settings.base else None)
        with ExitStack() as stack, ExitStack() as undo:
            self.folder.acquire()
            stack.callback(self.folder.release)
            if self.folder.read_json("silicon.json") is None:  # a board that never ran has no silicon yet
                undo.callback(self.folder.remove, "silicon.json")
            self.silicon = self.folder.silicon(dict(settings.silicon))
            self.parameters = self._with_seed(settings)
            memory = self.folder.map_flash(self.parameters.flash.size)
            stack.callback(memory.close)
            rings = rings_of(self.silicon, self.parameters)
            self.device = SimulatedDevice(
                Path(settings.library), self.parameters, flash=memory, rings=rings, noise=settings.noise, log=LOGGED
            )
            stack.callback(self.device.close)
            self.selector = selectors.DefaultSelector()
            stack.callback(self.selector.close)
            self.admin = AdminPort(self.selector, settings.tcp_port, self.device.write, self._full)
            stack.callback(self.admin.close)
            self.link: PeerLink | None = None
            if settings.peer:
                self.link = PeerLink(self.selector, self.folder.link_path(settings.peer), self._from_peer)
                stack.callback(self.link.close)
            self.control = ControlPort(self.selector, self.folder.control_path(), self)
            stack.callback(self.control.close)
            self.tap: IO[str] | None = None
            if settings.tap:
                self.tap = open(settings.tap, "a", buffering=1)  # noqa: SIM115
                stack.callback(self.tap.close)
            undo.pop_all()
            self._stack = stack.pop_all()
        self.wired = True
        self.events: list[tuple[int, str, int]] = []
        self.stopped = False
        self.shown: Callable[[str], None] = lambda digits: None  # told of what comes onto the display
        self._lit_until = 0
        self._origin = (time.monotonic(), self.device.status.cycle)
        self._wait = 0.0

    @staticmethod
    def _with_seed(settings: Settings) -> Parameters:
        seed = settings.noise_seed
        values = {name: getattr(settings.parameters, name) for name in Parameters.__dataclass_fields__}
        return Parameters(**values | {"seed": int.from_bytes(os.urandom(8), "little") if seed is None else seed})

    @property
    def addresses(self) -> dict[str, Any]:
        """Where to reach the running board."""
        return {
            "name": self.settings.name,
            "pid": os.getpid(),
            "port": self.admin.path,
            "url": self.admin.url,
            "control": str(self.folder.control_path()),
        }

    def close(self) -> None:
        """Give everything back."""
        self._stack.close()

    def run(self) -> None:
        """Serve until `stop`."""
        while not self.stopped:
            for key, events in self.selector.select(self._timeout()):
                key.data(events)
            if self.link:
                self.link.poll()
            if self._active() and not self._ahead():
                self._advance()

    def stop(self) -> None:
        """End `run`."""
        self.stopped = True

    def set_silicon(self, changes: dict[str, Any]) -> None:
        """Another temperature, voltage or age."""
        silicon = self.folder.silicon(changes)
        self.device.set_rings(rings_of(silicon, self.parameters))
        self.silicon = silicon

    def watch(self, fd: int, gone: Callable[[], None]) -> None:
        """Call ``gone`` when the other end of a pipe is closed."""

        def ready(events: int) -> None:
            if not os.read(fd, 4096):
                self.selector.unregister(fd)
                gone()

        self.selector.register(fd, selectors.EVENT_READ, ready)

    # ------------------------------------------------------------------------------------------------------ time

    def _active(self) -> bool:
        status = self.device.status
        waits = not status.quiet or status.admin_pending or status.peer_pending or self._displays()
        return bool(status.powered and waits)

    def _displays(self) -> bool:
        """A display that has just gone blank may go on after a pause."""
        return int(self.device.status.cycle) < self._lit_until

    def _timeout(self) -> float | None:
        if self._active():
            return max(0.0, self._wait)
        return self.link.retry_s if self.link else None

    def _ahead(self) -> bool:
        """Whether virtual time is ahead of real time; then sets how long to wait."""
        self._wait = 0.0
        if not self.settings.pace:
            return False
        now, cycle = time.monotonic(), self.device.status.cycle
        start, first = self._origin
        ahead = (cycle - first) / self.parameters.clock_hz / self.settings.pace - (now - start)
        if ahead < -BEHIND_S:
            self._origin = (now, cycle)
        elif ahead > AHEAD_S:
            self._wait = ahead - AHEAD_S / 2
            return True
        return False

    def _advance(self) -> None:
        stop = self.device.run(self.parameters.clock_hz // SLICES_PER_SECOND, until_quiet=not self._displays())
        status = self.device.status
        self._take_events()
        if status.admin_waiting:
            self.admin.send(self.device.read())
        if status.peer_waiting:
            data = self.device.read(peer=True)
            if self.link and self.wired:
                self.link.send(data)
        if stop is not Stop.CYCLES:  # the next activity starts a new stretch of time
            self._origin = (time.monotonic(), status.cycle)

    def _full(self) -> bool:
        """The host has to wait, as at a real serial port."""
        return int(self.device.status.admin_pending) > MOST_PENDING

    def _from_peer(self, data: bytes) -> None:
        if self.wired:
            self.device.write(data, peer=True)

    def _take_events(self) -> None:
        for event in self.device.events():
            if self.tap and event.kind in (EventKind.PEER_IN, EventKind.PEER_OUT):
                entry = {"cycle": event.cycle, "direction": event.kind.name[5:].lower(), "byte": event.value}
                self.tap.write(json.dumps(entry) + "\n")
            if event.kind is EventKind.DISPLAY:
                self._lit_until = event.cycle + self.parameters.cycles(PAUSE_S)
                if event.value:
                    self.shown(digits_of(event.value))
            self.events.append((event.cycle, event.kind.name.lower(), event.value))
        del self.events[:-EVENTS_KEPT]


def serve(
    settings: Settings,
    ready: Callable[[dict[str, Any]], None],
    parent: int | None = None,
    shown: Callable[[str], None] | None = None,
) -> None:
    """Run a board until SIGINT, SIGTERM, the control channel's ``quit``, or the end of the pipe ``parent``.

    Parameters
    ----------
    settings : Settings
        Which board, and how.
    ready : callable
        Called with the addresses once the ports exist.
    parent : int, optional
        Descriptor of a pipe that the starting process holds open.
    shown : callable, optional
        Called with the two digits that come onto the display.
    """
    server = Server(settings)
    server.shown = shown or server.shown
    wake, waker = os.pipe()
    for end in (wake, waker):
        os.set_blocking(end, False)
    before = {number: signal.signal(number, lambda *_: server.stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.set_wakeup_fd(waker)
    server.watch(wake, server.stop)
    try:
        if parent is not None:
            server.watch(parent, server.stop)
        server.folder.write_json("running.json", server.addresses)  # who is told finds it by its name, too
        ready(server.addresses)
        server.run()
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        server.close()
        os.close(wake)
        os.close(waker)
