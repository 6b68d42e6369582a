"""Several files as one: other chips under the same conditions, the same chips under others; and pieces of them."""

import json
import pickle

import h5py
import numpy as np
import pytest
from ringpair.cli import main
from ringpair.measure.dataset import Condition, DataError, FirstRings, InMemory, Meta
from ringpair.measure.joined import Conditions, combined
from ringpair.measure.readers import open_files
from ringpair.measure.table import write_parquet

RNG = np.random.default_rng(7)
COUNTS = RNG.integers(2000, 2600, (7, 32, 5))
NAMES = list("abcdefg")
ROOM, WARM, COLD, LOW = (Condition(t, v, 42.67e-6) for t, v in ((25.0, 1.2), (60.0, 1.2), (0.0, 1.2), (25.0, 1.14)))


def everything(data, size=None):
    batches = list(data.batches(size))
    assert [batch.first for batch in batches] == list(np.cumsum([0] + [len(batch.ids) for batch in batches[:-1]]))
    return [name for batch in batches for name in batch.ids], np.concatenate([batch.values for batch in batches])


def part(name, values=COUNTS, ids=NAMES, at=ROOM, **more):
    return InMemory(values, ids, name=name, conditions=(at,), **more)


def test_other_chips_follow_one_another():
    data = combined([part("a"), part("b", COUNTS + 1, [f"x{n}" for n in range(7)])])
    ids, read = everything(data, 4)
    assert (len(ids), data.chips, data.names()) == (14, 14, ids)
    np.testing.assert_array_equal(read[7:, 0], COUNTS + 1)
    with pytest.raises(DataError, match="b has rings 16, a has 32: evaluate them one by one"):
        combined([part("a"), part("b", COUNTS[:, :16])])
    with pytest.raises(DataError, match="b has reads 4, a has 5: evaluate them one by one"):
        combined([part("a"), part("b", COUNTS[:, :, :4])])
    with pytest.raises(DataError, match="b and a have different floorplans"):
        combined([part("a"), part("b", meta=Meta("simulated", "ringpair"))])


def test_chips_without_names_are_called_by_their_file(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", freq_hz=COUNTS)
    np.savez(tmp_path / "b.npz", freq_hz=COUNTS + 1)
    data = open_files([tmp_path / "a.npz", tmp_path / "b.npz"])
    assert everything(data)[0] == [f"{tmp_path / name}.npz:{n}" for name in "ab" for n in range(7)]
    arguments = ["metrics", "--method", "chain", "--replicates", "0", "--json"]
    assert main([*arguments, str(tmp_path / "a.npz"), str(tmp_path / "b.npz")]) == 0
    assert json.loads(capsys.readouterr().out)["chips"] == 14
    np.savez(tmp_path / "b.npz", freq_hz=COUNTS[::-1])
    assert main([*arguments, str(tmp_path / "a.npz"), str(tmp_path / "b.npz")]) == 1
    assert "b.npz:0 has exactly the reads of chip" in capsys.readouterr().err


def test_same_chips_at_other_temperatures_are_conditions():
    parts = [part("a"), part("b", COUNTS + 1, at=WARM), part("c", COUNTS + 2, at=LOW)]
    data = combined(parts)
    ids, read = everything(data, 3)
    assert (ids, data.chips, data.conditions, data.notes) == (NAMES, 7, (ROOM, WARM, LOW), ())
    assert data.nominal == 0
    np.testing.assert_array_equal(read, np.stack([COUNTS, COUNTS + 1, COUNTS + 2], 1))


def test_other_order_missing_chips_and_fewer_reads():
    order = [6, 2, 4, 0, 5, 1]
    warm = part("b", COUNTS[order, :, :4] + 1, [NAMES[chip] for chip in order], WARM)
    data = combined([part("a"), warm, part("c", COUNTS[1:] + 2, NAMES[1:], COLD)])
    ids, read = everything(data, 2)
    assert ids == ["b", "c", "e", "f", "g"]
    chips = [NAMES.index(name) for name in ids]
    np.testing.assert_array_equal(read, np.stack([(COUNTS + add)[chips, :, :4] for add in range(3)], 1))
    assert data.notes == (
        "2 chips were not measured under all conditions and are left out",
        "the first 4 reads of each condition are used, as one file has no more",
    )


def test_files_of_both_kinds():
    other = [f"x{n}" for n in range(7)]
    parts = [
        part("a"),
        part("b", COUNTS + 1, at=WARM),
        part("c", COUNTS + 2, other),
        part("d", COUNTS + 3, other, WARM),
    ]
    ids, read = everything(combined(parts))
    assert ids == NAMES + other
    np.testing.assert_array_equal(read[7:], np.stack([COUNTS + 2, COUNTS + 3], 1))


def test_nearly_the_same_condition_is_the_same_for_other_chips_only():
    near = Condition(26.5, 1.205, 42.67e-6)
    data = combined([part("a"), part("b", COUNTS + 1, [f"x{n}" for n in range(7)], near)])
    assert (data.chips, data.conditions) == (14, (ROOM,))
    assert data.notes == (
        "chips measured at 26.5 °C, 1.205 V, 42.67 µs are taken as measured at 25 °C, 1.2 V, 42.67 µs",
    )
    assert combined([part("a"), part("b", COUNTS + 1, at=near)]).conditions == (ROOM, near)


def test_files_that_do_not_fit():
    with pytest.raises(
        DataError, match=r"b was measured at 60 °C, .*a at 25 °C, .*no chip in common: evaluate them one"
    ):
        combined([part("a"), part("b", COUNTS + 1, [f"x{n}" for n in range(7)], WARM)])
    nameless = InMemory(COUNTS, name="b", conditions=(WARM,))
    with pytest.raises(DataError, match=r"b has no names of chips, so which is which .* 25 °C, .* and 60 °C"):
        combined([part("a"), nameless])
    with pytest.raises(DataError, match="b: chip a comes twice"):
        combined([part("a"), part("b", COUNTS + 1, ["a", *NAMES[:-1]], WARM)])
    both = InMemory(COUNTS[:, None].repeat(2, 1), NAMES, name="b", conditions=(WARM, ROOM))
    with pytest.raises(DataError, match=r"two of these files have reads at 25 °C, 1.2 V, 42.67 µs: leave one"):
        combined([part("a"), both])


def test_chips_in_another_order_need_memory(monkeypatch):
    monkeypatch.setattr("ringpair.measure.joined.REORDER_BYTES", 100)
    with pytest.raises(DataError, match="b has its chips in another order than a, and is too large to be sorted"):
        combined([part("a"), part("b", COUNTS[::-1] + 1, NAMES[::-1], WARM)])
    combined([part("a"), part("b", COUNTS + 1, at=WARM)])


def test_metadata_of_each_file_is_kept():
    metas = [Meta(extra={"date": day}) for day in "12"]
    data = combined([part("a", meta=metas[0]), part("b", COUNTS + 1, at=WARM, meta=metas[1])])
    assert data.meta.extra == {"a": {"date": "1"}, "b": {"date": "2"}}
    mixed = combined([part("a", meta=Meta("simulated")), part("b", COUNTS + 1, list("tuvwxyz"), meta=Meta("measured"))])
    assert mixed.meta.silicon == "mixed"


def written(tmp_path, kind):
    """A data set of 600 chips in files of a kind."""
    values = RNG.integers(1000, 9000, (600, 16, 3))
    names = [f"chip {n}" for n in range(600)]
    if kind == "csv":
        for name, rings in zip(names, values, strict=True):
            np.savetxt(tmp_path / f"{name}.csv", rings, "%d", delimiter=",")
        return [tmp_path]
    if kind == "hdf5":
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["data/ro_counts"] = values.swapaxes(0, 1).reshape(2, 8, 600, 3).transpose(0, 2, 1, 3)[:, :, None]
            file["axis/boards"] = [name.encode() for name in names]
        return [tmp_path / "a.h5"]
    paths = [tmp_path / f"{number}.{kind}" for number in range(2)]
    for number, path in enumerate(paths):
        own = slice(number, None, 2)
        if kind == "npz":
            np.savez(path, freq_hz=values[own])
        elif kind == "parquet":
            at = (ROOM, WARM)
            write_parquet(path, InMemory(np.stack([values[own], values[own] + 1], 1), names[own], conditions=at))
        else:  # nothing but the conditions differs
            path = paths[number] = path.with_suffix(".parquet")
            write_parquet(path, InMemory(values + number, names, conditions=((ROOM, WARM)[number],)))
    return paths


@pytest.mark.parametrize("kind", ["csv", "npz", "hdf5", "parquet", "conditions"])
@pytest.mark.parametrize("rings", [None, 5])
def test_pieces_are_the_whole_also_when_they_were_sent_elsewhere(tmp_path, kind, rings):
    data = open_files(written(tmp_path, kind), rings)
    assert data.chips == 600
    assert isinstance(data, FirstRings) == (rings is not None)
    if kind == "conditions":
        assert isinstance(data.source if rings else data, Conditions)
    ids, values = everything(data)
    assert data.names() == ids
    for size, most in ((100, 6), (1000, 6 if kind == "csv" else 2)):
        pieces = pickle.loads(pickle.dumps(data.pieces(size)))
        assert len(pieces) >= (2 if kind != "csv" else 1) if size == 100 and kind != "hdf5" else len(pieces) <= most
        at = 0
        for first, piece in pieces:
            names, found = everything(piece, 64)
            assert (first, piece.chips, piece.conditions) == (at, len(names), data.conditions)
            assert names == ids[first : first + len(names)]
            assert piece.names() == names
            np.testing.assert_array_equal(found, values[first : first + len(names)])
            at += len(names)
        assert at == 600
