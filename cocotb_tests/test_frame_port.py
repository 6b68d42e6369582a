"""Frame port against `ringpair_protocol.frames`: every kind of frame, damage and timing."""

import cocotb
import pytest
from cocotb.triggers import Event
from ringpair_hdl.link.frame_port import FramePort
from ringpair_protocol.frames import MAX_PAYLOAD, Decoder, ErrorKind, FrameError, cobs_encode, crc16, encode

from cocotb_tests.harness import Bench, simulate
from cocotb_tests.line import Line


class Port:
    """The user's side of a frame port."""

    def __init__(self, bench):
        self.bench, self.dut = bench, bench.dut
        stall = bench.parameters.get("stall", 0)
        self.source = bench.driver("i", stall=stall)
        self.sink = bench.monitor("o", stall=stall)
        self.sink.idle = lambda: int(self.dut.drop.value) or int(self.dut.clear.value)  # these may withdraw a byte
        self.line = Line(bench, bench.parameters["divisor"])

    @classmethod
    async def start(cls, dut):
        port = cls(await Bench.start(dut))
        await Line.start(port.bench, port.bench.parameters["divisor"])
        return port

    async def give(self, payload):
        await self.source.send(payload)
        await self.pulse("send")

    async def take(self, count=None, *, limit=200_000):
        """Payload of the next frame (or only `count` bytes of it), or its error."""
        if not int(self.dut.frame.value):
            await self.bench.until(self.dut.frame, limit=limit)
        error, length = int(self.dut.error.value), int(self.dut.length.value)
        if error:
            assert length == 0
        payload = await self.sink.bytes(length if count is None else count)
        if count is None:
            await self.bench.cycles(8)
            assert not int(self.dut.o__valid.value), "no byte after the last"
        await self.drop()
        return FrameError(ErrorKind(error)) if error else payload

    async def pulse(self, name):
        await self.bench.cycles(1)  # the line has a clock of its own
        await self.bench.pulse(name)

    async def drop(self):
        await self.pulse("drop")
        await self.bench.cycles(1)


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
    await port.bench.until(dut.busy, 0)
    assert int(dut.tx.value)


@cocotb.test()
async def sends_without_gaps(dut):
    """Both directions of the encoder's speed: long and short frames follow each other on the line without a pause."""
    port = await Port.start(dut)
    divisor = port.bench.parameters["divisor"]
    messages = [bytes(MAX_PAYLOAD), b"\1" * MAX_PAYLOAD, port.bench.random.randbytes(MAX_PAYLOAD), b"abcdef", b"ghijkl"]

    async def give_all():
        for message in messages:
            await port.give(message)

    cocotb.start_soon(give_all())
    await port.bench.until(dut.tx, 0)
    start = port.bench.now()
    for message in messages:
        assert await port.line.receive_frame() == encode(message)
    await port.bench.until(dut.busy, 0)
    bits = 10 * sum(len(encode(message)) for message in messages)
    assert port.bench.now() - start <= bits * divisor + 1


@cocotb.test()
async def latency_of_sending(dut):
    port = await Port.start(dut)
    await port.source.send(b"abc")
    await port.bench.cycles(30)
    cocotb.start_soon(port.pulse("send"))
    assert await port.bench.until(dut.tx, 0) <= 78
    await port.line.receive_frame()


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
            await port.bench.until(dut.frame, limit=10_000)
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
    await port.bench.cycles(20)
    assert not int(dut.frame.value), "the rest of the third frame is no frame and no error"
    await port.line.send(encode(frames[3]) + encode(frames[4]) + encode(frames[0]) + encode(frames[1]))
    assert [await port.take(), await port.take()] == frames[3:]
    await port.bench.cycles(20)
    assert not int(dut.frame.value)


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
    report, decoder = port.bench.parameters["report"], Decoder()
    for line in bad_lines(port.bench.random):
        good = encode(b"good")
        expected = [found for found in decoder.feed(line + good) if report or isinstance(found, bytes)]
        cocotb.start_soon(port.line.send(line + good))
        assert [await port.take() for _ in expected] == expected, line.hex()
    await port.bench.cycles(100)
    assert not int(dut.frame.value)


@cocotb.test()
async def framing_errors_spoil_the_frame_only(dut):
    port = await Port.start(dut)
    frame = encode(b"abcdef")
    await port.line.send(frame[:4])
    await port.line.bits(frame[4] << 1, 10)  # stop bit low
    await port.line.bits(~0, 3)
    cocotb.start_soon(port.line.send(frame[5:] + encode(b"good")))
    found = await port.take()
    if port.bench.parameters["report"]:
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
async def aborts(dut):
    port = await Port.start(dut)
    await port.pulse("send")  # nothing given: nothing sent
    await port.bench.cycles(200)
    assert (int(dut.tx.value), int(dut.busy.value)) == (1, 0)
    for wait in range(0, 40, 3):  # in each phase of the byte before
        await port.source.send(b"\0secret\0")
        await port.bench.cycles(wait)
        await port.pulse("abort")
        await port.pulse("send")  # nothing left to send
        cocotb.start_soon(port.give(b"public"))
        assert await port.line.receive_frame() == encode(b"public")
    await port.give(b"closed")
    await port.pulse("abort")  # too late
    assert await port.line.receive_frame() == encode(b"closed")
    await port.bench.until(dut.busy, 0)


@cocotb.test()
async def waits_while_two_frames_are_unsent(dut):
    port = await Port.start(dut)
    receiving = cocotb.start_soon(port.line.receive(2 * 54 + 5))
    for payload in (b"a" * 50, b"b" * 50):
        await port.give(payload)
    await port.bench.cycles(100)
    assert not int(dut.i__ready.value)
    await port.give(b"c")
    assert await receiving == encode(b"a" * 50) + encode(b"b" * 50) + encode(b"c")


@cocotb.test()
async def clears(dut):
    """After `clear` the memory is all zeros and the port works as after reset."""
    port = await Port.start(dut)
    secret = b"\xa5" * MAX_PAYLOAD
    for _ in range(2):
        await port.line.send(encode(secret))
    for _ in range(3):
        await port.source.send(secret)
        await port.pulse("send")
    await port.source.send(secret[:9])
    receiving = cocotb.start_soon(port.line.send(encode(secret)[:50]))
    await port.bench.cycles(200)
    memory = dut.memory
    assert sum(int(memory[n].value) for n in range(512)) > 300 * 0xA5
    await port.pulse("clear")
    await port.bench.cycles(1)
    assert [int(dut.frame.value), int(dut.tx.value), int(dut.busy.value), int(dut.o__payload.value)] == [0, 1, 1, 0]
    assert await port.bench.until(dut.busy, 0) <= 768
    assert [n for n in range(512) if int(memory[n].value)] == []
    await receiving
    await port.line.send(b"\0")
    await port.bench.cycles(10)
    if int(dut.frame.value):  # the rest of what was cut
        assert port.bench.parameters["report"]
        await port.drop()
    cocotb.start_soon(port.give(b"works"))
    assert await port.line.receive_frame() == encode(b"works")
    cocotb.start_soon(port.line.send(encode(b"works, too")))
    assert await port.take() == b"works, too"


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
async def loopback(dut):
    """Both directions at once, full rate, random stalls of the user: the line brings back what was sent."""
    port = await Port.start(dut)

    async def wire():
        while True:
            await port.bench.cycles()
            dut.rx.value = int(dut.tx.value)

    cocotb.start_soon(wire())
    messages, flying = samples(port.bench.random), Lock(2)

    async def give_all():
        for message in messages:
            await flying.take()
            await port.give(message)

    giving = cocotb.start_soon(give_all())
    for message in messages:
        assert await port.take() == message
        flying.give()
    await giving


def run(divisor, report, tests, stall=0.0):
    parameters = {"divisor": divisor, "report": report, "stall": stall}
    simulate(FramePort(divisor, report), __name__, tests=tests, parameters=parameters)


def test_sends():
    run(4, True, ["sends", "sends_without_gaps", "latency_of_sending", "aborts", "waits_while_two_frames_are_unsent"])


def test_send_limits():
    run(4, False, ["refuses_too_many_bytes"])


@pytest.mark.parametrize("stall", [0, 0.6])
def test_receives(stall):
    run(4, True, ["receives", "third_frame_is_dropped_whole", "drops_before_the_end"], stall)


def test_receives_without_gaps():
    run(4, True, ["receives_without_gaps"])


@pytest.mark.parametrize("report", [False, True])
def test_bad_frames(report):
    run(4, report, ["refuses_bad_frames", "framing_errors_spoil_the_frame_only"])


@pytest.mark.parametrize("report", [False, True])
def test_clear(report):
    run(4, report, ["clears"])


@pytest.mark.parametrize("stall", [0, 0.3, 0.9])
def test_loopback(stall):
    run(4, True, ["loopback"], stall)


@pytest.mark.parametrize("divisor", [5, 26])
def test_other_divisors(divisor):
    """3 Mbaud from 15 MHz; 921 600 baud from 24 MHz."""
    run(divisor, False, ["aborts", "framing_errors_spoil_the_frame_only", "drops_before_the_end"], 0.2)
