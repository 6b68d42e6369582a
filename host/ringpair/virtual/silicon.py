"""From a board's silicon settings to what its harness has to know."""

import numpy as np
from ringpair_protocol.puf import window_clocks

from ..errors import UsageError
from ..silicon import SLOW_NOISE, SLOW_READS, WHITE_NOISE, MeasuredSilicon, SiliconError, SiliconModel
from .device import default_rings
from .parameters import Parameters
from .rings import RingModel, RingReads, Rings
from .state import Silicon


def rings_of(silicon: Silicon, parameters: Parameters) -> Rings:
    """Periods of the rings in the default window, for this silicon in this environment.

    Measured silicon begins at a read that depends on the seed of the noise, so that a board that restarts does not
    repeat the reads of its enrollment.

    Raises
    ------
    UsageError
        There is no such silicon, or it cannot be in such an environment.
    """
    if silicon.plain:
        return default_rings(parameters, silicon.seed)
    window = window_clocks(parameters.clock_hz) / parameters.clock_hz
    try:
        if silicon.file is None:
            model = SiliconModel(silicon.seed, silicon.temperature, silicon.voltage, silicon.age)
            return RingModel(model.frequencies * window, WHITE_NOISE, SLOW_NOISE, 1 - 1 / SLOW_READS)
        if (silicon.temperature, silicon.voltage, silicon.age) != (Silicon.temperature, Silicon.voltage, Silicon.age):
            raise UsageError("temperature, voltage and age are for modeled silicon; this board's silicon is measured")
        reads = MeasuredSilicon(silicon.file, silicon.chip or 0).frequencies.T * window
        return RingReads(np.roll(reads, parameters.seed % len(reads), axis=0))
    except SiliconError as error:
        raise UsageError(str(error)) from error
