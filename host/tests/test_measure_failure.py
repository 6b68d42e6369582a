"""Failure rates of the key: importance sampling against closed forms, brute force and the reference model's search."""

import numpy as np
import pytest
from ringpair.measure.dataset import InMemory
from ringpair.measure.evaluate import Options, evaluate
from ringpair.measure.failure import (
    BUDGETS,
    SHIFTS,
    MarginSums,
    Marks,
    _fails,
    _search,
    bch_failure,
    corner,
    failure_rate,
    read_noise,
)
from ringpair_protocol import puf
from scipy import stats

THRESHOLDS = np.array(puf.THRESHOLDS) / puf.LEVEL_UNIT


def index_of_patterns(budget):
    return {pattern: number for number, pattern in zip(range(budget), puf.flip_patterns(), strict=False)}


def brute_force(shift, budgets, trials, rings=puf.RINGS):
    """Every ring of every trial drawn, sorted and looked up in the order of the search."""
    rng, index = np.random.default_rng(1), index_of_patterns(max(budgets))
    failed = np.zeros(len(budgets))
    for _ in range(trials // 2000):
        x = rng.standard_normal((2000, rings))
        code = np.floor(16 * stats.norm.cdf(x)).astype(int)
        margin = x + shift * rng.standard_normal(x.shape) - THRESHOLDS[code & 7]
        wrong = np.take_along_axis((margin >= 0) != (code >= 8), np.argsort(np.abs(margin), 1), 1)
        for row in wrong:
            number = index.get(tuple((np.flatnonzero(row) + 1).tolist()), max(budgets))
            failed += number >= np.array(budgets)
    return failed / trials


@pytest.mark.parametrize("shift", [0.25, 0.3])
def test_corner_model_agrees_with_brute_force_where_that_reaches(shift):
    budgets, trials = (1, 2, 16, 100, 256, 4096), 12_000
    counted = brute_force(shift, budgets, trials)
    marks = corner(shift)
    for budget, share in zip(budgets, counted, strict=True):
        rate = failure_rate(marks, budget=budget)
        error = (rate.value * (1 - rate.value) / trials) ** 0.5
        assert rate.low <= rate.value <= rate.high
        assert share == pytest.approx(rate.value, abs=4 * error + (rate.high - rate.low) / 2), budget


def test_corner_model_agrees_with_the_search_of_the_reference_model():
    """Counts, row means, quantizer, margins of eight bits and candidates: all as on a board."""
    rng, trials, budget, shift = np.random.default_rng(2), 300, 8, 0.3
    quantizer, failed = puf.Quantizer(), 0
    for _ in range(trials):
        deviation = puf.SIGMA_PPM / 1e6 * rng.standard_normal((2, puf.RINGS))
        first = 2300 * (1 + deviation[0])
        now = first + 2300 * shift * deviation[1]
        bits, helper = quantizer.enroll(np.rint(16 * first).astype(int).tolist())
        read, margins = quantizer.reconstruct(np.floor(16 * now + rng.random(puf.RINGS)).astype(int).tolist(), helper)
        failed += bits not in set(puf.candidates(read, margins, budget))
    rate = failure_rate(corner(shift), budget=budget).value
    assert failed / trials == pytest.approx(rate, abs=4 * (rate * (1 - rate) / trials) ** 0.5)


@pytest.mark.parametrize("shift", [0.1, 0.15, 0.2])
def test_one_try_fails_when_any_ring_is_wrong(shift):
    marks = corner(shift)
    expected = -np.expm1(puf.RINGS * np.log1p(-marks.wrong_rate))
    assert failure_rate(marks, budget=1).value == pytest.approx(expected, rel=1e-3)


def test_two_tries_worked_out_another_way():
    """Found with two tries: nothing wrong, or only the nearest ring. Rates down to 1e-9 and below."""
    for shift, rings in ((0.1, 192), (0.12, 192), (0.2, 64)):
        marks = corner(shift)
        beyond = 1 - np.cumsum(marks.right) + marks.right / 2 - marks.wrong.sum()
        single = rings * np.sum(marks.wrong * ((1 - marks.wrong_rate) ** (rings - 1) - beyond ** (rings - 1)))
        several = stats.binom.sf(1, rings, marks.wrong_rate)
        rate = failure_rate(marks, rings, 2)
        assert rate.value == pytest.approx(single + several, rel=0.01)
    assert failure_rate(corner(0.1), 192, 2).value < 1e-8


def test_small_rates_have_small_intervals_and_grow_with_the_shift():
    last = 0.0
    for shift in (0.16, 0.17, 0.18, 0.2, 0.22):
        rate = failure_rate(corner(shift), budget=256)
        assert last < rate.low <= rate.value <= rate.high < 1.2 * rate.value
        last = rate.high
    assert 1e-12 < failure_rate(corner(0.17), budget=256).value < 1e-8
    less, more = (failure_rate(corner(0.25), budget=budget).value for budget in (256, puf.SEARCH_BUDGET))
    assert more < less / 4
    assert failure_rate(corner(0.25), 256).value > failure_rate(corner(0.25), 128).value


def test_seed_changes_no_more_than_the_interval_says():
    marks = corner(0.22)
    rates = [failure_rate(marks, budget=4096, seed=seed) for seed in range(8)]
    mean = np.mean([rate.value for rate in rates])
    assert sum(rate.low <= mean <= rate.high for rate in rates) >= 6


@pytest.mark.parametrize("budget", [*range(1, 30), 255, 256, 257, 1000])
def test_a_pattern_is_tried_if_it_comes_before_the_budget(budget):
    search = _search(budget)
    for number, pattern in zip(range(1100), puf.flip_patterns(), strict=False):
        assert _fails(np.array([pattern], int), search)[0] == (number >= budget), pattern


def test_bch_is_the_tail_of_a_binomial():
    assert bch_failure(0.01) == pytest.approx(stats.binom.sf(11, 255, 0.01))
    rng = np.random.default_rng(0)
    assert bch_failure(0.03) == pytest.approx(np.mean(rng.binomial(255, 0.03, 200_000) > 11), rel=0.1)


def test_marks_are_a_distribution():
    marks = corner(0.3)
    assert marks.right.sum() + marks.wrong.sum() == pytest.approx(1)
    sharp = Marks.of(np.array([0.5]), np.array([0.1]), np.ones(1))
    assert sharp.wrong_rate == pytest.approx(stats.norm.sf(5), rel=1e-6)
    assert corner(0.0).wrong_rate == 0


def test_longer_windows_are_quieter():
    noise = [read_noise(window) for window in (128, 256, 512, 1024, 1 << 20)]
    assert noise == sorted(noise, reverse=True)
    assert noise[-1] == pytest.approx(0.00015 * 2**0.5 / (puf.SIGMA_PPM / 1e6), rel=0.05)  # slow noise stays


def test_measured_margins_lead_to_the_rate_of_their_rings():
    """Rings with known margins and noise, measured; and summed in parts."""
    rng = np.random.default_rng(3)
    margins = rng.uniform(0.3, 1.0, (40, 192, 1)) + 0.1 * rng.standard_normal((40, 192, 200))
    sums = MarginSums.empty()
    for part in np.array_split(margins, 3):
        one = MarginSums.empty()
        one.add(part)
        sums += one
    assert sums.rings.sum() == 40 * 192
    means = rng.uniform(0.3, 1.0, 4000)
    truth = Marks.of(means, np.full(4000, 0.1), np.ones(4000)).wrong_rate
    assert truth < sums.marks().wrong_rate < 3 * truth  # noise is taken at the upper end of its class
    moved = Marks.of(means, np.full(4000, np.hypot(0.1, 0.2)), np.ones(4000)).wrong_rate
    assert sums.marks(0.2).wrong_rate == pytest.approx(moved, rel=0.1)


def test_data_set_gets_its_failure_rates():
    rng = np.random.default_rng(4)
    ring = 0.0049 * rng.standard_normal((20, 192, 1))
    values = 54e6 * (1 + ring) * (1 + 1e-4 * rng.standard_normal((20, 192, 40)))
    found = evaluate(InMemory(values), Options(("device",), replicates=0, die=False, failure=True))["key_failure"]
    assert found["measured_rings"] == 20 * 192
    assert [row["shift"] for row in found["measured"]] == [shift for shift in SHIFTS for _ in BUDGETS]
    for ours, model in zip(found["measured"], found["corner"], strict=True):
        if ours["shift"] >= 0.2:  # by then the shift counts, not the noise
            assert ours["wrong_bit_rate"] == pytest.approx(model["wrong_bit_rate"], rel=0.5)
        assert ours["rate_ci"][0] <= ours["rate"] <= ours["rate_ci"][1]
    rates = [row["rate"] for row in found["by_window"]]
    assert rates == sorted(rates, reverse=True)


def test_no_budget_no_search():
    with pytest.raises(ValueError, match="at least 1 candidate, not 0"):
        failure_rate(corner(0.2), budget=0)
