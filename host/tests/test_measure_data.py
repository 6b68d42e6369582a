"""Data sets: every file format gives back the numbers that were written, and says clearly what is wrong with a file."""

import json

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from ringpair.measure.dataset import Condition, DataError, InMemory, Meta
from ringpair.measure.prints import Fingerprints
from ringpair.measure.readers import open_files
from ringpair.measure.table import write_parquet

RNG = np.random.default_rng(7)
COUNTS = RNG.integers(2000, 2600, (7, 32, 5))
AT = (Condition(25.0, 1.2, 42.67e-6), Condition(60.0, 1.14, 42.67e-6), Condition(0.0, None, None))


def everything(data, size=None):
    batches = list(data.batches(size))
    assert [batch.first for batch in batches] == list(np.cumsum([0] + [len(batch.ids) for batch in batches[:-1]]))
    return [name for batch in batches for name in batch.ids], np.concatenate([batch.values for batch in batches])


@pytest.mark.parametrize("size", [1, 3, 7, 256])
def test_parquet_gives_back_what_was_written(tmp_path, size):
    values = RNG.integers(1, 70_000, (300, 3, 4, 2))
    meta = Meta("simulated", "ringpair", {"gateware": "0123abcd"})
    names = [f"board {n}" for n in range(300)]
    write_parquet(tmp_path / "a.parquet", InMemory(values, names, conditions=AT, meta=meta))
    data = open_files([tmp_path / "a.parquet"])
    ids, read = everything(data, size)
    assert ids == names
    np.testing.assert_array_equal(read, values)
    assert (data.chips, data.rings, data.reads, data.conditions, data.meta) == (300, 4, 2, AT, meta)
    assert data.nominal == 0


def test_parquet_keeps_frequencies_exactly(tmp_path):
    values = RNG.normal(200.1, 1, (3, 4, 2))
    write_parquet(tmp_path / "a.parquet", InMemory(values))
    np.testing.assert_array_equal(everything(open_files([tmp_path / "a.parquet"]))[1][:, 0], values)


def test_parquet_of_others_and_cut_files(tmp_path):
    path = tmp_path / "a.parquet"
    write_parquet(path, InMemory(COUNTS[:, None].repeat(3, 1), conditions=AT))
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({}), path)
    with pytest.raises(DataError, match="not written by ringpair"):
        open_files([path])
    pq.write_table(table.slice(0, 20), path)
    with pytest.raises(DataError, match=r"has 20 rows: expected 3 conditions for each chip; it was cut"):
        open_files([path])
    order = [0, 1, 2, 4, 3, 5, *range(6, 21)]
    pq.write_table(table.take(order), path)
    with pytest.raises(DataError, match=r"chip 1 was measured at 60 °C, .*expected 25 °C.*every chip needs the same"):
        everything(open_files([path]))
    head = json.loads(table.schema.metadata[b"ringpair"]) | {"level": 2}
    pq.write_table(table.replace_schema_metadata({b"ringpair": json.dumps(head)}), path)
    with pytest.raises(DataError, match="level 2, this version reads level 1"):
        open_files([path])
    path.write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"cannot read .*expected a Parquet file"):
        open_files([path])


@pytest.mark.parametrize("separator", [",", ";", " ", "\t", ", "])
def test_csv_one_file_a_chip(tmp_path, separator):
    for chip, values in enumerate(COUNTS):
        lines = ["# ring a line", *(separator.join(map(str, ring)) for ring in values)]
        (tmp_path / f"D{chip:03}.csv").write_text("\n".join(lines) + "\n")
    data = open_files([tmp_path])
    ids, read = everything(data, 2)
    assert ids == [f"D{chip:03}" for chip in range(7)]
    np.testing.assert_array_equal(read[:, 0], COUNTS)
    assert read.dtype.kind == "i"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2\n3 x\n", "line 2: 'x' is no number; expected one read a column"),
        ("1 2\n3\n", "line 2 has 1 reads, the first ring has 2"),
        ("# nothing\n", "is empty; expected one ring a line"),
        ("1 2\n3 0\n", r"chip b, ring 1, read 1 is 0; expected counts or frequencies above zero"),
        ("1 2\n3 nan\n", r"chip b, ring 1, read 1 is not a number"),
        ("1 2\n3 inf\n", r"chip b, ring 1, read 1 is inf"),
        ("1 2\n3.5 0\n", r"chip b, ring 1, read 1 is 0.0"),
        ("1 2\n-3 4\n", r"chip b, ring 1, read 0 is -3"),
        ("1 2 3\n3 4 5\n", "has 2 rings of 3 reads, .*a.csv has 2 of 2"),
    ],
)
def test_csv_errors_name_the_place(tmp_path, text, message):
    (tmp_path / "a.csv").write_text("1 2\n3 4\n")
    (tmp_path / "b.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        everything(open_files([tmp_path / "a.csv", tmp_path / "b.csv"]))


def test_npz(tmp_path):
    np.savez(tmp_path / "a.npz", freq_hz=COUNTS, chip_id=np.arange(7) * 2)
    ids, read = everything(open_files([tmp_path / "a.npz"], rings=16))
    assert ids == ["0", "2", "4", "6", "8", "10", "12"]
    np.testing.assert_array_equal(read[:, 0], COUNTS[:, :16])
    np.savez(tmp_path / "b.npz", freq=COUNTS)
    with pytest.raises(DataError, match=r"has freq; expected an .npz file with the array freq_hz"):
        open_files([tmp_path / "b.npz"])
    np.savez(tmp_path / "c.npz", freq_hz=COUNTS[0])
    with pytest.raises(DataError, match=r"freq_hz has shape \(32, 5\)"):
        open_files([tmp_path / "c.npz"])
    np.savez(tmp_path / "c.npz", freq_hz=COUNTS, chip_id=np.arange(6))
    with pytest.raises(DataError, match=r"chip_id has 6 chips, freq_hz 7"):
        open_files([tmp_path / "c.npz"])
    for bad in (b"no", (tmp_path / "a.npz").read_bytes()[:500], b""):
        (tmp_path / "d.npz").write_bytes(bad)
        with pytest.raises(DataError, match=r"cannot read .*d.npz"):
            open_files([tmp_path / "d.npz"])
    np.save(tmp_path / "e.npy", COUNTS)
    (tmp_path / "e.npy").rename(tmp_path / "e.npz")
    with pytest.raises(DataError, match=r"cannot read .*e.npz .*expected an .npz file"):
        open_files([tmp_path / "e.npz"])
    with pytest.raises(DataError, match="has 32 rings a chip; 33 cannot be taken"):
        open_files([tmp_path / "a.npz"], rings=33)


def test_hdf5_of_five_axes(tmp_path):
    values = RNG.integers(1000, 9000, (2, 4, 3, 16, 5))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data/ro_counts"] = values
        file["axis/evaluation_time"] = [1e-5, 1e-3]
        file["axis/temperature"] = [5, 25, 55]
        file["axis/board"] = [b"b0", b"b1", b"b2", b"b3"]
    data = open_files([tmp_path / "a.h5"])
    ids, read = everything(data, 3)
    assert ids == ["b0", "b1", "b2", "b3"]
    assert (data.chips, data.rings, data.reads, len(data.conditions)) == (4, 16, 5, 6)
    assert data.conditions[data.nominal] == Condition(25.0, None, 1e-3)
    np.testing.assert_array_equal(read[2, 4], values[1, 2, 1])


@pytest.mark.parametrize("kind", ["<i4", ">i4", "<f4", "<f2", "<u2", "<f8", "fortran"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_of_any_type_is_read_in_batches(tmp_path, kind, save):
    values = np.asfortranarray(COUNTS) if kind == "fortran" else COUNTS.astype(kind)
    save(tmp_path / "a.npz", freq_hz=values)
    data = open_files([tmp_path / "a.npz"])
    for size in (1, 3, 7):
        np.testing.assert_array_equal(everything(data, size)[1][:, 0], values)
    narrow = values.dtype.kind == "f" and values.dtype.itemsize < 8
    assert everything(data)[1].dtype == (np.float64 if narrow else values.dtype.newbyteorder("="))


def test_npz_that_is_damaged_inside(tmp_path):
    np.savez(tmp_path / "a.npz", freq_hz=COUNTS)
    data = open_files([tmp_path / "a.npz"])
    damaged = bytearray((tmp_path / "a.npz").read_bytes())
    damaged[2000] ^= 1
    (tmp_path / "a.npz").write_bytes(damaged)
    with pytest.raises(DataError, match=r"Bad CRC.*the file is gone, was cut short or is damaged"):
        everything(data)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("data/counts", np.ones((1, 2, 1, 3, 4)), "has no data set data/ro_counts"),
        ("data/ro_counts", np.ones((2, 1, 3, 4)), r"shape \(2, 1, 3, 4\).*expected evaluation times x boards"),
    ],
)
def test_hdf5_of_another_shape(tmp_path, name, value, message):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[name] = value
    with pytest.raises(DataError, match=message):
        open_files([tmp_path / "a.h5"])


def test_hdf5_with_an_axis_of_another_length(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data/ro_counts"] = np.ones((1, 2, 3, 4, 5), int)
        file["axis/temperatures"] = [5, 25]
    with pytest.raises(DataError, match=r"axis/temperatures has shape \(2,\).*needs 3 numbers"):
        open_files([tmp_path / "a.h5"])


def test_duplicates_by_name_and_by_value():
    def check(data, order):
        """Summed by parts, in any order."""
        parts = [Fingerprints() for _ in range(7)]
        for part, batch in zip(parts, data.batches(1), strict=True):
            part.add(batch)
        sum((parts[number] for number in order), Fingerprints()).check(data)

    same = COUNTS.copy()
    same[5] = same[2]
    for order in (range(7), (6, 1, 5, 2, 0, 4, 3)):
        with pytest.raises(DataError, match="chip a comes twice; leave one of the two out"):
            check(InMemory(COUNTS, list("abcdefa")), order)
        with pytest.raises(DataError, match="chip 5 has exactly the reads of chip 2"):
            check(InMemory(same), order)
        check(InMemory(COUNTS), order)


def test_unknown_files(tmp_path):
    (tmp_path / "a.xlsx").write_text("")
    for path, message in (
        (tmp_path / "a.xlsx", "expected .parquet, .npz, .h5"),
        (tmp_path / "no.npz", "there is no file"),
        (tmp_path, "is a folder without .csv"),
    ):
        with pytest.raises(DataError, match=message):
            open_files([path])
    with pytest.raises(DataError, match="no file was named"):
        open_files([])
    with pytest.raises(DataError, match="silicon must be one of"):
        Meta("real")
    with pytest.raises(DataError, match=r"expected numbers of shape .* got shape \(3,\)"):
        InMemory(np.ones(3))
