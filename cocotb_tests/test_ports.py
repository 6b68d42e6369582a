"""Both ports against `ringpair_protocol.frames`: every kind of frame, damage and timing, alone and all at once."""

import cocotb
import pytest
from cocotb.triggers import Event
from ringpair_hdl.link.ports import LinkPorts
from ringpair_protocol.frames import MAX_PAYLOAD, Decoder, ErrorKind, FrameError, cobs_encode, crc16, encode

from cocotb_tests.harness import Bench, simulate
from cocotb_tests.line import Line

SLOTS = 16  # cycles from a stop bit to a job's first slot and back, generously
WAIT = 16 * (MAX_PAYLOAD + 8)  # cycles of a whole frame's check, or of its encoding, if both lines are silent


class Port:
    """One line of the two, and the user's side of it; `side` must not change while a stream is at work."""

    def __init__(self, bench, side, source, sink):
        self.bench, self.dut, self.side, self.source, self.sink = bench, bench.dut, side, source, sink
        divisor = bench.parameters["divisors"][side]
        self.line = Line(bench, divisor, rx=f"rx__{side}", tx=f"tx__{side}")
        self.divisor, self.tx, self.report = divisor, getattr(bench.dut, f"tx__{side}"), side == 0

    @classmethod
    async def both(cls, dut):
        bench = await Bench.start(dut)
        dut.rst.value = 1
        stall = bench.parameters.get("stall", 0)
        streams = bench.driver("i", stall=stall), bench.monitor("o", stall=stall)
        streams[1].idle = lambda: int(dut.drop.value)  # this may withdraw a byte
        ports = [cls(bench, side, *streams) for side in range(2)]
        await bench.cycles(4)
        dut.rst.value = 0
        await bench.cycles(1)
        return ports

    @classmethod
    async def start(cls, dut):
        """The port that the parameter `side` names."""
        ports = await cls.both(dut)
        port = ports[ports[0].bench.parameters["side"]]
        port.choose()
        return port

    def choose(self):
        self.dut.side.value = self.side

    @property
    def frame(self):
        return int(self.dut.frames.value) >> self.side & 1

    async def until_frame(self, limit=200_000):
        for _ in range(limit):
            if self.frame:
                return
            await self.bench.cycles(1)
        raise AssertionError(f"no frame within {limit} cycles")

    async def give(self, payload):
        await self.source.send(payload)
        await self.pulse("send")

    async def take(self, count=None):
        """Payload of the next frame (or only `count` bytes of it), or its error."""
        await self.until_frame()
        await self.bench.cycles(1)
        error, length = int(self.dut.error.value), int(self.dut.length.value)
        if error:
            await self.drop()
            return FrameError(ErrorKind(error))
        payload = await self.sink.bytes(length if count is None else count)
        await self.drop()
        return payload

    async def pulse(self, name):
        await self.bench.cycles(1)  # the line has a clock of its own
        await self.bench.pulse(name)

    async def drop(self):
        await self.pulse("drop")
        await self.bench.cycles(1)
        assert not self.frame, "gone at once"

    async def until_idle(self):
        await self.bench.until(self.dut.busy, 0, limit=200_000)


def samples(random):
    """Payloads of all kinds."""
    full = MAX_PAYLOAD
    edges = [b"\0", b"\1", b"\xff", bytes(full), b"\xff" * full, bytes(range(full)), bytes(full - 1) + b"\1"]
    edges += [b"\1" * (full - 1) + b"\0", b"\0" + b"\1" * (full - 1), b"\1\0" * (full // 2)]
    for zero in (0x00FF, 0xFF00, 0xFFFF):  # check sequences with a byte of zero: low, high, both
        edges.append(next(n for i in range(1 << 17) if not crc16(n := i.to_bytes(3, "big")) & zero))
    return edges + [random.randbytes(random.randrange(1, full + 1)) for _ in range(4)]


@cocotb.test()
async def sends(dut):
    port = await Port.start(dut)
    messages = samples(port.bench.random)

    async def give_all():
        for message in messages:
            await port.give(message)

    giving = cocotb.start_soon(give_all())
    for message in messages:
        assert await port.line.receive_frame() == encode(message), message.hex()
    await giving
    await port.until_idle()
    assert int(port.tx.value)


@cocotb.test()
async def sends_without_gaps(dut):
    """The bytes of a frame follow each other on the line; the next frame can be given after its last byte began."""
    port = await Port.start(dut)
    for message in (bytes(MAX_PAYLOAD), b"\1" * MAX_PAYLOAD, port.bench.random.randbytes(MAX_PAYLOAD), b"abcdef"):
        giving = cocotb.start_soon(port.give(message))
        await port.bench.until(port.tx, 0, limit=10_000)
        start = port.bench.now()
        assert await port.line.receive_frame() == encode(message)
        bits = 10 * len(encode(message))
        assert port.bench.now() - start <= bits * port.divisor
        await giving


@cocotb.test()
async def latency(dut):
    """Cycles a byte from `send` to the start bit, and from the delimiter to the frame."""
    port = await Port.start(dut)
    for size in (1, 20, MAX_PAYLOAD):
        for message in (bytes(size), b"\1" * size):
            await port.source.send(message)
            cocotb.start_soon(port.pulse("send"))
            assert await port.bench.until(port.tx, 0) <= 22 * (size + 3) + 2 * SLOTS
            await port.line.receive_frame()
            await port.line.send(encode(message))
            start = port.bench.now()
            await port.until_frame()
            assert port.bench.now() - start <= 12 * (size + 3) + 2 * SLOTS
            assert await port.take() == message


@cocotb.test()
async def receives(dut):
    port = await Port.start(dut)
    for message in samples(port.bench.random):
        cocotb.start_soon(port.line.send(encode(message)))
        assert await port.take() == message


@cocotb.test()
async def receives_without_gaps(dut):
    """A line at full rate with the longest frames, the user as quick as the line: nothing is lost."""
    port = await Port.start(dut)
    long = [port.bench.random.randbytes(MAX_PAYLOAD) for _ in range(5)]
    for messages in (long, [bytes([n]) for n in range(20)]):
        cocotb.start_soon(port.line.send(b"".join(map(encode, messages))))
        for message in messages:
            await port.until_frame()
            await port.bench.cycles(1)
            assert int(dut.length.value) == len(message)
            assert await port.sink.bytes(len(message)) == message
            await port.drop()


@cocotb.test()
async def third_frame_is_dropped_whole(dut):
    port = await Port.start(dut)
    frames = [bytes([n]) * 40 for n in range(1, 6)]
    await port.line.send(b"".join(map(encode, frames[:2])) + encode(frames[2])[:10])
    assert await port.take() == frames[0]  # now a half is free, in the middle of frame 3: not for its rest
    await port.line.send(encode(frames[2])[10:])
    assert await port.take() == frames[1]
    await port.bench.cycles(WAIT)
    assert not port.frame, "the rest of the third frame is no frame and no error"
    await port.line.send(encode(frames[3]) + encode(frames[4]) + encode(frames[0]) + encode(frames[1]))
    assert [await port.take(), await port.take()] == frames[3:]
    await port.bench.cycles(WAIT)
    assert not port.frame


@cocotb.test()
async def drops_before_the_end(dut):
    port = await Port.start(dut)
    for count in (0, 1, 2, 7):
        cocotb.start_soon(port.line.send(encode(b"12345678") + encode(b"next")))
        assert await port.take(count) == b"12345678"[:count]
        assert await port.take() == b"next"
    await port.pulse("drop")  # nothing there: no effect
    cocotb.start_soon(port.line.send(encode(b"again")))
    assert await port.take() == b"again"


def bad_lines(random):
    """Damage of every kind, each followed by a good frame."""
    frame, long = encode(b"\1\2\0\3"), encode(random.randbytes(MAX_PAYLOAD))
    lines = [b"\1\0", b"\1\1\0", b"\2\7\0", b"\3\7\7\0", b"\1\1\1\0", b"\0\0\0", b"\xff\0", b"\xff" * 300 + b"\0"]
    lines += [frame[:n] + b"\0" for n in range(1, len(frame) - 1)]  # truncated
    lines += [frame[:n] + frame[n + 1 :] for n in range(len(frame) - 1)]  # a byte lost
    lines += [frame[:n] + bytes([frame[n] ^ 1 << random.randrange(8)]) + frame[n + 1 :] for n in range(len(frame) - 1)]
    lines += [frame[:-1] + bytes([n]) + b"\0" for n in (1, 2, 255)]
    for n in (0, 1, 2, 126, 127, 128, 129, 130, 140, 250):  # every length near the limits, with a right CRC
        payload = random.randbytes(n)
        lines.append(cobs_encode(payload + crc16(payload).to_bytes(2, "little")) + b"\0")
    lines += [long[:n] + bytes([long[n] ^ 0x10]) + long[n + 1 :] for n in (1, 60, 128)]
    lines += [random.randbytes(random.randrange(1, 300)) + b"\0" for _ in range(6)]
    return lines


@cocotb.test()
async def refuses_bad_frames(dut):
    port = await Port.start(dut)
    report, decoder = port.report, Decoder()
    for line in bad_lines(port.bench.random):
        good = encode(b"good")
        expected = [found for found in decoder.feed(line + good) if report or isinstance(found, bytes)]
        cocotb.start_soon(port.line.send(line + good))
        assert [await port.take() for _ in expected] == expected, line.hex()
    await port.bench.cycles(WAIT)
    assert not port.frame


@cocotb.test()
async def framing_errors_spoil_the_frame_only(dut):
    port = await Port.start(dut)
    frame = encode(b"abcdef")
    await port.line.send(frame[:4])
    await port.line.bits(frame[4] << 1, 10)  # stop bit low
    await port.line.bits(~0, 3)
    cocotb.start_soon(port.line.send(frame[5:] + encode(b"good")))
    found = await port.take()
    if port.report:
        assert isinstance(found, FrameError)
        found = await port.take()
    assert found == b"good"


@cocotb.test()
async def refuses_too_many_bytes(dut):
    port = await Port.start(dut)
    await port.source.send(bytes(range(1, MAX_PAYLOAD + 1)))
    await port.bench.cycles(100)
    assert not int(dut.i__ready.value)
    await port.pulse("send")
    assert await port.line.receive_frame() == encode(bytes(range(1, MAX_PAYLOAD + 1)))
    await port.give(b"x")
    assert await port.line.receive_frame() == encode(b"x")


@cocotb.test()
async def waits_while_frames_are_unsent(dut):
    """Two, if the other side has at most one."""
    port = await Port.start(dut)
    frames = [bytes([n]) * 50 for n in range(1, 6)]
    receiving = cocotb.start_soon(port.line.receive(len(frames) * 54))
    for number, frame in enumerate(frames):
        await port.give(frame)
        if number >= 1:
            dut.i__valid.value = 1
            for _ in range(300):
                await port.bench.cycles(1)
                assert not int(dut.i__ready.value)
            dut.i__valid.value = 0
    assert await receiving == b"".join(map(encode, frames))


@cocotb.test()
async def sends_frame_after_frame(dut):
    """No pause between frames, at the highest rate, if they are not shorter than the next."""
    port = await Port.start(dut)
    random = port.bench.random
    messages = [random.randbytes(size) for size in (MAX_PAYLOAD, MAX_PAYLOAD, 125, 110, 90, 70, 50, 30, 20)]

    async def give_all():
        for message in messages:
            await port.give(message)

    await port.bench.cycles(port.bench.parameters.get("offset", 0))
    cocotb.start_soon(give_all())
    await port.bench.until(port.tx, 0, limit=10_000)
    start = port.bench.now()
    for message in messages:
        assert await port.line.receive_frame() == encode(message)
    bits = 10 * sum(len(encode(message)) for message in messages)
    assert port.bench.now() - start <= bits * port.divisor


class Lock:
    """At most `count` at a time: there is no flow control, a slow user loses frames."""

    def __init__(self, count):
        self.left, self.event = count, Event()

    async def take(self):
        while not self.left:
            self.event.clear()
            await self.event.wait()
        self.left -= 1

    def give(self):
        self.left += 1
        self.event.set()


@cocotb.test()
async def everything_at_once(dut):
    """Both directions of both lines at full rate, one user for all, with random stalls: nothing is lost or mixed up."""
    ports = await Port.both(dut)
    bench = ports[0].bench
    count = bench.parameters["count"]
    messages = samples(bench.random)
    inbound, outbound = ([bench.random.choices(messages, k=count) for _ in ports] for _ in range(2))
    received, sent = [[], []], [[], []]

    async def far_sender(port, room):
        for message in inbound[port.side]:
            await room.take()
            await port.line.send(encode(message), idle=bench.random.choice((0, 0, 3)))

    async def far_receiver(port):
        for _ in range(count):
            sent[port.side].append(await port.line.receive_frame())

    rooms = [Lock(2), Lock(2)]
    tasks = [cocotb.start_soon(far_receiver(port)) for port in ports]
    for port in ports:
        cocotb.start_soon(far_sender(port, rooms[port.side]))
    left = [list(messages) for messages in outbound]
    while any(left) or any(len(received[side]) < count for side in range(2)):
        for port in bench.random.sample(ports, 2):
            port.choose()
            await bench.cycles(1)
            if port.frame:
                received[port.side].append(await port.take())
                rooms[port.side].give()
            if left[port.side] and len(sent[port.side]) + len(left[port.side]) == count:  # the last one is through
                await port.give(left[port.side].pop(0))
    for task in tasks:
        await task
    assert received == inbound
    assert sent == [[encode(message) for message in messages] for messages in outbound]
    await ports[0].until_idle()


def run(divisor, side, tests, stall=0.0, **more):
    divisors = divisor if isinstance(divisor, tuple) else (divisor, divisor)
    parameters = {"divisors": divisors, "side": side, "stall": stall, **more}
    simulate(LinkPorts(divisors), __name__, tests=tests, parameters=parameters)


def test_sends():
    run(8, 0, ["sends", "sends_without_gaps", "latency", "waits_while_frames_are_unsent", "refuses_too_many_bytes"])
    run(4, 1, ["sends", "sends_frame_after_frame", "waits_while_frames_are_unsent", "refuses_too_many_bytes"])


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("offset", [0, 1, 2, 3])
def test_sends_at_any_time(side, offset):
    """Whatever the slots and the bits of the line are to each other."""
    run(4, side, ["sends_frame_after_frame"], offset=offset)


@pytest.mark.parametrize("stall", [0, 0.6])
def test_receives(stall):
    run(4, 1, ["receives", "third_frame_is_dropped_whole", "drops_before_the_end"], stall)


def test_receives_without_gaps():
    run(4, 0, ["receives_without_gaps"])


@pytest.mark.parametrize("side", [0, 1])
def test_bad_frames(side):
    run(4, side, ["refuses_bad_frames", "framing_errors_spoil_the_frame_only"])


@pytest.mark.parametrize(("divisor", "stall"), [(8, 0), (12, 0.5), ((4, 9), 0)])
def test_everything_at_once(divisor, stall):
    run(divisor, 0, ["everything_at_once"], stall, count=12)


@pytest.mark.parametrize("divisor", [5, 26])
def test_other_divisors(divisor):
    """3 Mbaud from 15 MHz; 921 600 baud from 24 MHz."""
    run(divisor, 0, ["framing_errors_spoil_the_frame_only", "drops_before_the_end"], 0.2)
