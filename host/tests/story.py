"""What can happen to two devices, their registry and the wires between them: one set of rules.

Hypothesis plays them in short runs that it can shrink (`test_device_random.py`), a generator with a seed in long ones
(`campaign_device.py`). Each device has its model beside it, and `Twin` compares the two after every step: all bytes of
both ports, the flash, STATUS, what is left of secrets. Beyond that, whatever happens:

* a session that one side accepts has the same epoch at the other, if that accepts it, and the other role; a responder
  accepts it second; no session is accepted twice;
* a text arrives at most once, in order, and was sent;
* a pairing that both have works in five messages, when all is over.
"""

from typing import ClassVar

from ringpair_protocol import frames
from ringpair_protocol import messages as msg
from ringpair_protocol.admin import Carrier, Code, DeviceStateCode, Event, Opcode, PeerState, Role
from ringpair_protocol.pairing import (
    DeviceEntry,
    finish_enrollment,
    make_puzzles,
    make_reset,
    make_revocation,
    start_enrollment,
)
from ringpair_protocol.records import MAX_PEERS

from host.tests.rig_device import Twin, silicon
from host.tests.rig_scenes import carry, two_devices
from host.tests.rules import Chooser, Rules

MEMORY = 300
"""Messages that are remembered for replays."""
LENGTHS = (8, 8, 8, 8, 8, 8, msg.LENGTHS[msg.M1], msg.TEXT_MAX)
"""What is short takes little time."""


RULES = Rules()
rule = RULES.rule


class Story:
    """Two devices, lower id first.

    Attributes
    ----------
    air, mail
        What is on its way to each device: messages of the other, and messages of the registry.
    heard, read
        The last of all there ever were, for whoever replays them.
    entries
        What the registry has of each device; None in the factory state.
    pairing
        Which pairing each device holds now and at which number; None if none, or not known.
    rules, kinds, patience
        What can be played, with what devices; how much of a wait may pass before its end is looked at.
    """

    rules: ClassVar[Rules] = RULES
    kinds: ClassVar[tuple[type[Twin], type[Twin]]] = Twin, Twin
    patience: ClassVar[float] = 0.5

    def __init__(self, seeds: tuple[int, int] = (1, 2)):
        self.twins: list[Twin] = two_devices(seeds, self.kinds)
        self.entries: list[DeviceEntry | None] = [twin.entry for twin in self.twins]
        self.air: list[list[bytes]] = [[], []]
        self.mail: list[list[tuple[bytes, int]]] = [[], []]
        self.heard: list[bytes] = []
        self.read: list[bytes] = []
        self.pairing: list[tuple[int, int] | None] = [(0, 0), (0, 0)]
        self.pairings = self.texts = 0
        self.sessions: list[dict[bytes, tuple[Role, int]]] = [{}, {}]
        self.current = [b"", b""]  # the last session that each has accepted
        self.sent: list[dict[bytes, list[bytes]]] = [{}, {}]  # by session
        self.cuts = 0

    # ------------------------------------------------------------------ what follows from every step
    def after(self, who: int) -> None:
        """What a device has said; and no wait ends while nobody looks."""
        self.listen(who)
        for number, other in enumerate(self.twins):
            run = other.model.party.run
            if run and other.waited_ms() > run.left_ms * self.patience:
                self.expire(number)

    def listen(self, who: int) -> None:
        """What a device has sent is on its way; what it has told is true."""
        twin = self.twins[who]
        sent = twin.peer_out + [out[1:] for out in twin.admin_out if out[0] == Event.PEER_OUT]
        self.air[1 - who] = (self.air[1 - who] + sent)[-20:]
        self.heard = (self.heard + sent)[-MEMORY:]
        for out in twin.admin_out:
            if out[0] == Event.SESSION:
                self.accepted(who, Role(out[1]), int.from_bytes(out[3:7], "little"), out[7:])
            elif out[0] == Event.TEXT:
                self.arrived(who, out[1:])

    def expire(self, who: int) -> None:
        self.twins[who].expire()
        self.after(who)

    def command(self, who: int, payload: bytes) -> None:
        """A command that may be a text to send."""
        reply = self.twins[who].admin(payload)
        if payload[0] == Opcode.SEND and reply[0] == Code.OK:
            self.sent[who][self.current[who]].append(payload[1:])
        self.after(who)

    def accepted(self, who: int, role: Role, epoch: int, session_id: bytes) -> None:
        mine, other = self.sessions[who], self.sessions[1 - who]
        assert session_id not in mine, "one session twice"
        mine[session_id] = role, epoch
        if role is Role.RESPONDER:
            assert other.get(session_id) == (Role.INITIATOR, epoch), "a responder accepts before its initiator"
        self.current[who], self.sent[who] = session_id, {session_id: []}

    def arrived(self, who: int, text: bytes) -> None:
        waiting = self.sent[1 - who].get(self.current[who], [])
        assert text in waiting, f"{text.hex()} was not sent in this session, or came before"
        del waiting[: waiting.index(text) + 1]

    def play(self, name: str, choose: Chooser) -> None:
        """One step."""
        self.rules[name][1](self, choose)

    # ------------------------------------------------------------------ handshakes
    @rule(20)
    def connect(self, choose: Chooser) -> None:
        who = choose.number(0, 1)
        self.twins[who].admin(bytes([Opcode.CONNECT, self.number(who), choose.pick(list(Carrier))]))
        self.after(who)

    @rule(5)
    def connect_both(self, choose: Chooser) -> None:
        """Both start before either hears of it."""
        for who in (0, 1):
            self.twins[who].admin(bytes([Opcode.CONNECT, self.number(who), Carrier.WIRE]))
            self.after(who)

    @rule(6)
    def connect_with_nobody(self, choose: Chooser) -> None:
        who = choose.number(0, 1)
        self.twins[who].admin(bytes([Opcode.CONNECT, choose.number(MAX_PEERS, 255), choose.number(0, 3)]))
        self.after(who)

    @rule(300, lambda story: any(story.air))
    def deliver(self, choose: Chooser) -> None:
        """A message arrives: in its turn or not, and it may come once more later."""
        who = choose.pick([who for who in (0, 1) if self.air[who]])
        place = choose.number(0, min(3, len(self.air[who]) - 1))
        keep = choose.number(0, 7) == 0
        message = self.air[who][place] if keep else self.air[who].pop(place)
        (self.twins[who].tunnel if choose.number(0, 3) == 0 else self.twins[who].peer)(message)
        self.after(who)

    @rule(60, lambda story: any(story.air))
    def converse(self, choose: Chooser) -> None:
        """All that is on its way arrives, in order."""
        who = choose.number(0, 1)
        for _ in range(8):
            who = who if self.air[who] else 1 - who
            if not self.air[who]:
                break
            self.twins[who].peer(self.air[who].pop(0))
            self.after(who)

    @rule(6, lambda story: any(story.air))
    def lose(self, choose: Chooser) -> None:
        self.air[choose.number(0, 1)].clear()

    @rule(30, lambda story: bool(story.heard))
    def replay(self, choose: Chooser) -> None:
        who = choose.number(0, 1)
        self.twins[who].peer(choose.pick(self.heard))
        self.after(who)

    @rule(30, lambda story: bool(story.heard))
    def alter(self, choose: Chooser) -> None:
        who, message = choose.number(0, 1), bytearray(choose.pick(self.heard))
        message[choose.number(0, len(message) - 1)] ^= 1 << choose.number(0, 7)
        self.twins[who].peer(bytes(message))
        self.after(who)

    @rule(0.3, lambda story: any(twin.model.party.run for twin in story.twins))
    def wait(self, choose: Chooser) -> None:
        self.expire(choose.pick([who for who in (0, 1) if self.twins[who].model.party.run]))

    @rule(1)
    def press(self, choose: Chooser) -> None:
        who = choose.number(0, 1)
        self.twins[who].press()
        self.after(who)

    @rule(4)
    def disconnect(self, choose: Chooser) -> None:
        who = choose.number(0, 1)
        self.twins[who].admin(bytes([Opcode.DISCONNECT]))
        self.after(who)

    # ------------------------------------------------------------------ the channel, questions, worthless input
    @rule(300)
    def send(self, choose: Chooser) -> None:
        who = choose.number(0, 1)
        self.texts += 1
        text = self.texts.to_bytes(4, "big") + choose.data(0, choose.pick(LENGTHS) - 4)
        self.command(who, bytes([Opcode.SEND]) + text)

    @rule(80)
    def ask(self, choose: Chooser) -> None:
        who = choose.number(0, 1)
        self.twins[who].admin(bytes([choose.pick([Opcode.IDENTITY, Opcode.STATUS])]))
        self.after(who)

    @rule(8)
    def ask_for_a_peer(self, choose: Chooser) -> None:
        who = choose.number(0, 1)
        self.twins[who].admin(bytes([Opcode.PEER, choose.pick([0, 1, MAX_PEERS - 1, MAX_PEERS, 255])]))
        self.after(who)

    @rule(60)
    def worthless_command(self, choose: Chooser) -> None:
        """Any opcode with any body."""
        self.command(choose.number(0, 1), bytes([choose.number(0, 255)]) + choose.data(0, choose.pick(LENGTHS)))

    @rule(60)
    def worthless_message(self, choose: Chooser) -> None:
        who = choose.number(0, 1)
        self.twins[who].peer(bytes([choose.number(0, 255)]) + choose.data(0, choose.pick(LENGTHS)))
        self.after(who)

    @rule(40)
    def damaged_frame(self, choose: Chooser) -> None:
        """A bit of a frame flips on the line, or two frames become one."""
        who, data = choose.number(0, 1), bytearray(frames.encode(bytes([Opcode.IDENTITY])))
        data[choose.number(0, len(data) - 1)] ^= 1 << choose.number(0, 7)
        self.twins[who].line(bytes(data) + b"\0", peer=choose.number(0, 1) == 1)
        self.after(who)

    # ------------------------------------------------------------------ power and weather
    @rule(3)
    def power_cycle(self, choose: Chooser) -> None:
        """Off and on: its clock, its noise and its waits begin anew."""
        who = choose.number(0, 1)
        self.twins[who].boot()
        self.after(who)

    @rule(5)
    def cut(self, choose: Chooser) -> None:
        """The power fails while the next message is worked on, if that writes so often."""
        who = choose.number(0, 1)
        peer = bool(self.air[who]) and not (self.mail[who] and choose.number(0, 1))
        if not peer and not self.mail[who]:
            return
        twin, message = self.twins[who], self.air[who].pop(0) if peer else bytes([Opcode.IMPORT]) + self.mail[who][0][0]
        arm(twin, choose)
        self.cuts += twin.cut(message, peer=peer)
        if not peer:
            self.pairing[who] = None  # what has become of it is seen when it is imported again
        self.listen(who)
        twin.boot()
        self.after(who)

    @rule(2)
    def weather(self, choose: Chooser) -> None:
        """The rings move a little; the search finds the bits that have changed."""
        who = choose.number(0, 1)
        twin = self.twins[who]
        twin.set_counts(silicon(twin.seed, drift=0.0002 * choose.number(0, 2)))

    # ------------------------------------------------------------------ the registry
    @rule(1.5)
    def pair(self, choose: Chooser) -> None:
        """The registry makes two puzzles, whatever the devices hold."""
        if None not in self.entries:
            self.pairings += 1
            *puzzles, self.entries[0], self.entries[1] = make_puzzles(*self.entries, choose.data(32, 32))
            for who in (0, 1):
                self.post(who, puzzles[who], self.pairings)

    @rule(1)
    def revoke(self, choose: Chooser) -> None:
        """The registry revokes a pairing at one of the devices, or at both."""
        if None not in self.entries:
            for who in choose.pick([(0,), (1,), (0, 1)]):
                peer_id = self.entries[1 - who].device_id
                message, self.entries[who] = make_revocation(self.entries[who], peer_id)
                self.post(who, message, 0)

    def post(self, who: int, message: bytes, pairing: int) -> None:
        self.mail[who] = [*self.mail[who], (message, pairing)][-20:]
        self.read = [*self.read, message][-MEMORY:]

    @rule(8, lambda story: any(story.mail))
    def bring(self, choose: Chooser) -> None:
        """A message of the registry is imported, mostly the oldest first; those before it are lost then."""
        who = choose.pick([who for who in (0, 1) if self.mail[who]])
        place = choose.pick([0, 0, 0, len(self.mail[who]) - 1])
        message, pairing = self.mail[who][place]
        keep = choose.number(0, 5) == 0
        self.mail[who] = self.mail[who][place + (not keep) :]
        reply = self.twins[who].admin(bytes([Opcode.IMPORT]) + message)
        if reply[0] == Code.OK:
            self.pairing[who] = (pairing, reply[1]) if pairing else None
        self.after(who)

    @rule(8, lambda story: bool(story.read))
    def bring_again(self, choose: Chooser) -> None:
        """An old message of the registry, for whomever; as it was, or altered."""
        who, message = choose.number(0, 1), bytearray(choose.pick(self.read))
        waiting = [waiting for waiting, _ in self.mail[who]]
        if choose.number(0, 1) or bytes(message) in waiting:
            message[choose.number(0, len(message) - 1)] ^= 1 << choose.number(0, 7)
        self.twins[who].admin(bytes([Opcode.IMPORT]) + bytes(message))
        self.after(who)

    @rule(0.15, lambda story: None not in story.entries)
    def reset(self, choose: Chooser) -> None:
        """Factory reset by the registry or by the button; the power may fail in it."""
        who = choose.number(0, 1)
        twin, way = self.twins[who], choose.number(0, 5)
        payload = bytes([Opcode.IMPORT]) + make_reset(self.entries[who])
        if way == 0:
            while twin.waiting_ms():  # the press outlasts every wait
                self.expire(who)
            twin.press(10.3)
        elif way == 1:
            arm(twin, choose)
            self.cuts += twin.cut(payload)
            twin.boot()
        elif twin.admin(payload) != bytes([Code.OK, 0xFF]):
            return self.after(who)  # it is behind by what was lost on the way
        self.after(who)
        self.settle_enrollment(who)

    @rule(400, lambda story: None in story.entries)
    def enroll(self, choose: Chooser) -> None:
        """From the factory state; the host may give up, be wrong, or the power may fail."""
        who = self.entries.index(None)
        twin, nonce, way = self.twins[who], choose.data(16, 16), choose.number(0, 9)
        if way == 0:
            twin.command(Opcode.ENROLL, start_enrollment(nonce), Code.NEED_BUTTON)
            return self.after(who)
        twin.hold()
        entry, e3 = finish_enrollment(nonce, twin.begin_enrollment(nonce))
        twin.release()
        payload = bytes([Opcode.ENROLL_CONFIRM]) + e3
        if way == 1:
            twin.expire()
        elif way == 2:
            arm(twin, choose)
            self.cuts += twin.cut(payload)
            twin.boot()
        else:
            payload = payload[:-1] + bytes([payload[-1] ^ (way == 3)])
            assert twin.admin(payload)[0] == (Code.BAD_CONFIRMATION if way == 3 else Code.OK)
        self.after(who)
        self.settle_enrollment(who, entry)

    def settle_enrollment(self, who: int, entry: DeviceEntry | None = None) -> None:
        """What the registry makes of a device that was enrolled or reset: it asks."""
        state = self.twins[who].model.vault.state()
        if state is DeviceStateCode.FACTORY:
            self.entries[who] = None
        elif entry:
            self.entries[who] = entry
        if self.entries[who] is None or entry:
            self.mail[who].clear()
        self.pairing[who] = None

    # ------------------------------------------------------------------ the end
    def apart(self) -> bool:
        """They do not hold the same pairing, as far as is known."""
        first, second = self.pairing
        return not first or not second or first[0] != second[0]

    def number(self, who: int) -> int:
        """Where a device holds the other, as far as is known."""
        held = self.pairing[who]
        return held[1] if held else 0

    def end(self) -> None:
        """Whatever has happened: a pairing that both hold works in five messages; if there is none, a new one does."""
        for who, twin in enumerate(self.twins):
            twin.set_counts(silicon(twin.seed))
            while None in self.entries and self.entries.index(None) == who:
                self.entries[who] = twin.enroll()
        if self.apart():
            self.pair_anew()
        low, high = self.twins
        epochs = [
            int.from_bytes(twin.command(Opcode.PEER, bytes([self.number(who)]))[-4:], "little")
            for who, twin in enumerate(self.twins)
        ]
        assert abs(epochs[0] - epochs[1]) <= 1
        for twin in self.twins:
            twin.admin(bytes([Opcode.DISCONNECT]))
        assert carry([low.connect(self.number(0))], low.peer, high.peer) in (3, 5)
        assert low.model.party.session.session_id == high.model.party.session.session_id
        for who in (0, 1):
            self.after(who)

    @rule(6, lambda story: story.apart() and None not in story.entries)
    def mend(self, choose: Chooser) -> None:
        """Somebody sees to it."""
        self.pair_anew()
        for who in (0, 1):
            self.after(who)

    def pair_anew(self) -> None:
        """What a registry does about devices that have come apart: revoke at both, and pair."""
        for who, twin in enumerate(self.twins):
            for number in range(MAX_PEERS):  # room, whoever it was
                state = twin.command(Opcode.PEER, bytes([number]))
                if state[0] == PeerState.EMPTY:
                    break
                if state[0] == PeerState.LIVE:
                    message, self.entries[who] = make_revocation(self.entries[who], state[1:9])
                    twin.command(Opcode.IMPORT, message)
        self.pairings += 1
        *puzzles, self.entries[0], self.entries[1] = make_puzzles(*self.entries, self.pairings.to_bytes(32, "big"))
        for who, twin in enumerate(self.twins):
            self.pairing[who] = self.pairings, twin.command(Opcode.IMPORT, puzzles[who])[0]
            self.mail[who].clear()

    def figures(self) -> dict[str, int]:
        """What a story of many steps was worth."""
        return {"power cuts": self.cuts, "sessions": len(self.sessions[0])}

    def close(self) -> None:
        for twin in self.twins:
            twin.close()


def arm(twin: Twin, choose: Chooser) -> None:
    """The power will fail in one of the next programs or erases."""
    twin.arm(choose.pick(["program", "program", "erase"]), choose.number(1, 4), choose.number(0, 100) / 100)
