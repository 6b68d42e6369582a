"""The curve engine, compiled as written or as synthesized: commands and bytes in, bytes and cycles out; formulas."""

import ctypes
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from ringpair.virtual import compile as compiler
from ringpair_boards.gate_level import GateLevel, synthesize
from ringpair_hdl.curve.commands import Command, OnElement
from ringpair_hdl.curve.constants import D, L, P
from ringpair_hdl.curve.elements import Element as E
from ringpair_hdl.curve.engine import CurveEngine

BUILD = Path(__file__).resolve().parents[2] / "build" / "curve"
GATES = BUILD.parent / "gate-level"
LIMIT = 4_000_000
"""Cycles within which every command ends, or is given up."""

HARNESS = r"""
#include "MODEL"
#include "SHIM"
using Top = cxxrtl_design::p_top;

static void edge(Top *t)
{
    t->p_clk.set<uint32_t>(0);
    t->step();
    t->p_clk.set<uint32_t>(1);
    t->step();
}

static void settle(Top *t)
{
    t->p_clk.set<uint32_t>(0);
    t->step();
}

extern "C" Top *create()
{
    Top *t = new Top();
    t->p_rst.set<uint32_t>(0);
    return t;
}

extern "C" void destroy(Top *t) { delete t; }

extern "C" void idle(Top *t, long cycles, int clear)
{
    t->p_clear.set<uint32_t>(clear);
    while (cycles--)
        edge(t);
    t->p_clear.set<uint32_t>(0);
}

// Runs a command; with `stall` the streams pause at random, one cycle in `stall`. Returns cycles, or -1.
extern "C" long command(
    Top *t, int code, const uint8_t *in, long count, uint8_t *out, long *got, long limit, uint32_t stall)
{
    uint32_t noise = 0x9e3779b9 ^ stall;
    long taken = 0, room = *got;
    *got = 0;
    t->p_cmd____payload.set<uint32_t>(code);
    t->p_cmd____valid.set<uint32_t>(1);
    bool offered = false, accepts = true;
    for (long cycle = 1; cycle <= limit; cycle++) {
        noise ^= noise << 13, noise ^= noise >> 17, noise ^= noise << 5;
        bool pause = stall && noise % stall == 0;
        offered = taken < count && (offered || !pause);
        accepts = !(stall && (noise >> 16) % stall == 0);
        t->p_i____valid.set<uint32_t>(offered);
        t->p_i____payload.set<uint32_t>(offered ? in[taken] : 0);
        t->p_o____ready.set<uint32_t>(accepts);
        settle(t);
        bool takes = offered && t->p_i____ready.get<uint32_t>();
        bool done = t->p_cmd____ready.get<uint32_t>();
        if (accepts && t->p_o____valid.get<uint32_t>() && *got < room)
            out[(*got)++] = t->p_o____payload.get<uint32_t>();
        edge(t);
        if (takes)
            taken++, offered = false;
        if (done) {
            t->p_cmd____valid.set<uint32_t>(0);
            t->p_i____valid.set<uint32_t>(0);
            return taken == count ? cycle : -2;
        }
    }
    return -1;
}
"""


def library(component=None) -> Path:
    """Compile an engine, or what has C++ of its own (attribute ``cxx``); cached by content."""
    component = CurveEngine() if component is None else component
    cxx = getattr(component, "cxx", None)
    text = compiler_netlist(component) if cxx is None else cxx.encode()
    tools = compiler._tools()
    key = hashlib.sha256(b"\0".join([text, HARNESS.encode(), *(part.encode() for part in tools.identity)])).hexdigest()
    target = BUILD / f"{key[:20]}.so"
    if target.exists():
        return target
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as name:
        folder = Path(name)
        if cxx is None:
            _, cxx = compiler._translate(text, folder, tools, compiler.quiet)
        (folder / "model.cc").write_text(cxx)
        shim = compiler.HARNESS / "shim.cc"
        source = folder / f"bench-{key[:20]}.cc"
        source.write_text(HARNESS.replace("MODEL", "model.cc").replace("SHIM", str(shim)))
        command = [*tools.compiler, *compiler.COMPILER_FLAGS, f"-I{tools.headers}", f"-I{folder}", str(source)]
        subprocess.run([*command, "-o", str(folder / "bench.o")], check=True)
        subprocess.run(
            [*tools.linker, "-shared", str(folder / "bench.o"), "-lm", "-o", str(folder / "b.so")], check=True
        )
        os.replace(folder / "b.so", target)
    return target


def compiler_netlist(component) -> bytes:
    from amaranth.back import rtlil

    return rtlil.convert(component, name="top", emit_src=False).encode()


class Engine:
    """One engine, from power-up.

    Attributes
    ----------
    path : Path
        What it runs.
    cycles, spent : int
        Of the last command, of all.
    """

    def __init__(self, path: Path | None = None, *, stall: int = 0):
        self.path = (path or library()).resolve()
        self.native = ctypes.CDLL(str(self.path))
        self.native.create.restype = ctypes.c_void_p
        self.native.command.restype = ctypes.c_long
        arguments = [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_long, ctypes.c_char_p]
        self.native.command.argtypes = [*arguments, ctypes.POINTER(ctypes.c_long), ctypes.c_long, ctypes.c_uint32]
        self.native.idle.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_int]
        self.native.destroy.argtypes = [ctypes.c_void_p]
        self.handle = self.native.create()
        self.stall = stall
        self.cycles = self.spent = 0
        self.command(Command.STATUS)  # when the self-test is over

    def close(self):
        self.native.destroy(self.handle)

    def command(self, code: int, data: bytes = b"", *, limit: int = LIMIT) -> bytes:
        """Run a command; AssertionError if it does not end, or not with all its bytes taken."""
        out, got = ctypes.create_string_buffer(256), ctypes.c_long(256)
        self.cycles = self.native.command(self.handle, int(code), data, len(data), out, got, limit, self.stall)
        assert self.cycles != -1, f"command {code:#x} did not end within {limit} cycles"
        assert self.cycles > 0, f"command {code:#x} ended before it took its {len(data)} bytes"
        self.spent += self.cycles
        return out.raw[: got.value]

    def idle(self, cycles: int = 1, *, clear: bool = False):
        self.native.idle(self.handle, cycles, clear)

    # ------------------------------------------------------------------------------------------------ in words
    def load(self, element: int, value: bytes):
        self.command(OnElement.LOAD | element, value)

    def read(self, element: int) -> bytes:
        return self.command(OnElement.READ | element)

    def status(self) -> int:
        (status,) = self.command(Command.STATUS)
        return status

    def absorb(self, message: bytes):
        """HASH in pieces of at most 255 bytes."""
        for piece in (message[at : at + 255] for at in range(0, len(message), 255)):
            self.command(Command.HASH, bytes([len(piece), *piece]))

    def sha512(self, message: bytes) -> bytes:
        self.command(Command.HASH_START)
        self.absorb(message)
        self.command(Command.HASH_FINISH)
        return self.read(10) + self.read(11)


def written(code=None):
    return library(CurveEngine(code=code))


def synthesized(code=None):
    return library(GateLevel(synthesize(CurveEngine(mapped=True, code=code), GATES)))


VARIANTS = [pytest.param(written, id="written"), pytest.param(synthesized, id="synthesized", marks=pytest.mark.slow)]


class Sequences:
    """Whole computations, as whoever gives the commands does them; `cycles` are those of the last X25519."""

    def __init__(self, engine):
        self.engine = engine
        self.cycles = 0

    def x25519(self, scalar: bytes, point: bytes) -> bytes:
        self.engine.load(E.SCALAR, scalar)
        self.engine.load(E.POINT, point)
        self.engine.command(Command.X25519)
        self.cycles = self.engine.cycles
        return self.engine.read(E.RESULT)

    def public_key(self, seed: bytes) -> bytes:
        self.engine.load(E.SEED, seed)
        self.engine.command(Command.KEY)
        return self.engine.read(E.PUBLIC)

    def sign(self, seed: bytes, public: bytes, message: bytes) -> bytes:
        self.engine.load(E.SEED, seed)
        self.engine.load(E.PUBLIC, public)
        for command in (Command.SIGN_BEGIN, Command.SIGN_COMMIT):
            self.engine.command(command)
            self.engine.absorb(message)
        self.engine.command(Command.SIGN_END)
        return self.engine.read(E.R) + self.engine.read(E.S)

    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        for element, value in ((E.PUBLIC, public), (E.R, signature[:32]), (E.S, signature[32:])):
            self.engine.load(element, value)
        self.engine.command(Command.VERIFY_BEGIN)
        self.engine.absorb(message)
        self.engine.command(Command.VERIFY_END)
        return not self.engine.status()

    def elligator(self, u: bytes) -> bytes:
        self.engine.load(E.POINT, u)
        self.engine.command(Command.ELLIGATOR)
        return self.engine.read(E.RESULT)


# ------------------------------------------------------------------------------------------------------ formulas


def bytes32(value: int) -> bytes:
    return value.to_bytes(32, "little")


def number(value: bytes) -> int:
    return int.from_bytes(value, "little")


def ladder(scalar: bytes, point: bytes) -> bytes:
    """RFC 7748, section 5, in numbers: also for points that `cryptography` refuses."""
    k = number(scalar) & ~7 & (1 << 255) - 1 | 1 << 254
    x1 = number(point) % 2**255 % P
    x2, z2, x3, z3 = 1, 0, x1, 1
    for bit in range(254, -1, -1):
        if k >> bit & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
        aa, bb = (x2 + z2) ** 2, (x2 - z2) ** 2
        da, cb = (x3 - z3) * (x2 + z2), (x3 + z3) * (x2 - z2)
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, (aa - bb) * (bb + 121666 * (aa - bb)) % P
        if k >> bit & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return bytes32(x2 * pow(z2, P - 2, P) % P)


def elligator(u: bytes) -> bytes:
    """RFC 9380, section 6.7.1."""
    r, a = number(u) % 2**255, 486662
    x1 = -a * pow(1 + 2 * r * r, P - 2, P) % P
    square = pow(x1**3 + a * x1 * x1 + x1, (P - 1) // 2, P) in (0, 1)
    return bytes32(x1 if square else (-x1 - a) % P)


def point_of_order_8() -> list[int]:
    """y of the points of order 8: where doubling twice gives a point with x = 0."""
    root = pow(2, (P - 1) // 4, P)
    for sign in (1, -1):
        # x² = y² on them up to the sign: d·y⁴ + 2·y² - 1 = 0
        disc = (1 + D) % P
        s = pow(disc, (P + 3) // 8, P)
        s = s if s * s % P == disc else s * root % P
        if s * s % P != disc:
            continue
        y2 = (-1 + sign * s) * pow(D, -1, P) % P
        y = pow(y2, (P + 3) // 8, P)
        y = y if y * y % P == y2 else y * root % P
        if y * y % P == y2:
            return [y, P - y]
    raise AssertionError


EDGES = [
    *(0, 1, 2, 18, 19, P - 1, P, P + 1, 2**255 - 1, 2**255, 2**255 + 18, 2 * P - 1, 2 * P, 2**256 - 39, 2**256 - 38),
    *(
        2**256 - 1,
        2**240 - 1,
        2**240,
        2**256 - 2**240,
        2**255 - 2**240,
        L - 1,
        L,
        L + 1,
        2 * L,
        15 * L,
        16 * L % 2**256,
    ),
    *(2**252 - 1, 2**252, 0x8000 << 240, 0x7FFF << 240, int("ffff0000" * 8, 16), int("0000ffff" * 8, 16)),
]
"""Where carries and borrows run through, and what is next to the moduli."""
