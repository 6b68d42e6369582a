"""Metrics of measured rings: known answers, the same sums in any order, published figures of a real data set."""

import json
import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from ringpair.cli import main
from ringpair.measure.bits import BitSums, bit_figures, uniqueness
from ringpair.measure.dataset import Batch, Condition, DataError, InMemory, Meta
from ringpair.measure.die import DieSums, Geometry, die_figures
from ringpair.measure.entropy import JointSums, joint_model
from ringpair.measure.evaluate import Options, evaluate
from ringpair.measure.floorplan import Lags, grid, positions
from ringpair.measure.layout import learn_layout, read_layout, write_layout
from ringpair.measure.makers import Chain, Counter, Device, Neighbor, Response, enroll, reconstruct
from ringpair.measure.resample import Weights, interval
from ringpair.measure.survey import Tables, fold_of, survey
from ringpair_protocol import puf
from scipy.linalg import helmert

FAST = Options(replicates=60)


def chips_of(rng, chips=60, rings=64, reads=20, *, layout=0.0044, spread=0.005, noise=1.5e-4, mean=2300.0):
    """Counts with a common pattern, independent rings and white noise."""
    pattern = layout * np.random.default_rng(5).standard_normal(rings)
    ring = pattern + spread * rng.standard_normal((chips, rings))
    read = noise * rng.standard_normal((chips, rings, reads))
    board = 1 + 0.05 * rng.standard_normal((chips, 1, 1))
    return np.floor(mean * board * (1 + ring[:, :, None]) * (1 + read) + rng.random(read.shape)).astype(np.int64)


def unpack(data, bits):
    return np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[:bits]


# --------------------------------------------------------------------------------------------------------------- device


@pytest.mark.parametrize("sigma", [1, 4900, 5230, 10_000])
@pytest.mark.parametrize("kind", ["usual", "wild"])
def test_device_bits_are_those_of_the_reference_model(sigma, kind):
    """Enrollment, reconstruction and margins, bit for bit, also for counts that no ring has."""
    rng = np.random.default_rng(sigma)
    entries = rng.integers(-8192, 8192, puf.RINGS) if kind == "wild" else rng.integers(-1500, 1500, puf.RINGS)
    quantizer = puf.Quantizer(puf.Layout(1, tuple(entries.tolist())), sigma)
    high = 65_536 if kind == "wild" else 2400
    counts = rng.integers(1 if kind == "wild" else 2250, high, (12, puf.RINGS, 3))
    sums = np.minimum(counts[:, :, 0] * (1 if kind == "wild" else 16), puf.COUNT_MAX)
    codes = enroll(sums, np.tile(entries, (12, 1)), np.tile(quantizer.boundaries, (12, 1)))
    levels = entries + np.array(quantizer.thresholds)[codes & 7]
    bits, margins = reconstruct(counts, levels)
    for chip in range(12):
        expected_bits, helper = quantizer.enroll(sums[chip].tolist())
        np.testing.assert_array_equal(unpack(expected_bits, puf.RINGS), codes[chip] >> 3)
        for read in range(3):
            found, margin = quantizer.reconstruct(counts[chip, :, read].tolist(), helper)
            np.testing.assert_array_equal(unpack(found, puf.RINGS), bits[chip, :, read])
            assert margin == margins[chip, :, read].tolist()


def test_device_maker_enrolls_and_judges_like_a_board():
    """The whole way from a data set: layout table per fold, 16 reads to enroll, the others judged."""
    counts = chips_of(np.random.default_rng(3), 12, puf.RINGS, 24)
    data = InMemory(counts)
    tables = Tables.learned(survey(data, 3))
    device = Device(data, Counter(data, 2300, counts.max(), True), tables, 3)
    (batch,) = data.batches()
    response, distances = device.measure(batch)
    for chip, fold in enumerate(fold_of(np.arange(12), 3)):
        layout = puf.Layout(1, tuple(tables.entries[0, fold].tolist()))
        quantizer = puf.Quantizer(layout, int(tables.sigma_ppm[0, fold]))
        bits, helper = quantizer.enroll(counts[chip, :, :16].sum(1).tolist())
        np.testing.assert_array_equal(unpack(bits, puf.RINGS), response.reference[chip])
        for read in range(8):
            found, margins = quantizer.reconstruct(counts[chip, :, 16 + read].tolist(), helper)
            np.testing.assert_array_equal(unpack(found, puf.RINGS), response.reads[0][chip, :, read])
            right = np.where(distances[chip, :, read] >= 0, distances[chip, :, read], ~distances[chip, :, read])
            assert margins == np.minimum(right >> 2, 255).tolist()
    assert response.reads[0].shape[2] == 8


def test_counts_that_do_not_fit_are_scaled_and_rounded_like_a_counter():
    values = np.full((3, 16, 32), 200e6)
    data = InMemory(values)
    counter = Counter(data, 200e6, 200e6, whole=False)
    (batch,) = data.batches()
    counts = counter(batch)
    assert set(np.unique(counts)) <= {2304}
    uneven = Counter(data, 200e6 * 2304 / 2304.25, 200e6, whole=False)(batch)
    assert set(np.unique(uneven)) == {2304, 2305}
    assert uneven.mean() == pytest.approx(2304.25, abs=0.05)
    np.testing.assert_array_equal(
        uneven[2:, 0], Counter(data, 200e6 * 2304 / 2304.25, 200e6, False)(Batch(2, ["2"], values[2:, None]))[:, 0]
    )
    small = InMemory(chips_of(np.random.default_rng(0), 2, 16, 20))
    assert Counter(small, 2300, 2800, whole=True).scale is None
    assert Counter(small, 2500, 4096, whole=True).scale is not None
    with pytest.raises(DataError, match=r"fastest ring is 2.00 times faster .* up to 1.78 times"):
        Counter(data, 200e6, 400e6, whole=False)


def test_neighbor_and_chain_compare_the_rings_they_say():
    values = np.array([[[5, 5], [4, 6], [4, 4], [9, 9], [1, 1]]])
    (batch,) = InMemory(values).batches()
    neighbor, chain = Neighbor(InMemory(values))(batch), Chain(InMemory(values))(batch)
    assert neighbor.reads[0].tolist() == [[[True, False], [False, False]]]
    assert neighbor.reference.tolist() == [[False, False]]  # 5 against 5 on the mean
    assert chain.reads[0].tolist() == [[[True, False], [False, True], [False, False], [True, True]]]
    assert chain.reference.tolist() == [[False, True, False, True]]


# ----------------------------------------------------------------------------------------------------------------- bits


def figures_of(reference, reads=None, codes=None, folds=1, replicates=0, order=None):
    """Figures of given bits."""
    chips, bits = reference.shape
    reads = reference[:, :, None] if reads is None else reads
    sums = BitSums.empty(bits, folds, 1, replicates, reads.shape[2])
    weights = Weights(replicates)
    for part in order or [range(chips)]:
        part = np.array(part)
        response = Response(reference[part], [reads[part]], None if codes is None else codes[part])
        one = BitSums.empty(bits, folds, 1, replicates, reads.shape[2])
        one.add(response, 0, int(part[0]), weights(int(part[0]), len(part)), part % folds)
        sums += one

    class Maker:
        reference = "given"

    Maker.bits = bits
    return bit_figures(sums, Maker, 0)


def pair_loop(bits):
    return np.mean([np.mean(a != b) for a, b in combinations(bits, 2)])


def test_uniqueness_is_the_mean_over_all_pairs():
    rng = np.random.default_rng(1)
    bits = rng.random((31, 40)) < rng.random(40)
    assert figures_of(bits)["uniqueness"] == pytest.approx(pair_loop(bits), abs=1e-12)
    both = [bits[0::2], bits[1::2]]
    expected = np.average([pair_loop(part) for part in both], weights=[len(p) * (len(p) - 1) for p in both])
    assert figures_of(bits, folds=2)["uniqueness"] == pytest.approx(expected, abs=1e-12)


def test_uniqueness_of_a_replicate_leaves_out_pairs_of_a_chip_with_itself():
    rng = np.random.default_rng(2)
    bits, weight = rng.random((9, 64)) < 0.5, rng.poisson(1, 9).astype(float)
    drawn = np.repeat(np.arange(9), weight.astype(int))
    pairs = [np.mean(bits[i] != bits[j]) for i, j in combinations(drawn, 2) if i != j]
    ones = (weight @ bits)[None, None]
    found = uniqueness(ones, weight.sum()[None, None], (weight**2).sum()[None, None])
    assert found[0] == pytest.approx(np.mean(pairs), abs=1e-12)


def flat(value):
    """All numbers of a nested list."""
    return [number for entry in value for number in flat(entry)] if isinstance(value, list) else [value]


def test_sums_may_be_made_in_parts_and_any_order():
    rng = np.random.default_rng(3)
    bits, reads = rng.random((50, 33)) < 0.5, rng.random((50, 33, 4)) < 0.5
    codes = rng.integers(0, 16, (50, 33))
    whole = figures_of(bits, reads, codes, 3, 40)
    parts = figures_of(bits, reads, codes, 3, 40, [range(30, 50), range(7), range(7, 30)])
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        if name != "reference":
            np.testing.assert_allclose(flat(value), flat(parts[name]), rtol=1e-9, err_msg=name)


def test_figures_worked_by_hand():
    reference = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]], bool)
    reads = np.stack([reference] * 4, 2)
    reads[0, 0, 0] ^= True  # one of 48 bits
    found = figures_of(reference, reads)
    assert found["uniqueness"] == pytest.approx(0.5)
    assert found["uniformity"] == pytest.approx(0.5)
    assert found["reliability"] == pytest.approx(47 / 48)
    assert (found["wrong_bits"], found["bits_read"], found["wrong_chips"]) == (1, 48, 1)
    assert found["bit_aliasing_sd"] == pytest.approx(np.std([1, 1 / 3, 1 / 3, 1 / 3]))
    assert found["min_entropy_per_bit"] == pytest.approx(np.mean([0] + [-np.log2(2 / 3)] * 3))
    assert found["steadiness"] == pytest.approx(1 + np.log2(0.75) / 12)
    assert found["distances_within"] == [11, 1, 0, 0, 0]
    assert found["distances_between"] == [0, 0, 3, 0, 0]
    assert (found["largest_within"], found["smallest_between"]) == (1, 2)
    assert found["false_accept"] == [0, 0, 1, 1, 1]
    assert found["false_reject"] == pytest.approx([1 / 12, 0, 0, 0, 0])
    assert figures_of(np.array([[1, 0]], bool))["uniqueness"] is None


def test_diffuseness_as_hori_defines_it():
    """4 / (K^2 L) times the distances of all pairs of the K identifiers of one chip."""
    bits = np.random.default_rng(4).random((5, 16 * 6)) < 0.4
    words = bits.reshape(5, 6, 16)
    expected = [4 / (36 * 16) * sum(np.sum(a != b) for a, b in combinations(chip, 2)) for chip in words]
    assert figures_of(bits)["diffuseness"] == pytest.approx(np.mean(expected))
    assert figures_of(bits[:, :31])["diffuseness"] is None


def test_aliasing_is_freed_from_the_chance_of_few_chips():
    rng = np.random.default_rng(6)
    fair = rng.random((40, 2000)) < 0.5
    found = figures_of(fair, folds=2)
    assert found["bit_aliasing_sd"] == pytest.approx(0.5 / 20**0.5, rel=0.05)
    assert found["bit_aliasing_sd_corrected"] < 0.03
    assert found["min_entropy_per_bit"] == pytest.approx(found["min_entropy_of_fair_bits"], abs=0.01)
    assert found["min_entropy_per_bit_corrected"] > 0.94
    share = np.where(np.arange(2000) % 2, 0.3, 0.7)
    found = figures_of(rng.random((400, 2000)) < share)
    assert found["bit_aliasing_sd_corrected"] == pytest.approx(0.2, rel=0.03)
    assert found["min_entropy_per_bit_corrected"] == pytest.approx(-np.log2(0.7), abs=0.01)


def test_leakage_is_the_mutual_information_of_bit_and_helper():
    codes = np.tile(np.arange(16), (4, 3))
    bits = codes >= 8
    assert figures_of(bits, codes=codes)["leakage_bits_per_ring"] == pytest.approx(0, abs=1e-12)
    told = np.where(bits, 15, 0)
    assert figures_of(bits, codes=told)["leakage_bits_per_ring"] == pytest.approx(1)
    partly = np.array([[0, 0, 0, 1, 8, 9, 9, 9]])
    expected = 1 + (0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    assert figures_of(partly >= 8, codes=partly)["leakage_bits_per_ring"] == pytest.approx(expected)


def test_intervals_hold_what_they_say():
    """Of 60 populations, the interval of uniqueness misses the truth about once in twenty."""
    inside = 0
    share = np.random.default_rng(0).uniform(0.3, 0.7, 64)
    truth = np.mean(2 * share * (1 - share))
    for seed in range(60):
        bits = np.random.default_rng(seed + 1).random((80, 64)) < share
        low, high = figures_of(bits, replicates=150)["uniqueness_ci"]
        inside += low < truth < high
        assert high - low < 0.03
    assert 50 <= inside <= 60
    assert interval(np.array([0.5, 0.4])) == (0.5, None)


def test_no_wrong_bit_still_has_an_interval():
    bits = np.random.default_rng(0).random((10, 30)) < 0.5
    found = figures_of(bits, replicates=50)
    assert found["reliability"] == 1
    assert found["reliability_ci"] == pytest.approx([1 - 3.69 / 300, 1.0], abs=1e-3)


# ------------------------------------------------------------------------------------------------------------------ die


def die_of(data, replicates=40, order=None):
    first = survey(data, 0)
    geometry = Geometry(data, first)
    sums = DieSums.empty(data.rings, geometry, replicates)
    weights = Weights(replicates)
    for batch in data.batches(order):
        one = DieSums.empty(data.rings, geometry, replicates)
        one.add(batch, geometry, weights(batch.first, len(batch.ids)))
        sums = one + sums
    return die_figures(sums, geometry), sums


def test_layout_and_spread_are_found_again():
    counts = chips_of(np.random.default_rng(8), 150, 512, 4, layout=0.0044, spread=0.005)
    found, _ = die_of(InMemory(counts))
    pattern = 0.0044 * np.random.default_rng(5).standard_normal(512).reshape(32, 16)
    pattern -= pattern.mean(1, keepdims=True)
    within_row = (15 / 16) ** 0.5
    assert found["layout_sd"] == pytest.approx(pattern.std(), rel=0.02)
    assert found["residual_sd"] == pytest.approx(0.005 * within_row, rel=0.02)
    assert found["layout_share"] == pytest.approx(pattern.var() / (pattern.var() + 0.005**2 * 15 / 16), rel=0.03)
    low, high = found["layout_share_ci"]
    assert low < found["layout_share"] < high
    assert found["moran_residual"] == pytest.approx(found["moran_expected"], abs=0.01)
    assert found["chip_frequency_sd"] == pytest.approx(0.05, rel=0.2)
    none, _ = die_of(InMemory(chips_of(np.random.default_rng(9), 150, 64, 4, layout=0)))
    assert none["layout_share"] < 0.01


def test_batches_do_not_matter():
    data = InMemory(chips_of(np.random.default_rng(8), 33, 64, 6))
    whole, parts = die_of(data)[0], die_of(data, order=5)[0]
    for name in ("layout_share", "moran_row", "residual_sd_ci"):
        np.testing.assert_allclose(whole[name], parts[name], rtol=1e-9)
    np.testing.assert_allclose(whole["maps"]["layout"], parts["maps"]["layout"])


def test_moran_and_correlation_map_see_neighbors():
    layer = grid("rows16", 256)
    checkers = (np.indices((16, 16)).sum(0) % 2).reshape(1, 256).astype(float)
    lags = Lags(layer)
    assert lags.moran(checkers)[0] == pytest.approx(-1)
    halves = np.repeat([[0.0, 1.0]], 128, 1)
    assert lags.moran(halves)[0] == pytest.approx((480 - 2 * 16) / 480)
    assert lags.pairs[lags.steps.index((0, 1))] == 240
    assert lags.pairs[lags.steps.index((2, -3))] == 14 * 13
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((200, 17, 17))
    field = (noise[:, 1:, 1:] + noise[:, :-1, 1:]).reshape(200, 256)  # neighbors in y share half
    found = lags.products(field).sum(0) / lags.pairs / 200 / 2
    assert found[lags.steps.index((1, 0))] == pytest.approx(0.5, abs=0.02)
    assert abs(found[lags.steps.index((0, 1))]) < 0.02
    assert abs(found[lags.steps.index((2, 0))]) < 0.02


def test_ringpair_floorplan_puts_each_ring_into_its_tile():
    where = positions("ringpair", puf.RINGS)
    assert where.max(0).tolist() == [1, 7, 11]
    assert len({tuple(row) for row in where.tolist()}) == puf.RINGS
    assert (grid("ringpair", puf.RINGS) >= 0).all()
    rows = where.reshape(12, 16, 3)
    assert all(np.ptp(row, 0).tolist() == [0, 3, 3] for row in rows)  # a row is a square of 4 x 4 tiles, one half


def test_allan_deviation_of_white_noise_falls_with_the_root_of_the_lag():
    rng = np.random.default_rng(2)
    values = 1e6 * (1 + 1e-4 * rng.standard_normal((20, 64, 128)))
    allan = die_of(InMemory(values))[0]["allan"]
    assert [row["reads"] for row in allan] == [1, 2, 4, 8, 16, 32, 64]
    for row in allan[:6]:
        assert row["total"] == pytest.approx(1e-4 / row["reads"] ** 0.5, rel=0.04)
        assert row["from_row"] == pytest.approx(1e-4 / row["reads"] ** 0.5 * (15 / 16) ** 0.5, rel=0.04)
        assert row["total_ci"][0] < row["total"] < row["total_ci"][1]


def test_temperature_and_voltage_coefficients():
    rng = np.random.default_rng(3)
    at = [(t, 1.2) for t in (0, 25, 60)] + [(25, v) for v in (1.14, 1.26)]
    ring = 1 + 0.005 * rng.standard_normal((30, 1, 64))
    slopes = -4e-4 + 1.2e-5 * rng.standard_normal((30, 64)), 1.0 + 7.4e-3 * rng.standard_normal((30, 64))
    change = np.stack([1 + (t - 25) * slopes[0] + (v - 1.2) * slopes[1] for t, v in at], 1)
    values = (1e6 * ring * change)[..., None].repeat(2, 3)
    data = InMemory(values, conditions=tuple(Condition(float(t), v) for t, v in at))
    assert data.nominal == 1
    found, _ = die_of(data)
    assert found["temperature_coefficient"] == pytest.approx(-4e-4, rel=0.01)
    assert found["temperature_coefficient_sd"] == pytest.approx(1.2e-5, rel=0.05)
    assert found["voltage_coefficient"] == pytest.approx(1, rel=0.01)
    assert found["voltage_coefficient_sd"] == pytest.approx(7.4e-3, rel=0.05)
    assert die_of(InMemory(values[:, 0]))[0]["temperature_coefficient"] is None


# -------------------------------------------------------------------------------------------------------------- entropy


def joint_of(standard, floorplan="rows16"):
    rows = standard.reshape(len(standard), -1, 16)
    deviation = (rows - rows.mean(2, keepdims=True)).reshape(standard.shape)
    sums = JointSums.empty(standard.shape[1])
    half = len(standard) // 2
    other = JointSums.empty(standard.shape[1])
    deviation /= deviation.std(0)
    sums.add(deviation[:half], 0)
    other.add(deviation[half:], half)
    return joint_model(sums + other, positions(floorplan, standard.shape[1]))


def test_independent_rings_lose_nothing_and_correlated_ones_what_theory_says():
    rng = np.random.default_rng(4)
    alone = joint_of(rng.standard_normal((100, 192)))
    assert alone.lost < 2.5
    assert alone.shrinkage > 0.9
    y, x = np.indices((12, 16)).reshape(2, -1)
    distance = np.hypot(y[:, None] - y, x[:, None] - x)
    covariance = 0.5 * np.eye(192) + 0.5 * np.exp(-distance / 2)
    rings = rng.standard_normal((1500, 192)) @ np.linalg.cholesky(covariance).T
    rows = np.kron(np.eye(12), np.eye(16) - 1 / 16)
    seen = rows @ covariance @ rows
    seen /= np.sqrt(np.outer(np.diag(seen), np.diag(seen)))
    contrasts = np.kron(np.eye(12), helmert(16))
    free = contrasts @ seen @ contrasts.T
    truth = 0.5 * np.log2(np.diag(free)).sum() - 0.5 * np.linalg.slogdet(free)[1] / np.log(2)
    found = joint_of(rings)
    assert found.lost == pytest.approx(truth, rel=0.1)
    assert found.lost_ci[0] < found.lost < found.lost_ci[1]
    assert found.stationary == pytest.approx(truth, rel=0.1)
    assert joint_of(rng.standard_normal((2, 192))) is None


def test_account_adds_up():
    result = evaluate(InMemory(chips_of(np.random.default_rng(1), 60, 192)), FAST)
    account = result["entropy"]
    assert account["free_dimensions"] == 180
    parts = account["lost_to_aliasing"] + account["lost_to_correlation"] + account["leaked"]
    assert account["total"] == pytest.approx(180 - parts)
    assert 150 < account["total"] < 180
    assert account["total_ci"][0] < account["total"] < account["total_ci"][1] <= 180


# --------------------------------------------------------------------------------------------------------------- layout


def test_tables_are_those_of_the_reference_model_without_the_own_fold():
    counts = chips_of(np.random.default_rng(2), 21, puf.RINGS, 18)
    data = InMemory(counts)
    sums = survey(data, 4, partitions=2)
    tables = Tables.learned(sums)
    for partition in range(2):
        folds = fold_of(np.arange(21), 4, partition)
        assert sorted(np.bincount(folds)) == [5, 5, 5, 6]
        for fold in range(4):
            others = counts[folds != fold].sum(2).tolist()
            assert tables.entries[partition, fold].tolist() == list(puf.learn_layout(1, others).entries)
    assert not np.array_equal(fold_of(np.arange(21), 4, 0), fold_of(np.arange(21), 4, 1))
    everything = Tables.learned(survey(data, 0))
    assert everything.entries[0, 0].tolist() == list(puf.learn_layout(1, counts.sum(2).tolist()).entries)


def test_packed_tables_are_those_of_the_gateware():
    rng = np.random.default_rng(1)
    entries = rng.integers(-1500, 1500, (2, 3, 2 * puf.RINGS + 32))
    packed = Tables(entries, np.full((2, 3), 5200)).packed().entries
    assert packed.shape == entries.shape
    for table in np.ndindex(2, 3):
        for first in (0, puf.RINGS):
            block = slice(first, first + puf.RINGS)
            expected = puf.Layout(1, tuple(entries[table][block].tolist())).packed().entries
            assert packed[table][block].tolist() == list(expected)
    assert (np.abs(packed - entries) <= 64).all()
    assert (packed != entries).any()


def test_intervals_hold_95_percent_of_the_replicates():
    replicates = np.random.default_rng(1).permutation(np.arange(1001) / 1000)
    assert interval(np.concatenate([[0.4], replicates])) == (0.4, [pytest.approx(0.025), pytest.approx(0.975)])
    centered = np.concatenate([[0.3], replicates])  # laid around the estimate, and not below zero
    assert interval(centered, center=True) == (0.3, [0, pytest.approx(0.775)])
    assert interval(centered[:20]) == (0.3, None)


def test_sigma_is_the_spread_of_a_chip_not_learned_from():
    counts = chips_of(np.random.default_rng(2), 40, 512, 20, noise=1e-5)
    folds = fold_of(np.arange(40), 2)
    tables = Tables.learned(survey(InMemory(counts), 2))
    rows = counts[:, :, :].sum(2).reshape(40, 32, 16)
    deviation = (rows / rows.mean(2, keepdims=True) - 1).reshape(40, 512)
    for fold in range(2):
        unseen = deviation[folds == fold] - tables.entries[0, fold] / 2**18
        assert tables.sigma_ppm[0, fold] / 1e6 == pytest.approx(np.sqrt((unseen**2).mean()), rel=0.02)


def test_learned_layout_goes_into_a_file_and_the_quantizer(tmp_path, capsys):
    counts = chips_of(np.random.default_rng(2), 40, puf.RINGS, 20)
    layout = learn_layout(InMemory(counts, meta=Meta("simulated", "ringpair")), version=7, replicates=40)
    write_layout(tmp_path / "layout.json", layout)
    again = read_layout(tmp_path / "layout.json")
    assert again == layout
    quantizer = again.quantizer()
    assert (quantizer.layout.version, quantizer.sigma_ppm) == (7, layout.sigma_ppm)
    assert list(quantizer.layout.entries) == list(puf.learn_layout(7, counts.sum(2).tolist()).entries)
    assert (again.silicon, again.floorplan, again.chips) == ("simulated", "ringpair", 40)
    judged = layout.cross_validation
    assert judged["with_table"]["uniqueness"] > 0.48 > judged["without_table"]["uniqueness"]
    assert judged["with_table"]["uniqueness"] > judged["as_built"]["uniqueness"] > 0.47
    np.savez(tmp_path / "a.npz", freq_hz=counts)
    assert (
        main(
            [
                "metrics",
                str(tmp_path / "a.npz"),
                "--layout",
                str(tmp_path / "layout.json"),
                "--json",
                "--method",
                "device",
                "--replicates",
                "0",
            ]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["layout"] == "given table"
    out = tmp_path / "b.json"
    assert main(["layout", "learn", str(tmp_path / "a.npz"), "-o", str(out), "--version", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == 3
    assert read_layout(out).entries == layout.entries


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot read .*expected a layout table"),
        ("{}", "make one with ringpair layout learn"),
        ('{"kind": "ringpair layout table", "level": 9}', "no ringpair layout table of level 1"),
    ],
)
def test_other_files_are_no_layout_table(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_layout(tmp_path / "x.json")


def test_layouts_that_cannot_be_learned():
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="has 7 chips; a layout table of 4 folds needs 8"):
        learn_layout(InMemory(chips_of(rng, 7, 32)))
    with pytest.raises(DataError, match="needs rows of 16 rings; data has 20"):
        learn_layout(InMemory(chips_of(rng, 20, 20)))
    with pytest.raises(DataError, match=r"ring \d+ deviates from its row by .*leave such rings out"):
        learn_layout(InMemory(chips_of(rng, 20, 32, layout=0.05)))


# --------------------------------------------------------------------------------------------------------- command line


def test_metrics_verb_prints_the_figures_that_scripts_read(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", freq_hz=chips_of(np.random.default_rng(1), 24, 64, 20))
    for method, bits in (("neighbour", 32), ("neighbor", 32), ("chain", 63), ("device", 64)):
        assert main(["metrics", str(tmp_path / "a.npz"), "--method", method, "--layout-folds", "3", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["chips"], found["rings"], found["reads"], found["bits"]) == (24, 64, 20, bits)
        for name in ("uniqueness", "reliability", "uniformity", "bit_aliasing_sd", "min_entropy_per_bit"):
            low, high = found[name + "_ci"]
            assert 0 <= low <= found[name] <= high <= 1, name
        assert 0 <= found["wrong_bits"] <= found["bits_read"]
        assert ("leakage_bits_per_ring" in found) == (method == "device")
    assert found["layout_folds"] == 3
    assert main(["metrics", str(tmp_path / "a.npz"), "--replicates", "50"]) == 0
    assert "uniqueness" in capsys.readouterr().out


def test_metrics_verb_refuses(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", freq_hz=chips_of(np.random.default_rng(1), 4, 20, 20))
    for arguments, code, message in (
        (["--layout-folds", "1"], 2, "must be 0 or at least 2"),
        (["--replicates", "-1"], 2, "--replicates must be 0 to 100000"),
        (["--rings", "40"], 1, "has 20 rings a chip; 40 cannot be taken"),
        (["--method", "device"], 1, "needs rows of 16: use the first 16"),
    ):
        assert main(["metrics", str(tmp_path / "a.npz"), *arguments]) == code
        assert message in capsys.readouterr().err
    assert main(["metrics", str(tmp_path / "a.npz"), "--rings", "16", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["methods"]["device"]["layout"] == "no table"
    assert "too few to learn a layout table" in captured.err


# ------------------------------------------------------------------------------------------------------------ real data

REAL = Path(os.environ.get("RINGPAIR_RO_DATA", "/nowhere")) / "spartan3e_ro_dev97.npz"


@pytest.mark.skipif(not REAL.is_file(), reason="RINGPAIR_RO_DATA does not name the 97 measured chips")
def test_published_figures_and_ours_on_measured_chips(capsys):
    """Maiti et al., HOST 2010: uniqueness 47.3 %, 0.86 % of the bits differ; and what the device reaches."""
    assert main(["metrics", str(REAL), "--json", "--replicates", "100"]) == 0
    methods = json.loads(capsys.readouterr().out)["methods"]
    assert methods["chain"]["uniqueness"] == pytest.approx(0.472, abs=0.004)
    assert methods["chain"]["reliability"] == pytest.approx(0.991, abs=0.001)
    device = methods["device"]
    assert device["uniqueness"] >= 0.493
    assert (device["wrong_bits"], device["bits_read"]) == (0, 97 * 512 * 84)
    assert device["leakage_bits_per_ring"] <= 0.001
