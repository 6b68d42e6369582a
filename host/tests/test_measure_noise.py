"""SP 800-90B: worked examples of the standard, slow models that follow its text, sources of known entropy, the verb."""

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ringpair.cli import main
from ringpair.measure import noise, predictors
from ringpair.measure.predictors import prediction_entropy
from ringpair_protocol import health

BITS_40 = np.array([int(bit) for bit in "1000111001010101110011000111001010101110"])
BITS_48 = np.array([int(bit) for bit in "100011100101010111001100011100101010111011100011"])
TUPLES = np.array([2, 2, 0, 1, 0, 2, 0, 1, 2, 1, 2, 0, 1, 2, 1, 0, 0, 1, 0, 0, 0])


def source(seed, length, ones=0.5, stay=None):
    """Independent bits with the probability of a one, or a symmetric Markov chain that keeps its bit with `stay`."""
    rng = np.random.default_rng(seed)
    if stay is None:
        return (rng.random(length) < ones).astype(np.int64)
    return np.cumsum(rng.random(length) >= stay) % 2


# ------------------------------------------------------------------------------------ the standard's worked examples
def test_example_of_6_3_1():
    samples = np.array([0, 1, 1, 2, 0, 1, 2, 2, 0, 1, 0, 1, 1, 0, 2, 2, 1, 0, 2, 1])
    assert noise.most_common_value(samples) == pytest.approx(0.5363, abs=1e-4)


def test_example_of_6_3_2():
    assert noise.collision(BITS_40) == pytest.approx(0.4483, abs=1e-4)


def test_example_of_6_3_3():
    assert noise.markov(BITS_40) == pytest.approx(0.761, abs=1e-3)


def test_example_of_6_3_4():
    assert noise.compression(BITS_48, dictionary=4) == pytest.approx(0.1345, abs=1e-4)


def test_example_of_6_3_5_and_6_3_6():
    common, repeated = noise.repeated_tuples(TUPLES, often=3)
    assert common == pytest.approx(0.273, abs=1e-3)
    assert repeated == pytest.approx(0.6146, abs=1e-4)


def test_example_of_6_3_7():
    hits = predictors.multi_mcw(np.array([1, 2, 1, 0, 2, 1, 1, 2, 2, 0, 0, 0]), 3, windows=(3, 5, 7, 9))
    assert (len(hits), hits.sum()) == (9, 3)
    assert prediction_entropy(hits, 3) == pytest.approx(0.3909, abs=1e-4)


def test_example_of_6_3_8():
    hits = predictors.lag(np.array([2, 1, 3, 2, 1, 3, 1, 3, 1, 2]), depth=3)
    assert (len(hits), hits.sum()) == (9, 2)
    assert prediction_entropy(hits, 3) == pytest.approx(0.735, abs=1e-3)


def test_example_of_6_3_9():
    hits = predictors.multi_mmc(np.array([2, 1, 3, 2, 1, 3, 1, 3, 1]), 4, depth=3)
    assert (len(hits), hits.sum()) == (7, 3)
    assert prediction_entropy(hits, 3) == pytest.approx(0.0755, abs=1e-4)


def test_example_of_6_3_10():
    hits = predictors.lz78y(np.array([2, 1, 3, 2, 1, 3, 1, 3, 1, 2, 1, 3, 2]), 4, depth=4)
    assert (len(hits), hits.sum()) == (8, 4)
    assert prediction_entropy(hits, 3) == pytest.approx(0.0191, abs=1e-4)


# ------------------------------------------------------------------------- slow models, sample by sample as in the text
class Board:
    """The scoreboard of the predictors: who reaches the leader's points leads."""

    def __init__(self, count):
        self.points, self.leader, self.hits = [0] * count, 0, []

    def score(self, guesses, truth):
        self.hits.append(guesses[self.leader] == truth)
        for j, guess in enumerate(guesses):
            if guess == truth:
                self.points[j] += 1
                if self.points[j] >= self.points[self.leader]:
                    self.leader = j


def slow_mcw(samples, windows):
    board = Board(len(windows))
    for i in range(windows[0], len(samples)):
        guesses = []
        for window in windows:
            recent = samples[i - window : i] if i >= window else []
            count = Counter(recent)
            tied = {value for value in count if count[value] == max(count.values())}
            guesses.append(next((value for value in reversed(recent) if value in tied), None))
        board.score(guesses, samples[i])
    return board.hits


def slow_lag(samples, depth):
    board = Board(depth)
    for i in range(1, len(samples)):
        board.score([samples[i - d] if i >= d else None for d in range(1, depth + 1)], samples[i])
    return board.hits


def slow_mmc(samples, depth, entries):
    board, tables = Board(depth), [{} for _ in range(depth)]
    for i in range(2, len(samples)):
        guesses = []
        for d, table in enumerate(tables, start=1):
            if d < i:
                pair = (tuple(samples[i - 1 - d : i - 1]), samples[i - 1])
                if pair in table or len(table) < entries:
                    table[pair] = table.get(pair, 0) + 1
            context = tuple(samples[i - d : i]) if d <= i else None
            seen = [(count, value) for (before, value), count in table.items() if before == context]
            guesses.append(max(seen)[1] if seen else None)
        board.score(guesses, samples[i])
    return board.hits


def slow_lz78y(samples, depth, entries):
    table, hits = {}, []
    for i in range(depth + 1, len(samples)):
        for j in range(depth, 0, -1):
            context = tuple(samples[i - j - 1 : i - 1])
            if context not in table and len(table) < entries:
                table[context] = Counter()
            if context in table:
                table[context][samples[i - 1]] += 1
        best, guess = 0, None
        for j in range(depth, 0, -1):
            count, value = max(((n, v) for v, n in table.get(tuple(samples[i - j : i]), {}).items()), default=(0, 0))
            if count > best:
                best, guess = count, value
        hits.append(guess == samples[i])
    return hits


CASES = st.sampled_from([2, 3, 5]).flatmap(
    lambda k: st.tuples(st.just(k), st.lists(st.integers(0, k - 1), min_size=12, max_size=70))
)


@settings(max_examples=60, deadline=None)
@given(CASES)
def test_predictors_follow_the_text(case):
    symbols, samples = case
    array = np.array(samples)
    assert predictors.multi_mcw(array, symbols, (3, 5, 7, 9)).tolist() == slow_mcw(samples, (3, 5, 7, 9))
    assert predictors.lag(array, 8).tolist() == slow_lag(samples, 8)
    for entries in (3, 9, 100_000):
        assert predictors.multi_mmc(array, symbols, 5, entries).tolist() == slow_mmc(samples, 5, entries)
        assert predictors.lz78y(array, symbols, 4, entries).tolist() == slow_lz78y(samples, 4, entries)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=2, max_size=60))
def test_tuples_are_those_that_one_counts(samples):
    most, pairs = [], []
    for size in range(1, len(samples)):
        count = Counter(tuple(samples[i : i + size]) for i in range(len(samples) - size + 1))
        if max(count.values()) > 1:
            most.append(max(count.values()))
            pairs.append(sum(math.comb(number, 2) for number in count.values()))
    found = noise._repetitions(np.array(samples))
    assert found[0].tolist() == most
    assert found[1].tolist() == pairs


def test_the_bound_of_the_longest_run_is_that_of_brute_force():
    """Chance of no run of 5 right guesses in 200, by the recursion over the last run's length."""
    p = predictors._local_bound(5, 200)
    state = np.zeros(5)
    state[0] = 1
    for _ in range(200):
        state = np.concatenate(([state.sum() * (1 - p)], state[:-1] * p))
    assert state.sum() == pytest.approx(0.99, abs=1e-4)


def test_one_long_run_of_right_guesses_counts():
    hits = np.zeros(1000, bool)
    hits[500:530] = True
    assert prediction_entropy(hits, 2) == pytest.approx(-math.log2(predictors._local_bound(31, 1000)))


# --------------------------------------------------------------------------------------------- sources of known entropy
@pytest.mark.parametrize("ones", [0.5, 0.6, 0.9])
def test_independent_bits(ones):
    """The likeliest guess of a biased bit is the best one: no estimate is far above, the plain ones are close."""
    truth = -math.log2(max(ones, 1 - ones))
    found = noise.assess(source(1, 100_000, ones)).original
    assert len(found) == 10
    for name in ("most common value", "Markov", "multi most common in window", "MultiMMC", "LZ78Y"):
        assert found[name] == pytest.approx(truth, abs=0.03), name
    alike = -math.log2(ones**2 + (1 - ones) ** 2)  # what two bits have in common is all that these two look at
    for name in ("longest repeated substring", "lag"):
        assert alike * 0.75 < found.pop(name) < alike, name
    assert max(found.values()) < truth + 0.01
    assert min(found.values()) > 0.5 * truth  # compression has the widest bound


@pytest.mark.parametrize("stay", [0.7, 0.2])
def test_a_markov_chain_of_fair_bits(stay):
    """Its bits are balanced: the most common value sees nothing, what remembers sees everything."""
    truth = -math.log2(max(stay, 1 - stay))
    found = noise.assess(source(2, 100_000, stay=stay)).original
    assert found["most common value"] > 0.98
    for name in ("Markov", "MultiMMC", "LZ78Y"):
        assert found[name] == pytest.approx(truth, abs=0.03), name


def test_more_bias_is_less_entropy():
    uniform = np.random.default_rng(3).random(30_000)
    found = [noise.assess((uniform < ones).astype(int)) for ones in (0.5, 0.65, 0.8, 0.95, 1.0)]
    entropies = [assessment.entropy for assessment in found]
    assert entropies == sorted(entropies, reverse=True)
    assert entropies[-1] == 0
    assert all(entropy == 0 for name, entropy in found[-1].original.items() if name != "longest repeated substring")


def test_inverted_bits_are_worth_the_same():
    bits = source(4, 30_000, 0.6)
    ours, other = noise.assess(bits).original, noise.assess(1 - bits).original
    assert ours == pytest.approx(
        {**other, "LZ78Y": ours["LZ78Y"], "MultiMMC": ours["MultiMMC"]}
    )  # they break ties upwards


def test_periodic_bits_have_none():
    found = noise.assess(np.arange(30_000) // 3 % 2).original
    assert found["most common value"] > 0.95
    for name in ("t-tuple", "longest repeated substring", "lag", "MultiMMC"):
        assert found[name] < 0.001, name
    # One bit before has been seen most often, and is followed by its like two times of three.
    assert found["LZ78Y"] == pytest.approx(math.log2(1.5), abs=0.02)


def test_symbols_are_also_assessed_as_bits():
    symbols = np.random.default_rng(5).integers(0, 16, 20_000)
    found = noise.assess(symbols, 4)
    assert set(found.bitstring) - set(found.original) == {"collision", "Markov", "compression"}
    assert found.original["most common value"] == pytest.approx(4, abs=0.2)
    stuck = noise.assess(symbols | 8, 4)  # one bit of four is always 1
    assert stuck.original["most common value"] == pytest.approx(3, abs=0.2)
    assert stuck.entropy < 3
    assert noise.bits_of(np.array([8, 3]), 4).tolist() == [1, 0, 0, 0, 0, 0, 1, 1]


def test_short_data_say_less_not_wrong():
    assert set(noise.assess(source(6, 200)).original) == {
        "most common value", "collision", "Markov", "t-tuple", "longest repeated substring",
        "multi most common in window", "lag", "MultiMMC", "LZ78Y",
    }  # fmt: skip
    for length in range(2, 40):
        assert 0 <= noise.assess(source(7, length)).entropy <= 1


# --------------------------------------------------------------------------------------------------------- restart test
def test_restarts_of_a_good_source_pass():
    found = noise.restart_test(source(8, 40_000).reshape(200, 200), 0.8)
    assert found.passed
    assert found.entropy == min(found.rows, found.columns, 0.8)
    assert found.most < found.cutoff


def test_the_same_sequence_after_each_restart_fails():
    """Rows are perfect by themselves: only the columns tell."""
    matrix = np.tile(source(9, 200), (200, 1))
    found = noise.restart_test(matrix, 0.8)
    assert (found.passed, found.entropy, found.most) == (False, 0, 200)


def test_one_bit_that_is_mostly_the_same_after_a_restart_fails():
    matrix = source(10, 40_000).reshape(200, 200)
    matrix[:180, 7] = 1
    assert not noise.restart_test(matrix, 0.8).passed
    found = noise.restart_test(matrix, 0.05)
    assert found.most < found.cutoff  # so much is expected of a source with little entropy


def test_half_of_the_entropy_is_too_little():
    assert noise.Restart(most=9, cutoff=10, rows=0.4, columns=0.9, initial=0.8).entropy == 0.4
    assert not noise.Restart(most=9, cutoff=10, rows=0.39, columns=0.9, initial=0.8).passed
    assert not noise.Restart(most=9, cutoff=10, rows=0.9, columns=0.39, initial=0.8).passed


def test_restart_cutoff_is_the_binomial_quantile():
    """P(X >= cutoff) <= 0.01 / 400 for 200 fair bits, and not for one less: exact sums of binomials."""
    found = noise.restart_test(source(11, 40_000).reshape(200, 200), 1.0)
    tail = [sum(math.comb(200, k) for k in range(c, 201)) / 2**200 for c in (found.cutoff, found.cutoff - 1)]
    assert tail[0] <= 0.01 / 400 < tail[1]


# ------------------------------------------------------------------------------------------------------------- the verb
def verb(capsys, *arguments):
    code = main(["noise", *map(str, arguments), "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def test_verb_judges_the_claim(tmp_path, capsys):
    good, bad = tmp_path / "good.bin", tmp_path / "bad.npy"
    good.write_bytes(np.packbits(source(12, 64_000).astype(np.uint8), bitorder="little").tobytes())
    np.save(bad, source(13, 64_000, 0.8))
    code, found, err = verb(capsys, good)
    assert (code, found["holds"], found["samples"]) == (0, True, 64_000)
    assert "64000 samples" in err
    assert found["min_entropy_per_bit"] == min(found["estimates"].values())
    assert found["gateware_cutoffs"] == {
        "repetition": health.repetition_cutoff(),
        "proportion": health.proportion_cutoff(),
    }
    assert found["cutoffs"]["repetition"] < found["gateware_cutoffs"]["repetition"]
    code, found, err = verb(capsys, bad)
    assert (code, found["holds"]) == (1, False)
    assert "less" in err
    assert found["cutoffs"]["repetition"] == health.repetition_cutoff(found["min_entropy_per_bit"])


def test_verb_reads_every_form_alike(tmp_path, capsys):
    bits = source(14, 8_000).astype(np.uint8)
    packed, plain, array = tmp_path / "a.bin", tmp_path / "b.bin", tmp_path / "c.npy"
    packed.write_bytes(np.packbits(bits, bitorder="little").tobytes())
    plain.write_bytes(bits.tobytes())
    np.save(array, bits.astype(bool))
    results = [verb(capsys, packed), verb(capsys, plain, "--bits-per-sample", 1), verb(capsys, array)]
    assert results[0] == results[1] == results[2]
    assert verb(capsys, packed, array)[1]["samples"] == 16_000


def test_verb_prints_a_table(tmp_path, capsys):
    np.save(tmp_path / "a.npy", source(15, 20_000))
    np.save(tmp_path / "r.npy", source(16, 20_000).reshape(100, 200))
    assert main(["noise", str(tmp_path / "a.npy"), "--restart", str(tmp_path / "r.npy")]) == 0
    out = capsys.readouterr().out
    for word in ("MultiMMC", "6.3.10", "restart test", "passed", "repetition count cut-off", "holds"):
        assert word in out


def test_verb_with_restarts_that_repeat_themselves(tmp_path, capsys):
    np.save(tmp_path / "a.npy", source(15, 20_000))
    (tmp_path / "r.bin").write_bytes(np.tile(source(17, 200), 100).astype(np.uint8).tobytes())
    np.save(tmp_path / "r.npy", np.tile(source(17, 200), 100))
    code, found, _ = verb(capsys, tmp_path / "a.npy", "--restart", tmp_path / "r.npy", "--restarts", 100)
    assert (code, found["restart"]["passed"], found["min_entropy_per_bit"], found["cutoffs"]) == (1, False, 0, None)


@pytest.mark.parametrize(
    ("name", "content", "arguments", "message"),
    [
        ("a.bin", b"", [], "empty"),
        ("a.bin", b"\0\1\2", ["--bits-per-sample", "1"], "sample 2 is 2, expected 0 to 1"),
        ("a.bin", b"\1", ["--bits-per-sample", "1"], "1000000, not 1"),
        ("a.npy", b"no array", [], "expected an array of NumPy"),
    ],
)
def test_verb_refuses(tmp_path, capsys, name, content, arguments, message):
    (tmp_path / name).write_bytes(content)
    assert main(["noise", str(tmp_path / name), *arguments]) == 1
    assert message in capsys.readouterr().err


def test_verb_refuses_more(tmp_path, capsys):
    np.save(tmp_path / "f.npy", np.array([0.5, 1.0]))
    np.save(tmp_path / "a.npy", source(18, 1_000))
    for arguments, code, message in (
        ([tmp_path / "f.npy"], 1, "whole numbers"),
        ([tmp_path / "none.bin"], 1, "none.bin"),
        ([tmp_path / "a.npy", "--restart", tmp_path / "a.npy", "--restarts", 7], 1, "not 7 restarts"),
        ([tmp_path / "a.npy", "--restarts", 1], 2, "2 or more"),
    ):
        assert main(["noise", *map(str, arguments)]) == code
        assert message in capsys.readouterr().err
