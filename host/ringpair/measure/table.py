"""The project's own file of measurements: Parquet, one chip under one condition a row.

========================  ============================  ==============================================================
column                    type                          meaning
========================  ============================  ==============================================================
chip                      string                        name or id of the board
temperature, voltage      float, may be empty           degrees Celsius, volts
window                    double, may be empty          counting time in seconds
values                    list of uint32 or double      rings x reads, ring by ring
========================  ============================  ==============================================================

The rows of a chip follow one another, with the same conditions in the same order for every chip. The file's own
metadata, JSON under the key ``ringpair``, holds level, rings, reads, silicon, floorplan and what else is known.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foreign import reading
from .dataset import Batch, Condition, DataError, Dataset, Meta, Piece

__all__ = ["LEVEL", "ParquetFile", "write_parquet"]

LEVEL = 1
KEY = b"ringpair"
HINT = "expected a Parquet file of this project"
GROUP_CHIPS = 256


def write_parquet(path: str | Path, data: Dataset) -> None:
    """Write a data set; integers as uint32, frequencies as doubles."""
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    head = {
        "level": LEVEL,
        "rings": data.rings,
        "reads": data.reads,
        "conditions": len(data.conditions),
        "silicon": data.meta.silicon,
        "floorplan": data.meta.floorplan,
        "extra": data.meta.extra,
    }
    writer = None
    try:
        for batch in data.batches():
            element = np.float64 if batch.values.dtype.kind == "f" else np.uint32
            if writer is None:
                fields = [("chip", pa.string()), ("temperature", pa.float32()), ("voltage", pa.float32())]
                fields += [("window", pa.float64()), ("values", pa.list_(pa.from_numpy_dtype(element)))]
                schema = pa.schema(fields, metadata={KEY: json.dumps(head).encode()})
                writer = pq.ParquetWriter(str(path), schema, compression="zstd")
            rows = _rows(batch, data.conditions, batch.values.astype(element), writer.schema)
            writer.write_table(rows, GROUP_CHIPS * len(data.conditions))
    finally:
        if writer is not None:
            writer.close()


def _rows(batch: Batch, conditions: tuple[Condition, ...], values: NDArray[Any], schema: Any) -> Any:
    import pyarrow as pa

    chips = len(batch.ids)
    flat = values.reshape(chips * len(conditions), -1)
    offsets = np.arange(len(flat) + 1, dtype=np.int32) * flat.shape[1]
    columns = [
        pa.array([name for name in batch.ids for _ in conditions], pa.string()),
        pa.array([at.temperature for at in conditions] * chips, pa.float32()),
        pa.array([at.voltage for at in conditions] * chips, pa.float32()),
        pa.array([at.window for at in conditions] * chips, pa.float64()),
        pa.ListArray.from_arrays(offsets, pa.array(flat.ravel())),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


class ParquetFile(Dataset):
    """A file from `write_parquet`, read row group by row group."""

    def __init__(self, path: str | Path) -> None:
        self.name = str(path)
        with reading(path, DataError, HINT):
            self._groups = list(range(self._file.metadata.num_row_groups))
            self._head(path)

    def _head(self, path: str | Path) -> None:
        """What the metadata say, and the conditions of the first chip."""
        try:
            head = json.loads((self._file.schema_arrow.metadata or {})[KEY])
            level = head["level"]
            self.rings, self.reads, times = int(head["rings"]), int(head["reads"]), int(head["conditions"])
            self.meta = Meta(head["silicon"], head["floorplan"], head["extra"])
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"{path} was not written by ringpair: no metadata {KEY.decode()!r} ({error})") from error
        if level != LEVEL:
            raise DataError(f"{path} has level {level}, this version reads level {LEVEL}: update ringpair")
        rows = self._file.metadata.num_rows
        if min(self.rings, self.reads, times, rows) < 1 or rows % times:
            raise DataError(f"{path} has {rows} rows: expected {times} conditions for each chip; it was cut short")
        self.chips = rows // times
        first = next(self._file.iter_batches(times, columns=["temperature", "voltage", "window"])).to_pylist()
        self.conditions = tuple(_condition(row) for row in first)

    @cached_property
    def _file(self) -> Any:
        import pyarrow.parquet as pq

        with reading(self.name, DataError, HINT):
            return pq.ParquetFile(self.name, pre_buffer=False)  # which would keep all that was read

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_file"}

    def names(self) -> list[str]:
        return self._names[:: len(self.conditions)]

    @cached_property
    def _names(self) -> list[str]:
        names: list[str] = self._file.read_row_groups(self._groups, columns=["chip"]).column("chip").to_pylist()
        return names

    def pieces(self, chips: int) -> list[Piece]:
        """Cut between row groups; a group that ends within a chip stays with the next."""
        found: list[Piece] = []
        times, start, piece = len(self.conditions), 0, self._piece()
        for group in self._groups:
            piece._groups.append(group)
            piece.chips += self._file.metadata.row_group(group).num_rows  # rows, until the piece is whole
            if piece.chips % times == 0 and piece.chips >= chips * times:
                piece.chips //= times
                found.append((start, piece))
                start += piece.chips
                piece = self._piece()
        if piece._groups:
            piece.chips //= times
            found.append((start, piece))
        return found

    def _piece(self) -> ParquetFile:
        piece = copy(self)
        piece._groups, piece.chips = [], 0
        vars(piece).pop("_names", None)
        return piece

    def raw(self, size: int) -> Iterator[Batch]:
        times, first = len(self.conditions), 0
        batches = self._file.iter_batches(size * times, row_groups=self._groups)
        while True:
            with reading(self.name, DataError, HINT):
                rows = next(batches, None)
            if rows is None:
                return
            ids = rows.column("chip").to_pylist()
            self._check(rows, ids)
            values = rows.column("values").flatten().to_numpy(zero_copy_only=False)
            yield Batch(first, ids[::times], values.reshape(-1, times, self.rings, self.reads))
            first += len(ids) // times

    def _check(self, rows: Any, ids: list[str]) -> None:
        times, values = len(self.conditions), rows.column("values")
        lengths = np.diff(values.offsets.to_numpy())
        if values.null_count or (lengths != self.rings * self.reads).any():
            chip = ids[int(np.argmax(lengths != self.rings * self.reads))]
            raise DataError(f"{self.name}: chip {chip} does not have {self.rings} rings of {self.reads} reads")
        found = rows.select(["temperature", "voltage", "window"]).to_pylist()
        for number, (chip, row) in enumerate(zip(ids, found, strict=True)):
            expected = self.conditions[number % times]
            if chip != ids[number - number % times] or _condition(row) != expected:
                raise DataError(
                    f"{self.name}: chip {chip} was measured at {_condition(row)}, expected {expected}: "
                    "every chip needs the same conditions in the same order"
                )


def _condition(row: dict[str, Any]) -> Condition:
    short = {name: None if row[name] is None else round(row[name], 4) for name in ("temperature", "voltage")}
    return Condition(short["temperature"], short["voltage"], row["window"])
