"""A serial port that carries frames, both ways at full line rate, with one block RAM."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ringpair_hdl.link.cobs import RX_START, TX_START, FrameDecoder, FrameEncoder
from ringpair_hdl.link.uart import UartReceiver, UartTransmitter, check_divisor


class FramePort(wiring.Component):
    """Frames of `ringpair_protocol.frames` on one serial line: COBS, CRC, and two buffers in each direction.

    The 512 x 8 block RAM has one read and one write port. The line goes first at both of them: it has 10 * divisor
    cycles a byte and needs one; the streams wait a cycle then.

    Timing in cycles: a received frame shows 3 cycles after the middle of its delimiter's stop bit, bytes of `o` come
    every third cycle, `i` takes one every 18. The start bit falls 76 cycles after `send`, if the line is
    idle.

    Parameters
    ----------
    divisor : int
        Clock cycles of a bit, at least 4.
    report_errors : bool
        Damaged frames show as frames of length 0 with an `error`; without it they vanish.

    Attributes
    ----------
    rx, tx : In(1), Out(1)
        The line; idle is 1.
    frame : Out(1)
        A whole frame waits. A second one can be complete behind it; a third one is dropped whole.
    length : Out(7)
        Bytes of its payload, while `frame`.
    error : Out(3)
        0, or the `ErrorKind` of a damaged frame.
    o : Out(stream.Signature(8))
        The payload. Not valid after the last byte.
    drop : In(1)
        Strobe: release the frame, whatever was read of it. `frame` is 0 in the next cycle.
    i : In(stream.Signature(8))
        Payload of a frame to send. Further bytes after `MAX_PAYLOAD` are not accepted. Not ready while a frame
        is closed, and while two are waiting or being sent.
    send : In(1)
        Strobe: the frame is complete (the hardware adds CRC, stuffing and delimiter). Ignored if it is empty.
    abort : In(1)
        Strobe: forget what was given of a frame; after `send` it is too late, and ignored.
    busy : Out(1)
        A frame is closed and not yet sent to the end of its last stop bit, or the memory is being cleared.
    clear : In(1)
        Forget all frames, break off sending, and overwrite the memory and all registers with zeros: `busy` for up to
        768 cycles. What arrives in that time is lost. A byte cut on the line is a framing error to the other side.
    """

    def __init__(self, divisor, report_errors):
        self.divisor = check_divisor(divisor)
        self.report_errors = bool(report_errors)
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "o": Out(stream.Signature(8)),
                "frame": Out(1),
                "length": Out(7),
                "error": Out(3),
                "drop": In(1),
                "i": In(stream.Signature(8)),
                "send": In(1),
                "abort": In(1),
                "busy": Out(1),
                "clear": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=8, depth=512, init=[])
        m.submodules.receiver = receiver = UartReceiver(self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self.divisor)
        m.submodules.decoder = decoder = FrameDecoder()
        m.submodules.encoder = encoder = FrameEncoder()
        read, write = memory.read_port(), memory.write_port()

        clear = Signal()
        laps = Signal(2)  # of wiping: the rest of a half, then both halves
        m.d.comb += [
            clear.eq(self.clear | laps.any()),
            receiver.clear.eq(clear),
            transmitter.clear.eq(clear),
            decoder.clear.eq(clear),
            encoder.wipe.eq(clear),
        ]
        with m.If(self.clear):
            m.d.sync += laps.eq(3)
        with m.Elif(laps.any() & encoder.last):
            m.d.sync += laps.eq(laps - 1)

        # Receiving: the decoder fills one half; `accept` swaps them, and the other one is ours until `drop`.
        filling = Signal()
        place = Signal(7)
        fetching = Signal()  # a byte for the transmitter is at the read port
        arriving = Signal()  # a byte for `o` is at the read port
        want = self.frame & ~arriving & (~self.o.valid | self.o.ready) & (place != self.length)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            decoder.sample.eq(receiver.sample),
            decoder.bit.eq(receiver.bit),
            decoder.data.eq(receiver.data),
            decoder.valid.eq(receiver.valid),
            decoder.accept.eq(decoder.done & ~self.frame),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(arriving):
            m.d.sync += [self.o.payload.eq(read.data), self.o.valid.eq(1), arriving.eq(0)]
        with m.If(decoder.accept):
            m.d.sync += [self.length.eq(decoder.length), place.eq(0)]
            if self.report_errors:
                m.d.sync += [self.frame.eq(1), self.error.eq(decoder.error), filling.eq(~filling)]
                with m.If(decoder.error != 0):
                    m.d.sync += self.length.eq(0)
            else:
                with m.If(decoder.error == 0):
                    m.d.sync += [self.frame.eq(1), filling.eq(~filling)]

        # Sending: frames closed and frames sent, modulo 4; bit 0 is the half.
        closed, sent = Signal(2), Signal(2)
        head = Signal(8, init=TX_START)
        fetch = Signal()
        m.d.comb += [
            encoder.i.payload.eq(self.i.payload),
            encoder.i.valid.eq(self.i.valid),
            self.i.ready.eq(encoder.i.ready & ~clear),
            encoder.send.eq(self.send),
            encoder.abort.eq(self.abort),
            encoder.free.eq((closed ^ sent) != 2),
            fetch.eq((closed != sent) & transmitter.soon & ~fetching),
            transmitter.i.payload.eq(read.data),
            transmitter.i.valid.eq(fetching),
            self.tx.eq(transmitter.tx),
            self.busy.eq(encoder.busy | (closed != sent) | ~transmitter.idle | laps.any()),
        ]
        m.d.sync += fetching.eq(fetch)
        m.d.sync += closed.eq(closed + encoder.done)
        with m.If(fetching):
            m.d.sync += head.eq(head + 1)
            with m.If(read.data == 0):
                m.d.sync += [head.eq(head.init), sent.eq(sent + 1)]

        # The memory: the line first.
        m.d.comb += [
            read.addr.eq(Mux(fetch, Cat(head, sent[0]), Cat(place, 1, ~filling))),
            write.addr.eq(Mux(decoder.write, Cat(decoder.address, filling), Cat(encoder.address, closed[0]))),
            write.data.eq(Mux(decoder.write, decoder.byte, encoder.byte)),
            write.en.eq(decoder.write | encoder.write),
            encoder.grant.eq(~decoder.write),
        ]
        with m.If(want & ~fetch):
            m.d.sync += [arriving.eq(1), place.eq(place + 1)]

        with m.If(laps.any()):
            m.d.comb += [write.addr[8].eq(laps[0])]
        with m.If((self.drop & self.frame) | clear):
            m.d.sync += [self.frame.eq(0), self.o.valid.eq(0), arriving.eq(0)]
        with m.If(clear):
            m.d.sync += [self.o.payload.eq(0), self.length.eq(0), self.error.eq(0)]
            m.d.sync += [closed.eq(0), sent.eq(0), head.eq(head.init), fetching.eq(0)]
        return m


assert RX_START % 128 == 0, "the places of received bytes count from 0"
