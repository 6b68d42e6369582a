"""Reading measurements that others published: CSV, NPZ and HDF5. `open_files` takes any of them, Parquet too."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foreign import reading
from .dataset import Batch, Condition, DataError, Dataset, FirstRings, Piece
from .joined import combined
from .table import ParquetFile

__all__ = ["CsvChips", "Hdf5Boards", "NpzChips", "open_files"]

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
    named: set[Path] = set()
    for path in map(Path, paths):
        if path.resolve() in named:
            raise DataError(f"{path} is named twice: leave one of the two out")
        named.add(path.resolve())
        if path.is_dir():
            found = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in (".csv", ".txt"))
            if not found:
                raise DataError(f"{path} is a folder without .csv or .txt files, one a chip")
            tables += found
            continue
        if not path.is_file():
            raise DataError(f"{path} is no regular file" if path.exists() else f"there is no file {path}")
        match path.suffix.lower():
            case ".csv" | ".txt":
                tables.append(path)
            case ".npz":
                parts.append(NpzChips(path))
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
    data = combined(parts)
    return data if rings is None else FirstRings(data, rings)


class CsvChips(Dataset):
    """One file a chip, one ring a line, one read a column: the layout of the Virginia Tech data set.

    Numbers are separated by commas, semicolons or blanks; lines beginning with # are skipped. Files are read when their
    turn comes. Whole numbers are taken as counts, others as frequencies.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        names = [path.stem for path in paths]
        repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        self.paths, self._head = tuple(paths), paths[0]
        self._ids = [str(path.with_suffix("")) if path.stem in repeated else path.stem for path in paths]
        self.name = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
        self.chips = len(paths)
        self.rings, self.reads = _read_csv(self.paths[0]).shape

    def raw(self, size: int) -> Iterator[Batch]:
        for first in range(0, self.chips, size):
            chips = [self._chip(path) for path in self.paths[first : first + size]]
            yield Batch(first, self._ids[first : first + size], np.stack(chips)[:, None])

    def names(self) -> list[str]:
        return list(self._ids)

    def pieces(self, chips: int) -> list[Piece]:
        found: list[Piece] = []
        for first in range(0, self.chips, chips):
            piece = copy(self)
            piece.paths, piece._ids = self.paths[first : first + chips], self._ids[first : first + chips]
            piece.chips = len(piece.paths)
            found.append((first, piece))
        return found

    def _chip(self, path: Path) -> NDArray[Any]:
        values = _read_csv(path)
        if values.shape != (self.rings, self.reads):
            raise DataError(
                f"{path} has {values.shape[0]} rings of {values.shape[1]} reads, {self._head} has {self.rings} of "
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


class NpzChips(Dataset):
    """The array ``freq_hz`` (chips x rings x reads) of an .npz file, and ``chip_id`` if it is there.

    The array is read from the archive chip by chip.
    """

    _HINT = f"expected an .npz file with the array {NPZ_ARRAY} (chips x rings x reads, in hertz)"

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        ids = None
        with reading(path, DataError, self._HINT):
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                if NPZ_ARRAY not in archive:
                    raise DataError(f"{path} has {', '.join(archive) or 'no arrays'}; {self._HINT}")
                if NPZ_CHIPS in archive:
                    ids = [_text(chip) for chip in archive[NPZ_CHIPS].ravel().tolist()]
            with self._open() as (_, shape, _, dtype):
                pass
        if len(shape) != 3 or 0 in shape or dtype.kind not in "iuf":
            raise DataError(f"{path}: {NPZ_ARRAY} has shape {shape} of {dtype}; {self._HINT}")
        self.chips, self.rings, self.reads = shape
        self.named = ids is not None
        self._ids = [str(number) for number in range(self.chips)] if ids is None else ids
        if len(self._ids) != self.chips:
            raise DataError(f"{path}: {NPZ_CHIPS} has {len(self._ids)} chips, {NPZ_ARRAY} {self.chips}; {self._HINT}")

    @contextmanager
    def _open(self) -> Iterator[tuple[Any, tuple[int, ...], bool, np.dtype[Any]]]:
        """The array's file behind its header, shape, whether Fortran's order, and type."""
        with zipfile.ZipFile(self.name) as archive, archive.open(f"{NPZ_ARRAY}.npy") as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version < (2, 0) else np.lib.format.read_array_header_2_0
            yield file, *header(file)

    def raw(self, size: int) -> Iterator[Batch]:
        with reading(self.name, DataError, "the file is gone, was cut short or is damaged"):
            with self._open() as (file, shape, fortran, dtype):
                if fortran:  # chips lie scattered over the whole file
                    whole = np.frombuffer(file.read(), dtype).reshape(shape, order="F")
                for first in range(0, self.chips, size):
                    here = (min(size, self.chips - first), *shape[1:])
                    if fortran:
                        values = whole[first : first + size]
                    else:
                        values = np.frombuffer(file.read(math.prod(here) * dtype.itemsize), dtype).reshape(here)
                    yield Batch(first, self._ids[first : first + size], values[:, None])

    def names(self) -> list[str]:
        return list(self._ids)


class Hdf5Boards(Dataset):
    """An HDF5 file with the data set ``data/ro_counts`` and its axes under ``axis/``.

    The axes are told by their names (they contain "temp", "time" or "eval", "board"); a file without them keeps its
    conditions unnamed. Boards are read when their turn comes.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        with reading(path, DataError, f"expected an HDF5 file with {COUNTS}"):
            self._head(path)

    def _head(self, path: Path) -> None:
        """Shape, conditions and boards."""
        counts = self._counts
        if counts.ndim != 5 or 0 in counts.shape or counts.dtype.kind not in "iuf":
            raise DataError(f"{path}: {COUNTS} has shape {counts.shape} of {counts.dtype}; expected {HDF5_SHAPE}")
        times, self.chips, temperatures, self.rings, self.reads = counts.shape
        axes = self._axes()
        windows = self._numbers(axes, ("time", "eval"), times)
        celsius = self._numbers(axes, ("temp",), temperatures)
        self.conditions = tuple(Condition(kelvin, None, window) for window in windows for kelvin in celsius)
        boards = next((axes[name] for name in axes if "board" in name and len(axes[name]) == self.chips), None)
        self.named = boards is not None
        self._ids = [_text(entry) for entry in (range(self.chips) if boards is None else boards)]
        self._first = 0

    @cached_property
    def _file(self) -> Any:
        import h5py  # type: ignore[import-untyped]

        return h5py.File(self.name, "r")

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
            start = self._first + first
            with reading(self.name, DataError, f"expected {COUNTS} whole"):
                block = self._counts[:, start : start + min(size, self.chips - first)]
            values = np.moveaxis(block, 1, 0)  # boards x times x temperatures x rings x repetitions
            yield Batch(first, self._ids[first : first + size], values.reshape(len(values), -1, self.rings, self.reads))

    def names(self) -> list[str]:
        return list(self._ids)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_file", "_counts")}

    def pieces(self, chips: int) -> list[Piece]:
        found: list[Piece] = []
        for first in range(0, self.chips, chips):
            piece = copy(self)
            piece._first, piece._ids = self._first + first, self._ids[first : first + chips]
            piece.chips = len(piece._ids)
            found.append((first, piece))
        return found


def _text(entry: Any) -> str:
    return entry.decode() if isinstance(entry, bytes) else str(entry)
