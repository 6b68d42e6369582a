"""A device and three services, anything in any order, against a few lines that say what must come of it."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from ringpair_protocol.admin import Code, Opcode, Pin
from ringpair_protocol.binding import PIN_TRIES
from ringpair_protocol.controller import BindingRun, OpeningRun, WrongPin, open_session
from ringpair_protocol.messages import SWITCH

from protocol.tests.rig_binding import WRONG, enrolled, service, unbind_text

NAMES = st.sampled_from(["phone", "hub", "car"])


class Bindings(RuleBasedStateMachine):
    """What is bound, how many tries are left, whose session it is."""

    answers = Bundle("answers")

    @initialize()
    def start(self) -> None:
        self.board = enrolled()
        self.preset = self.board.pin(Pin.PRESET)
        self.bound: list[str] = []
        self.left = PIN_TRIES
        self.sessions: dict[str, object] = {}
        self.current: str | None = None
        self.dynamic = False
        self.switch = 0
        self.key = b""
        self.last: object = None

    @rule(dynamic=st.booleans())
    def show(self, dynamic: bool) -> None:
        if dynamic:
            self.shown = self.board.pin()
            self.dynamic = True
        assert self.board.pin(Pin.PRESET) == self.preset

    @rule(target=answers, name=NAMES, right=st.booleans(), button=st.booleans())
    def begin(self, name: str, right: bool, button: bool):
        pin = (self.shown if self.dynamic else self.preset) if right else WRONG
        run = BindingRun(service(name), self.board.id, pin)
        self.board.device.button = button
        code, b2 = self.board.controller_in(run.b1())
        self.board.device.button = False
        self.last = None
        if not self.left and not button:
            assert code is Code.PIN_LOCKED
            return run, None, name
        assert code is Code.OK
        self.left = (self.left or PIN_TRIES) - 1
        self.dynamic = False
        try:
            b3 = run.b3(b2)
            assert right
        except WrongPin:
            assert not right
            return run, None, name
        self.last = run
        return run, b3, name

    @rule(begun=consumes(answers))
    def finish(self, begun) -> None:
        run, b3, name = begun
        if b3 is None:
            return
        code, b4 = self.board.controller_in(b3)
        if run is not self.last:
            assert code in (Code.NO_BINDING, Code.WRONG_PIN)
            self.last = None
            return
        self.last = None
        self.left = PIN_TRIES
        assert code is Code.OK
        self.key = run.finish(b4)
        if name not in self.bound:
            self.bound.append(name)

    @rule(name=NAMES)
    def open(self, name: str) -> None:
        self.last = None
        if name not in self.bound:
            code, _ = self.board.controller_in(OpeningRun(service(name), bytes(32)).s1())
            assert code in (Code.UNKNOWN_CONTROLLER, Code.OK), "another record may fit the hint"
            return
        self.sessions[name] = open_session(service(name), self.key, self.board.answer)
        self.current = name

    @rule(name=NAMES, value=st.none() | st.integers(0, 255))
    def say(self, name: str, value: int | None) -> None:
        session = self.sessions.get(name)
        if session is None:
            return
        text = bytes([SWITCH]) if value is None else bytes([SWITCH, value])
        self.sessions[name], message = session.seal(text)
        code, answer = self.board.controller_in(message)
        if name != self.current:
            assert code in (Code.BAD_CONTROLLER, Code.NO_SESSION)
            return
        assert code is Code.OK
        self.switch = self.switch if value is None else value
        opened = self.sessions[name].open(answer)
        assert opened is not None
        self.sessions[name], text = opened
        assert text == bytes([SWITCH, self.switch])

    @rule()
    def unbind(self) -> None:
        if self.current is None:
            return
        _, message = self.sessions.pop(self.current).seal(unbind_text(service(self.current)))
        self.board.answer(message)
        self.bound.remove(self.current)
        self.current = self.last = None

    @rule()
    def power_cycle(self) -> None:
        self.board.start()
        self.current, self.dynamic, self.switch, self.last = None, False, 0, None

    @rule()
    def factory_reset(self) -> None:
        self.board.device.button_long()
        self.board.enroll()
        self.preset = self.board.pin(Pin.PRESET)
        self.bound, self.left, self.current, self.dynamic, self.switch, self.last = [], PIN_TRIES, None, False, 0, None

    @rule(body=st.binary(min_size=1, max_size=125))
    def garbage(self, body: bytes) -> None:
        code, answer = self.board.ask(Opcode.CONTROLLER_IN, body)
        if code is Code.OK:  # 17 bytes that begin like a B3
            self.last = None
        assert answer == b""

    @invariant()
    def table(self) -> None:
        if hasattr(self, "board"):
            left, ids = self.board.bindings()
            assert left == self.left
            assert set(ids) == {service(name).id for name in self.bound}


TestBindings = Bindings.TestCase
TestBindings.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
