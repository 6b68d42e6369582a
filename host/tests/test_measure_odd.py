"""Data as they come: few chips, few reads, odd rings, any type of number; each gives right figures or a clear word."""

import json

import h5py
import numpy as np
import pytest
from ringpair.cli import main
from ringpair.measure.bits import BitSums
from ringpair.measure.dataset import Condition, InMemory
from ringpair.measure.evaluate import Options, evaluate
from ringpair.measure.readers import open_files
from ringpair.measure.survey import Tables, survey
from ringpair.measure.table import write_parquet
from ringpair_protocol import puf

FIGURES = ("uniqueness", "reliability", "uniformity", "bit_aliasing_sd", "min_entropy_per_bit")
FAST = Options(replicates=30)


def counts(chips=24, rings=64, reads=20, seed=1):
    """Counts with a common pattern, independent rings and white noise."""
    rng = np.random.default_rng(seed)
    pattern = 0.0044 * np.random.default_rng(5).standard_normal(rings)
    ring = 1 + pattern + 0.005 * rng.standard_normal((chips, rings))
    values = 2300 * ring[:, :, None] * (1 + 2e-4 * rng.standard_normal((chips, rings, reads)))
    return np.floor(values + rng.random(values.shape)).astype(np.int64)


def in_range(found):
    for name in FIGURES:
        low, high = found[name + "_ci"]
        assert 0 <= low <= found[name] <= high <= 1, name
    assert 0 <= found["wrong_bits"] <= found["bits_read"]


@pytest.mark.parametrize("kind", ["uint16", "uint32", "int32", ">i4", "float32", "float64"])
def test_type_of_the_numbers_does_not_matter(kind):
    plain = evaluate(InMemory(counts()), FAST)["methods"]
    found = evaluate(InMemory(counts().astype(kind)), FAST)["methods"]
    for method in ("neighbor", "chain"):
        assert {name: plain[method][name] for name in FIGURES} == {name: found[method][name] for name in FIGURES}
    device = found["device"]
    assert device["wrong_bits"] == 0
    assert device["uniqueness"] == pytest.approx(plain["device"]["uniqueness"], abs=0.003)  # floats: rounded again


@pytest.mark.parametrize("kind", [np.uint16, np.uint32, np.int64])
def test_tables_are_exact_for_every_kind_of_integer(kind):
    values = counts(21, puf.RINGS, 18)
    sums = survey(InMemory(values.astype(kind)), 0)
    rows = values.sum(2).reshape(21, -1, puf.ROW)
    exact = (puf.ROW * rows << 26) // rows.sum(2, keepdims=True) - (1 << 26)
    assert sums.entries[0, 0].tolist() == exact.sum(0).ravel().tolist()
    table = Tables.learned(sums)
    assert table.entries[0, 0].tolist() == list(puf.learn_layout(1, values.sum(2).tolist()).entries)


def test_half_precision_does_not_overflow():
    """Nor is anything rounded to it on the way."""
    values = (counts(reads=100) * 10).astype(np.float16)
    found = evaluate(InMemory(values), FAST)
    assert found["mean_value"] == pytest.approx(23_000, rel=0.01)
    assert found == evaluate(InMemory(values.astype(np.float64)), FAST)


@pytest.mark.parametrize("chips", [2, 3, 7, 8, 9, 20])
@pytest.mark.parametrize("reads", [2, 16, 17])
def test_few_chips_and_few_reads(chips, reads):
    found = evaluate(InMemory(counts(chips, reads=reads)), Options(replicates=100))
    for figures in found["methods"].values():
        in_range(figures)
    assert ("too few to learn a layout table" in " ".join(found["notes"])) == (chips < 8)
    total = found["entropy"] and found["entropy"].get("total")
    assert (total is None) == (chips < 8)
    judged = {2: 1, 16: 8, 17: 1}[reads]
    assert found["methods"]["device"]["bits_read"] == chips * 64 * judged


def test_one_read_says_nothing_of_reliability():
    found = evaluate(InMemory(counts(reads=1)), Options(replicates=30, failure=True))
    for figures in found["methods"].values():
        assert (figures["reliability"], figures["reliability_ci"], figures["steadiness"]) == (None, None, None)
        assert (figures["wrong_bits"], figures["bits_read"], figures["wrong_bit_rate"]) == (0, 0, None)
        assert 0 < figures["uniqueness"] < 0.55
    assert "one read of each ring: nothing can be said of reliability" in found["notes"]
    assert found["key_failure"]["measured"] == []
    json.dumps(found, allow_nan=False)


def test_one_chip_says_nothing_of_uniqueness():
    found = evaluate(InMemory(counts(1)), FAST)
    for figures in found["methods"].values():
        assert (figures["uniqueness"], figures["min_entropy_per_bit"]) == (None, None)
        assert figures["reliability"] > 0.9
    assert "one chip: nothing can be said of uniqueness, aliasing and entropy" in found["notes"]
    assert "1 chip is too few to learn a layout table by cross-validation: none is used" in found["notes"]


def test_rings_that_do_not_differ_are_no_error():
    values = np.full((10, 32, 20), 2000) + np.arange(10)[:, None, None]
    found = evaluate(InMemory(values), FAST)
    assert found["methods"]["chain"]["uniqueness"] == 0
    assert found["entropy"] is None
    json.dumps(found, allow_nan=False)


def test_more_folds_than_pairs_of_chips():
    found = evaluate(InMemory(counts(9)), Options(("device",), folds=9, replicates=30))
    assert "9 folds would leave no two chips of 9 in one fold to compare: 4 are used" in found["notes"]
    assert found["methods"]["device"]["layout_folds"] == 4
    in_range(found["methods"]["device"])


def test_a_broken_ring_is_pointed_out():
    values = counts()
    assert not any("broken" in note for note in evaluate(InMemory(values), FAST)["notes"])
    values[5, 17] //= 2
    notes = evaluate(InMemory(values, [f"c{n}" for n in range(24)]), FAST)["notes"]
    assert any(note.startswith("ring 17 of chip c5 is -4") and "if it is broken" in note for note in notes), notes


@pytest.mark.parametrize(
    ("rings", "method", "message"),
    [
        (60, "device", "has 60 rings a chip; the device's quantizer needs rows of 16: use the first 48 (--rings)"),
        (10, "device", "has 10 rings a chip; the device's quantizer needs rows of 16: measure at least 16"),
        (1, "chain", "has one ring a chip; comparing neighbors needs two"),
    ],
)
def test_odd_rings_are_refused_by_those_who_cannot_use_them(tmp_path, capsys, rings, method, message):
    np.savez(tmp_path / "a.npz", freq_hz=counts(rings=rings))
    assert main(["metrics", str(tmp_path / "a.npz"), "--method", method, "--json"]) == 1
    assert message in json.loads(capsys.readouterr().out)["error"]["message"]


@pytest.mark.parametrize("rings", [2, 5, 60])
def test_odd_rings_without_a_device(tmp_path, capsys, rings):
    np.savez(tmp_path / "a.npz", freq_hz=counts(rings=rings))
    assert main(["metrics", str(tmp_path / "a.npz"), "--replicates", "30", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["methods"].keys() == {"neighbor", "chain"}
    assert any("rows of 16" in note for note in found["notes"])
    assert found["methods"]["neighbor"]["bits"] == rings // 2
    for figures in found["methods"].values():
        in_range(figures)


def slopes(at, curve=0.0):
    """Die figures of rings with known slopes at some conditions."""
    rng = np.random.default_rng(3)
    ring = 1 + 0.005 * rng.standard_normal((30, 1, 64))
    kelvin, volt = -4e-4 + 1.2e-5 * rng.standard_normal((30, 64)), 1.0 + 7.4e-3 * rng.standard_normal((30, 64))
    change = np.stack([1 + (t - 25) * kelvin + (v - 1.2) * volt for t, v in at], 1)
    values = (1e6 * ring * change)[..., None].repeat(2, 3)
    data = InMemory(values, conditions=tuple(Condition(t, v) for t, v in at))
    return evaluate(data, Options(("chain",), replicates=0))


def test_slopes_when_temperature_and_voltage_were_noted_as_they_were():
    """No two conditions agree in anything: both slopes come from all of them together."""
    die = slopes([(0.4, 1.199), (24.7, 1.2), (60.3, 1.201), (25.2, 1.141), (24.9, 1.262)])["die"]
    assert die["temperature_coefficient"] == pytest.approx(-4e-4, rel=0.02)
    assert die["temperature_coefficient_sd"] == pytest.approx(1.2e-5, rel=0.05)
    assert die["voltage_coefficient"] == pytest.approx(1, rel=0.02)
    assert die["voltage_coefficient_sd"] == pytest.approx(7.4e-3, rel=0.05)


def test_slopes_that_cannot_be_told_apart():
    found = slopes([(25.0, 1.2), (60.0, 1.14)])
    assert (found["die"]["temperature_coefficient"], found["die"]["voltage_coefficient"]) == (None, None)
    assert "temperature and voltage change together: their coefficients cannot be told apart" in found["notes"]
    steady = slopes([(25.0, 1.2), (25.5, 1.203)])
    assert steady["die"]["temperature_coefficient"] is None
    assert not any("together" in note for note in steady["notes"])
    only = slopes([(0.0, 1.2), (25.0, 1.203), (60.0, 1.2)])["die"]
    assert only["temperature_coefficient"] == pytest.approx(-4e-4, rel=0.1)
    assert only["voltage_coefficient"] is None


def test_sensitivity_from_one_file_a_condition(tmp_path, capsys):
    """As `ringpair characterize` writes them: boards in another order, one temperature a file."""
    values, names = counts(12), [f"board {n}" for n in range(12)]
    slope = -4e-4 + 1.2e-5 * np.random.default_rng(2).standard_normal((12, 64, 1))
    files = []
    for number, celsius in enumerate((25.0, 0.0, 60.0)):
        order = np.random.default_rng(number).permutation(12)
        read = np.rint(100 * values * (1 + (celsius - 25) * slope)).astype(np.int64)[order]
        files.append(tmp_path / f"at{celsius:g}.parquet")
        own = InMemory(read, [names[chip] for chip in order], conditions=(Condition(celsius, 1.2, 4e-5),))
        write_parquet(files[-1], own)
    assert main(["metrics", *map(str, files), "--replicates", "30", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["chips"] == 12
    assert found["conditions"] == ["25 °C, 1.2 V, 40 µs", "0 °C, 1.2 V, 40 µs", "60 °C, 1.2 V, 40 µs"]
    assert found["die"]["temperature_coefficient"] == pytest.approx(-4e-4, rel=0.02)
    assert len(found["methods"]["device"]["reliability_by_condition"]) == 3
    assert main(["metrics", *map(str, files), "--replicates", "0"]) == 0
    assert "temperature coefficient" in capsys.readouterr().out


def test_many_rings_do_not_take_much_memory(tmp_path, monkeypatch):
    """The 217 Artix-7 boards have thousands of rings: divided in fewer ways, worked on in parts."""
    sizes = []
    empty = BitSums.empty.__func__

    def noted(cls, bits, folds, *rest, **more):
        sizes.append(bits * folds)
        return empty(cls, bits, folds, *rest, **more)

    monkeypatch.setattr(BitSums, "empty", classmethod(noted))
    monkeypatch.setattr("ringpair.measure.evaluate.PARTITION_SUMS", 31 * 4 * 6592 * 3)
    values = counts(10, 6592, 3)[None, :, None]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data/ro_counts"] = np.concatenate([values, values + 1], 2)
        file["axis/temperature"] = [25, 60]
    data = open_files([tmp_path / "a.h5"])
    found = evaluate(data, Options(("device",), replicates=30, die=False))
    assert found["methods"]["device"]["layout_partitions"] == 3
    assert max(sizes) == 3 * 4 * 6592
    monkeypatch.setattr("ringpair.measure.bits.ALIASING_ROWS", 1 << 60)
    again = evaluate(data, Options(("device",), replicates=30, die=False))["methods"]["device"]
    for name in ("min_entropy_per_bit_ci", "bit_aliasing_sd_corrected_ci"):
        assert again[name] == found["methods"]["device"][name]


def test_other_windows_do_not_change_the_scale_of_the_nominal_one():
    """Short windows count less: the device's counts are those of the nominal window."""
    values = counts(12)
    at = tuple(Condition(25.0, 1.2, 1e-5 * window) for window in (1, 100))
    both = InMemory(np.stack([values, 100 * values], 1), conditions=at)
    alone = InMemory(100 * values, conditions=at[1:])
    assert both.nominal == 1
    found, single = (evaluate(data, Options(("device",), replicates=0)) for data in (both, alone))
    assert found["mean_value"] == single["mean_value"] == pytest.approx(230_000, rel=0.01)
    shares = [figures["methods"]["device"]["bit_shares"] for figures in (found, single)]
    assert np.mean(shares[0]) == pytest.approx(np.mean(shares[1]), abs=0.01)
    assert found["methods"]["device"]["wrong_bits"] == 0
