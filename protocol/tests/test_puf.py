"""The quantizer and the search: known answers, properties, and measured silicon."""

import os
import random
from itertools import combinations, islice
from pathlib import Path
from statistics import NormalDist, mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ringpair_protocol import puf
from ringpair_protocol.layout_table import LAYOUT_ENTRIES
from ringpair_protocol.puf import MODELED_LAYOUT, NO_LAYOUT, DeadRingError, Layout, Quantizer

quantile = NormalDist().inv_cdf


SIGMA = puf.SIGMA_PPM / 1e6


def board(seed, spread=SIGMA, count=36_864, layout=NO_LAYOUT):
    """Sums of 16 reads of a board with normally distributed rings."""
    rng = random.Random(seed)
    deviations = [rng.gauss(0, spread) for _ in range(puf.RINGS)]
    return [round(count * (1 + d + e / 2**18)) for d, e in zip(deviations, layout.entries, strict=True)]


def wrong_bits(a, b):
    return (int.from_bytes(a, "little") ^ int.from_bytes(b, "little")).bit_count()


def noisy(counts, seed, spread=0.00035, reads=16):
    """One read after sums of `reads` reads."""
    rng = random.Random(-1 - seed)
    return [round(count / reads * (1 + rng.gauss(0, spread))) for count in counts]


# ------------------------------------------------------------------------------------------------------------ constants


def test_boundaries_are_the_quantiles_of_sixteenths():
    assert tuple(round(2**16 * quantile(j / 16)) for j in range(1, 16)) == puf.BOUNDARIES


def test_thresholds_lie_midway_between_the_two_meanings_of_a_helper_value():
    centers = [(helper + 0.5) / 8 for helper in range(8)]
    levels = [(quantile(u / 2) + quantile((1 + u) / 2)) / 2 for u in centers]
    assert tuple(round(2**16 * level) for level in levels) == puf.THRESHOLDS
    margins = []
    for j in range(16):
        for edge in (j, j + 1):
            if 0 < edge < 16:
                margins.append(abs(quantile(edge / 16) - levels[j % 8]))
    assert min(margins) == pytest.approx(0.58, abs=0.01)


def test_levels_of_the_default_spread():
    assert Quantizer().thresholds == (-1216, -737, -414, -134, 134, 414, 737, 1216)
    assert Quantizer().boundaries[8:] == (214, 434, 666, 919, 1209, 1568, 2091)
    assert all(
        -low in (high, high + 1, high - 1)
        for low, high in zip(
            Quantizer(sigma_ppm=3333).boundaries, reversed(Quantizer(sigma_ppm=3333).boundaries), strict=True
        )
    )


def test_sizes():
    assert (puf.RINGS, puf.BITS_BYTES, puf.HELPER_BYTES, len(puf.PLACES)) == (192, 24, 72, 48)
    assert puf.window_clocks(12_000_000) == 512
    assert puf.window_clocks(24_000_000) == 1024
    with pytest.raises(ValueError, match="1 000 000 to 48 000 000 Hz, not 12"):
        puf.window_clocks(12)


def test_the_budget_fits_the_ranks():
    patterns = list(islice(puf.flip_patterns(), puf.MAX_BUDGET + 1))
    assert max(max(pattern, default=0) for pattern in patterns[:-1]) == puf.MAX_RANK
    assert sum(patterns[-1]) == puf.MAX_RANK + 1
    assert max(map(len, patterns)) == 9
    assert puf.SEARCH_BUDGET <= puf.MAX_BUDGET


# ------------------------------------------------------------------------------------------------------------ quantizer


def test_known_answer():
    bits, helper = Quantizer(MODELED_LAYOUT).enroll(board(7, layout=MODELED_LAYOUT))
    assert bits.hex() == "c2ef703b8e36e417e4e4bf93b66450fef6686e2b3d569295"
    assert helper[:24].hex() == "55ab960581488427a4729e3543347791c9e1b7cfa413e994"


@pytest.mark.parametrize("layout", [NO_LAYOUT, MODELED_LAYOUT])
def test_codes_agree_with_the_normal_distribution(layout):
    counts = board(1, layout=layout)
    bits, helper = Quantizer(layout).enroll(counts)
    values = int.from_bytes(helper, "little")
    for ring, count in enumerate(counts):
        first = ring // 16 * 16
        deviation = 16 * count / sum(counts[first : first + 16]) - 1 - layout.entries[ring] / 2**18
        code = 16 * NormalDist(0, SIGMA).cdf(deviation)
        got = (bits[ring // 8] >> ring % 8 & 1) << 3 | int(f"{values >> 3 * ring & 7:03b}"[::-1], 2)
        assert got == int(code) or abs(code - round(code)) < 0.01  # at a boundary, within the rounding of the levels


@pytest.mark.parametrize("seed", range(8))
def test_one_read_gives_the_enrolled_bits(seed):
    quantizer = Quantizer(MODELED_LAYOUT)
    counts = board(seed, layout=MODELED_LAYOUT)
    bits, helper = quantizer.enroll(counts)
    again, margins = quantizer.reconstruct(noisy(counts, seed), helper)
    assert again == bits
    assert len(margins) == 192
    assert max(margins) <= puf.MARGIN_MAX


def test_common_mode_cancels():
    counts = board(3)
    bits, helper = puf.enroll(counts)
    for percent in (70, 85, 115, 140):
        assert puf.reconstruct([round(count * percent / 1600) for count in counts], helper)[0] == bits


def test_helper_data_says_nothing_about_the_bits():
    joint = {}
    for seed in range(60):
        bits, helper = puf.enroll(board(seed))
        ones, values = int.from_bytes(bits, "little"), int.from_bytes(helper, "little")
        for ring in range(192):
            key = values >> 3 * ring & 7
            joint.setdefault(key, []).append(ones >> ring & 1)
    assert sorted(joint) == list(range(8))
    for helper, seen in joint.items():
        assert mean(seen) == pytest.approx(0.5, abs=4 * 0.5 / len(seen) ** 0.5), f"helper value {helper}"


def test_decision_is_exact_at_the_level():
    quantizer = Quantizer()
    level = quantizer.thresholds[5]
    for total in (36_864, 36_865, 58_000):
        count = -(-total * (2**18 + level) // 2**18) // 16
        while 16 * count << 18 < total * (2**18 + level):
            count += 1
        assert quantizer.residue(count, total, 0, level) >= 0
        assert quantizer.residue(count - 1, total, 0, level) < 0


def test_margin_saturates():
    counts = [2304] * 192
    counts[5], counts[6] = 0, 4000
    _, margins = puf.reconstruct(counts, bytes(72))
    assert margins[5] == margins[6] == puf.MARGIN_MAX


def test_bit_and_helper_order():
    counts = [36_864] * 192
    counts[9] += 128  # 0.62 sigma above its row: code 11, 1011
    bits, helper = puf.enroll(counts)
    assert bits[1] & 2
    assert [int.from_bytes(helper, "little") >> n & 1 for n in (27, 28, 29)] == [0, 1, 1]
    counts[9] += 62  # 0.93 sigma: code 13, 1101
    assert [int.from_bytes(puf.enroll(counts)[1], "little") >> n & 1 for n in (27, 28, 29)] == [1, 0, 1]


# -------------------------------------------------------------------------------------------------------------- refusal


@pytest.mark.parametrize("count", [0, 65_536])
def test_dead_rings_are_refused(count):
    counts = [36_864] * 192
    counts[17] = counts[190] = count
    with pytest.raises(DeadRingError, match=rf"2 of 192 are outside: 17 \(sum {count}\), 190") as caught:
        puf.enroll(counts)
    assert caught.value.rings == (17, 190)
    counts[17] = counts[190] = 1 if count == 0 else 65_535
    puf.enroll(counts)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="192 rings, got 191"):
        puf.enroll([1] * 191)
    with pytest.raises(ValueError, match="192 rings, got 193"):
        puf.reconstruct([1] * 193, bytes(72))
    with pytest.raises(ValueError, match="72 bytes, not 71"):
        puf.reconstruct([1] * 192, bytes(71))
    with pytest.raises(ValueError, match="ring 191 has 65536"):
        puf.reconstruct([1] * 191 + [65_536], bytes(72))
    with pytest.raises(ValueError, match=r"sigma must be 1\.\.10000 ppm, not 0"):
        Quantizer(sigma_ppm=0)
    with pytest.raises(ValueError, match=r"sigma must be 1\.\.10000 ppm, not 10001"):
        Quantizer(sigma_ppm=10_001)
    assert max(Quantizer(sigma_ppm=10_000).boundaries) < 1 << puf.LEVEL_BITS - 1


def test_layout_tables_are_checked():
    with pytest.raises(ValueError, match="192 entries, not 3"):
        Layout(1, (0, 0, 0))
    with pytest.raises(ValueError, match=r"ring 191 must lie in -8192\.\.8191"):
        Layout(1, (*[0] * 191, 8192))
    with pytest.raises(ValueError, match="not 65536"):
        Layout(65_536, NO_LAYOUT.entries)
    with pytest.raises(ValueError, match="at least one board"):
        puf.learn_layout(2, [])
    with pytest.raises(ValueError, match="board 1: the row of ring 0 counts nothing"):
        puf.learn_layout(2, [[1] * 192, [0] * 192])


def test_a_packed_table_is_the_nearest_that_the_gateware_holds():
    rng = random.Random(2)
    for limit, shift in ((15, 0), (30, 1), (2771, 8), (3967, 8), (4000, 9), (7935, 9)):
        layout = Layout(5, (limit, *(rng.randint(-limit, limit) for _ in range(191))))
        packed = layout.packed()
        assert (packed.version, packed.shift, layout.shift) == (5, shift, shift)
        assert packed.packed() == packed
        assert packed.entries == tuple(digit << shift for digit in layout.digits)
        assert set(layout.digits) <= set(range(-16, 16))
        errors = [a - b for a, b in zip(packed.entries, layout.entries, strict=True)]
        assert max(errors) <= 1 << shift >> 1 <= 256
        assert -min(errors) <= max(0, (1 << shift >> 1) - 1) or shift == 0
    assert NO_LAYOUT.packed() == NO_LAYOUT
    assert Layout(5, (8191,) * 192).packed().entries == (7680,) * 192
    lowest = Layout(5, (-8192,) * 192)
    assert lowest.packed() == lowest
    assert MODELED_LAYOUT.packed() == MODELED_LAYOUT
    assert max(abs(a - b) for a, b in zip(MODELED_LAYOUT.entries, LAYOUT_ENTRIES, strict=True)) <= 128


def test_a_layout_is_learned_from_boards():
    learned = puf.learn_layout(9, (board(seed, layout=MODELED_LAYOUT) for seed in range(200)))
    assert learned.version == 9
    rows = (MODELED_LAYOUT.entries[first : first + 16] for first in range(0, 192, 16))
    centered = [entry - mean(row) for row in rows for entry in row]  # rounding has left a mean in each row
    errors = [a - b for a, b in zip(learned.entries, centered, strict=True)]
    assert abs(mean(errors)) < 2
    assert mean(error**2 for error in errors) ** 0.5 == pytest.approx(SIGMA * 2**18 / 200**0.5, rel=0.2)


# --------------------------------------------------------------------------------------------------------------- search


def test_patterns_begin_as_documented():
    expected = [(), (1,), (2,), (1, 2), (3,), (1, 3), (4,), (1, 4), (2, 3), (5,), (1, 2, 3), (1, 5), (2, 4), (6,)]
    assert list(islice(puf.flip_patterns(), len(expected))) == expected


def test_patterns_are_all_sets_by_weight_then_lexicographic():
    expected = sorted(
        (pattern for size in range(6) for pattern in combinations(range(1, 19), size) if sum(pattern) <= 18),
        key=lambda pattern: (sum(pattern), pattern),
    )
    assert list(islice(puf.flip_patterns(), len(expected))) == expected


def test_candidates_flip_the_least_reliable_rings_first():
    margins = [500] * 192
    margins[40], margins[7], margins[100] = 3, 9, 9
    assert puf.rank_order(margins)[:4] == [40, 7, 100, 0]
    flips = [int.from_bytes(c, "little") for c in puf.candidates(bytes(24), margins, 6)]
    assert flips == [0, 1 << 40, 1 << 7, 1 << 40 | 1 << 7, 1 << 100, 1 << 40 | 1 << 100]


def test_candidates_keep_the_budget():
    assert len(list(puf.candidates(bytes(24), list(range(192)), 300))) == 300
    assert len(set(puf.candidates(bytes(24), list(range(192))))) == puf.SEARCH_BUDGET
    for budget in (0, puf.MAX_BUDGET + 1):
        with pytest.raises(ValueError, match=f"must be 1..{puf.MAX_BUDGET} candidates, not {budget}"):
            next(puf.candidates(bytes(24), [0] * 192, budget))


def test_shifted_rings_are_found():
    """Corner model: each ring moves by 0.25 sigma; plain pairs would flip 7.8 % of their bits."""
    tries, errors = [], 0
    for seed in range(150):
        counts = board(seed)
        bits, helper = puf.enroll(counts)
        rng = random.Random(1000 + seed)
        moved = [round(count / 16 * (1 + rng.gauss(0, 0.25 * SIGMA))) for count in counts]
        start, margins = puf.reconstruct(moved, helper)
        errors += start != bits
        tries.append(1 + list(puf.candidates(start, margins)).index(bits))
    assert errors > 0
    assert max(tries) > 1
    assert mean(tries) < 10


# --------------------------------------------------------------------------------------------------------------- places


def test_ring_numbers_are_a_bijection():
    numbers = [puf.ring_number(channel, place) for channel in range(4) for place in puf.PLACES]
    assert sorted(numbers) == list(range(192))
    assert all(puf.ring_number(*puf.place_of(ring)) == ring for ring in range(192))


def test_a_row_is_a_square_of_tiles_of_one_half():
    for first in range(0, 192, 16):
        spots, halves = set(), set()
        for ring in range(first, first + 16):
            channel, place = puf.place_of(ring)
            spots.add((6 * (channel >> 1) + (place >> 2 & 7), 4 * (channel & 1) + (place & 3)))
            halves.add(place >> 5)
        assert len(halves) == 1
        assert len(spots) == 16
        assert max(x for x, _ in spots) - min(x for x, _ in spots) == 3
        assert max(y for _, y in spots) - min(y for _, y in spots) == 3


@pytest.mark.parametrize(("channel", "place"), [(4, 0), (-1, 0), (0, 24), (0, 31), (0, 56), (0, 64)])
def test_places_that_do_not_exist(channel, place):
    with pytest.raises(ValueError, match=f"no ring at channel {channel}, place {place}"):
        puf.ring_number(channel, place)


def test_ring_must_exist():
    with pytest.raises(ValueError, match=r"0\.\.191, not 192"):
        puf.place_of(192)


def test_floorplan_ids_differ():
    assert puf.floorplan_id("x7 y6 pair") != puf.floorplan_id("x7 y7 pair")
    assert len(puf.floorplan_id("")) == 8
    assert puf.floorplan_id("").hex() == "0b3be5850f2f6b98"  # head of Ascon-Hash256 of the empty message


# ------------------------------------------------------------------------------------------------------------ measured


@given(st.lists(st.integers(0, 65_535), min_size=192, max_size=192), st.binary(min_size=72, max_size=72))
@settings(max_examples=25, deadline=None)
def test_any_counts_are_answered(counts, helper):
    bits, margins = puf.reconstruct(counts, helper)
    assert len(bits) == 24
    assert all(0 <= margin <= puf.MARGIN_MAX for margin in margins)


@pytest.fixture(scope="module")
def chips():
    """Counts (chips, 192 rings, reads) of measured Spartan-3E chips, 2304 a window on average."""
    folder = os.environ.get("RINGPAIR_RO_DATA")
    if not folder:
        pytest.skip("RINGPAIR_RO_DATA (folder of spartan3e_ro_dev97.npz) is not set")
    numpy = pytest.importorskip("numpy")
    frequency = numpy.load(Path(folder, "spartan3e_ro_dev97.npz"))["freq_hz"][:, :192].astype(float)
    scale = 2304 / frequency.mean((1, 2), keepdims=True)
    return numpy.floor(frequency * scale + numpy.random.default_rng(1).random(frequency.shape)).astype(int)


def test_measured_silicon(chips):
    """Table learned on 48 chips, 49 others tested: no wrong bit in single reads, uniqueness close to one half."""
    order = list(range(len(chips)))
    random.Random(1).shuffle(order)
    learn, test = order[:48], order[48:]
    layout = puf.learn_layout(2, chips[learn].sum(2).tolist())
    quantizer, enrolled, errors = Quantizer(layout), [], 0
    for chip in test:
        bits, helper = quantizer.enroll(chips[chip, :, :16].sum(1).tolist())
        enrolled.append(bits)
        for read in (16, 40, 70, 99):
            errors += wrong_bits(quantizer.reconstruct(chips[chip, :, read].tolist(), helper)[0], bits)
    assert errors == 0
    uniqueness = mean(wrong_bits(a, b) / 192 for a, b in combinations(enrolled, 2))
    assert uniqueness == pytest.approx(0.4945, abs=0.01)


def test_measured_silicon_without_a_table(chips):
    bits = [puf.enroll(chips[chip, :, :16].sum(1).tolist())[0] for chip in range(0, 97, 2)]
    uniqueness = mean(wrong_bits(a, b) / 192 for a, b in combinations(bits, 2))
    assert 0.42 < uniqueness < 0.475
