"""Silicon for virtual boards: a numeric model, or the recorded reads of a real chip.

Both answer one question: how many periods do these rings count in this window? What the model says is modeled, not
measured; its spreads are those of published 90 nm measurements (97 chips, 512 rings, 100 reads each), its corner
coefficients are chosen so that a ring moves by 0.14 sigma of the population at each corner.

The frequency of a ring, after the divider by two:

    f = 54 MHz * (1 + board) * (1 + layout + field + random) * (1 + environment + noise)

where `layout` is the same on all boards (`ringpair_protocol.layout_table`), `field` varies smoothly over the
chip and `random` from ring to ring: what the PUF lives on.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from ringpair_protocol import puf
from ringpair_protocol.layout_table import LAYOUT_ENTRIES

from .foreign import reading

__all__ = ["F0", "MeasuredSilicon", "Silicon", "SiliconError", "SiliconModel"]

F0 = 54e6
"""Nominal frequency after the divider, in hertz: the typical corner of the iCE40UP5K's timing tables."""

BOARD = 0.062
"""Spread of the mean frequency from board to board, relative."""
FIELD, CORRELATION_TILES, TILT = 0.0036, 8.0, 0.0012
"""Smooth field: spread, correlation length, and spread of a linear slope from the middle to the edge."""
RANDOM = 0.0049
"""Spread from ring to ring. With what the field leaves of itself within a row, the deviations from the row spread by
0.507 %; the quantizer expects `puf.SIGMA_PPM`, that of measured chips."""

WHITE_NOISE, SLOW_NOISE, SLOW_READS = 0.00012, 0.00015, 64
"""Noise of one read: from read to read, and drifting with a memory of so many reads."""

TEMPERATURE, TEMPERATURE_RING = -4.0e-4, 1.2e-5
"""Per kelvin, from 25 degrees: all rings, and spread among the rings (0.14 sigma at 60 K)."""
VOLTAGE, VOLTAGE_RING = 1.0, 7.4e-3
"""Per volt, from 1.2 V: all rings, and spread among the rings (0.14 sigma at 0.1 V)."""
AGE, AGE_RING, AGE_YEARS, AGE_EXPONENT = -0.01, 7.4e-4, 10.0, 0.25
"""After AGE_YEARS: all rings, and spread among the rings (0.14 sigma); grows with that power of time."""

COUNT_MASK = puf.COUNT_MAX
FloatArray = NDArray[np.float64]


class SiliconError(ValueError):
    """Silicon that cannot be made or read; the message says what to do."""


class Silicon(Protocol):
    """What a virtual board asks its silicon."""

    description: str

    def counts(self, rings: Sequence[int], window: float) -> list[int]:
        """Counts of rings 0..191 in a window of that many seconds: one read, with its noise."""
        ...


class SiliconModel:
    """Numeric model of one board.

    Parameters
    ----------
    seed : int
        Names the board: equal seeds are equal silicon.
    temperature : float
        Degrees Celsius, -40 to 125.
    voltage : float
        Core supply in volts, 1.0 to 1.4.
    age : float
        Years of use, 0 to 50.
    noise_seed : int, optional
        Makes the noise reproducible; without it each object has noise of its own.

    Attributes
    ----------
    frequencies : array of 192 floats
        Of each ring in hertz, after the divider, without noise.
    """

    def __init__(
        self,
        seed: int,
        temperature: float = 25.0,
        voltage: float = 1.2,
        age: float = 0.0,
        *,
        noise_seed: int | None = None,
    ):
        if seed < 0:
            raise SiliconError(f"the seed of a silicon model must be 0 or more, not {seed}")
        for name, value, low, high, unit in (
            ("temperature", temperature, -40, 125, "degrees Celsius"),
            ("voltage", voltage, 1.0, 1.4, "V"),
            ("age", age, 0, 50, "years"),
        ):
            if not low <= value <= high:
                raise SiliconError(f"{name} must be {low} to {high} {unit}, not {value}")
        self.seed, self.temperature, self.voltage, self.age = seed, temperature, voltage, age
        self.description = f"modeled silicon, seed {seed}, {temperature:g} C, {voltage:g} V, {age:g} years"

        rng = np.random.default_rng([0x52494E47, seed])
        board = BOARD * rng.standard_normal()
        deviation = _layout() + _smooth_field(rng) + RANDOM * rng.standard_normal(puf.RINGS)
        by_temperature, by_voltage, by_age = rng.standard_normal((3, puf.RINGS))
        wear = (age / AGE_YEARS) ** AGE_EXPONENT
        environment = (
            (temperature - 25.0) * (TEMPERATURE + TEMPERATURE_RING * by_temperature)
            + (voltage - 1.2) * (VOLTAGE + VOLTAGE_RING * by_voltage)
            + wear * (AGE + AGE_RING * by_age)
        )
        self.frequencies: FloatArray = F0 * (1 + board) * (1 + deviation) * (1 + environment)
        self._noise = np.random.default_rng(None if noise_seed is None else [0x4E4F4953, seed, noise_seed])
        self._slow: FloatArray = SLOW_NOISE * self._noise.standard_normal(puf.RINGS)

    def counts(self, rings: Sequence[int], window: float) -> list[int]:
        """Counts of some rings in a window of that many seconds; the counters have 16 bits and wrap."""
        index = _checked(rings, window)
        keep = 1 - 1 / SLOW_READS
        renewed = (1 - keep**2) ** 0.5 * SLOW_NOISE * self._noise.standard_normal(len(index))
        self._slow[index] = keep * self._slow[index] + renewed
        noise = self._slow[index] + WHITE_NOISE * self._noise.standard_normal(len(index))
        return _counted(self.frequencies[index] * (1 + noise) * window, self._noise)


class MeasuredSilicon:
    """Replays the reads of a measured chip.

    The file's rings 0..191 are ring numbers 0..191, so that rings that lie together share a row. Frequencies are
    scaled to a mean of 54 MHz over all chips of the file: their relative spread and their noise are as measured. Each
    ring goes on to its next read at each measurement, and begins again after the last.

    Parameters
    ----------
    path : path
        An .npz file with the array ``freq_hz``, chips x rings x reads.
    chip : int
        Index of the chip in the file.
    first_read : int, optional
        Where to begin; without it anywhere, so that a restarted board does not repeat its enrollment.
    noise_seed : int, optional
        Makes the phase of the counters and the first read reproducible.

    Raises
    ------
    SiliconError
        Not such a file, no such chip, too few rings, or frequencies that are no numbers or cannot be counted.
    """

    def __init__(self, path: str | Path, chip: int, *, first_read: int | None = None, noise_seed: int | None = None):
        frequencies = _load(Path(path))
        chips, _, reads = frequencies.shape
        if not 0 <= chip < chips:
            raise SiliconError(f"{path}: chip must be 0..{chips - 1}, not {chip}")
        used = frequencies[:, : puf.RINGS].astype(float)
        chosen = used[chip]
        if not (np.isfinite(chosen).all() and (chosen > 0).all()):
            ring = int(np.argwhere(~(np.isfinite(chosen) & (chosen > 0)))[0][0])
            raise SiliconError(
                f"{path}: chip {chip}, ring {ring} has reads that are not positive numbers; take another"
            )
        self.frequencies: FloatArray = chosen * (F0 / float(np.mean(used[np.isfinite(used) & (used > 0)])))
        limit = puf.COUNT_MAX / puf.ENROLL_READS * puf.WINDOW_FREQUENCY / puf.WINDOW_CLOCKS
        if self.frequencies.max() > limit:
            raise SiliconError(
                f"{path}: chip {chip} is {self.frequencies.max() / F0:.2f} times faster than the mean of the file; "
                f"16 reads fit 16 bits up to {limit / F0:.2f}: take another chip"
            )
        self.description = f"measured silicon, {Path(path).name}, chip {chip} of {chips}, {reads} reads"
        self._rng = np.random.default_rng(noise_seed)
        first = int(self._rng.integers(reads)) if first_read is None else first_read % reads
        self._next = np.full(puf.RINGS, first)

    def counts(self, rings: Sequence[int], window: float) -> list[int]:
        """Counts of some rings in a window of that many seconds, from the next read of each."""
        index = _checked(rings, window)
        periods = self.frequencies[index, self._next[index]] * window
        self._next[index] = (self._next[index] + 1) % self.frequencies.shape[1]
        return _counted(periods, self._rng)


def _layout() -> FloatArray:
    """The systematic pattern, relative."""
    return np.array(LAYOUT_ENTRIES) / (1 << puf.FRACTION_BITS)


def _positions() -> FloatArray:
    """Tile (x, y) of each ring."""
    places = [puf.place_of(ring) for ring in range(puf.RINGS)]
    return np.array(
        [
            ((channel >> 1) * puf.COLUMNS + (place >> 2 & 7), (channel & 1) * puf.ROWS + (place & 3))
            for channel, place in places
        ],
        dtype=float,
    )


def _smooth_field(rng: np.random.Generator) -> FloatArray:
    """Gaussian field over the tiles, the same for both rings of a tile, and a slope."""
    positions = _positions()
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    covariance = np.exp(-distance / CORRELATION_TILES)
    tiles, tile_of = np.unique(positions, axis=0, return_inverse=True)
    first = np.array([np.flatnonzero(tile_of == tile)[0] for tile in range(len(tiles))])
    field = np.linalg.cholesky(covariance[np.ix_(first, first)]) @ rng.standard_normal(len(tiles))
    centered = positions - positions.mean(0)
    slope = centered / np.abs(centered).max(0) @ rng.standard_normal(2)
    return np.asarray(FIELD * field[tile_of.reshape(-1)] + TILT * slope)


def _checked(rings: Sequence[int], window: float) -> NDArray[np.intp]:
    index = np.asarray(rings, dtype=np.intp)
    if index.ndim != 1 or len(index) == 0 or index.min() < 0 or index.max() >= puf.RINGS:
        raise SiliconError(f"rings must be numbers 0..{puf.RINGS - 1}, not {list(rings)}")
    if not 0 < window < 1:
        raise SiliconError(f"the window must be 0 to 1 second, not {window}")
    return index


def _counted(periods: FloatArray, rng: np.random.Generator) -> list[int]:
    """Whole periods, where the window opens at any phase."""
    return [int(count) & COUNT_MASK for count in np.floor(periods + rng.random(len(periods)))]


def _load(path: Path) -> NDArray[np.float64]:
    """The array freq_hz of a file, its shape checked."""
    hint = "expected an .npz file with the array freq_hz (chips x rings x reads, in hertz)"
    with reading(path, SiliconError, hint), path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        if "freq_hz" not in archive:
            raise SiliconError(f"{path} has {', '.join(archive) or 'no arrays'}; {hint}")
        frequencies = np.asarray(archive["freq_hz"])
    if frequencies.ndim != 3 or frequencies.dtype.kind not in "iuf":
        raise SiliconError(f"{path}: freq_hz has shape {frequencies.shape} of {frequencies.dtype}; {hint}")
    if frequencies.shape[1] < puf.RINGS or 0 in frequencies.shape:
        raise SiliconError(
            f"{path}: freq_hz has {frequencies.shape[1]} rings and {frequencies.shape[2]} reads; "
            f"a board needs {puf.RINGS} rings and at least one read"
        )
    return frequencies
