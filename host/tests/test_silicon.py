"""The silicon of virtual boards: population figures of the model, replay of measured chips."""

import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from ringpair import silicon
from ringpair.silicon import F0, MeasuredSilicon, SiliconError, SiliconModel
from ringpair_protocol import puf
from ringpair_protocol.puf import MODELED_LAYOUT, Quantizer

WINDOW = 512 / 12e6
QUANTIZER = Quantizer(MODELED_LAYOUT)
ALL = range(puf.RINGS)


def enroll(board, quantizer=QUANTIZER):
    reads = [board.counts(ALL, WINDOW) for _ in range(puf.ENROLL_READS)]
    return quantizer.enroll([sum(counts) for counts in zip(*reads, strict=True)])


def distance(a, b):
    return (int.from_bytes(a, "little") ^ int.from_bytes(b, "little")).bit_count()


@pytest.fixture(scope="module")
def boards():
    return [SiliconModel(seed, noise_seed=1) for seed in range(40)]


# ---------------------------------------------------------------------------------------------------------------- model


def test_boards_scatter_around_the_nominal_frequency(boards):
    means = np.array([board.frequencies.mean() for board in boards])
    assert means.mean() == pytest.approx(F0, rel=4 * silicon.BOARD / 40**0.5)
    assert means.std() / F0 == pytest.approx(silicon.BOARD, rel=0.35)


def test_rings_scatter_as_the_quantizer_expects(boards):
    """Deviation from the row, layout taken away: the random part and the little that the field leaves in a row."""
    rows = np.array([board.frequencies.reshape(12, 16) for board in boards])
    deviation = rows / rows.mean(2, keepdims=True) - 1 - np.array(MODELED_LAYOUT.entries).reshape(12, 16) / 2**18
    assert deviation.std() == pytest.approx(puf.SIGMA_PPM / 1e6, rel=0.04)


def test_the_layout_is_common_to_all_boards(boards):
    learned = puf.learn_layout(7, ([round(f / 1000) for f in board.frequencies] for board in boards))
    correlation = np.corrcoef(learned.entries, MODELED_LAYOUT.entries)[0, 1]
    assert correlation > 0.95
    assert np.std(MODELED_LAYOUT.entries) / 2**18 == pytest.approx(0.0044, rel=0.15)


def test_the_field_is_smooth():
    positions = silicon._positions()
    fields = np.array([silicon._smooth_field(np.random.default_rng(n)) for n in range(200)])
    assert fields.std() == pytest.approx((silicon.FIELD**2 + 2 * (silicon.TILT * 0.6) ** 2) ** 0.5, rel=0.15)
    near = np.linalg.norm(positions - positions[0], axis=1)
    correlation = [np.corrcoef(fields[:, 0], fields[:, ring])[0, 1] for ring in ALL]
    assert np.mean([c for c, d in zip(correlation, near, strict=True) if d == 1]) > 0.8
    assert np.mean([c for c, d in zip(correlation, near, strict=True) if d > 10]) < 0.4


def test_uniqueness_and_single_reads(boards):
    enrolled = [enroll(board) for board in boards]
    shares = [distance(a, b) / puf.RINGS for (a, _), (b, _) in combinations(enrolled, 2)]
    assert 0.45 < np.mean(shares) < 0.55
    assert min(shares) > 0.3
    errors = sum(
        distance(QUANTIZER.reconstruct(board.counts(ALL, WINDOW), helper)[0], bits)
        for board, (bits, helper) in zip(boards, enrolled, strict=True)
        for _ in range(5)
    )
    assert errors == 0


def test_a_corner_moves_rings_but_the_search_finds_the_bits():
    moved = 0
    for seed in range(15):
        bits, helper = enroll(SiliconModel(seed, noise_seed=1))
        corner = SiliconModel(seed, temperature=85, voltage=1.1, age=10, noise_seed=2)
        start, margins = QUANTIZER.reconstruct(corner.counts(ALL, WINDOW), helper)
        moved += start != bits
        assert bits in puf.candidates(start, margins)
    assert moved, "at this corner some board needs the search"


def test_noise_of_a_read():
    board = SiliconModel(3, noise_seed=5)
    reads = np.array([board.counts(ALL, 0.001) for _ in range(400)]) / (board.frequencies * 0.001)
    assert reads.mean() == pytest.approx(1, abs=3e-5)
    step = np.diff(reads, axis=0).std() / 2**0.5
    assert step == pytest.approx((silicon.WHITE_NOISE**2 + silicon.SLOW_NOISE**2 / silicon.SLOW_READS) ** 0.5, rel=0.1)
    total = np.std(reads - 1)
    assert total == pytest.approx((silicon.WHITE_NOISE**2 + silicon.SLOW_NOISE**2) ** 0.5, rel=0.15)


def test_environment():
    cool, hot = SiliconModel(1), SiliconModel(1, temperature=85)
    change = hot.frequencies / cool.frequencies - 1
    assert change.mean() == pytest.approx(60 * silicon.TEMPERATURE, rel=0.05)
    assert change.std() == pytest.approx(60 * silicon.TEMPERATURE_RING, rel=0.2)
    low = SiliconModel(1, voltage=1.1).frequencies / cool.frequencies - 1
    assert low.mean() == pytest.approx(-0.1 * silicon.VOLTAGE, rel=0.05)
    assert low.std() == pytest.approx(0.1 * silicon.VOLTAGE_RING, rel=0.2)
    old = SiliconModel(1, age=10).frequencies / cool.frequencies - 1
    assert old.mean() == pytest.approx(silicon.AGE, rel=0.05)
    assert old.std() == pytest.approx(silicon.AGE_RING, rel=0.2)


def test_reproducible():
    assert (SiliconModel(9).frequencies == SiliconModel(9).frequencies).all()
    assert (SiliconModel(9).frequencies != SiliconModel(10).frequencies).all()
    assert SiliconModel(9, noise_seed=4).counts(ALL, WINDOW) == SiliconModel(9, noise_seed=4).counts(ALL, WINDOW)
    assert SiliconModel(9, noise_seed=4).counts(ALL, 0.001) != SiliconModel(9, noise_seed=5).counts(ALL, 0.001)
    assert SiliconModel(9).counts(ALL, 0.001) != SiliconModel(9).counts(ALL, 0.001)


def test_known_counts():
    """Existing virtual boards keep their keys."""
    assert [round(f) for f in SiliconModel(1).frequencies[:4]] == [61_560_326, 61_588_100, 61_330_248, 60_751_971]
    assert SiliconModel(1, noise_seed=0).counts([0, 1, 190, 191], WINDOW) == [2626, 2627, 2618, 2628]


def test_counters_wrap():
    board = SiliconModel(1, noise_seed=0)
    exact = board.frequencies[5] * 0.002
    assert exact > 65_536
    assert board.counts([5], 0.002)[0] == pytest.approx(exact - 65_536, abs=200)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "0 or more, not -1"),
        ({"seed": 1, "temperature": 126}, "temperature must be -40 to 125 degrees Celsius, not 126"),
        ({"seed": 1, "temperature": float("nan")}, "not nan"),
        ({"seed": 1, "voltage": 3.3}, r"voltage must be 1.0 to 1.4 V, not 3.3"),
        ({"seed": 1, "age": -1}, "age must be 0 to 50 years, not -1"),
    ],
)
def test_impossible_boards(arguments, message):
    with pytest.raises(SiliconError, match=message):
        SiliconModel(**arguments)


def test_impossible_reads():
    board = SiliconModel(1)
    for rings in ([192], [-1], []):
        with pytest.raises(SiliconError, match=r"rings must be numbers 0\.\.191"):
            board.counts(rings, WINDOW)
    with pytest.raises(SiliconError, match="window must be 0 to 1 second, not 0"):
        board.counts([1], 0)


# ------------------------------------------------------------------------------------------------------------- measured


def archive(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_replay(tmp_path):
    rng = np.random.default_rng(1)
    frequency = 200e6 * (1 + 0.005 * rng.standard_normal((3, 200, 1)) + 1e-4 * rng.standard_normal((3, 200, 7)))
    path = archive(tmp_path / "chips.npz", freq_hz=frequency)
    chip = MeasuredSilicon(path, 2, first_read=3, noise_seed=1)
    scale = F0 / frequency[:, :192].mean()
    for read in (3, 4, 5, 6, 0, 1):
        counts = np.array(chip.counts([0, 191], WINDOW))
        assert np.abs(counts - frequency[2, [0, 191], read] * scale * WINDOW).max() < 1
    assert chip.counts([7], WINDOW)[0] == pytest.approx(frequency[2, 7, 3] * scale * WINDOW, abs=1)  # its own first
    again = [MeasuredSilicon(path, 2, noise_seed=9).counts(ALL, WINDOW) for _ in range(2)]
    assert again[0] == again[1]
    assert len({MeasuredSilicon(path, 0, noise_seed=n)._next[0] for n in range(40)}) > 3


def test_files_that_do_not_fit(tmp_path):
    good = np.full((2, 192, 3), 1e8)
    for name, arrays, message in (
        ("other", {"f": good}, "has f; expected an .npz file with the array freq_hz"),
        ("flat", {"freq_hz": good[0]}, r"shape \(192, 3\)"),
        ("few", {"freq_hz": good[:, :100]}, "has 100 rings and 3 reads; a board needs 192"),
        ("none", {"freq_hz": good[:, :, :0]}, "0 reads"),
        ("text", {"freq_hz": np.full((2, 192, 3), "x")}, "of <U1"),
    ):
        with pytest.raises(SiliconError, match=message):
            MeasuredSilicon(archive(tmp_path / f"{name}.npz", **arrays), 0)
    path = archive(tmp_path / "good.npz", freq_hz=good)
    for chip in (-1, 2):
        with pytest.raises(SiliconError, match=rf"chip must be 0\.\.1, not {chip}"):
            MeasuredSilicon(path, chip)
    (tmp_path / "text.txt").write_text("no archive")
    with pytest.raises(SiliconError, match=r"cannot read .*expected an \.npz file"):
        MeasuredSilicon(tmp_path / "text.txt", 0)
    with pytest.raises(SiliconError, match=r"cannot read .*missing\.npz \(No such file"):
        MeasuredSilicon(tmp_path / "missing.npz", 0)
    for value in (np.nan, 0, -1, np.inf):
        broken = good.copy()
        broken[1, 17, 2] = value
        path = archive(tmp_path / "broken.npz", freq_hz=broken)
        with pytest.raises(SiliconError, match="chip 1, ring 17 has reads that are not positive"):
            MeasuredSilicon(path, 1)
        MeasuredSilicon(path, 0)
    fast = good.copy()
    fast[1] *= 9
    with pytest.raises(SiliconError, match=r"1\.80 times faster .* up to 1\.78"):
        MeasuredSilicon(archive(tmp_path / "fast.npz", freq_hz=fast), 1)


def test_a_measured_chip_is_a_board():
    folder = os.environ.get("RINGPAIR_RO_DATA")
    if not folder:
        pytest.skip("RINGPAIR_RO_DATA (folder of spartan3e_ro_dev97.npz) is not set")
    path, quantizer = Path(folder, "spartan3e_ro_dev97.npz"), Quantizer()
    chips = [MeasuredSilicon(path, chip, first_read=0, noise_seed=1) for chip in (5, 60)]
    (bits, helper), (other, _) = (enroll(chip, quantizer) for chip in chips)
    for _ in range(10):
        assert quantizer.reconstruct(chips[0].counts(ALL, WINDOW), helper)[0] == bits
    assert 60 < distance(bits, other) < 130
