"""Constant time, on the compiled device: cycles do not depend on secrets, nor on where two values first differ.

Each step is done many times with other secrets, and its cycles in each phase are compared: they must be the same to the
cycle. ADMIN is left out where a frame is only fetched from the line's memory: reading takes a cycle more when the other
line's turn comes. What varies is the search for the PUF's bits: its cycles follow from the number of tries, and from
nothing else.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from ringpair.virtual import RingReads
from ringpair_protocol import frames
from ringpair_protocol import messages as msg
from ringpair_protocol.admin import Opcode

from host.tests.rig_device import Twin, memory, silicon
from host.tests.rig_scenes import Far, establish, scene

PUF, INITIATOR, RESPONDER, CHANNEL, ADMIN, FLASH = 1, 2, 3, 4, 6, 8
PEER = 1
QUICK, MANY = 32, 1000
runs = pytest.mark.parametrize("count", [QUICK, pytest.param(MANY, marks=pytest.mark.slow)])

Cycles = dict[int, int]


def cycles(twin: Twin, payload: bytes, *, peer: bool = True) -> Cycles:
    """Cycles of each phase that a frame causes; the model is not asked."""
    spent = twin.device.status.phase_cycles
    before = list(spent)
    twin.device.write(frames.encode(payload), peer=peer)
    twin._run_device()
    return {phase: now - then for phase, (now, then) in enumerate(zip(spent, before, strict=True)) if phase != ADMIN}


def same(steps: list[Cycles], *phases: int) -> None:
    """All steps took the same time in these phases, and some."""
    for phase in phases:
        times = Counter(step[phase] for step in steps)
        assert len(times) == 1, f"phase {phase} takes {dict(times)} cycles"
        assert min(times) > 0, f"nothing happened in phase {phase}"


def spoiled(message: bytes, start: int, draw: random.Random) -> bytes:
    """A tag that is right up to some byte, and anything from there on."""
    first = start + draw.randrange(msg.TAG_LENGTH)
    tail = bytes([message[first] ^ draw.randrange(1, 256)]) + draw.randbytes(len(message) - first - 1)
    return message[:first] + tail


def with_m1(twin: Twin, far: Far) -> bytes:
    return far.start()


def with_m2(twin: Twin, far: Far) -> bytes:
    return far.receive(twin.connect(PEER))[0]


def with_m3(twin: Twin, far: Far) -> bytes:
    return far.receive(twin.peer(far.start())[0])[0]


def with_data(twin: Twin, far: Far) -> bytes:
    establish(twin, far, PEER)
    return far.party.session.seal(bytes(40))[1]


@runs
@pytest.mark.parametrize(
    ("prepare", "phases"),
    [
        (with_m1, (PUF, RESPONDER, RESPONDER | FLASH)),
        (with_m2, (PUF, INITIATOR, INITIATOR | FLASH)),
        (with_m3, (RESPONDER,)),
        (with_data, (CHANNEL,)),
    ],
)
def test_wrong_tags_take_the_same_time(
    prepare: Callable[[Twin, Far], bytes], phases: tuple[int, ...], count: int
) -> None:
    """Whatever the first byte is at which a tag differs."""
    draw, steps = random.Random(1), []
    for number in range(count):
        if number % QUICK == 0:  # before the run that waits for the right one gives up
            twin, fars = scene(2)
            message = prepare(twin, fars[PEER])
        steps.append(cycles(twin, spoiled(message, len(message) - msg.TAG_LENGTH, draw)))
    same(steps, *phases)


@runs
def test_handshakes_take_the_same_time(count: int) -> None:
    """Both roles, each time with other keys. Flash phases are left out: they depend on the place in the journal."""
    twin, fars = scene(1)
    far, steps = fars[0], defaultdict(list)
    for _ in range(count + 1):
        m1 = far.start()
        twin_m2 = handled(twin, m1, steps["M1"])
        m3 = far.receive(twin_m2)[0]
        steps["M3"].append(cycles(twin, m3))
        m1 = asked(twin, steps["CONNECT"])
        m2 = far.receive(m1)[0]
        far.receive(handled(twin, m2, steps["M2"]))
    del steps["M1"][0], steps["CONNECT"][0]  # there was no session to end yet
    same(steps["M1"], RESPONDER, PUF)
    same(steps["M3"], RESPONDER)
    same(steps["CONNECT"], INITIATOR, PUF)
    same(steps["M2"], INITIATOR, PUF)


def handled(twin: Twin, message: bytes, steps: list[Cycles]) -> bytes:
    """The device's answer on the wire."""
    steps.append(cycles(twin, message))
    (answer,) = twin.peer_out
    return answer


def asked(twin: Twin, steps: list[Cycles]) -> bytes:
    """CONNECT by wire: M1."""
    steps.append(cycles(twin, bytes([Opcode.CONNECT, 0, 0]), peer=False))
    (m1,) = twin.peer_out
    return m1


@pytest.mark.parametrize("count", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_unsealing_takes_the_same_time(count: int) -> None:
    """Records of other devices, with other keys, at the same place."""
    steps = []
    for seed in range(1, count + 1):
        twin, _ = scene(1, seed)
        steps.append(cycles(twin, bytes([Opcode.PEER, 0]), peer=False))
        twin.close()
    same(steps, ADMIN | FLASH)


@pytest.mark.parametrize("count", [60, pytest.param(MANY, marks=pytest.mark.slow)])
def test_the_search_takes_time_by_its_tries(count: int) -> None:
    """The same silicon in other weather: what a key takes is a function of the number of tries."""
    twin, _ = scene(1)
    draw, times = np.random.default_rng(1), defaultdict(set)
    for number in range(count):
        noise = 1 + 0.0004 * (1 + number % 5) * draw.standard_normal(len(twin.counts))
        twin.device.set_rings(
            RingReads(np.array([[round(count * n) for count, n in zip(silicon(1), noise, strict=True)]]))
        )
        spent = cycles(twin, bytes([Opcode.PEER, 0]), peer=False)[PUF]
        times[int.from_bytes(twin.pad(memory().tries), "little")].add(spent)
    assert len(times) > 5
    assert all(len(spent) == 1 for spent in times.values()), dict(times)


def test_a_difference_is_seen() -> None:
    """The comparison itself: one cycle more fails, and so does a phase that did not happen."""
    with pytest.raises(AssertionError, match="phase 3 takes"):
        same([{3: 100}, {3: 101}], 3)
    with pytest.raises(AssertionError, match="nothing happened"):
        same([{3: 0}, {3: 0}], 3)
