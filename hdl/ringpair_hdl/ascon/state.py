"""The 320-bit Ascon state with its permutation, and a byte port into it."""

from amaranth.hdl import Array, C, Cat, Const, Instance, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

ROTATIONS = ((19, 28), (61, 39), (1, 6), (10, 17), (7, 41))
"""Of the linear layer, right, by word (SP 800-232, section 3.4)."""

ROUNDS = 12
SHORT_ROUNDS = 8


class AsconState(wiring.Component):
    """Ascon-p at one round a cycle; between permutations, one word at a time turns past an 8-bit port.

    In a *step* the lowest byte `s` of the word `word` leaves, `c = s ^ d` is shown, the word shifts down by eight
    bits, and at its top enters `c` (absorb, encrypt) or `d` (`over`: decrypt, overwrite). Eight steps bring the
    word round, so no byte of the 320 bits needs a multiplexer or an enable of its own.

    Ports
    -----
    d, c : 8 bits in, 8 bits out; `c` is combinational from `d` and `word`.
    word : 0 to 4.
    over, step : what enters, and that a step happens. Not while busy.
    start, short : start a permutation of 12, or with `short` the last 8 rounds, not while busy.
    busy : high for exactly 12 (8) cycles from the cycle after `start`.
    clear : within one cycle all 320 bits are zero and no permutation runs; it wins over everything else.

    Attributes
    ----------
    words, round : the registers; for proofs.

    Parameters
    ----------
    mapped : bool
        Write each bit of the round as iCE40 cells (`SB_LUT4`) instead of leaving it to the synthesis tool, which
        needs about 250 cells more. Both forms are proven in `formal/test_ascon.py`.

    A round and a turn share their cells. Each output of the S-box depends on at most five bits, and for words 0, 1,
    3 one of them only linearly: `y = t ^ last` with `t` of the other four. So a bit costs three LUTs everywhere,
    where `z` is the turned bit:

        words 0, 1, 3:  t(4 bits);      y = go ? t ^ last : z;    x' = go ? y ^ y>>>p ^ y>>>q : y
        words 2, 4:     y(4 bits);      l = y ^ y>>>p ^ y>>>q;    x' = go ? l : z
    """

    d: In(8)
    c: Out(8)
    word: In(3)
    over: In(1)
    step: In(1)
    start: In(1)
    short: In(1)
    busy: Out(1)
    clear: In(1)

    def __init__(self, *, mapped=False):
        self.mapped = mapped
        self.words = [Signal(64, name=f"x{i}") for i in range(5)]
        self.round = Signal(4, init=ROUNDS)  # the number of the round; rests at 12
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        x, r = self.words, self.round

        m.d.comb += self.busy.eq(~(r[2] & r[3]))
        with m.If(self.clear):
            m.d.sync += r.eq(ROUNDS)
        with m.Elif(self.busy):
            m.d.sync += r.eq(r + 1)
        with m.Elif(self.start):
            m.d.sync += r.eq(Mux(self.short, ROUNDS - SHORT_ROUNDS, 0))

        # the byte port
        back = Signal(8)
        m.d.comb += self.c.eq(Array(word[:8] for word in x)[self.word] ^ self.d)
        m.d.comb += back.eq(Mux(self.over, self.d, self.c))
        turned = [Cat(word[8:], back) for word in x]

        for i, following in enumerate(self.follow(m, x, turned, r)):
            with m.If(self.clear):
                m.d.sync += x[i].eq(0)
            with m.Elif(self.busy | (self.step & (self.word == i))):
                m.d.sync += x[i].eq(following)
        return m

    def follow(self, m, x, turned, r):
        """The five words after round `r` while busy, else turned."""

        def bits(name, function, *inputs):
            return bitwise(m, name, function, *inputs, mapped=self.mapped)

        go = self.busy.replicate(64)
        x0, x1, x2, x3, x4 = x
        x2 = Cat(bits("x2", lambda v, constant: v ^ constant, x2[:8], Cat(r, ~r)), x2[8:])

        # substitution layer, section 3.3
        halves = {
            0: (bits("t0", lambda a, b, c, e: c ^ a ^ (b & ~(e ^ c ^ a)), x0, x1, x2, x4), x3),
            1: (bits("t1", lambda a, b, c, d: (d & (b ^ c)) ^ d ^ (b & c) ^ c ^ b ^ a, x0, x1, x2, x3), x4),
            3: (bits("t3", lambda a, b, d, e: ((e ^ d) & ~a) ^ a ^ b, x0, x1, x3, x4), x2),
        }
        y = {
            2: bits("y2", lambda b, c, d, e: ~(c ^ b ^ (e & ~d)), x1, x2, x3, x4),
            4: bits("y4", lambda a, b, d, e: (e & ~b) ^ d ^ (b & ~a), x0, x1, x3, x4),
        }
        for i, (t, last) in halves.items():
            y[i] = bits(f"y{i}", lambda t, last, z, go: go & (t ^ last) | ~go & z, t, last, turned[i], go)

        # linear layer, section 3.4
        for i, (p, q) in enumerate(ROTATIONS):
            terms = y[i], y[i].rotate_right(p), y[i].rotate_right(q)
            if i in halves:
                yield bits(f"l{i}", lambda u, v, w, go: u ^ go & (v ^ w), *terms, go)
            else:
                mixed = bits(f"l{i}", lambda u, v, w: u ^ v ^ w, *terms)
                yield bits(f"m{i}", lambda v, z, go: go & v | ~go & z, mixed, turned[i], go)


def bitwise(m, name, function, *inputs, mapped):
    """`function` on each bit of up to four equally wide values: plain logic, or one `SB_LUT4` a bit if `mapped`."""
    result = Signal(len(inputs[0]), name=name)
    if not mapped:
        m.d.comb += result.eq(function(*inputs))
        return result
    unused = [C(0, len(result))] * (4 - len(inputs))
    table = sum((function(*(row >> k & 1 for k in range(len(inputs)))) & 1) << row for row in range(16))
    for bit, pins in enumerate(zip(*inputs, *unused, strict=True)):
        m.submodules[f"{name}_{bit}"] = Instance(
            "SB_LUT4",
            p_LUT_INIT=Const(table, 16),
            o_O=result[bit],
            **{f"i_I{number}": pin for number, pin in enumerate(pins)},
        )
    return result
