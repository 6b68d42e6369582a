"""AsconModes against the reference model: every mode, with stalls, clears and restarts, and to the cycle."""

import os
import re
from pathlib import Path

import cocotb
import pytest
from amaranth.back import rtlil
from amaranth.lib import data
from cocotb.triggers import RisingEdge
from ringpair_hdl.ascon import AsconModes, AsconSponge, AsconState, Item, Start
from ringpair_protocol import ascon

from cocotb_tests.harness import Bench, simulate

VECTORS = os.environ.get("RINGPAIR_VECTORS")
FIELDS = [name for name, _ in data.Layout.cast(Start)]
END = {"data": 0xA5, "end": 1}
KEY, NONCE = bytes(range(16)), bytes(range(16, 32))

SB_LUT4 = """
module SB_LUT4(output O, input I0, I1, I2, I3);
  parameter [15:0] LUT_INIT = 0;
  assign O = LUT_INIT[{I3, I2, I1, I0}];
endmodule
"""


def items(*parts):
    """Bytes, and END where a segment ends, as payloads of `i`."""
    return [item for part in parts for item in ([END] if part is END else ({"data": b, "end": 0} for b in part))]


class Operation:
    """What a mode is fed, and what the reference says it gives."""

    def __init__(self, start, feed, expected):
        self.start, self.feed, self.expected = {**dict.fromkeys(FIELDS, 0), **start}, feed, expected


def hash_family(kind, message, length=32, label=b""):
    start = {"hash": {"fixed": 1}, "xof": {}, "cxof": {"custom": 1, "z_len": len(label)}}[kind]
    expected = {
        "hash": lambda: ascon.hash256(message),
        "xof": lambda: ascon.xof128(message, length),
        "cxof": lambda: ascon.cxof128(message, label, length),
    }[kind]()
    return Operation(start, items(*([label, END] if kind == "cxof" else []), message, END), expected)


def aead(key, nonce, data, text, decrypt=False):
    sealed = ascon.aead128_encrypt(key, nonce, data, text)
    there, back = (sealed[:-16], text) if decrypt else (text, sealed[:-16])
    feed = items(key, nonce, key, *([data, END] if data else []), there, END, key, key)
    return Operation({"aead": 1, "decrypt": decrypt, "ad": bool(data)}, feed, back + sealed[-16:])


class AsconBench:
    """`Bench` with the three streams, and the state inside."""

    @classmethod
    async def start(cls, dut):
        self = cls()
        self.dut, self.bench = dut, await Bench.start(dut)
        self.cmd = self.bench.driver("cmd", shape=Start)
        self.i = self.bench.driver("i", shape=Item)
        self.o = self.bench.monitor("o")
        self.o.idle = lambda: any(int(signal.value) for signal in (dut.rst, dut.clear, dut.cmd__valid))
        self.words = [getattr(dut.sponge.state, f"x{k}") for k in range(5)]
        return self

    def stall(self, i, o):
        self.i.stall, self.o.stall = i, o

    async def run(self, operation):
        """Output of one operation, and its cycles from the one that accepts the start to the last output."""
        await self.cmd.send([operation.start])
        began = self.bench.now()
        self.sending = cocotb.start_soon(self.i.send(operation.feed))
        output = await self.o.bytes(len(operation.expected))
        took = self.bench.now() - began
        await self.sending
        return output, took

    async def check(self, operation):
        output, took = await self.run(operation)
        assert output == operation.expected, f"{operation.start}: {output.hex()}, expected {operation.expected.hex()}"
        return took

    def zero(self):
        return all(int(word.value) == 0 for word in self.words)


def random_operation(random):
    kind = random.choice(("hash", "xof", "cxof", "encrypt", "decrypt"))
    message = random.randbytes(random.choice((0, 1, 7, 8, 9, 15, 16, 17, random.randrange(70))))
    other = random.randbytes(random.choice((0, 1, 7, 8, 15, 16, 17, 31)))
    if kind in ("encrypt", "decrypt"):
        return aead(random.randbytes(16), random.randbytes(16), other, message, kind == "decrypt")
    return hash_family(kind, message, random.randrange(1, 70), other)


def known_answers(name):
    """The records of one of the designers' known-answer files."""
    for block in Path(VECTORS, "ascon", name).read_text().strip().split("\n\n"):
        fields = (re.fullmatch(r"(\w+) = ?(\w*)", line).groups() for line in block.splitlines())
        yield {key: bytes.fromhex(value) for key, value in fields if key != "Count"}


def file_operations(every):
    """Operations of the known-answer files, one in `every`; expected is what the file says, not the reference."""
    for kind in ("hash", "xof", "cxof"):
        for number, a in enumerate(known_answers(f"ascon{kind}{'256' if kind == 'hash' else '128'}.kat.txt")):
            label = a.get("Z", b"")
            if number % every == 0 and len(label) <= 31 and len(a["Msg"]) <= 80:
                operation = hash_family(kind, a["Msg"], len(a["MD"]), label)
                operation.expected = a["MD"]
                yield operation
    for number, a in enumerate(known_answers("asconaead128.kat.txt")):
        if number % every == 0:
            for decrypt in (False, True):
                operation = aead(a["Key"], a["Nonce"], a["AD"], a["PT"], decrypt)
                operation.expected = (a["PT"] if decrypt else a["CT"][:-16]) + a["CT"][-16:]
                yield operation


@cocotb.test()
async def answers(dut):
    """Typed-in answers of the designers' files."""
    bench = await AsconBench.start(dut)
    cases = [
        (hash_family("hash", b""), "0b3be5850f2f6b98caf29f8fdea89b64a1fa70aa249b8f839bd53baa304d92b2"),
        (hash_family("xof", b"\0", 16), "51430e0438ecdf642b393630d977625f"),
        (hash_family("cxof", b"", 16, b""), "4f50159ef70bb3dad8807e034eaebd44"),
        (aead(KEY, NONCE, b"", b""), "4f9c278211bec9316bf68f46ee8b2ec6"),
        (aead(KEY, NONCE, b"012", b' !"'), "66d0d5790a715044a3e616d441c1790951404a"),
    ]
    for operation, answer in cases:
        operation.expected = bytes.fromhex(answer)
        await bench.check(operation)


@cocotb.test()
async def files(dut):
    """A sample of the files, every third operation with stalls on both sides."""
    bench = await AsconBench.start(dut)
    count = 0
    for operation in file_operations(bench.bench.parameters["every"]):
        bench.stall(*((0.3, 0.3) if count % 3 == 2 else (0, 0)))
        await bench.check(operation)
        count += 1
    cocotb.log.info("%d operations", count)
    assert count > 100


@cocotb.test()
async def stalled(dut):
    """Random operations with bytes and output held up."""
    bench = await AsconBench.start(dut)
    for number in range(bench.bench.parameters["operations"]):
        bench.stall(*((0, 0), (0.5, 0), (0, 0.5), (0.7, 0.7))[number % 4])
        await bench.check(random_operation(bench.bench.random))


def hash_cycles(message, length, label=None):
    """Cycles by the README: 21 for each block in, 22 for each block out."""
    custom = 0 if label is None else 22 + 1 + 21 * (label // 8 + 1)
    return 22 + custom + 1 + 21 * (message // 8 + 1) + 22 * ((length - 1) // 8) + 2 + (length - 1) % 8


def aead_cycles(data, text):
    """Cycles by the README: 25 for each block of associated data or text."""
    return 74 + (1 + 25 * (data // 16 + 1) if data else 0) + 10 + 18 + 25 * (text // 16) + 30 + 17


@cocotb.test()
async def cycles(dut):
    """The figures of the README, for all lengths up to a few blocks."""
    bench = await AsconBench.start(dut)
    for n in range(0, 34, 3):
        assert await bench.check(hash_family("hash", bytes(n))) == hash_cycles(n, 32)
        assert await bench.check(hash_family("xof", bytes(n), n + 1)) == hash_cycles(n, n + 1)
        assert await bench.check(hash_family("cxof", bytes(n), 8, bytes(n % 32))) == hash_cycles(n, 8, n % 32)
        assert await bench.check(aead(KEY, NONCE, bytes(n), bytes(33 - n))) == aead_cycles(n, 33 - n)
        assert await bench.check(aead(KEY, NONCE, b"", bytes(n), True)) == aead_cycles(0, n)
    assert hash_cycles(80, 8) - hash_cycles(72, 8) == 21
    assert aead_cycles(0, 80) - aead_cycles(0, 64) == 25


@cocotb.test()
async def cleared(dut):
    """`clear` in any cycle of an operation: at once zero, silent and at rest, and the next operation is right."""
    bench = await AsconBench.start(dut)
    random = bench.bench.random
    edge = RisingEdge(dut.clk)
    seen = set()
    for _ in range(bench.bench.parameters["clears"]):
        operation = random_operation(random)
        bench.stall(random.choice((0, 0.5)), random.choice((0, 0.5)))
        running = cocotb.start_soon(bench.run(operation))
        await bench.bench.cycles(random.randrange(2, 150))
        seen.add(int(dut.step.value))
        running.cancel()
        bench.sending.cancel()
        dut.cmd__valid.value = 0
        dut.clear.value = 1
        await edge
        dut.clear.value = 0
        dut.i__valid.value = 1
        dut.o__ready.value = 1
        for _ in range(20):
            await edge
            assert bench.zero(), "the state is not zero after clear"
            assert not int(dut.o__valid.value), "o is valid after clear"
            assert not int(dut.i__ready.value), "i is taken without a start"
            assert int(dut.cmd__ready.value), "not at rest after clear"
        dut.i__valid.value = 0
        dut.o__ready.value = 0
        await bench.check(random_operation(random))
    assert len(seen) > 8, f"clear met only the steps {seen}"


@cocotb.test()
async def restarted(dut):
    """A start is refused while a mode runs, accepted while squeezing; nothing of the aborted operation stays."""
    bench = await AsconBench.start(dut)
    random = bench.bench.random
    for _ in range(20):
        message = random.randbytes(random.randrange(40))
        await bench.check(hash_family("xof", message, random.randrange(1, 30)))
        await bench.bench.cycles(random.randrange(30))  # somewhere in an output block or a permutation
        await bench.check(random_operation(random))
        await bench.bench.cycles(random.randrange(30))
    await bench.bench.pulse("clear")
    dut.cmd__valid.value = 1
    dut.cmd__payload.value = 1  # AEAD128
    await bench.bench.cycles(2)
    for _ in range(60):
        await bench.bench.cycles(1)
        assert not int(dut.cmd__ready.value), "a start is accepted while the key is awaited"


@cocotb.test()
async def forgets(dut):
    """Nothing is left in the state after the tag."""
    bench = await AsconBench.start(dut)
    for decrypt in (False, True):
        bench.stall(0.3, 0.3)
        await bench.check(aead(KEY, NONCE, b"data", b"some text", decrypt))
        await bench.bench.cycles(3)
        assert bench.zero()


def simulate_modes(*tests, mapped=False, **parameters):
    name = "AsconModesMapped" if mapped else None
    sources = [SB_LUT4] if mapped else []
    simulate(AsconModes(mapped=mapped), __name__, tests=tests, parameters=parameters, sources=sources, name=name)


def test_answers():
    simulate_modes("answers", "cycles", "forgets", "restarted")


def test_mapped_answers():
    """The form for iCE40, each LUT an instance, in Icarus."""
    simulate_modes("answers", "stalled", mapped=True, operations=12)


@pytest.mark.skipif(not VECTORS, reason="RINGPAIR_VECTORS is not set: no known-answer files")
def test_files():
    simulate_modes("files", every=29)


def test_stalled():
    simulate_modes("stalled", operations=60)


def test_cleared():
    simulate_modes("cleared", clears=60)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("block", [AsconState, AsconSponge, AsconModes])
def test_converts(block, mapped):
    assert ("SB_LUT4" in rtlil.convert(block(mapped=mapped), name="top")) == mapped
