"""Random steps on two compiled devices, each with its model beside it; lost, doubled, late and altered messages.

``RINGPAIR_EXAMPLES`` sets how many runs there are (default 6), each of 25 steps.
"""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from ringpair_protocol.admin import Carrier, Code, Event, Opcode

from host.tests.rig_device import CLOCK_HZ, Twin, carry, two_devices

EXAMPLES = int(os.environ.get("RINGPAIR_EXAMPLES", "6"))
WHO = st.integers(0, 1)


class TwoDevices(RuleBasedStateMachine):
    """``air[n]`` are the messages on their way to device n, ``heard`` all there ever were."""

    @initialize()
    def start(self) -> None:
        self.twins: list[Twin] = two_devices()
        self.air: list[list[bytes]] = [[], []]
        self.heard: list[bytes] = []
        self.runs: list[tuple[object, int]] = [(None, 0), (None, 0)]

    def after(self, who: int) -> None:
        """What a device has sent goes to the other; and no wait ends while nobody looks."""
        twin = self.twins[who]
        sent = twin.peer_out + [out[1:] for out in twin.admin_out if out[0] == Event.PEER_OUT]
        self.air[1 - who] += sent
        self.heard += sent
        for number, other in enumerate(self.twins):
            run = other.model.party.run
            if run is not self.runs[number][0]:
                self.runs[number] = run, other.device.status.cycle
            elif run and (other.device.status.cycle - self.runs[number][1]) / CLOCK_HZ * 1000 > run.left_ms / 2:
                self.expire(number)

    def expire(self, who: int) -> None:
        self.twins[who].expire()
        self.after(who)

    @rule(who=WHO, carrier=st.sampled_from(Carrier))
    def connect(self, who: int, carrier: Carrier) -> None:
        self.twins[who].command(Opcode.CONNECT, bytes([0, carrier]))
        self.after(who)

    @rule(who=WHO, number=st.integers(1, 9))
    def connect_with_nobody(self, who: int, number: int) -> None:
        self.twins[who].command(Opcode.CONNECT, bytes([number, 0]), Code.NO_SUCH_PEER)
        self.after(who)

    @rule(who=WHO, place=st.integers(0, 3), keep=st.booleans(), tunnel=st.booleans())
    def deliver(self, who: int, place: int, keep: bool, tunnel: bool) -> None:
        if place < len(self.air[who]):
            message = self.air[who][place] if keep else self.air[who].pop(place)
            (self.twins[who].tunnel if tunnel else self.twins[who].peer)(message)
            self.after(who)

    @rule(who=WHO)
    def converse(self, who: int) -> None:
        """All that is on its way arrives, in order."""
        for _ in range(8):
            if not self.air[who]:
                who = 1 - who
            if not self.air[who]:
                break
            self.twins[who].peer(self.air[who].pop(0))
            self.after(who)

    @rule(who=WHO)
    def lose(self, who: int) -> None:
        self.air[who].clear()

    @precondition(lambda self: self.heard)
    @rule(who=WHO, data=st.data())
    def replay(self, who: int, data: st.DataObject) -> None:
        self.twins[who].peer(data.draw(st.sampled_from(self.heard)))
        self.after(who)

    @precondition(lambda self: self.heard)
    @rule(who=WHO, data=st.data(), bit=st.integers(0, 7))
    def alter(self, who: int, data: st.DataObject, bit: int) -> None:
        message = bytearray(data.draw(st.sampled_from(self.heard)))
        message[data.draw(st.integers(0, len(message) - 1))] ^= 1 << bit
        self.twins[who].peer(bytes(message))
        self.after(who)

    @rule(who=WHO, text=st.binary(min_size=1, max_size=96))
    def send(self, who: int, text: bytes) -> None:
        self.twins[who].admin(bytes([Opcode.SEND]) + text)
        self.after(who)

    @rule(who=WHO)
    def disconnect(self, who: int) -> None:
        self.twins[who].admin(bytes([Opcode.DISCONNECT]))
        self.after(who)

    @rule(who=WHO)
    def press(self, who: int) -> None:
        self.twins[who].press()
        self.after(who)

    @precondition(lambda self: any(twin.model.party.run for twin in self.twins))
    @rule()
    def wait(self) -> None:
        self.expire(next(number for number, twin in enumerate(self.twins) if twin.model.party.run))

    @rule(who=WHO)
    def power_cycle(self, who: int) -> None:
        self.twins[who].boot()
        self.after(who)

    @precondition(lambda self: any(self.air))
    @rule(number=st.integers(1, 3), fraction=st.floats(0, 1))
    def cut(self, number: int, fraction: float) -> None:
        """The power fails while the next message is worked on, if that writes so often."""
        who = 0 if self.air[0] else 1
        twin = self.twins[who]
        message = self.air[who].pop(0)
        twin.device.cut_in_program(number, fraction)
        if not twin.cut(message, peer=True):
            self.air[1 - who] += twin.peer_out
            self.heard += twin.peer_out
        twin.boot()
        self.after(who)

    def teardown(self) -> None:
        """Whatever has happened: five messages, and there is a session."""
        if not hasattr(self, "twins"):
            return
        low, high = self.twins
        epochs = [int.from_bytes(twin.command(Opcode.PEER, b"\0")[-4:], "little") for twin in self.twins]
        assert abs(epochs[0] - epochs[1]) <= 1
        for twin in self.twins:
            twin.admin(bytes([Opcode.DISCONNECT]))
        assert carry([low.connect()], low.peer, high.peer) in (3, 5)
        assert low.model.party.session.session_id == high.model.party.session.session_id
        for twin in self.twins:
            twin.close()


TestTwoDevices = TwoDevices.TestCase
TestTwoDevices.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=25,
    deadline=None,
    derandomize="RINGPAIR_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
