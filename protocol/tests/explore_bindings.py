"""Every order of events of a device and two services, within bounds: a model check that drives ``binder.Binder`` and
the runs of ``controller`` themselves, bytes and all, with another group in place of the curve.

The network remembers every message ever sent and delivers any of them to anyone, any number of times, in any order, or
never; also the halves of a B3 apart, and what was sent one way under the header of the other way. Power fails at any
time, and before or after each write of the device. Services try right and wrong PINs.

Checked in every step: a B2 costs a try in flash before it leaves, and none leaves when all are used up and the button
is not held; tries come back by a right Ta only, whose controller was told the PIN; a record is of a service that
finished its side (B3) in the run at hand, under a pair index of its own; it goes by its own service's word only. A
service keeps no other key than the device's, and only if it was bound. A session opens once, for the service that
opened it; no old message opens one.

    python -m protocol.tests.explore_bindings DRAWS RUNS
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha512
from unittest.mock import patch

from ringpair_protocol import channel, cpace, derivations
from ringpair_protocol.admin import Code
from ringpair_protocol.binder import Binder, BindRun, OpenRun
from ringpair_protocol.channel import Session
from ringpair_protocol.controller import BindingRun, ControllerError, OpeningRun, Service
from ringpair_protocol.curve25519 import BadPoint
from ringpair_protocol.messages import B1, B2, B3, B3_FIRST, B4, DATA, S1, S2, S3, UNBIND, UNBIND_ASK
from ringpair_protocol.ppake import PeerRecord, Refused
from ringpair_protocol.records import DeviceState, PeerHeader

from protocol.tests.explore import reach
from protocol.tests.rig import PowerCut

TRIES = 2
"""In place of five: the same program, sooner locked."""
REST = 0x23 << 8
"""What stands for the header of the second half of a B3."""
PIN, WRONG = b"01234567", b"76543210"
Fail = tuple[int, str] | None


class Group:
    """Numbers modulo the curve's prime, and signatures that are hashes: what commutes and binds as the curve does."""

    PRIME = 2**255 - 19

    @staticmethod
    @cache
    def x25519(scalar: bytes, point: bytes) -> bytes:
        value = pow(int.from_bytes(point, "little"), int.from_bytes(scalar, "little") | 1, Group.PRIME)
        if value < 2:
            raise BadPoint
        return value.to_bytes(32, "little")

    @staticmethod
    def public_key(seed: bytes) -> bytes:
        return sha512(b"key" + seed).digest()[:32]

    @staticmethod
    def sign(seed: bytes, message: bytes) -> bytes:
        return sha512(Group.public_key(seed) + message).digest()

    @staticmethod
    def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
        return sha512(public_key + message).digest() == signature


SERVICES = tuple(Service.of(name.ljust(32, b"."), Group) for name in (b"phone", b"hub"))


@dataclass(frozen=True)
class Device:
    """The device between two events. What begins with ``seen`` only the checks know."""

    state: DeviceState = field(default_factory=lambda: DeviceState(0, 0, bytes(32)))
    table: tuple[tuple[int, bytes, bytes], ...] = ()
    """Place, header and service key."""
    run: BindRun | OpenRun | None = None
    session: Session | None = None
    seen_answers: int = 0
    seen_opened: frozenset[bytes] = frozenset()
    seen_bound: frozenset[bytes] = frozenset()


@dataclass(frozen=True)
class Phone:
    """A service between two events: its run is a number for the scalar, the PIN of a binding, and the B2."""

    run: tuple[int, bytes, bytes] | None = None
    key: bytes = b""
    session: Session | None = None
    seen_confirmed: frozenset[bytes] = frozenset()
    """Shares of the runs in which it sent B3."""
    seen_opened: frozenset[bytes] = frozenset()


@dataclass(frozen=True)
class World:
    device: Device = field(default_factory=Device)
    phones: tuple[Phone, Phone] = (Phone(), Phone())
    net: frozenset[bytes] = frozenset()
    draws: int = 0
    runs: int = 0


class Records:
    """A vault of one device: what a `Binder` asks of a key ring. Power fails before or after the chosen write."""

    device_id = b"device.."
    identity_seed = bytes(range(32))

    def __init__(self, device: Device, fail: Fail):
        self.state, self.table = device.state, {place: (header, key) for place, header, key in device.table}
        self.fail, self.writes = fail, 0

    def keys(self) -> "Records":
        return self

    def preset_pin(self) -> bytes:
        return PIN

    def device(self) -> DeviceState:
        return self.state

    def _write(self, change: Callable[[], object]) -> None:
        number, when = self.fail or (-1, "")
        if number == self.writes and when == "before":
            raise PowerCut
        change()
        if number == self.writes:
            raise PowerCut
        self.writes += 1

    def commit_device(self, state: DeviceState) -> None:
        self._write(lambda: setattr(self, "state", state))

    def load(self, number: int) -> PeerRecord | None:
        header, key = self.table.get(number, (b"", b""))
        return PeerRecord(number, False, 0, key, bytes(16)) if header else None

    def header(self, number: int) -> bytes:
        return self.table[number][0]

    def create(self, number: int, header: PeerHeader, key: bytes, _: bytes) -> None:
        self._write(lambda: self.table.update({number: (header.to_bytes(), key)}))

    def remove(self, number: int) -> None:
        self._write(lambda: self.table.pop(number))

    def rows(self) -> tuple[tuple[int, bytes, bytes], ...]:
        return tuple((place, *row) for place, row in sorted(self.table.items()))


def reflected(message: bytes) -> Iterator[tuple[int, bytes]]:
    """A message as what it is, and as what it can be taken for when it is sent back: header and body."""
    header, body = message[0], message[1:]
    if header == B3:
        yield B3, body[: B3_FIRST - 1]
        yield REST, body[B3_FIRST - 1 :]
        yield B4, body[B3_FIRST - 1 :]
        return
    yield header, body
    match header:
        case 0x21:  # B1: the same length as a B2
            yield B2, body
            yield B2, body[16:] + body[:16]
        case 0x22:
            yield B1, body
        case 0x24:
            yield REST, body
            yield S2, body
        case 0x32:
            yield S3, body[32:]
            yield B4, body


class Explorer:
    """Breadth-first search from an enrolled device that nobody is bound to.

    Parameters
    ----------
    draws
        The device draws so many random numbers (one a B2, one an S2).
    runs
        The services begin so many bindings and openings.
    kind
        The device's side; for tests, one with a bug.
    """

    def __init__(self, draws: int, runs: int, kind: type[Binder] = Binder):
        self.draws, self.runs, self.kind = draws, runs, kind
        self.transitions = 0
        self.reached: set[str] = set()

    def run(self) -> int:
        """Number of states; raises AssertionError where a property fails."""
        cached = {derivations: ("cxof128",), channel: ("aead128_encrypt", "aead128_decrypt"), cpace: ("generator",)}
        with ExitStack() as patches:
            patches.enter_context(patch.dict(self.kind.receive.__globals__, PIN_TRIES=TRIES))
            for module, names in cached.items():
                for name in names:
                    patches.enter_context(patch.object(module, name, remembered(getattr(module, name))))
            states, self.transitions = reach(World(), self._successors)
        return states

    # ------------------------------------------------------------------ steps
    def _successors(self, world: World) -> Iterator[World]:
        device = world.device
        if device.run or device.session:
            yield replace(world, device=replace(device, run=None, session=None))  # power fails
        pieces = sorted({piece for message in world.net for piece in reflected(message)})
        for header, body in pieces:
            if header in (B1, B3, REST, S1, S3, DATA):
                locked = header == B1 and device.state.pin_tries == TRIES
                for button in (False, True) if locked else (False,):
                    for fail in (None, (0, "before"), (0, "after"), (1, "before"), (1, "after")):
                        after = self._device(world, header, body, button, fail)
                        if after is None:
                            break  # it writes no more
                        if after != world:
                            yield after
            for number in (0, 1):
                if header in (B2, B4, S2):
                    yield from self._phone(world, number, header, body)
        for number in (0, 1):
            yield from self._begin(world, number)

    def _device(self, world: World, header: int, body: bytes, button: bool, fail: Fail) -> World | None:
        """The world behind a message to the device; None if there is no such write."""
        device, drawn = world.device, world.draws
        records = Records(device, fail)

        def draw() -> bytes:
            nonlocal drawn
            if drawn == self.draws:
                raise Refused(Code.TRNG_FAILED)
            drawn += 1
            return bytes([0xD0, drawn]) * 16

        party = self.kind(records, draw, lambda: button, Group)
        party.run, party.session = device.run, device.session
        answer, failed, took = b"", False, 0
        try:
            answer = party.rest(body) if header == REST else party.receive(bytes([header]) + body)[0]
            took = header
        except PowerCut:
            failed = True
            party.forget()
        except Refused:
            pass
        if fail and not failed:
            return None
        after = replace(device, state=records.state, table=records.rows(), run=party.run, session=party.session)
        after = self._check_device(world, after, answer, button, took)
        return replace(world, device=after, net=world.net | {answer} - {b""}, draws=drawn)

    def _begin(self, world: World, number: int) -> Iterator[World]:
        """A service begins: a binding with a right PIN or a wrong one, an opening, or what it says in its session."""
        phone = world.phones[number]
        if phone.session and not phone.session.next_out:
            session, message = phone.session.seal(bytes([UNBIND, UNBIND_ASK]) + SERVICES[number].id)
            yield self._put(world, number, replace(phone, session=session), message)
        if world.runs == self.runs:
            return
        world = replace(world, runs=world.runs + 1)
        for pin in (PIN, WRONG, *([b""] if phone.key else [])):
            run = (world.runs, pin, b"")
            message = binding_run(number, run).b1() if pin else opening_run(number, run, phone.key).s1()
            yield self._put(world, number, replace(phone, run=run), message)

    def _phone(self, world: World, number: int, header: int, body: bytes) -> Iterator[World]:
        """A message to a service that waits for one like it."""
        phone, message = world.phones[number], bytes([header]) + body
        if phone.run is None or header != (S2 if not phone.run[1] else B4 if phone.run[2] else B2):
            return
        over, answer = replace(phone, run=None), b""
        try:
            if header == B2:
                run = binding_run(number, phone.run)
                answer = run.b3(message)
                confirmed = phone.seen_confirmed | {body[:32]}
                over = replace(phone, run=(*phone.run[:2], message), seen_confirmed=confirmed)
            elif header == B4:
                run = binding_run(number, phone.run)
                run.b3(phone.run[2])
                over = replace(over, key=run.finish(message))
                assert over.key == Group.public_key(Records.identity_seed), "not the device's key"
                assert SERVICES[number].id in world.device.seen_bound, "bound to a device that is not bound"
            else:
                answer, session = opening_run(number, phone.run, phone.key).s3(message)
                assert session.session_id not in phone.seen_opened, "a session twice"
                over = replace(over, session=session, seen_opened=phone.seen_opened | {session.session_id})
        except ControllerError:
            pass
        yield self._put(world, number, over, answer)

    @staticmethod
    def _put(world: World, number: int, phone: Phone, message: bytes) -> World:
        phones = (phone, world.phones[1]) if number == 0 else (world.phones[0], phone)
        return replace(world, phones=phones, net=world.net | {message} - {b""})

    # ------------------------------------------------------------------ properties
    def _check_device(self, world: World, after: Device, answer: bytes, button: bool, took: int) -> Device:
        """Of one step of the device; the device with what was seen."""
        before = world.device
        answers, tries, was = before.seen_answers, after.state.pin_tries, before.state.pin_tries
        confirmed = hasattr(before.run, "confirmed") and before.run.confirmed == before.run.binding.tag_c
        fresh = button and (was, tries) == (TRIES, 1)
        answers = 0 if fresh else answers
        if answer[:1] == bytes([B2]):
            answers += 1
            assert answers <= TRIES, ("more answers than tries", world)
            self.reached |= {"answered", *(["button"] if fresh else []), *(["last try"] if answers == TRIES else [])}
        if tries < was and not fresh:
            assert tries == 0, ("a try came back", world)
            assert confirmed, ("tries came back without a right Ta", world)
            answers = 0
            assert any(before.run.binding.share_d in phone.seen_confirmed for phone in world.phones), "nobody confirmed"
        assert tries >= answers, ("an answer without a try", world)
        opened, bound = self._check_session(world, after, took), before.seen_bound
        new = [row for row in after.table if row not in before.table]
        for _, header, key in new:
            (service,) = [number for number, service in enumerate(SERVICES) if service.key == key]
            assert confirmed, ("a record without a right Ta", world)
            assert before.run.binding.share_d in world.phones[service].seen_confirmed, ("it did not finish", world)
            assert header[8:10] not in [row[1][8:10] for row in before.table], ("a pair index twice", world)
            assert int.from_bytes(header[8:10], "little") < after.state.next_pair, ("an index to come", world)
            bound |= {SERVICES[service].id}
            self.reached.add("bound")
        if answer[:1] == bytes([B4]):
            assert any(row[1][:8] == before.run.binding.sid[:8] for row in after.table), ("B4 without a record", world)
        for place, _, _ in set(before.table) - set(after.table):
            assert before.session is not None, ("removed without a session", world)
            assert before.session.peer == place - 16, ("removed by another", world)
            self.reached.add("unbound")
        names = [header[:8] for _, header, _ in after.table]
        assert len(names) == len(set(names)), ("bound twice", world)
        return replace(after, seen_answers=answers, seen_opened=opened, seen_bound=bound)

    def _check_session(self, world: World, after: Device, took: int) -> frozenset[bytes]:
        """A session opens by an S3 that was taken: for a service that has opened it, too, and for the first time."""
        before, session = world.device, after.session
        if session is None or took != S3:
            assert session is None or before.session is not None, ("a session without an S3", world)
            return before.seen_opened
        keys = {place - 16: key for place, _, key in before.table}
        (phone,) = [world.phones[n] for n, service in enumerate(SERVICES) if service.key == keys.get(session.peer)]
        assert session.session_id not in before.seen_opened, ("an old message opened a session", world)
        assert session.session_id in phone.seen_opened, ("a session that nobody opened", world)
        self.reached.add("opened")
        return before.seen_opened | {session.session_id}


def remembered(function: Callable[..., bytes]) -> Callable[..., bytes]:
    """The function, with its results and errors kept: the same few inputs come again and again."""
    results: dict[tuple[object, ...], bytes | Exception] = {}

    def call(*arguments: object) -> bytes:
        if arguments not in results:
            try:
                results[arguments] = function(*arguments)
            except Exception as error:  # kept and raised each time
                results[arguments] = error
        found = results[arguments]
        if isinstance(found, Exception):
            raise found
        return found

    return call


def scalar(number: int, run: int) -> bytes:
    return bytes([0xC0 + number, run]) * 16


def binding_run(number: int, run: tuple[int, bytes, bytes]) -> BindingRun:
    nonce = bytes([run[0]]) * 8
    return BindingRun(SERVICES[number], Records.device_id, run[1], Group, scalar(number, run[0]), nonce)


def opening_run(number: int, run: tuple[int, bytes, bytes], key: bytes) -> OpeningRun:
    return OpeningRun(SERVICES[number], key, Group, scalar(number, run[0]))


def main(draws: int = 2, runs: int = 2) -> None:
    explorer = Explorer(draws, runs)
    states = explorer.run()
    seen = ", ".join(sorted(explorer.reached))
    print(f"{states} states, {explorer.transitions} transitions: all properties hold ({seen})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
