"""The story of two devices of which one can be bound: services of controllers bind it, open sessions, and talk to it.

All rules of `story.py` go on meanwhile, so PPAKE's handshakes and its channel run beside all this. Messages of the
services are lost, come twice, late and altered; the power fails in them. Beyond what `Twin` compares, whatever happens:

* at most five B1 are answered between two times that somebody who knew the PIN, or the button, gave the tries back;
* who gets a B4 had asked last and knew the PIN that was shown, or the label's if none was; the table has exactly the
  services that were told so, but those that have said goodbye;
* a session is opened by a service of the table only, in its last run; each of its texts is taken once, in order;
* what is genuine and in time is taken, whatever came between; no controller's message touches PPAKE's session.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from ringpair.controller import LibraryCurve
from ringpair_protocol.admin import Code, DeviceStateCode, Event, Opcode, Pin
from ringpair_protocol.binding import PIN_TRIES
from ringpair_protocol.channel import Session
from ringpair_protocol.controller import BindingRun, NotTheDevice, OpeningRun, WrongPin
from ringpair_protocol.messages import B1, B3, B3_FIRST, DATA, LENGTHS, S1, S3, SWITCH, UNBIND, UNBIND_DONE
from ringpair_protocol.records import MAX_CONTROLLERS

from host.tests.rig_bound import FullTwin
from host.tests.rig_device import Twin
from host.tests.rules import Chooser, Dice, Rules
from host.tests.story import MEMORY, Story, arm
from host.tests.story import RULES as RULES_OF_TWO
from protocol.tests.rig_binding import WRONG, service, unbind_text

RULES = Rules(RULES_OF_TWO)
rule = RULES.rule
NAMES = tuple(f"service {number}" for number in range(MAX_CONTROLLERS + 2))
FAVORITES = NAMES[:2]
CURVE = LibraryCurve()
PIN_AGE = 110
"""A PIN of this age is waited for until it is forgotten: no step is longer than what is left."""
WAITING = 10
"""Messages that are on their way at most."""
CONTROLLERS = Opcode.CONTROLLER_IN, Opcode.CONTROLLER_REST, Opcode.PIN, Opcode.BINDINGS


@dataclass(frozen=True)
class Call:
    """A command with a service's message, and who goes on with the answer: another call, or none.

    ``due`` tells whether it must be taken if it comes now; ``changes`` is the service that it binds or unbinds.
    """

    payload: bytes
    answered: Callable[[Code, bytes], "Call | None"]
    due: Callable[[], bool] = lambda: False
    changes: str = ""


def header_of(payload: bytes) -> int:
    """Of the message in a command; 0 if there is none."""
    return payload[1] if payload[0] == Opcode.CONTROLLER_IN and len(payload) > 1 else 0


@dataclass
class Talk:
    """A service's session; ``heard`` is the number of the last message that the device took."""

    name: str
    session: Session
    heard: int = -1


@dataclass
class Ledger:
    """What must be true of the device, told from the outside."""

    bound: frozenset[str] = frozenset()
    guesses: int = 0
    shown: bytes | None = None
    preset: bytes | None = None
    run: object = None  # whose B2 or S2 is the last
    first: bytes = b""  # the beginning of its B3
    confirmed: bool = False  # that has come
    talk: Talk | None = None
    switch: int = 0
    key: bytes = field(default=bytes(32))

    def forget(self) -> None:
        """The power was gone."""
        self.shown = self.run = self.talk = None
        self.switch, self.confirmed = 0, False


class BoundStory(Story):
    """The device of the first seed can be bound.

    Attributes
    ----------
    full
        Its number among the twins.
    calls, said
        Messages of services on their way, and those that there were.
    talks
        What each service holds for its session.
    """

    rules: ClassVar[Rules] = RULES
    kinds: ClassVar[tuple[type[Twin], type[Twin]]] = FullTwin, Twin
    patience: ClassVar[float] = 0.75

    def __init__(self, seeds: tuple[int, int] = (1, 2)):
        super().__init__(seeds)
        self.full = next(who for who, twin in enumerate(self.twins) if isinstance(twin, FullTwin))
        self.model: object = self.lock.model
        self.ledger = Ledger()
        self.calls: list[Call] = []
        self.said: list[bytes] = []
        self.talks: dict[str, Talk] = {}
        self.counts = dict.fromkeys(("bindings", "controllers' sessions", "controllers' texts", "unbindings"), 0)

    @property
    def lock(self) -> FullTwin:
        twin = self.twins[self.full]
        assert isinstance(twin, FullTwin)
        return twin

    def enrolled(self) -> bool:
        return self.entries[self.full] is not None

    # ------------------------------------------------------------------ what follows from every step
    def after(self, who: int) -> None:
        super().after(who)
        if self.lock.pin_seconds() > PIN_AGE:
            while self.lock.waiting_ms():
                self.expire(self.full)
            self.lock.outlast_pin()
            self.ledger.shown = None
        if self.lock.model is not self.model:
            self.model = self.lock.model
            self.ledger.forget()
        if self.lock.model.vault.state() is DeviceStateCode.FACTORY:
            self.ledger = Ledger()

    def command(self, who: int, payload: bytes) -> None:
        if who == self.full and payload[0] in CONTROLLERS:
            self.noted(payload, Code(self.lock.admin(payload)[0]))
            self.after(who)
        else:
            super().command(who, payload)

    def noted(self, payload: bytes, code: Code) -> None:
        """What follows from a command, whosever it was."""
        ledger, header = self.ledger, header_of(payload)
        if payload[0] == Opcode.CONTROLLER_REST and code is not Code.BAD_LENGTH:
            ledger.run = None
            if code in (Code.OK, Code.BAD_CONTROLLER, Code.CONTROLLERS_FULL):
                assert ledger.confirmed, "the tries are given back to somebody who did not know the PIN"
                ledger.guesses = 0
            ledger.confirmed = False
        elif header == B3 and len(payload) == 1 + B3_FIRST:
            ledger.confirmed = code is Code.OK and payload == ledger.first
        elif header in (B1, S1, S3) and len(payload) == 1 + LENGTHS[header]:
            ledger.run, ledger.confirmed = None, False
            if header == B1 and code in (Code.OK, Code.BAD_CONTROLLER):
                ledger.shown = None
            if header == B1 and code is Code.OK:
                held = self.lock.model.button
                ledger.guesses = 1 if held else ledger.guesses + 1
                assert ledger.guesses <= PIN_TRIES, "one guess more than the PIN has"

    def locked(self) -> bool:
        vault = self.lock.model.vault
        tries = vault.keys().device().pin_tries
        vault.close()
        return tries >= PIN_TRIES

    def send_call(self, call: Call, *, hold: bool = False) -> Call | None:
        """Bring it to the device; what follows from the answer. ``hold`` the button if it is needed for a B1."""
        twin, before = self.lock, self.lock.model.party.session
        hold = hold and self.enrolled() and header_of(call.payload) == B1 and self.locked()
        due = call.due()
        if hold:
            twin.hold()
        reply = twin.admin(call.payload)
        self.noted(call.payload, code := Code(reply[0]))
        if hold:
            assert code is Code.OK
            twin.release()
        assert twin.model.party.session is before, "a controller's message has touched PPAKE's session"
        assert code is Code.OK or not due, f"{call.payload.hex()} is genuine and in time, and gets {code.name}"
        self.said = [*self.said, call.payload][-MEMORY:]
        return call.answered(code, reply[1:])

    def post_call(self, call: Call | None) -> None:
        if call:
            self.calls = [*self.calls, call][-WAITING:]

    def through(self, call: Call | None) -> None:
        """It and all that follows from it, at once."""
        while call:
            call = self.send_call(call, hold=True)

    # ------------------------------------------------------------------ a binding, from the service's side
    def pin(self) -> bytes:
        """What is shown, or stands on the label."""
        if self.ledger.preset is None:
            self.ledger.preset = self.ask_pin(Pin.PRESET)
        return self.ledger.shown or self.ledger.preset

    def ask_pin(self, kind: Pin) -> bytes:
        self.lock.hold()
        digits = self.lock.command(Opcode.PIN, bytes([kind])) or self.lock.model.binder.display
        self.lock.release()
        return digits

    def binding(self, choose: Chooser, name: str, pin: bytes) -> Call:
        drawn = choose.data(32, 32), choose.data(8, 8)
        run = BindingRun(service(name), self.entries[self.full].device_id, pin, CURVE, *drawn)
        return Call(bytes([Opcode.CONTROLLER_IN]) + run.b1(), partial(self.on_b2, name, run, pin))

    def on_b2(self, name: str, run: BindingRun, pin: bytes, code: Code, b2: bytes) -> Call | None:
        if code is not Code.OK:
            assert code is Code.PIN_LOCKED or not self.enrolled(), code.name
            return None
        token = self.ledger.run = object()
        self.ledger.first = b""
        try:
            b3 = run.b3(b2)
        except WrongPin:
            return None
        assert pin != WRONG, "it says that it knows a PIN that nobody has"
        self.ledger.first = bytes([Opcode.CONTROLLER_IN]) + b3[:B3_FIRST]
        rest = Call(
            bytes([Opcode.CONTROLLER_REST]) + b3[B3_FIRST:],
            partial(self.on_b4, name, run),
            lambda: self.is_last(token) and self.ledger.confirmed and self.has_room(name),
            name,
        )
        return Call(self.ledger.first, lambda code, _: rest if code is Code.OK else None, partial(self.is_last, token))

    def has_room(self, name: str) -> bool:
        return name in self.ledger.bound or len(self.ledger.bound) < MAX_CONTROLLERS

    def is_last(self, token: object) -> bool:
        return self.ledger.run is token

    def on_b4(self, name: str, run: BindingRun, code: Code, b4: bytes) -> None:
        if code is not Code.OK:
            assert code is not Code.CONTROLLERS_FULL or not self.has_room(name)
            return
        ledger = self.ledger
        key = run.finish(b4)
        assert ledger.key in (bytes(32), key), "the device has another key now"
        assert self.has_room(name)
        ledger.key, ledger.bound = key, ledger.bound | {name}
        self.counts["bindings"] += 1

    # ------------------------------------------------------------------ a session, from the service's side
    def opening(self, choose: Chooser, name: str) -> Call:
        run = OpeningRun(service(name), self.ledger.key, CURVE, choose.data(32, 32))
        return Call(
            bytes([Opcode.CONTROLLER_IN]) + run.s1(),
            partial(self.on_s2, name, run),
            lambda: self.enrolled() and name in self.ledger.bound,
        )

    def on_s2(self, name: str, run: OpeningRun, code: Code, s2: bytes) -> Call | None:
        if code is not Code.OK:
            return None
        try:
            s3, session = run.s3(s2)
        except NotTheDevice:  # we are not bound, have another key of it, or our hint fits another record
            return None
        assert name in self.ledger.bound, "it talks to a stranger"
        token = self.ledger.run = object()
        then = partial(self.on_opened, name, session)
        return Call(bytes([Opcode.CONTROLLER_IN]) + s3, then, partial(self.is_last, token))

    def on_opened(self, name: str, session: Session, code: Code, _: bytes) -> None:
        if code is Code.OK:
            self.ledger.talk = self.talks[name] = Talk(name, session)
            self.counts["controllers' sessions"] += 1

    def text(self, talk: Talk, text: bytes) -> Call:
        number = talk.session.next_out
        talk.session, message = talk.session.seal(text)
        return Call(
            bytes([Opcode.CONTROLLER_IN]) + message,
            partial(self.on_answer, talk, text, number),
            lambda: self.ledger.talk is talk and number > talk.heard,
            talk.name if text[0] == UNBIND else "",
        )

    def on_answer(self, talk: Talk, text: bytes, number: int, code: Code, answer: bytes) -> None:
        ledger, events = self.ledger, self.lock.admin_out[1:]
        told = [event[2:] for event in events if event[0] == Event.CONTROLLER_TEXT]
        if code is not Code.OK:
            assert not told
            return
        assert ledger.talk is talk, "a text of another session"
        assert number > talk.heard, "a text came twice, or late"
        talk.heard = number
        self.counts["controllers' texts"] += 1
        if text[0] != UNBIND and (text[0] != SWITCH or len(text) > 2):
            assert (told, answer) == ([text], b"")
            return
        assert not told
        opened = talk.session.open(answer)
        assert opened is not None, "the answer does not open"
        talk.session, heard = opened
        if text[0] == SWITCH:
            ledger.switch = text[1] if len(text) == 2 else ledger.switch
            assert heard == bytes([SWITCH, ledger.switch])
            return
        assert heard == bytes([UNBIND, UNBIND_DONE]) + service(talk.name).id
        ledger.bound, ledger.talk, ledger.run = ledger.bound - {talk.name}, None, None
        self.counts["unbindings"] += 1

    # ------------------------------------------------------------------ what may happen
    @rule(20, enrolled)
    def show_pin(self, choose: Chooser) -> None:
        """The owner asks for a PIN; somebody else does, without the button, or for one that there is not."""
        way = choose.number(0, 5)
        if way == 0:
            self.lock.command(Opcode.PIN, bytes([Pin.DYNAMIC]), Code.NEED_BUTTON)
        elif way == 1:
            self.lock.hold()
            self.lock.command(Opcode.PIN, bytes([choose.number(max(Pin) + 1, 255)]), Code.BAD_VALUE)
            self.lock.release()
        elif way == 2:
            preset = self.ask_pin(Pin.PRESET)
            assert self.ledger.preset in (None, preset)
            self.ledger.preset = preset
        else:  # reading it off the display takes some seconds
            displayed = way == 3 and not self.lock.waiting_ms()
            self.ledger.shown = self.ask_pin(Pin.DISPLAYED if displayed else Pin.DYNAMIC)
        self.after(self.full)

    @rule(45, enrolled)
    def begin_binding(self, choose: Chooser) -> None:
        """With the right PIN, with none, or with the label's while another one is shown."""
        pin = self.pin()
        wrong = choose.pick([WRONG, WRONG, self.ledger.preset])
        self.post_call(self.binding(choose, self.anybody(choose), wrong if choose.number(0, 2) == 0 else pin))

    @rule(45, enrolled)
    def begin_opening(self, choose: Chooser) -> None:
        self.post_call(self.opening(choose, self.anybody(choose)))

    @rule(150, lambda story: story.talks)
    def speak(self, choose: Chooser) -> None:
        """In the session that is, or in one that was."""
        talk = self.talks[choose.pick(sorted(self.talks))]
        talk = self.ledger.talk if self.ledger.talk and choose.number(0, 3) else talk
        text = choose.pick(
            [
                bytes([SWITCH]),
                bytes([SWITCH, choose.number(0, 255)]),
                b"\0" + choose.data(0, 95),
                bytes([SWITCH]) + choose.data(2, 9),
            ]
        )
        self.post_call(self.text(talk, unbind_text(service(talk.name)) if choose.number(0, 9) == 0 else text))

    @rule(400, lambda story: story.calls)
    def deliver_call(self, choose: Chooser) -> None:
        """A service's message arrives: in its turn or not, and it may come once more later."""
        place = choose.pick([0, 0, 0, len(self.calls) - 1])
        call = self.calls[place] if choose.number(0, 7) == 0 else self.calls.pop(place)
        self.post_call(self.send_call(call, hold=choose.number(0, 1) == 1))
        self.after(self.full)

    @rule(5, lambda story: story.calls)
    def lose_calls(self, choose: Chooser) -> None:
        self.calls.clear()

    @rule(40, lambda story: story.said)
    def replay_call(self, choose: Chooser) -> None:
        """What was said before, as it was or altered, by somebody who does not understand the answer."""
        payload = choose.pick(self.said)
        if choose.number(0, 1):
            body = bytearray(payload[1:])
            match choose.number(0, 3):
                case 0:
                    del body[choose.number(1, len(body)) :]
                case 1:
                    body = (body + choose.data(1, 8))[:125]
                case _:
                    body[choose.number(0, len(body) - 1)] ^= 1 << choose.number(0, 7)
            payload = payload[:1] + bytes(body)
        reply = self.lock.admin(payload)
        self.noted(payload, code := Code(reply[0]))
        assert code is not Code.OK or header_of(payload) in (B1, B3, S1), f"{payload.hex()} is taken"
        self.after(self.full)

    @rule(20)
    def worthless_call(self, choose: Chooser) -> None:
        """Of the right length, and nothing else."""
        header = choose.pick([B1, B3, S1, S3, DATA])
        length = B3_FIRST if header == B3 else LENGTHS.get(header, 30)
        payload = bytes([Opcode.CONTROLLER_IN, header]) + choose.data(length - 1, length - 1)
        if choose.number(0, 5) == 0:
            payload = bytes([Opcode.CONTROLLER_REST]) + choose.data(112, 112)
        self.command(self.full, payload)

    @rule(10)
    def whole_binding(self, choose: Chooser) -> None:
        """From B1 to B4, with nothing in between."""
        if self.enrolled():
            name = self.anybody(choose)
            self.through(self.binding(choose, name, self.pin()))
            assert (name in self.ledger.bound) == self.has_room(name)
            self.after(self.full)

    @rule(10, lambda story: story.enrolled() and story.ledger.bound)
    def whole_session(self, choose: Chooser) -> None:
        """From S1 to a switch; the hint may fit another record, as long as there are some."""
        name = choose.pick(sorted(self.ledger.bound))
        self.through(self.opening(choose, name))
        talk = self.ledger.talk
        if talk and talk.name == name:
            self.through(self.text(talk, bytes([SWITCH, choose.number(0, 255)])))
        self.after(self.full)

    @rule(20, enrolled)
    def look(self, choose: Chooser) -> None:
        """The table has what it should, the PIN at most the guesses that are left."""
        self.check_table({self.ledger.bound})
        self.after(self.full)

    @rule(12, lambda story: story.calls)
    def cut_call(self, choose: Chooser) -> None:
        """The power fails while a service's message is worked on, if that writes so often."""
        call = self.calls.pop(0)
        arm(self.lock, choose)
        self.cuts += self.lock.cut(call.payload)
        self.said = [*self.said, call.payload][-MEMORY:]
        if self.lock.admin_out:
            self.noted(call.payload, Code(self.lock.admin_out[0][1]))
        elif call.payload[0] == Opcode.CONTROLLER_REST and call.due():
            self.ledger.guesses = 0  # that is committed first
        tables = {self.ledger.bound} | ({self.ledger.bound ^ {call.changes}} if call.changes and call.due() else set())
        self.lock.boot()
        self.after(self.full)
        self.check_table(tables)

    # ------------------------------------------------------------------ parts
    def anybody(self, choose: Chooser) -> str:
        """Mostly one of a few."""
        return choose.pick(FAVORITES if choose.number(0, 1) else NAMES)

    def check_table(self, tables: set[frozenset[str]]) -> None:
        """Which of these it is."""
        if not self.enrolled():
            return
        body = self.lock.command(Opcode.BINDINGS)
        ids = [body[k : k + 8] for k in range(1, len(body), 8)]
        names = {service(name).id: name for name in NAMES}
        found = frozenset(names[one] for one in ids if any(one))
        assert found in tables, f"the table has {sorted(found)}, not one of {[sorted(table) for table in tables]}"
        assert sum(map(any, ids)) == len(found), "a service stands there twice"
        assert self.ledger.guesses <= body[0] <= PIN_TRIES, "a guess is forgotten"
        self.ledger.bound = found

    def end(self) -> None:
        """A service binds, opens a session and switches, and what it has pairs with the other device."""
        super().end()
        self.calls.clear()
        choose = Dice(random.Random(1))
        for name in sorted(self.ledger.bound) or NAMES[:1]:
            self.through(self.binding(choose, name, self.pin()))
        self.whole_session(choose)
        self.check_table({self.ledger.bound})

    def figures(self) -> dict[str, int]:
        return super().figures() | self.counts
