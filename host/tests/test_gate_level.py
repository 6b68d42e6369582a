"""Two devices after synthesis for iCE40 against two as written: the same outputs in the same cycles.

Silicon, noise and inputs are the same, so everything has to be: each byte on each line with its cycle, the flash, and
a hash over all outputs in all cycles.
"""

import numpy as np
import pytest
from ringpair.virtual import Design, FlashParameters, Pair, Parameters, RingModel, SimulatedDevice, build
from ringpair_protocol import frames, puf
from ringpair_protocol.admin import Code, Event, Opcode
from ringpair_protocol.messages import M1, M2, M3
from ringpair_protocol.pairing import finish_enrollment, make_puzzles, start_enrollment

pytestmark = pytest.mark.slow  # the synthesis and the compiler take a minute
CLOCK_HZ = 12_000_000
NONCE, PAIR_KEY = bytes(range(16)), bytes(range(32))
FLASH = FlashParameters(size=1 << 20, jedec=0xEF4014, page_s=50e-6, sector_erase_s=1e-3, block_erase_s=2e-3)
"""Quick, since nothing happens while the gateware waits for it."""
TEXTS = b"hello world", bytes(range(96))


def silicon(seed):
    """Rings of a modeled board that differ and have noise."""
    layout = np.array(puf.MODELED_LAYOUT.entries) / (1 << puf.FRACTION_BITS)
    spread = 0.0049 * np.random.default_rng(seed).standard_normal(puf.RINGS)
    return RingModel(54e6 * puf.window_clocks(CLOCK_HZ) / CLOCK_HZ * (1 + layout + spread), white=1.2e-4)


def parameters(seed):
    return Parameters(CLOCK_HZ, seed=seed, flash=FLASH)


class Story:
    """Two devices, and everything that is seen of them.

    Parameters
    ----------
    library
        What they run.
    flash
        Their images; blank without them.
    entries
        What a registry has of them, if they are enrolled.

    Attributes
    ----------
    log
        Bytes on all lines, LEDs and power, with their cycles; by device.
    states
        Cycles, hash of all outputs of all cycles, phases; by device, after every chapter.
    wire
        Payloads of the frames between the devices.
    """

    def __init__(self, library, flash=(None, None), entries=()):
        self.devices = [
            SimulatedDevice(library, parameters(seed), flash=image, rings=silicon(seed), trace=True)
            for seed, image in enumerate(flash, 1)
        ]
        self.entries = entries
        self.log, self.states, self.wire = [[], []], [], []
        self.decoders = [frames.Decoder(), frames.Decoder()]
        self.wire_decoders = [frames.Decoder(), frames.Decoder()]
        self.heard = [[], []]
        self.pair = Pair(*self.devices, wire=self.tap)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for device in self.devices:
            device.close()

    def tap(self, sender, data):
        self.wire += self.wire_decoders[sender].feed(data)
        return data

    # ------------------------------------------------------------------------------------------ steps
    def wait(self, number, opcode, run=None, seconds=3):
        """The payload of the next frame of a kind, from the admin port of a device."""
        device, run = self.devices[number], run or self.devices[number].run
        for _ in range(round(seconds * 1000)):
            for payload in self.heard[number]:
                if payload[0] == opcode:
                    self.heard[number].remove(payload)
                    return payload[1:]
            run(CLOCK_HZ // 1000)
            self.heard[number] += self.decoders[number].feed(device.read())
        raise AssertionError(
            f"device {number}: nothing of the kind {opcode:#x} in {seconds} s; phase {device.status.phase}, "
            f"heard {[payload.hex() for payload in self.heard[number]]}"
        )

    def command(self, number, opcode, body=b"", run=None):
        """A command that is answered with OK; the body of the answer."""
        self.devices[number].write(frames.encode(bytes([opcode]) + body))
        reply = self.wait(number, 0x80 | opcode, run)
        assert Code(reply[0]) is Code.OK, f"{opcode.name}: {Code(reply[0]).name}"
        return reply[1:]

    def chapter(self):
        """Note what was seen up to here."""
        for number, device in enumerate(self.devices):
            self.log[number] += device.events()
            status = device.status
            self.states.append((status.cycle, status.trace, list(status.phase_cycles), status.noise_bits, status.led))

    # ------------------------------------------------------------------------------------------ chapters
    def boot(self):
        for number in range(2):
            self.wait(number, Event.STARTED)
        self.chapter()

    def enroll(self):
        self.entries = []
        for number, device in enumerate(self.devices):
            device.press()
            device.run(1_000_000)  # until it counts as pressed
            e2 = self.command(number, Opcode.ENROLL, start_enrollment(NONCE))
            device.release()
            entry, e3 = finish_enrollment(NONCE, e2)
            assert self.command(number, Opcode.ENROLL_CONFIRM, e3) == entry.device_id
            self.entries.append(entry)
        self.chapter()

    def meet(self):
        """Import the puzzles, shake hands."""
        *puzzles, _, _ = make_puzzles(*self.entries, PAIR_KEY)
        for number, puzzle in enumerate(puzzles):
            self.command(number, Opcode.IMPORT, puzzle)
        self.command(0, Opcode.CONNECT, bytes(2), self.pair.run)
        for number in range(2):
            self.wait(number, Event.SESSION, self.pair.run)
        self.chapter()

    def talk(self):
        for sender, text in enumerate(TEXTS):
            self.command(sender, Opcode.SEND, text, self.pair.run)
            assert self.wait(1 - sender, Event.TEXT, self.pair.run).endswith(text)
        self.chapter()

    def tell(self):
        """From power-up to text."""
        self.boot()
        if not self.entries:
            self.enroll()
        self.meet()
        assert [message[0] for message in self.wire] == [M1, M2, M3]
        assert sum(map(len, self.wire)) == 83
        self.talk()
        assert not any(text in message for text in TEXTS for message in self.wire)

    def flash(self):
        """Images of both."""
        return [bytes(device.flash) for device in self.devices]


def compare(before, after):
    """Whether two stories are the same to the cycle."""
    for number, (expected, got) in enumerate(zip(before.log, after.log, strict=True)):
        different = (pair for pair in zip(expected, got, strict=False) if pair[0] != pair[1])
        assert got == expected, f"device {number}: expected, got {next(different, 'more or less at the end')}"
    assert after.states == before.states
    assert after.wire == before.wire
    assert after.flash() == before.flash()


def written():
    """The board before synthesis."""
    return build(Design())


def synthesized():
    """The board after synthesis."""
    return build(Design("ringpair_boards.gate_level:gate_level_board"))


@pytest.fixture(scope="module")
def enrolled():
    """Flash images and entries of two enrolled devices."""
    with Story(written()) as story:
        story.boot()
        story.enroll()
        return story.flash(), story.entries


def test_two_devices(enrolled):
    """From puzzles to text."""
    with Story(written(), *enrolled) as before, Story(synthesized(), *enrolled) as after:
        for story in (before, after):
            story.tell()
        compare(before, after)


def test_two_blank_devices():
    """From the first power-up to text; the 20 million cycles are mostly spent on reading that the flash is blank."""
    with Story(written()) as before, Story(synthesized()) as after:
        for story in (before, after):
            story.tell()
        compare(before, after)
