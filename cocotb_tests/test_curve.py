"""The curve engine at its ports, in Icarus: stalls, clear at any time, and the multiplier as Yosys's model of the cell.

What it computes is tested where it is fast: host/tests/test_curve.py.
"""

import hashlib

import cocotb
import pytest
from amaranth.back import rtlil
from ringpair_boards.gate_level import cell_models, synthesize
from ringpair_hdl.curve.commands import Command, OnElement
from ringpair_hdl.curve.elements import Element as E
from ringpair_hdl.curve.engine import CurveEngine
from ringpair_hdl.curve.multiplier import Multiplier

from cocotb_tests.harness import Bench, simulate
from cocotb_tests.test_gate_level import NETLISTS
from cocotb_tests.test_gate_level import simulate as simulate_netlist

MEMORY = 10_000
"""Cycles within which commands end that only move bytes; the self-test takes ten times that."""
BOOT = 150_000


class Curve:
    """Its streams, and commands with what goes in and comes out."""

    @classmethod
    async def start(cls, dut, stall=0.0):
        self = cls()
        self.dut = dut
        self.bench = await Bench.start(dut)
        self.cmd = self.bench.driver("cmd")
        self.i = self.bench.driver("i", stall=stall)
        self.o = self.bench.monitor("o", stall=stall)
        return self

    async def command(self, code, data=b"", count=0, limit=MEMORY):
        sending = cocotb.start_soon(self.cmd.send([int(code)], limit=limit))
        feeding = cocotb.start_soon(self.i.send(data, limit=limit))
        received = bytes(await self.o.receive(count, limit=limit)) if count else b""
        await feeding
        await sending
        return received

    async def load(self, element, value):
        await self.command(OnElement.LOAD | element, value)

    async def read(self, element):
        return await self.command(OnElement.READ | element, count=32)


@cocotb.test()
async def passes_its_test(dut):
    """The known-answer test of power-up; CLEAR does not run it again."""
    curve = await Curve.start(dut)
    limit = curve.bench.parameters["limit"]
    assert await curve.command(Command.STATUS, count=1, limit=limit) == b"\0"
    assert await curve.read(E.RESULT) == bytes(32)


@cocotb.test()
async def stalls(dut):
    """Bytes that come and go at any pace; a digest, and an element that is read twice."""
    curve = await Curve.start(dut)
    value, message = curve.bench.random.randbytes(32), curve.bench.random.randbytes(150)
    await curve.command(Command.STATUS, count=1, limit=BOOT)
    for stall in (0, 0.3, 0.8):
        curve.i.stall = curve.o.stall = stall
        await curve.load(E.S, value)
        await curve.command(Command.HASH_START)
        await curve.command(Command.HASH, bytes([len(message), *message]), limit=20_000)
        await curve.command(OnElement.HASH | E.S, limit=20_000)
        await curve.command(Command.HASH_FINISH, limit=30_000)
        digest = await curve.read(E.DIGEST) + await curve.read(E.DIGEST + 1)
        assert digest == hashlib.sha512(message + value).digest()
        assert await curve.read(E.S) == value == await curve.read(E.S)


@cocotb.test()
async def clears(dut):
    """`clear` gives up whatever runs, within a cycle; then all elements are 0, and commands wait until they are."""
    curve = await Curve.start(dut)
    bench = curve.bench
    await curve.command(Command.STATUS, count=1, limit=BOOT)
    for running in (Command.X25519, OnElement.READ | E.S, OnElement.LOAD | E.S, Command.HASH):
        for element in (0, E.SCALAR, E.S, 27, E.PRODUCT):
            await curve.load(element, b"\xff" * 32)
        dut.cmd__payload.value, dut.cmd__valid.value = int(running), 1
        await bench.cycles(40 + bench.random.randrange(400))
        await bench.pulse("clear")
        dut.cmd__valid.value = 0
        for _ in range(300):
            await bench.cycles()
            assert not int(dut.o__valid.value)
            assert not int(dut.i__ready.value)
            assert not int(dut.cmd__ready.value)
        for element in (0, E.SCALAR, E.S, 27, E.PRODUCT, E.T1):
            assert await curve.read(element) == bytes(32), (running, element)


@cocotb.test()
async def ignores_unknown_commands(dut):
    """They are taken at once, and neither take nor give a byte."""
    curve = await Curve.start(dut)
    await curve.command(Command.STATUS, count=1, limit=BOOT)
    unknown = [code for code in range(32) if code not in list(Command)] + [0xC0, 0xD5, 0xE0, 0xFF]
    for code in unknown:
        before = curve.bench.now()
        dut.i__valid.value = 1
        await curve.command(code)
        dut.i__valid.value = 0
        assert curve.bench.now() - before <= 5, hex(code)
    assert await curve.command(Command.STATUS, count=1) == b"\0"


CORNERS = (0, 1, 2, 0x7FFF, 0x8000, 0x8001, 0xFFFE, 0xFFFF)


@cocotb.test()
async def multiplies(dut):
    """Addend plus or minus product, at all corners and at random; the carry between the halves is what may go wrong."""
    bench = await Bench.start(dut)
    cases = [(a, b, d, sub) for a in CORNERS for b in CORNERS for d in CORNERS for sub in (0, 1)]
    cases += [(*(bench.random.getrandbits(16) for _ in range(3)), bench.random.getrandbits(1)) for _ in range(2000)]
    for a, b, d, sub in cases:
        dut.a.value, dut.b.value, dut.d.value, dut["sub"].value = a, b, d, sub
        await bench.cycles(2)
        assert int(dut.p.value) == (d - a * b if sub else d + a * b) % 2**32, (a, b, d, sub)


def test_ports():
    simulate(CurveEngine(), __name__, tests=["stalls", "clears", "ignores_unknown_commands"])


@pytest.mark.parametrize("mapped", [False, True])
def test_multiplier(mapped):
    cell = {"cells": {"mac": {"type": "SB_MAC16"}}}
    simulate(Multiplier(mapped=mapped), __name__, tests=["multiplies"], sources=[cell_models(cell)] if mapped else [])


@pytest.mark.slow
def test_netlist():
    """After synthesis, with Yosys's own models of all cells."""
    netlist = synthesize(CurveEngine(mapped=True), NETLISTS)
    simulate_netlist(netlist, __name__, ["passes_its_test"], {"limit": BOOT})


def test_converts():
    """Without warnings, which are errors here."""
    for mapped in (False, True):
        rtlil.convert(CurveEngine(mapped=mapped))
