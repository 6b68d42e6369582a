"""A small device with the ports of the virtual board that touches every one of them on command.

Commands on the admin port (the first byte names the command; numbers are little endian)::

    01 b            answer b
    02 n16 bytes m16  one flash transaction: n bytes out, then m bytes in, which are the answer
    03 place        measure one place of the ring array: four counts of 16 bits
    04 n            n bytes of noise, one bit per take, first bit in bit 0; the source runs while the LEDs show no 2
    05 b            send b on the peer port
    06 b            show b on the LEDs
    07              answer the button level
    08 n            answer n after n * 65536 cycles

A byte from the peer port is passed on to the admin port. Every command is its own phase, its number; 0 is rest.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

BOARD_PORTS = {
    "admin_rx": In(1, init=1),
    "admin_tx": Out(1, init=1),
    "peer_rx": In(1, init=1),
    "peer_tx": Out(1, init=1),
    "flash_sck": Out(1),
    "flash_cs_n": Out(1, init=1),
    "flash_copi": Out(1),
    "flash_cipo": In(1),
    "ring_index": Out(6),
    "ring_run": Out(1),
    "ring_count0": In(16),
    "ring_count1": In(16),
    "ring_count2": In(16),
    "ring_count3": In(16),
    "trng_sample": In(1),
    "trng_take": Out(1),
    "trng_enable": Out(1),
    "button": In(1),
    "led": Out(3),
    "phase": Out(4),
    "idle": Out(1, init=1),
}


class Receiver(wiring.Component):
    """UART receiver: `valid` for one cycle with each good byte."""

    def __init__(self, divisor):
        self.divisor = divisor
        super().__init__({"rx": In(1, init=1), "data": Out(8), "valid": Out(1), "busy": Out(1)})

    def elaborate(self, platform):
        m = Module()
        rx = Signal(init=1)
        m.submodules.sync = FFSynchronizer(self.rx, rx, init=1)
        timer = Signal(range(2 * self.divisor))
        count = Signal(4)
        m.d.sync += self.valid.eq(0)
        with m.If(~self.busy):
            with m.If(~rx):
                m.d.sync += [self.busy.eq(1), count.eq(0), timer.eq(self.divisor + self.divisor // 2 - 2)]
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(count == 8):
            m.d.sync += [self.busy.eq(0), self.valid.eq(rx)]
        with m.Else():
            m.d.sync += [timer.eq(self.divisor - 1), count.eq(count + 1), self.data.eq(Cat(self.data[1:], rx))]
        return m


class Transmitter(wiring.Component):
    """UART transmitter: takes `data` when `valid` and `ready`."""

    def __init__(self, divisor):
        self.divisor = divisor
        super().__init__({"tx": Out(1, init=1), "data": In(8), "valid": In(1), "ready": Out(1)})

    def elaborate(self, platform):
        m = Module()
        timer = Signal(range(self.divisor))
        left = Signal(4)
        shift = Signal(10, init=0x3FF)
        m.d.comb += [self.ready.eq(left == 0), self.tx.eq(shift[0])]
        with m.If(left == 0):
            with m.If(self.valid):
                m.d.sync += [shift.eq(Cat(0, self.data, 1)), left.eq(10), timer.eq(self.divisor - 1)]
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Else():
            m.d.sync += [timer.eq(self.divisor - 1), left.eq(left - 1), shift.eq(Cat(shift[1:], 1))]
        return m


class FlashByte(wiring.Component):
    """Shifts one byte out and one in, mode 0, serial clock at half the clock; 16 cycles from `start` to `done`."""

    def __init__(self):
        super().__init__({"start": In(1), "data_o": In(8), "done": Out(1), "data_i": Out(8), "busy": Out(1)}
                         | {"sck": Out(1), "copi": Out(1), "cipo": In(1)})  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        shift = Signal(8)
        count = Signal(4)
        m.d.comb += [self.copi.eq(shift[7]), self.data_i.eq(shift)]
        m.d.sync += self.done.eq(0)
        sampled = Signal()
        with m.If(~self.busy):
            with m.If(self.start):
                m.d.sync += [shift.eq(self.data_o), self.busy.eq(1), count.eq(0)]
        with m.Elif(~self.sck):
            m.d.sync += [self.sck.eq(1), sampled.eq(self.cipo)]
        with m.Else():
            m.d.sync += [self.sck.eq(0), shift.eq(Cat(sampled, shift[:-1])), count.eq(count + 1)]
            with m.If(count == 7):
                m.d.sync += [self.busy.eq(0), self.done.eq(1)]
        return m


class Exerciser(wiring.Component):
    """The device described above.

    Parameters
    ----------
    admin_divisor, peer_divisor : int
        Cycles per bit of the two serial ports.
    window : int
        Cycles of one ring measurement.
    through_logic : bool
        Put logic between the flash registers and the flash pins (the harness must see the same levels either way).
    """

    def __init__(self, admin_divisor=12, peer_divisor=12, window=512, through_logic=False):
        self.admin_divisor = admin_divisor
        self.peer_divisor = peer_divisor
        self.window = window
        self.through_logic = through_logic
        super().__init__(BOARD_PORTS)

    def elaborate(self, platform):
        m = Module()
        m.submodules.admin_in = admin_in = Receiver(self.admin_divisor)
        m.submodules.admin_out = admin_out = Transmitter(self.admin_divisor)
        m.submodules.peer_in = peer_in = Receiver(self.peer_divisor)
        m.submodules.peer_out = peer_out = Transmitter(self.peer_divisor)
        m.submodules.spi = spi = FlashByte()
        command = Signal(4)
        at_rest = Signal()
        cs = Signal()
        blank = Signal()  # stays 0, but not as a constant: keeps the logic between register and pin
        m.d.sync += blank.eq(blank & self.button)
        m.d.comb += self.trng_enable.eq(~self.led[1])
        m.d.comb += [
            admin_in.rx.eq(self.admin_rx),
            self.admin_tx.eq(admin_out.tx),
            peer_in.rx.eq(self.peer_rx),
            self.peer_tx.eq(peer_out.tx),
            spi.cipo.eq(self.flash_cipo),
            self.phase.eq(command),
            self.idle.eq(at_rest & ~admin_in.busy & ~peer_in.busy & admin_out.ready & peer_out.ready),
        ]
        if self.through_logic:
            m.d.comb += [
                self.flash_sck.eq(spi.sck & ~blank),
                self.flash_copi.eq(spi.copi & ~blank),
                self.flash_cs_n.eq(~cs | blank),
            ]
        else:
            m.d.comb += [self.flash_sck.eq(spi.sck), self.flash_copi.eq(spi.copi)]
            cs_n = Signal(init=1)
            m.d.comb += self.flash_cs_n.eq(cs_n)
        forward = Signal(8)
        waiting = Signal()
        with m.If(peer_in.valid):
            m.d.sync += [forward.eq(peer_in.data), waiting.eq(1)]

        def select(on):
            return cs.eq(on) if self.through_logic else cs_n.eq(not on)

        def answer(data, after):
            m.d.comb += [admin_out.data.eq(data), admin_out.valid.eq(1)]
            with m.If(admin_out.ready):
                after()

        n = Signal(16)
        high = Signal()
        timer = Signal(24)
        word = Signal(64)
        byte = admin_in.data
        got = admin_in.valid
        with m.FSM():
            with m.State("REST"):
                m.d.sync += [command.eq(0), high.eq(0), timer.eq(0)]
                m.d.comb += at_rest.eq(~got & ~waiting)
                with m.If(waiting):
                    m.d.comb += [admin_out.data.eq(forward), admin_out.valid.eq(1)]
                    with m.If(admin_out.ready):
                        m.d.sync += waiting.eq(0)
                with m.Elif(got):
                    m.d.sync += command.eq(byte)
                    with m.Switch(byte):
                        for number, state in enumerate(
                            ("ECHO", "FLASH-LENGTH", "RING", "NOISE", "PEER", "LED", "BUTTON", "WAIT"), start=1
                        ):
                            with m.Case(number):
                                m.next = state
            with m.State("ECHO"), m.If(got):
                m.d.sync += [word.eq(byte), n.eq(1)]
                m.next = "ANSWER"
            with m.State("ANSWER"):

                def next_byte():
                    m.d.sync += [word.eq(word >> 8), n.eq(n - 1)]
                    with m.If(n == 1):
                        m.next = "REST"

                answer(word[:8], next_byte)

            with m.State("FLASH-LENGTH"), m.If(got):
                m.d.sync += [n.eq(Cat(n[8:], byte)), high.eq(~high)]
                with m.If(high):
                    m.d.sync += select(True)
                    m.next = "FLASH-OUT"
            with m.State("FLASH-OUT"):
                with m.If(spi.done):
                    m.d.sync += n.eq(n - 1)
                with m.Elif((n == 0) & ~spi.busy):
                    m.next = "FLASH-ANSWER-LENGTH"
                with m.Elif(got):
                    m.d.comb += [spi.data_o.eq(byte), spi.start.eq(1)]
            with m.State("FLASH-ANSWER-LENGTH"), m.If(got):
                m.d.sync += [n.eq(Cat(n[8:], byte)), high.eq(~high)]
                with m.If(high):
                    m.next = "FLASH-IN"
            with m.State("FLASH-IN"):
                with m.If(spi.done):
                    m.next = "FLASH-ANSWER"
                with m.Elif(~spi.busy):
                    with m.If(n == 0):
                        m.d.sync += select(False)
                        m.next = "REST"
                    with m.Else():
                        m.d.comb += spi.start.eq(1)
            with m.State("FLASH-ANSWER"):

                def next_flash_byte():
                    m.d.sync += n.eq(n - 1)
                    m.next = "FLASH-IN"

                answer(spi.data_i, next_flash_byte)

            with m.State("RING"), m.If(got):
                m.d.sync += self.ring_index.eq(byte)
                m.next = "RING-RUN"
            with m.State("RING-RUN"):
                m.d.sync += [self.ring_run.eq(1), timer.eq(timer + 1)]
                with m.If(timer == self.window):
                    m.d.sync += self.ring_run.eq(0)
                    m.next = "RING-STOPPED"
            with m.State("RING-STOPPED"):  # counts are there when the rings have rested
                m.next = "RING-RESTED"
            with m.State("RING-RESTED"):
                counts = Cat(self.ring_count0, self.ring_count1, self.ring_count2, self.ring_count3)
                m.d.sync += [word.eq(counts), n.eq(8)]
                m.next = "ANSWER"

            with m.State("NOISE"), m.If(got):
                m.d.sync += n.eq(byte)
                m.next = "NOISE-TAKE"
            with m.State("NOISE-TAKE"):
                with m.If(n == 0):
                    m.next = "REST"
                with m.Else():
                    m.d.comb += self.trng_take.eq(1)
                    m.d.sync += [word.eq(Cat(word[1:8], self.trng_sample)), timer.eq(timer + 1)]
                    with m.If(timer[:3] == 7):
                        m.next = "NOISE-ANSWER"
            with m.State("NOISE-ANSWER"):

                def next_noise_byte():
                    m.d.sync += n.eq(n - 1)
                    m.next = "NOISE-TAKE"

                answer(word[:8], next_noise_byte)

            with m.State("PEER"), m.If(got):
                m.d.sync += word.eq(byte)
                m.next = "PEER-OUT"
            with m.State("PEER-OUT"):
                m.d.comb += [peer_out.data.eq(word), peer_out.valid.eq(1)]
                with m.If(peer_out.ready):
                    m.next = "REST"
            with m.State("LED"), m.If(got):
                m.d.sync += self.led.eq(byte)
                m.next = "REST"
            with m.State("BUTTON"):
                m.d.sync += [word.eq(Mux(self.button, 1, 0)), n.eq(1)]
                m.next = "ANSWER"
            with m.State("WAIT"), m.If(got):
                m.d.sync += [word.eq(byte), n.eq(1), timer[16:].eq(byte)]
                m.next = "WAIT-TIMER"
            with m.State("WAIT-TIMER"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.next = "ANSWER"
        return m
