"""The modes of NIST SP 800-232 on a byte stream."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out
from ringpair_protocol import ascon

from ringpair_hdl.ascon.sponge import AsconSponge, Command, Item

CUSTOMIZATION_MAX = 31
"""Bytes that `Start.z_len` can tell; the standard allows 256."""


class Start(data.Struct):
    """Which mode to start."""

    aead: 1  # AEAD128, else the hash family
    decrypt: 1  # AEAD128: the text is ciphertext
    ad: 1  # AEAD128: there is associated data
    custom: 1  # hash family: CXOF128
    fixed: 1  # hash family: Hash256; neither: XOF128
    z_len: 5  # CXOF128: bytes of customization


class Step(enum.Enum, shape=4):
    """Phases of a mode; each is one sponge command. Of sixteen random codes this one needs the fewest cells."""

    IDLE = 0
    HASH_IV = 3
    LENGTH = 10
    CUSTOMIZATION = 13
    MESSAGE = 2
    SQUEEZE = 5
    AEAD_IV = 12
    KEY_NONCE = 8
    KEY = 9
    ASSOCIATED_DATA = 4
    SEPARATOR = 6
    TEXT = 7
    FINAL_KEY = 14
    TAG = 1


class AsconModes(wiring.Component):
    """Ascon-Hash256, -XOF128, -CXOF128 and -AEAD128 (SP 800-232, sections 4 and 5).

    `cmd` starts a mode; it is accepted at rest and while a hash is being squeezed, and clears what was there. Then
    `i` carries, where `.` is an end item:

        Hash256, XOF128   message .
        CXOF128           customization . message .
        AEAD128           key nonce key [associated data .] text . key key

    and `o` gives, for the hash family, output for ever until the next start or `clear`; the caller takes the 32
    bytes of a Hash256. For AEAD128 it gives the text's counterpart, each byte in the cycle in which its text byte
    is taken, then the 16-byte tag, also when decrypting: the caller compares, and keeps the plaintext to itself
    until then. The key comes four times because the caller has it in a block RAM, where keeping it costs no cells;
    after the last one the state is cleared.

    Timing, in cycles without stalls from the accepted start: the hash family 21 for each block of 8 bytes absorbed,
    22 for each block given; AEAD128 25 for each block of 16 bytes. README.md has the whole sums. It depends on the
    lengths and the mode alone, never on data.

    Ports
    -----
    cmd : stream of `Start`.
    i : stream of `Item`. The end mark counts only where `.` stands above; there it carries no byte.
    o : stream of bytes; combinational from `i` while it gives a text.
    clear : ends everything and zeroes the state, within one cycle. After it nothing is valid on `o` until the next
    start.

    Attributes
    ----------
    sponge, step, mode : the `AsconSponge`, the phase that it runs and what was started; for proofs.
    """

    cmd: In(stream.Signature(Start))
    i: In(stream.Signature(Item))
    o: Out(stream.Signature(8))
    clear: In(1)

    def __init__(self, *, mapped=False):
        self.sponge = AsconSponge(mapped=mapped)
        self.step = Signal(Step)
        self.mode = Signal(Start)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.sponge = sponge = self.sponge
        step, mode = self.step, self.mode
        after = Signal(Step)
        own = Signal()  # the step's bytes are ours, not from i
        byte = Signal(8)

        def phase(following, first, last=None, **fields):
            """Run one sponge command, then go to `following`."""
            command = {"first": first, "last": first if last is None else last, **fields}
            m.d.comb += [after.eq(following), sponge.cmd.payload.eq(Command.const(command))]

        def send(value):
            """Feed the command bytes of our own instead of those on i."""
            m.d.comb += [own.eq(1), byte.eq(value)]

        iv = self.initial_value(m, mode, sponge.at)
        with m.Switch(step):
            # hash family: rate 8, word 0
            with m.Case(Step.HASH_IV):
                phase(Mux(mode.custom, Step.LENGTH, Step.MESSAGE), 0, final=1)
                send(iv)
            with m.Case(Step.LENGTH):
                phase(Step.CUSTOMIZATION, 0, final=1)
                send(Mux(sponge.at == 0, mode.z_len << 3, 0))
            with m.Case(Step.CUSTOMIZATION):
                phase(Step.MESSAGE, 0, segment=1, middle=1, final=1)
            with m.Case(Step.MESSAGE):
                phase(Step.SQUEEZE, 0, segment=1, middle=1, final=1)
            with m.Case(Step.SQUEEZE):
                phase(Step.SQUEEZE, 0, squeeze=1, emit=1, final=1)

            # AEAD128: rate 16, words 0 and 1
            with m.Case(Step.AEAD_IV):
                phase(Step.KEY_NONCE, 0)
                send(iv)
            with m.Case(Step.KEY_NONCE):
                phase(Step.KEY, 1, 4, final=1)
            with m.Case(Step.KEY):
                phase(Mux(mode.ad, Step.ASSOCIATED_DATA, Step.SEPARATOR), 3, 4)
            with m.Case(Step.ASSOCIATED_DATA):
                phase(Step.SEPARATOR, 0, 1, segment=1, middle=1, final=1, short=1)
            with m.Case(Step.SEPARATOR):
                phase(Step.TEXT, 4)
                send(Mux(sponge.at == 7, 0x80, 0))
            with m.Case(Step.TEXT):
                phase(Step.FINAL_KEY, 0, 1, segment=1, middle=1, short=1, emit=1)
                m.d.comb += sponge.cmd.payload.over.eq(mode.decrypt)
            with m.Case(Step.FINAL_KEY):
                phase(Step.TAG, 2, 3, final=1)
            with m.Case(Step.TAG):
                phase(Step.IDLE, 3, 4, emit=1)

        begin = Signal()
        over = Signal()
        m.d.comb += [
            self.cmd.ready.eq((step == Step.IDLE) | (step == Step.SQUEEZE)),
            begin.eq(self.cmd.valid & self.cmd.ready),
            over.eq((step == Step.TAG) & sponge.cmd.ready),
            sponge.clear.eq(self.clear | begin | over),
            sponge.cmd.valid.eq(step != Step.IDLE),
            sponge.i.valid.eq(own | self.i.valid),
            sponge.i.payload.data.eq(byte | (self.i.payload.data & ~own.replicate(8))),
            sponge.i.payload.end.eq(self.i.payload.end),
            self.i.ready.eq(sponge.i.ready & ~own),
            self.o.payload.eq(sponge.o.payload),
            self.o.valid.eq(sponge.o.valid),
            sponge.o.ready.eq(self.o.ready),
        ]
        with m.If(self.clear):
            m.d.sync += step.eq(Step.IDLE)
        with m.Elif(begin):
            m.d.sync += mode.eq(self.cmd.payload)
            m.d.sync += step.eq(Mux(self.cmd.payload.aead, Step.AEAD_IV, Step.HASH_IV))
        with m.Elif(sponge.cmd.ready):
            m.d.sync += step.eq(after)
        return m

    def initial_value(self, m, mode, at):
        """Byte `at` of the mode's initial value (SP 800-232, appendix B)."""
        iv = Signal(8)
        aead, fixed, xof, custom = (
            value.to_bytes(8, "little")
            for value in (ascon.IV_AEAD128, ascon.IV_HASH256, ascon.IV_XOF128, ascon.IV_CXOF128)
        )
        with m.Switch(at):
            for k in range(8):
                with m.Case(k):
                    family = Mux(mode.custom, custom[k], Mux(mode.fixed, fixed[k], xof[k]))
                    m.d.comb += iv.eq(Mux(mode.aead, aead[k], family))
        return iv
