"""Reading measurements that others published: CSV, NPZ and HDF5. `open_files` takes any of them, Parquet too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dataset import Batch, Condition, DataError, Dataset, FirstRings, InMemory, Joined
from .table import ParquetFile

__all__ = ["CsvChips", "Hdf5Boards", "open_files", "read_npz"]

COUNTS, AXES = "data/ro_counts", "axis"
HDF5_SHAPE = "evaluation times x boards x temperatures x rings x repetitions"
NPZ_ARRAY, NPZ_CHIPS = "freq_hz", "chip_id"


def open_files(paths: Sequence[str | Path], rings: int | None = None) -> Dataset:
    """Files, or folders of CSV files, as one data set.

    Parameters
    ----------
    paths : sequence of paths
        ``.parquet`` (of this project), ``.npz``, ``.h5``/``.hdf5``, and ``.csv``/``.txt`` with one chip a file.
    rings : int, optional
        Use only so many rings of each chip.

    Raises
    ------
    DataError
        A file cannot be read, is of no known kind, or does not fit the others.
    """
    tables: list[Path] = []
    parts: list[Dataset] = []
    for path in map(Path, paths):
        if path.is_dir():
            found = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in (".csv", ".txt"))
            if not found:
                raise DataError(f"{path} is a folder without .csv or .txt files, one a chip")
            tables += found
            continue
        if not path.is_file():
            raise DataError(f"there is no file {path}")
        match path.suffix.lower():
            case ".csv" | ".txt":
                tables.append(path)
            case ".npz":
                parts.append(read_npz(path))
            case ".h5" | ".hdf5":
                parts.append(Hdf5Boards(path))
            case ".parquet":
                parts.append(ParquetFile(path))
            case other:
                raise DataError(
                    f"{path}: expected .parquet, .npz, .h5, .hdf5, .csv or .txt, not {other or 'no ending'}"
                )
    if tables:
        parts.append(CsvChips(tables))
    if not parts:
        raise DataError("no file was named")
    data = parts[0] if len(parts) == 1 else Joined(parts)
    return data if rings is None else FirstRings(data, rings)


class CsvChips(Dataset):
    """One file a chip, one ring a line, one read a column: the layout of the Virginia Tech data set.

    Numbers are separated by commas, semicolons or blanks; lines beginning with # are skipped. Files are read when their
    turn comes. Whole numbers are taken as counts, others as frequencies.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        names = [path.stem for path in paths]
        repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        self.paths = tuple(paths)
        self._ids = [str(path.with_suffix("")) if path.stem in repeated else path.stem for path in paths]
        self.name = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
        self.chips = len(paths)
        self.rings, self.reads = _read_csv(self.paths[0]).shape

    def raw(self, size: int) -> Iterator[Batch]:
        for first in range(0, self.chips, size):
            chips = [self._chip(path) for path in self.paths[first : first + size]]
            yield Batch(first, self._ids[first : first + size], np.stack(chips)[:, None])

    def _chip(self, path: Path) -> NDArray[Any]:
        values = _read_csv(path)
        if values.shape != (self.rings, self.reads):
            raise DataError(
                f"{path} has {values.shape[0]} rings of {values.shape[1]} reads, {self.paths[0]} has {self.rings} of "
                f"{self.reads}: expected one ring a line and one read a column in every file"
            )
        return values


def _read_csv(path: Path) -> NDArray[Any]:
    """Rings x reads."""
    rows: list[list[float]] = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}; expected a text file with one ring a line") from error
    for number, line in enumerate(lines, 1):
        cells = line.replace(",", " ").replace(";", " ").split()
        if not cells or cells[0].startswith("#"):
            continue
        try:
            rows.append([float(cell) for cell in cells])
        except ValueError as error:
            bad = str(error).rpartition(": ")[2]
            raise DataError(f"{path}, line {number}: {bad} is no number; expected one read a column") from error
        if len(rows[-1]) != len(rows[0]):
            raise DataError(f"{path}, line {number} has {len(rows[-1])} reads, the first ring has {len(rows[0])}")
    if not rows:
        raise DataError(f"{path} is empty; expected one ring a line, one read a column")
    values = np.array(rows)
    return values.astype(np.int64) if np.isfinite(values).all() and (values == np.rint(values)).all() else values


def read_npz(path: Path) -> InMemory:
    """The array ``freq_hz`` (chips x rings x reads) of an .npz file, and ``chip_id`` if it is there."""
    hint = f"expected an .npz file with the array {NPZ_ARRAY} (chips x rings x reads, in hertz)"
    try:
        with np.load(path, allow_pickle=False) as archive:
            if NPZ_ARRAY not in archive:
                raise DataError(f"{path} has {', '.join(archive) or 'no arrays'}; {hint}")
            values = archive[NPZ_ARRAY]
            ids = [str(chip) for chip in archive[NPZ_CHIPS].ravel()] if NPZ_CHIPS in archive else None
    except (OSError, ValueError, EOFError, AttributeError, TypeError) as error:
        raise DataError(f"cannot read {path} ({error}); {hint}") from error
    if values.ndim != 3:
        raise DataError(f"{path}: {NPZ_ARRAY} has shape {values.shape}; {hint}")
    return InMemory(values, ids, name=str(path))


class Hdf5Boards(Dataset):
    """An HDF5 file with the data set ``data/ro_counts`` and its axes under ``axis/``.

    The axes are told by their names (they contain "temp", "time" or "eval", "board"); a file without them keeps its
    conditions unnamed. Boards are read when their turn comes.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        counts = self._counts
        if counts.ndim != 5 or 0 in counts.shape or counts.dtype.kind not in "iuf":
            raise DataError(f"{path}: {COUNTS} has shape {counts.shape} of {counts.dtype}; expected {HDF5_SHAPE}")
        times, self.chips, temperatures, self.rings, self.reads = counts.shape
        axes = self._axes()
        windows = self._numbers(axes, ("time", "eval"), times)
        celsius = self._numbers(axes, ("temp",), temperatures)
        self.conditions = tuple(Condition(kelvin, None, window) for window in windows for kelvin in celsius)
        boards = next((axes[name] for name in axes if "board" in name and len(axes[name]) == self.chips), None)
        self._ids = [_text(entry) for entry in (range(self.chips) if boards is None else boards)]

    @cached_property
    def _file(self) -> Any:
        import h5py  # type: ignore[import-untyped]

        try:
            return h5py.File(self.name, "r")
        except OSError as error:
            raise DataError(f"cannot read {self.name}: {error}; expected an HDF5 file with {COUNTS}") from error

    @cached_property
    def _counts(self) -> Any:
        if COUNTS not in self._file or not hasattr(self._file[COUNTS], "shape"):
            raise DataError(f"{self.name} has no data set {COUNTS}; expected it with {HDF5_SHAPE}")
        return self._file[COUNTS]

    def _axes(self) -> dict[str, Any]:
        group = self._file.get(AXES)
        return {} if group is None else {name.lower(): np.atleast_1d(group[name][()]) for name in group}

    def _numbers(self, axes: dict[str, Any], names: Sequence[str], length: int) -> list[float | None]:
        for axis, values in axes.items():
            if any(name in axis for name in names):
                if values.shape != (length,) or values.dtype.kind not in "iuf":
                    raise DataError(
                        f"{self.name}: {AXES}/{axis} has shape {values.shape} of {values.dtype}, "
                        f"{COUNTS} needs {length} numbers; expected {HDF5_SHAPE}"
                    )
                return [float(value) for value in values]
        return [None] * length

    def raw(self, size: int) -> Iterator[Batch]:
        for first in range(0, self.chips, size):
            block = self._counts[:, first : first + size]
            values = np.moveaxis(block, 1, 0)  # boards x times x temperatures x rings x repetitions
            yield Batch(first, self._ids[first : first + size], values.reshape(len(values), -1, self.rings, self.reads))


def _text(entry: Any) -> str:
    return entry.decode() if isinstance(entry, bytes) else str(entry)
