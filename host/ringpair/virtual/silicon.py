"""From a board's silicon settings to what its harness has to know."""

from .device import default_rings
from .parameters import Parameters
from .rings import Rings
from .state import Silicon


def rings_of(silicon: Silicon, parameters: Parameters) -> Rings:
    """Counts of the rings over one window, for this silicon in this environment."""
    if silicon.plain:
        return default_rings(parameters, silicon.seed)
    raise NotImplementedError
