"""The harness around the compiled gateware, in this process: every port, flash, power cuts, rings, noise, time."""

import dataclasses
import random
import time

import numpy as np
import pytest
from ringpair.errors import UsageError
from ringpair.silicon import MeasuredSilicon, SiliconModel
from ringpair.virtual import (
    EventKind,
    FlashParameters,
    NoiseSource,
    Pair,
    Parameters,
    RingModel,
    RingReads,
    Silicon,
    SimulatedDevice,
    Stop,
    build,
    gating,
)
from ringpair.virtual.silicon import rings_of
from ringpair_protocol.nor import NorFlash, Worn
from ringpair_protocol.puf import PLACES, place_of, ring_number

from host.tests.designs.boards import flash, flash_command, library, program, ring_counts
from host.tests.designs.exerciser import Exerciser

AWAKE = FlashParameters(size=1 << 16, asleep=False)


@pytest.fixture
def device():
    with SimulatedDevice(library(), Parameters(flash=AWAKE)) as device:
        yield device


# ---------------------------------------------------------------------------------------------------------- lines


def test_admin_line_both_ways(device):
    for byte in range(256):
        assert device.exchange(bytes([1, byte]), 1) == bytes([byte])
    assert (device.status.admin_in, device.status.admin_out) == (512, 256)
    assert device.status.framing_errors == 0


@pytest.mark.parametrize(("clock_hz", "baud"), [(12_000_000, 3_000_000), (24_000_000, 115_200)])
def test_other_clock_and_rate(clock_hz, baud):
    divisor = round(clock_hz / baud)
    parameters = Parameters(clock_hz=clock_hz, admin_baud=baud, flash=AWAKE)
    with SimulatedDevice(library(admin_divisor=divisor), parameters) as device:
        assert b"".join(device.exchange(bytes([1, byte]), 1) for byte in b"\x00\x55\xaa\xff") == b"\x00\x55\xaa\xff"
        assert device.status.framing_errors == 0


def test_wrong_rate_is_a_framing_error():
    with SimulatedDevice(library(admin_divisor=24), Parameters(flash=AWAKE)) as device:
        device.write(bytes(8), peer=True)  # passed on to the admin line, at half the expected rate
        device.run(20_000)
        assert device.status.framing_errors > 0
    with pytest.raises(ValueError, match="admin_baud must be 1 to 3000000, a quarter of the clock, not 3000001"):
        Parameters(admin_baud=3_000_001)


def test_peer_line_both_ways(device):
    device.write(b"\x05A", peer=False)
    assert device.run(10_000, peer=1) is Stop.BYTES
    assert device.read(peer=True) == b"A"
    device.write(b"B", peer=True)
    assert device.run(10_000, admin=1) is Stop.BYTES
    assert device.read() == b"B"
    assert (device.status.peer_in, device.status.peer_out) == (1, 1)


def test_events_carry_the_cycle_of_the_last_bit(device):
    device.write(b"\x05A")
    device.settle()
    device.write(b"\x06\x05")
    device.settle()
    events = [event for event in device.events() if event.kind is not EventKind.POWER]
    assert [(event.kind, event.value) for event in events] == [
        (EventKind.ADMIN_IN, 5),
        (EventKind.ADMIN_IN, 0x41),
        (EventKind.PEER_OUT, 0x41),
        (EventKind.ADMIN_IN, 6),
        (EventKind.ADMIN_IN, 5),
        (EventKind.LED, 5),
    ]
    assert events[1].cycle - events[0].cycle == 120
    assert device.led == 5
    assert device.events() == []


def test_time_stands_still_when_quiet(device):
    device.settle()
    assert device.status.quiet
    assert device.run(10_000, until_quiet=True) is Stop.QUIET
    device.write(b"\x08\x02")
    assert device.run(100_000, until_quiet=True) is Stop.CYCLES  # waits for its timer: not quiet
    assert device.run(100_000, until_quiet=True) is Stop.QUIET
    assert device.read() == b"\x02"


def test_phases_are_counted(device):
    device.write(b"\x08\x01")
    device.settle()
    assert device.status.phase_entries[8] == 1
    assert 65536 <= device.status.phase_cycles[8] < 65536 + 400
    assert sum(device.status.phase_cycles) == device.status.cycle


def test_button(device):
    assert device.exchange(b"\x07", 1) == b"\x00"
    device.press()
    assert device.run(1000, until_quiet=True) is Stop.CYCLES
    assert device.exchange(b"\x07", 1) == b"\x01"
    device.release()
    assert device.exchange(b"\x07", 1) == b"\x00"
    device.press(0.001)
    assert device.run(11_000, until_quiet=True) is Stop.CYCLES
    assert device.run(2_000, until_quiet=True) is Stop.QUIET
    assert device.exchange(b"\x07", 1) == b"\x00"


# ---------------------------------------------------------------------------------------------------------- flash


def random_flash_steps(rng, count):
    """Transactions (bytes, answer length) and pauses (None) that make sense often enough to matter."""
    for _ in range(count):
        address = bytes([0, rng.randrange(0x30), rng.choice([0, 0x10, 0xF8, rng.randrange(256)])])
        data = rng.randbytes(rng.choice([1, 3, 17, 40]))
        yield rng.choice(
            [
                [(b"\x06", 0), (b"\x02" + address + data, 0), (b"\x05", 2), None],
                [(b"\x06", 0), (b"\x02" + address + rng.randbytes(rng.choice([256, 300])), 0), None],
                [(b"\x06", 0), (b"\x20" + address, 0), (b"\x03" + address, 3), (b"\x05", 1), None],
                [(b"\x06", 0), (b"\x20" + address, 0), (b"\x06", 0), (b"\x02" + address + data, 0), None],
                [(b"\x06", 0), (b"\x04", 0), (b"\x02" + address + data, 0), (b"\x05", 1)],
                [(b"\x02" + address + data, 0), (b"\x20" + address, 0), (b"\x05", 1)],
                [(b"\x06", 0), (b"\x02" + address, 0), (b"\x20" + address[:2], 0), (b"\x05", 1), (b"\x04", 0)],
                [(b"\x06", 0), (b"\x20" + address + b"\x00", 0), (b"\x05", 1), (b"\x04", 0)],
                [(b"\x9f", 7), (b"\x42", 3)],
                [(b"\xb9", 0), (b"\x9f", 3), (b"\x06", 0), (b"\x03" + address, 2), (b"\xab", 0), None, (b"\x05", 1)],
                [(b"\x03" + address, rng.randrange(1, 80))],
                [(b"\x03\x00\xff\xf0", 40)],
            ]
        )


@pytest.mark.parametrize("through_logic", [False, True])
def test_flash_is_that_of_the_reference_model(through_logic):
    long = FlashParameters(size=1 << 16, asleep=False, first_byte_s=0.02, page_s=0.02, sector_erase_s=0.02)
    model = NorFlash(bytearray(b"\xff" * (1 << 16)), jedec=long.jedec.to_bytes(3, "big"))
    with SimulatedDevice(library(through_logic=through_logic), Parameters(flash=long)) as device:
        for number, steps in enumerate(random_flash_steps(random.Random(through_logic), 180)):
            for step in steps:
                if step is None:
                    device.settle()
                    model.advance(1e6)
                else:
                    assert flash(device, *step) == model.command(*step), f"step {number}: {steps}"
            device.settle()
            model.advance(1e6)
            assert device.flash == model.memory, f"step {number}: {steps}"
        assert (device.status.programs, device.status.erases) == (model.programs, model.erases)
        assert model.programs > 20
        assert model.erases > 10


def test_worn_flash_is_that_of_the_reference_model():
    """Bits that an erase or a program leaves as they are, and an operation that never ends."""
    chip = FlashParameters(size=1 << 16, asleep=False)
    rng = random.Random(5)
    model = NorFlash(bytearray(b"\xff" * (1 << 16)), jedec=chip.jedec.to_bytes(3, "big"))
    with SimulatedDevice(library(), Parameters(flash=chip)) as device:

        def both(*step):
            assert flash(device, *step) == model.command(*step)

        def write(command):
            both(b"\x06", 0)
            both(command, 0)
            device.settle()
            model.advance(1e6)
            assert device.flash == model.memory

        for erase in (True, False):
            for _ in range(3):
                start = rng.randrange(0x3000)
                addresses, mask = range(start, start + rng.choice((1, 700))), rng.randrange(1, 256)
                device.wear_flash(addresses, mask, erase=erase)
                model.worn.append(Worn(addresses, mask, erase))
        for page in range(0, 0x3000, 256):
            write(b"\x02" + page.to_bytes(3, "big") + bytes(256))
        for sector in range(0, 0x3000, 4096):
            write(b"\x20" + sector.to_bytes(3, "big"))
        assert len(set(device.flash[:0x3000])) >= 4, "neither all zero nor blank"
        for works in (False, True):
            device.hang_flash(2, works=works)
            model.hang(2, works=works)
            write(b"\x02\x00\x40\x00" + bytes(20))
            both(b"\x06", 0)
            both(b"\x02\x00\x50\x00" + bytes(20), 0)
            device.run(1_000_000)
            model.advance(1e9)
            for step in [(b"\x05", 1), (b"\x9f", 3), (b"\x03\x00\x50\x00", 4), (b"\x04", 0), (b"\x05", 1)]:
                both(*step)
            assert device.status.flash_busy
            device.power_off()
            device.power_on()
            model.cut_power()
            assert device.flash == model.memory
            assert device.flash[0x5000] == (0 if works else 0xFF)
        device.replace_flash()
        model.worn.clear()
        write(b"\x20\x00\x00\x00")
        assert bytes(device.flash[:4096]) == b"\xff" * 4096


@pytest.mark.parametrize(("addresses", "mask"), [(range(0), 1), (range(0, 9, 2), 1), (range(1), 0), (range(1), 256)])
def test_refuses_wear_that_is_none(device, addresses, mask):
    with pytest.raises(ValueError, match="expected addresses without gaps and a mask"):
        device.wear_flash(addresses, mask, erase=True)


def test_flash_powers_up_asleep():
    with SimulatedDevice(library(), Parameters(flash=FlashParameters(size=1 << 16))) as device:
        assert flash(device, b"\x9f", 3) == b"\xff\xff\xff"
        flash(device, b"\xab")
        assert flash(device, b"\x9f", 3) == b"\xef\x40\x16"
        device.power_off()
        device.power_on()
        assert flash(device, b"\x9f", 3) == b"\xff\xff\xff"


def test_flash_takes_its_time(device):
    for size, seconds in [(1, 30e-6), (129, 215e-6), (256, 400e-6)]:
        program(device, 0, bytes(size))
        start = device.status.cycle
        device.settle()
        assert device.status.cycle - start == pytest.approx(seconds * 12e6, abs=150)
    flash(device, b"\x06")
    flash(device, b"\x20\x00\x00\x00")
    start = device.status.cycle
    device.settle()
    assert device.status.cycle - start == pytest.approx(0.045 * 12e6, abs=150)


def bits_cleared(data):
    return sum(8 - byte.bit_count() for byte in bytes(data))


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.7, 1.0])
def test_power_cut_in_a_program_leaves_part_of_the_bits(device, fraction):
    device.cut_in_program(2, fraction)
    program(device, 0x100, b"\x00" * 256)
    device.settle()
    assert device.status.powered
    device.write(flash_command(b"\x06") + flash_command(b"\x02\x00\x02\x00" + b"\x0f" * 256))
    assert device.run(100_000) is Stop.OFF
    assert not device.status.powered
    assert bits_cleared(device.flash[0x100:0x200]) == 2048
    assert bits_cleared(device.flash[0x200:0x300]) == pytest.approx(1024 * fraction, abs=2)
    assert all(byte | 0x0F == 0xFF or byte & 0x0F == 0x0F for byte in device.flash[0x200:0x300])
    device.power_on()
    assert flash(device, b"\x05", 1) == b"\x00"
    assert flash(device, b"\x03\x00\x02\x00", 256) == bytes(device.flash[0x200:0x300])


def test_power_cut_in_an_erase_leaves_part_of_the_bits(device):
    device.flash[0x1000:0x2000] = bytes(4096)
    device.cut_in_erase(1, 0.25)
    flash(device, b"\x06")
    flash(device, b"\x20\x00\x10\x00")
    assert device.run(10**7) is Stop.OFF
    assert 32768 - bits_cleared(device.flash[0x1000:0x2000]) == pytest.approx(8192, abs=2)
    pages = [32 * 64 - bits_cleared(device.flash[at : at + 256]) for at in range(0x1000, 0x2000, 256)]
    assert min(pages) > 0  # spread over the sector, not from its start


def test_cuts_are_seeded_and_differ():
    left = []
    for seed in (1, 1, 2):
        with SimulatedDevice(library(), Parameters(flash=AWAKE, seed=seed)) as device:
            device.cut_in_program(1, 0.5)
            program(device, 0, bytes(64))
            device.run(100_000)
            left.append(bytes(device.flash[:64]))
    assert left[0] == left[1] != left[2]


def test_power_cut_at_a_cycle_and_loss_of_state(device):
    device.exchange(b"\x06\x07\x01x", 1)
    assert device.led == 7
    device.cut_at(device.status.cycle + 50)
    device.write(b"\x01y")
    assert device.run(10_000) is Stop.OFF
    device.write(b"\x01z")  # nobody hears it
    device.power_on()
    device.settle()
    assert device.read() == b""
    assert device.led == 0
    assert device.status.boots == 2
    assert device.exchange(b"\x01a", 1) == b"a"


def test_wrong_cut_and_flash_are_refused(device):
    with pytest.raises(ValueError, match="counted from 1"):
        device.cut_in_program(0)
    with pytest.raises(ValueError, match="fraction"):
        device.cut_in_erase(1, 1.5)
    with pytest.raises(ValueError, match="expected a flash image of 65536 bytes, got 3"):
        SimulatedDevice(library(), Parameters(flash=AWAKE), flash=b"abc")
    with pytest.raises(ValueError, match="power of two"):
        FlashParameters(size=100_000)


# ---------------------------------------------------------------------------------------------------------- silicon


def test_every_ring_is_where_the_protocol_says(device):
    device.set_rings(RingReads(np.arange(192)[None] + 1000))
    seen = set()
    for place in PLACES:
        for channel, count in enumerate(ring_counts(device, place)):
            assert count - 1000 == ring_number(channel, place)
            assert place_of(count - 1000) == (channel, place)
            seen.add(count)
    assert len(seen) == 192
    assert device.status.window == 512
    assert device.status.measurements == 48


def test_reads_of_measured_silicon_follow_each_other(device):
    device.set_rings(RingReads(np.array([[10] * 192, [20] * 192, [30] * 192])))
    assert [ring_counts(device, 0)[0] for _ in range(4)] == [10, 20, 30, 10]
    assert ring_counts(device, 1)[0] == 10
    device.set_rings(RingReads(np.full((1, 192), 10.25)))
    assert np.mean([ring_counts(device, 0) for _ in range(200)]) == pytest.approx(10.25, abs=0.07)


def test_ring_model_has_mean_and_noise(device):
    mean = np.linspace(2000, 2400, 192)
    device.set_rings(RingModel(mean, white=0.01))
    ring = ring_number(2, 5)
    counts = [ring_counts(device, 5)[2] for _ in range(400)]
    assert np.mean(counts) == pytest.approx(mean[ring], abs=5)
    assert np.std(counts) == pytest.approx(mean[ring] * 0.01, rel=0.15)
    device.set_rings(RingModel(mean, slow=0.01, memory=0.99))
    counts = [ring_counts(device, 5)[2] for _ in range(50)]
    assert np.std(np.diff(counts)) < mean[ring] * 0.003  # neighbors in time are alike
    device.set_rings(RingModel(mean + 0.25))
    assert set(ring_counts(device, 0)[:1] + ring_counts(device, 0)[:1]) <= {2000, 2001}
    with pytest.raises(ValueError, match="192 rings"):
        RingModel(np.zeros(191))
    with pytest.raises(ValueError, match=r"0\.\.65535"):
        RingReads(np.full((1, 192), 70000))


def noise(device, size=240):
    return np.unpackbits(np.frombuffer(device.exchange(bytes([4, size]), size), np.uint8), bitorder="little")


def test_random_bits(device):
    bits = noise(device)
    assert 0.4 < bits.mean() < 0.6
    assert device.status.noise_bits == 240 * 8
    device.set_noise(NoiseSource(0.9))
    assert 0.85 < noise(device).mean() < 0.95
    device.set_noise(NoiseSource(repeat=0.95))
    assert np.mean(np.diff(noise(device).astype(int)) == 0) > 0.9
    for stuck in (0, 1):
        device.set_noise(NoiseSource(stuck))
        assert set(noise(device)[1:]) == {stuck}
    device.write(b"\x06\x02")
    assert set(noise(device)) == {0}  # the source does not run
    with pytest.raises(ValueError, match=r"probability 'one' must be 0\.\.1"):
        NoiseSource(2)


def test_random_bits_depend_on_the_seed_alone():
    runs = []
    for seed in (1, 1, 2):
        with SimulatedDevice(library(), Parameters(flash=AWAKE, seed=seed)) as device:
            runs.append(device.exchange(b"\x04\x20", 32))
    assert runs[0] == runs[1] != runs[2]


# ---------------------------------------------------------------------------------------------------------- engine


def each_alone(statements):
    """In the place of modules."""
    return [dataclasses.replace(s, group=str(number)) for number, s in enumerate(statements)]


@pytest.mark.parametrize(("through_logic", "finest"), [(False, False), (True, False), (True, True)])
def test_evaluating_what_changed_equals_evaluating_everything(through_logic, finest, monkeypatch, tmp_path):
    """All outputs in all cycles, everything said, and the flash, over commands that use every port; also cut as finely
    as can be."""
    libraries = [library(reference, through_logic=through_logic) for reference in (False, True)]
    if finest:
        monkeypatch.setenv("RINGPAIR_CACHE", str(tmp_path))
        monkeypatch.setattr(gating, "SMALL", 1)
        monkeypatch.setattr(gating, "_grouped", each_alone)
        libraries[0] = build(Exerciser(through_logic=through_logic))
    runs = []
    for compiled in libraries:
        rng = random.Random(5)
        parameters = Parameters(flash=AWAKE, seed=3)
        image = random.Random(6).randbytes(AWAKE.size)
        arguments = {"flash": image, "trace": True}
        with SimulatedDevice(compiled, parameters, **arguments) as device:
            for _ in range(200):
                address = bytes([0, 0, rng.randrange(256)])
                command = rng.choice(
                    [
                        bytes([1, rng.randrange(256)]),
                        bytes([3, rng.randrange(64)]),
                        bytes([4, rng.randrange(4)]),
                        bytes([5, rng.randrange(256)]),
                        bytes([6, rng.randrange(256)]),
                        b"\x07",
                        flash_command(b"\x06"),
                        flash_command(b"\x02" + address + rng.randbytes(rng.randrange(1, 30))),
                        flash_command(b"\x03" + address, rng.randrange(40)),
                        flash_command(b"\x05", 2),
                    ]
                )
                device.write(command)
                if rng.random() < 0.2:
                    device.write(rng.randbytes(1), peer=True)
                if rng.random() < 0.2:
                    device.press(0.001)
                device.run(rng.randrange(200)) if rng.random() < 0.1 else device.settle()
            device.settle()
            said = device.read(), device.read(peer=True), device.events()
            runs.append((said, bytes(device.flash), device.status.cycle, device.status.trace))
    assert runs[0] == runs[1]
    assert runs[0][1] != image
    assert len(runs[0][0][0]) > 500


def test_a_closed_device_keeps_its_figures_and_does_nothing():
    device = SimulatedDevice(library(), Parameters(flash=AWAKE))
    device.settle()
    cycle = device.status.cycle
    device.close()
    device.close()
    assert device.status.cycle == cycle > 0
    for action in (device.power_on, device.read, device.press, lambda: device.run(1), lambda: device.write(b"a")):
        with pytest.raises(ValueError, match="closed"):
            action()


def test_pair_carries_bytes_and_a_wire_may_change_them():
    passed = []

    def wire(sender, data):
        passed.append((sender, data))
        return data.replace(b"x", b"") if sender == 0 else data.upper()

    with (
        SimulatedDevice(library(), Parameters(flash=AWAKE)) as first,
        SimulatedDevice(library(), Parameters(flash=AWAKE)) as second,
    ):
        pair = Pair(first, second, wire)
        first.write(b"\x05a\x05x\x05b")
        second.write(b"\x05c")
        assert pair.run(100_000, until_quiet=True)
        assert (first.read(), second.read()) == (b"C", b"ab")
        assert sorted(passed) == [(0, b"a"), (0, b"b"), (0, b"x"), (1, b"c")]
        assert not pair.run(1000, until=lambda: False)


def test_speed(device, capsys):
    device.run(100_000)
    start = time.perf_counter()
    device.run(5_000_000)
    with capsys.disabled():
        print(f"\nvirtual board (exerciser): {5 / (time.perf_counter() - start):.1f} M cycles/s")


# ---------------------------------------------------------------------------------------------------------- models


def test_modeled_silicon_is_that_of_the_model(device):
    model = SiliconModel(5, 60.0)
    device.set_rings(rings_of(Silicon(seed=5, temperature=60.0), device.parameters))
    reads = np.array([[ring_counts(device, place) for place in PLACES] for _ in range(40)], float)
    for column, place in enumerate(PLACES):
        for channel in range(4):
            expected = model.frequencies[ring_number(channel, place)] * 512 / 12e6
            assert reads[:, column, channel].mean() == pytest.approx(expected, abs=1.6)
    scatter = np.sqrt(np.mean(reads.var(axis=0)))
    rounding = 1 / np.sqrt(6)
    assert scatter == pytest.approx(np.hypot(rounding, 2300 * np.hypot(0.00012, 0.00015)), rel=0.25)


def test_measured_silicon_is_replayed(device, tmp_path):
    rng = np.random.default_rng(3)
    freq = 54e6 * (1 + 0.01 * rng.standard_normal((2, 192, 5)))
    path = tmp_path / "chips.npz"
    np.savez(path, freq_hz=freq)
    expected = MeasuredSilicon(path, 1, first_read=0).frequencies * 512 / 12e6
    rings = rings_of(Silicon(file=str(path), chip=1), Parameters(seed=2))
    device.set_rings(rings)
    ring = ring_number(3, 9)
    for read in (3, 4, 0, 1, 2, 3):
        assert ring_counts(device, 9)[3] - expected[ring, read] == pytest.approx(0, abs=1)
    with pytest.raises(UsageError, match="this board's silicon is measured"):
        rings_of(Silicon(file=str(path), chip=1, temperature=60.0), Parameters())
    with pytest.raises(UsageError, match="chip must be 0"):
        rings_of(Silicon(file=str(path), chip=2), Parameters())
    with pytest.raises(UsageError, match="temperature must be"):
        rings_of(Silicon(temperature=500.0), Parameters())
