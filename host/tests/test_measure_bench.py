"""The benchmarks of the metrics: memory that does not grow with the boards, values that are pypuf's."""

import xml.etree.ElementTree as ET
from itertools import pairwise

import bench_measure
import bench_scale
import check_intervals
import numpy as np
import pyarrow as pa
import pytest
from ringpair.measure.dataset import InMemory
from ringpair.measure.readers import open_files
from ringpair.measure.table import write_parquet


def test_memory_does_not_grow_with_the_number_of_boards(tmp_path):
    """Of whole processes, libraries included; 2 000 boards more would be 31 MB as counts, 61 MB as floats."""
    peaks = []
    for boards in (500, 2500):
        path = tmp_path / f"{boards}.parquet"
        bench_scale.make(path, boards)
        found = bench_scale.measured(path, "--replicates", "20")
        assert found.boards == boards
        assert found.figures["methods"]["device"]["uniqueness"] > 0.49
        peaks.append(found.peak_mib)
    assert peaks[1] < peaks[0] + 20, peaks
    assert peaks[1] < bench_scale.LIMIT_MIB


def test_reading_keeps_nothing_of_a_file(tmp_path):
    """46 MB that cannot be compressed, in twelve groups of rows."""
    values = np.random.default_rng(0).integers(1, 1 << 32, (3000, 192, 20), np.uint32)
    write_parquet(tmp_path / "a.parquet", InMemory(values))
    del values
    before, most = pa.total_allocated_bytes(), 0
    for _ in open_files([tmp_path / "a.parquet"]).batches():
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 25e6


def test_modeled_boards_are_the_same_in_any_batches():
    boards = bench_scale.ModeledBoards(7, 32, 3)
    whole = next(boards.batches()).values
    parts = np.concatenate([batch.values for batch in boards.batches(2)])
    np.testing.assert_array_equal(whole, parts)
    assert whole.shape == (7, 1, 32, 3)


def test_a_run_that_fails_is_not_measured(tmp_path):
    (tmp_path / "a.parquet").write_text("no")
    with pytest.raises(SystemExit, match="failed with 1"):
        bench_scale.measured(tmp_path / "a.parquet")


def test_values_are_those_of_pypuf(monkeypatch):
    pytest.importorskip("pypuf", reason="pypuf is not installed: make bench does that")
    result = bench_measure.compared(40, 96)
    assert len(result.values) == 4
    assert result.differing == []
    right = bench_measure.ours
    monkeypatch.setattr(bench_measure, "ours", lambda reference, reads: right(reference[1:], reads[1:]))
    assert len(bench_measure.compared(40, 96).differing) >= 3


def test_verdict_needs_equal_values_and_a_factor(monkeypatch, capsys):
    def result(boards, pypuf, ours=0.5):
        return bench_measure.Result(boards, 1.0, pypuf, {"uniqueness": (ours, 0.5)})

    for made, code in (
        (result(2000, 20.1), 0),
        (result(2000, 19.9), 1),
        (result(100, 1.0), 0),
        (result(100, 1.0, 0.6), 1),
    ):
        monkeypatch.setattr(bench_measure, "compared", lambda boards, bits, made=made: made)
        monkeypatch.setattr("sys.argv", ["bench_measure.py", "--boards", "100"])
        assert bench_measure.main() == code
    assert "differs" in capsys.readouterr().out


def test_growth_is_drawn():
    results = [bench_measure.Result(boards, boards / 1e4, boards**2 / 1e5, {}) for boards in (125, 500, 2000)]
    drawing = ET.fromstring(bench_measure.draw(results, 1024))
    lines = drawing.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 2
    steps = [[float(point.split(",")[1]) for point in line.attrib["points"].split()] for line in lines]
    ours, pypuf = ([a - b for a, b in pairwise(line)] for line in steps)
    assert pypuf[0] == pytest.approx(2 * ours[0], rel=0.01)


def test_intervals_hold_the_truth(monkeypatch):
    """A few populations; the script says more of more of them."""
    held = check_intervals.coverage(12, 30, 64)
    assert len(held) > 30
    shares = [share for _, _, share in held.values()]
    assert min(shares) >= 0.5
    assert np.mean(shares) > 0.85
    right = check_intervals.figures

    def narrow(data):
        return {name: (value, [value - 1e-9, value + 1e-9]) for name, (value, _) in right(data).items()}

    monkeypatch.setattr(check_intervals, "figures", narrow)
    assert np.mean([share for _, _, share in check_intervals.coverage(4, 30, 64).values()]) < 0.2
