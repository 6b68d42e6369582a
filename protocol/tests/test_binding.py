"""Bindings and controllers' sessions: the story, exact lengths, every refusal, the PIN policy, what lies in flash."""

from dataclasses import replace

import pytest
from ringpair_protocol import binding, curve25519
from ringpair_protocol.admin import Carrier, Code, Event, Opcode, Pin
from ringpair_protocol.binding import PIN_SECONDS, PIN_TRIES, SEGMENTS, Opening
from ringpair_protocol.channel import OPENING_COUNTER, CounterExhausted, Session
from ringpair_protocol.controller import BindingRun, NotTheDevice, OpeningRun, WrongPin
from ringpair_protocol.derivations import HINT
from ringpair_protocol.messages import (
    B1,
    B2,
    B3,
    B4,
    BINDING_BYTES,
    OPENING_BYTES,
    S1,
    S2,
    S3,
    SWITCH,
    UNBIND,
    UNBIND_DONE,
)
from ringpair_protocol.records import (
    CONTROLLER_BASE,
    JOURNAL_STRIDE,
    MAX_CONTROLLERS,
    MAX_PEERS,
    PEER_SLOT_LENGTH,
    RECORD_VERSION,
    peer_journal,
    slot_offset,
)

from protocol.tests.rig import connect, paired, refused, wire
from protocol.tests.rig_binding import (
    WRONG,
    BoundBoard,
    bind,
    enrolled,
    open_session,
    refused_by,
    say,
    service,
    switch,
    told,
    unbind_text,
)


def wrong_try(board: BoundBoard, who: str = "phone") -> None:
    run = BindingRun(service(who), board.id, WRONG)
    with pytest.raises(WrongPin):
        run.b3(board.answer(run.b1()))


# ------------------------------------------------------------------------------------------------------------ the story


def test_from_a_pin_to_a_switched_lock() -> None:
    board, phone = enrolled(), service("phone")
    device_key = bind(board, phone)
    assert board.bindings() == (PIN_TRIES, [phone.id])
    session = open_session(board, phone, device_key)
    session = switch(board, session, 1)
    assert board.device.binder.switch == 1
    session, state = say(board, session, bytes([SWITCH]))
    assert state == bytes([SWITCH, 1])
    session, events = told(board, session, b"good evening")
    assert events == [b"\0good evening"]
    session, answer = say(board, session, unbind_text(phone))
    assert answer == bytes([UNBIND, UNBIND_DONE]) + phone.id
    assert board.bindings() == (PIN_TRIES, [])
    refused(board, Code.NO_SESSION, Opcode.CONTROLLER_IN, session.seal(b"still there?")[1])
    refused(board, Code.UNKNOWN_CONTROLLER, Opcode.CONTROLLER_IN, OpeningRun(phone, device_key).s1())


def test_lengths_are_the_designs() -> None:
    board, phone = enrolled(), service("phone")
    run = BindingRun(phone, board.id, board.pin())
    messages = [run.b1()]
    messages.append(board.answer(messages[-1]))
    messages.append(run.b3(messages[-1]))
    messages.append(board.answer(messages[-1]))
    assert [(message[0], len(message)) for message in messages] == [(B1, 49), (B2, 49), (B3, 129), (B4, 113)]
    assert sum(map(len, messages)) == BINDING_BYTES == 340
    opening = OpeningRun(phone, run.finish(messages[-1]))
    messages = [opening.s1()]
    messages.append(board.answer(messages[-1]))
    messages.append(opening.s3(messages[-1])[0])
    assert [(message[0], len(message)) for message in messages] == [(S1, 34), (S2, 113), (S3, 81)]
    assert sum(map(len, messages)) == OPENING_BYTES == 228


def test_the_devices_key_is_made_of_its_puf() -> None:
    """The same after power cycles, another one after a factory reset; neither key nor seed nor PIN lies in flash."""
    board = enrolled()
    key = bind(board, service("phone"))
    assert bind(board, service("hub")) == key
    seed = board.device.vault.keys().identity_seed
    pin = board.device.vault.keys().preset_pin()
    board.device.vault.close()
    assert curve25519.public_key(seed) == key
    image = bytes(board.flash.chip.memory)
    assert not [secret for secret in (key, seed, pin) if secret in image]
    board.start()
    open_session(board, service("phone"), key)
    board.device.button_long()
    board.enroll()
    assert bind(board, service("phone")) != key


def test_after_a_factory_reset_the_binding_is_worth_nothing() -> None:
    board, phone = enrolled(), service("phone")
    key = bind(board, phone)
    session = switch(board, open_session(board, phone, key), 1)
    board.device.button_long()
    assert board.device.binder.switch == 0
    refused(board, Code.NOT_ENROLLED, Opcode.CONTROLLER_IN, session.seal(b"x")[1])
    board.enroll()
    assert board.bindings() == (PIN_TRIES, [])
    refused(board, Code.NO_SESSION, Opcode.CONTROLLER_IN, session.seal(b"x")[1])
    refused(board, Code.UNKNOWN_CONTROLLER, Opcode.CONTROLLER_IN, OpeningRun(phone, key).s1())


# ------------------------------------------------------------------------------------------------- services and devices


def test_two_controllers_share_a_device_and_not_their_sessions() -> None:
    board, phone, hub = enrolled(), service("phone"), service("hub")
    key = bind(board, phone)
    assert bind(board, hub) == key
    session = switch(board, open_session(board, phone, key), 1)
    _, overheard = session.seal(b"secret of the phone")
    other = open_session(board, hub, key)
    assert other.open(overheard) is None
    assert replace(other, key_in=other.key_out, iv_in=other.iv_out).open(overheard) is None
    refused(board, Code.BAD_CONTROLLER, Opcode.CONTROLLER_IN, overheard)
    _, state = say(board, other, bytes([SWITCH]))
    assert state == bytes([SWITCH, 1])


def test_a_service_cannot_unbind_another() -> None:
    board, phone, hub = enrolled(), service("phone"), service("hub")
    key = bind(board, phone)
    bind(board, hub)
    session, message = open_session(board, phone, key).seal(unbind_text(hub))
    code, _ = board.controller_in(message)
    assert code is Code.BAD_VALUE
    assert board.bindings()[1] == [phone.id, hub.id]
    say(board, session, unbind_text(phone))
    assert board.bindings()[1] == [hub.id]


def test_another_service_does_not_get_in() -> None:
    """Neither with the key of its own under a stranger's hint, nor with an answer meant for somebody else."""
    board, phone, thief = enrolled(), service("phone"), service("thief")
    key = bind(board, phone)
    run = OpeningRun(thief, key)
    share = run.s1()[2:]
    s1 = bytes([S1]) + HINT(service_id=phone.id, share_c=share)["hint"] + share
    s2 = board.answer(s1)
    with pytest.raises(NotTheDevice, match="not signed by the device"):
        run.s3(s2)
    opening = Opening.agreed(binding.Role.INITIATOR, run._scalar, (share, s2[1:33]), 0, curve25519)
    forged = curve25519.sign(thief.seed, opening.statement_c(key, phone.key))
    refused_by(board, Code.BAD_CONTROLLER, bytes([S3]) + opening.seal(forged))
    assert board.device.binder.session is None


def test_another_device_does_not_pass() -> None:
    """A binding names the device; a session needs its key; B2 and S2 of another one are worth nothing."""
    board, phone = enrolled(), service("phone")
    other = BoundBoard("other")
    other.enroll()
    key, pin = bind(board, phone), board.pin()
    bind(other, phone)
    run = BindingRun(phone, board.id, pin)
    other.device.binder.pin = pin
    with pytest.raises(WrongPin):
        run.b3(other.answer(run.b1()))
    opening = OpeningRun(phone, key)
    s2 = other.answer(opening.s1())
    with pytest.raises(NotTheDevice):
        opening.s3(s2)


def test_the_hint_of_another_record_costs_a_new_run() -> None:
    """Two records that one hint fits: the first is taken, the controller sees it and begins again."""
    board, phone, hub = enrolled(), service("phone"), service("hub")
    key = bind(board, phone)
    bind(board, hub)
    for number in range(10_000):
        run = OpeningRun(hub, key, scalar=number.to_bytes(32, "little"))
        if binding.hint(phone.id, run.s1()[2:]) == run.s1()[1:2]:
            break
    with pytest.raises(NotTheDevice):
        run.s3(board.answer(run.s1()))
    open_session(board, hub, key)


def test_binding_again_renews_the_record() -> None:
    board, phone = enrolled(), service("phone")
    key = bind(board, phone)
    bind(board, service("hub"))
    assert bind(board, phone) == key
    assert board.bindings()[1] == [phone.id, service("hub").id]
    open_session(board, phone, key)


def test_eight_controllers() -> None:
    board = enrolled()
    names = [f"service {number}" for number in range(MAX_CONTROLLERS)]
    keys = {bind(board, service(name)) for name in names}
    assert board.bindings() == (PIN_TRIES, [service(name).id for name in names])
    run = BindingRun(service("ninth"), board.id, board.pin())
    assert board.controller_in(run.b3(board.answer(run.b1()))) == (Code.CONTROLLERS_FULL, b"")
    (key,) = keys
    say(board, open_session(board, service(names[3]), key), unbind_text(service(names[3])))
    bind(board, service("ninth"))
    assert board.bindings()[1][3] == service("ninth").id
    for name in (*names[:3], *names[4:], "ninth"):
        open_session(board, service(name), key)


# ------------------------------------------------------------------------------------------------------------------ PIN


def test_a_dynamic_pin_is_good_for_one_try() -> None:
    board, phone = enrolled(), service("phone")
    pin = board.pin()
    assert len(pin) == 8
    assert set(pin) <= set(b"01234567")
    wrong_try(board)
    run = BindingRun(phone, board.id, pin)
    with pytest.raises(WrongPin):
        run.b3(board.answer(run.b1()))
    assert board.bindings()[0] == PIN_TRIES - 2
    assert board.pin() != pin
    board.start()
    run = BindingRun(phone, board.id, pin)
    with pytest.raises(WrongPin):
        run.b3(board.answer(run.b1()))


def test_a_pin_on_the_display_is_gone_when_it_is_used() -> None:
    board, phone = enrolled(), service("phone")
    pin = board.pin(Pin.DISPLAYED)
    assert len(pin) == 8
    assert board.pin(Pin.PRESET) != pin == board.device.binder.display
    board.answer(BindingRun(phone, board.id, WRONG).b1())
    assert board.device.binder.display is None
    bind(board, phone, board.pin(Pin.DISPLAYED))
    assert board.device.binder.display is None
    for end in (board.pin, board.start, lambda: board.device.button_long()):
        board.pin(Pin.DISPLAYED)
        end()
        assert board.device.binder.display is None


@pytest.mark.parametrize("kind", [Pin.DYNAMIC, Pin.DISPLAYED])
def test_a_dynamic_pin_that_nobody_uses_is_forgotten(kind: Pin) -> None:
    board, phone = enrolled(), service("phone")
    board.pin(kind)
    pin = board.device.binder.pin
    assert pin is not None
    board.device.tick(PIN_SECONDS * 1000 - 1)
    assert board.device.binder.pin == pin
    board.device.tick(1)
    assert board.device.binder.pin is board.device.binder.display is None
    run = BindingRun(phone, board.id, pin)
    with pytest.raises(WrongPin):
        run.b3(board.answer(run.b1()))
    pin = board.pin(kind) or board.device.binder.pin
    assert pin is not None
    board.device.tick(PIN_SECONDS * 1000 - 1)  # of a new one, all of its time
    bind(board, phone, pin)


def test_segments_make_digits() -> None:
    lines = "ABCDEF", "BC", "ABDEG", "ABCDG", "BCFG", "ACDFG", "ACDEFG", "ABC"
    assert tuple(sum(1 << "ABCDEFG".index(line) for line in digit) for digit in lines) == SEGMENTS


def test_the_preset_pin_is_of_the_enrollment() -> None:
    board, phone = enrolled(), service("phone")
    pin = board.pin(Pin.PRESET)
    assert len(pin) == 8
    assert set(pin) <= set(b"01234567")
    bind(board, phone, pin)
    board.start()
    assert board.pin(Pin.PRESET) == pin
    bind(board, service("hub"), pin)
    board.device.button_long()
    board.enroll()
    assert board.pin(Pin.PRESET) != pin


def test_no_pin_without_the_button() -> None:
    board = enrolled()
    for kind in Pin:
        refused(board, Code.NEED_BUTTON, Opcode.PIN, bytes([kind]))
    board.device.button = True
    refused(board, Code.BAD_VALUE, Opcode.PIN, bytes([max(Pin) + 1]))
    board.device.trng_alarm = True
    refused(board, Code.TRNG_FAILED, Opcode.PIN, bytes([Pin.DYNAMIC]))


def test_five_wrong_tries_lock_until_the_button() -> None:
    board, phone = enrolled(), service("phone")
    pin = board.pin(Pin.PRESET)
    for left in range(PIN_TRIES, 0, -1):
        assert board.bindings()[0] == left
        wrong_try(board)
    assert board.bindings()[0] == 0
    run = BindingRun(phone, board.id, pin)
    refused(board, Code.PIN_LOCKED, Opcode.CONTROLLER_IN, run.b1())
    board.start()
    refused(board, Code.PIN_LOCKED, Opcode.CONTROLLER_IN, run.b1())
    board.device.button = True
    b2 = board.answer(run.b1())
    assert board.bindings()[0] == PIN_TRIES - 1
    board.device.button = False
    board.answer(run.b3(b2))
    assert board.bindings() == (PIN_TRIES, [phone.id])


def test_the_button_gives_five_more_and_no_more() -> None:
    board = enrolled()
    for _ in range(PIN_TRIES):
        wrong_try(board)
    board.device.button = True
    wrong_try(board)
    board.device.button = False
    for _ in range(PIN_TRIES - 1):
        wrong_try(board)
    run = BindingRun(service("phone"), board.id, WRONG)
    refused(board, Code.PIN_LOCKED, Opcode.CONTROLLER_IN, run.b1())


def test_a_right_pin_gives_the_tries_back() -> None:
    board = enrolled()
    for _ in range(PIN_TRIES - 1):
        wrong_try(board)
    bind(board, service("phone"))
    assert board.bindings()[0] == PIN_TRIES


def test_a_locked_device_goes_on_with_sessions() -> None:
    board, phone = enrolled(), service("phone")
    key = bind(board, phone)
    for _ in range(PIN_TRIES):
        wrong_try(board)
    switch(board, open_session(board, phone, key), 1)


def test_a_controller_that_guesses_the_tag() -> None:
    """A B3 with a wrong Ta is told, and gives no try back."""
    board, phone = enrolled(), service("phone")
    run = BindingRun(phone, board.id, board.pin())
    b3 = bytearray(run.b3(board.answer(run.b1())))
    b3[1] ^= 1
    refused_by(board, Code.WRONG_PIN, bytes(b3))
    b3[1] ^= 1
    refused_by(board, Code.NO_BINDING, bytes(b3))
    assert board.bindings() == (PIN_TRIES - 1, [])


# ------------------------------------------------------------------------------------------------------ beside PPAKE-1


def test_a_binding_does_not_touch_a_session_of_devices() -> None:
    """And the other way round: a handshake of devices in the middle of a binding, and of an opening."""
    a, b, _, _ = paired()
    lock = BoundBoard(a.name)
    lock.flash.chip.memory[: len(a.flash.chip.memory)] = a.flash.chip.memory
    lock.start()
    phone = service("phone")
    connect(lock, b)
    run = BindingRun(phone, lock.id, lock.pin())
    b2 = lock.answer(run.b1())
    connect(lock, b)
    key = run.finish(lock.answer(run.b3(b2)))
    opening = OpeningRun(phone, key)
    s2 = lock.answer(opening.s1())
    connect(b, lock)
    s3, session = opening.s3(s2)
    lock.answer(s3)
    _, sent = lock.device.admin(bytes([Opcode.SEND]) + b"to the peer")
    assert b.device.peer(sent.payload)[0].payload == bytes([Event.TEXT]) + b"to the peer"
    session = switch(lock, session, 1)
    connect(lock, b, Carrier.WIRE)
    switch(lock, session, 0)
    assert lock.device.peer(session.seal(b"by the wrong port")[1]) == []
    assert wire(lock.device.admin(bytes([Opcode.CONTROLLER_IN]) + session.seal(b"x")[1])) == []


# ------------------------------------------------------------------------------------------------------- what is stored


def test_the_record() -> None:
    """It has the form of a peer's: the service's id in the clear, its key sealed, an index that is never used twice."""
    board, phone = enrolled(), service("phone")
    bind(board, service("hub"))
    bind(board, phone)
    base = peer_journal(MAX_PEERS + 1)
    assert base == CONTROLLER_BASE + JOURNAL_STRIDE
    assert board.flash.read(base, 12) == phone.id + b"\x01\0" + b"\0" + bytes([RECORD_VERSION])
    assert board.flash.read(base + slot_offset(0), 4) == bytes(4)
    assert phone.key not in board.flash.chip.memory
    bind(board, phone)
    assert board.device.vault.keys().device().next_pair == 3
    board.device.vault.close()


def test_a_record_that_was_altered_does_not_open() -> None:
    """Each bit of header and slot counts, but the flag of the lower id, which means nothing here."""
    board, phone = enrolled(), service("phone")
    key = bind(board, phone)
    base = peer_journal(MAX_PEERS)
    for place in [*range(10), 11, *range(slot_offset(0), slot_offset(0) + PEER_SLOT_LENGTH, 5)]:
        kept = board.flash.chip.memory[base + place]
        board.flash.chip.memory[base + place] = kept ^ 0x04
        assert board.bindings()[1] == [], place
        board.flash.chip.memory[base + place] = kept
    open_session(board, phone, key)


def test_no_pair_index_left() -> None:
    board, phone = enrolled(), service("phone")
    keys = board.device.vault.keys()
    keys.commit_device(replace(keys.device(), next_pair=0xFFFF))
    board.device.vault.close()
    run = BindingRun(phone, board.id, board.pin())
    refused_by(board, Code.EXHAUSTED, run.b3(board.answer(run.b1())))


def test_the_opening_and_the_data_never_share_a_nonce() -> None:
    session = Session(binding.Role.INITIATOR, 0, 0, Carrier.TUNNEL, *(bytes(n) for n in (8, 32, 16, 12, 16, 12)))
    last = replace(session, next_out=OPENING_COUNTER - 1)
    after, message = last.seal(b"the last one")
    assert int.from_bytes(message[1:5], "little") < OPENING_COUNTER
    with pytest.raises(CounterExhausted):
        after.seal(b"one too many")
