"""Noise source with health tests."""

from ringpair_hdl.trng.health import HealthTests
from ringpair_hdl.trng.source import RingNoise
from ringpair_hdl.trng.trng import Trng

__all__ = ["HealthTests", "RingNoise", "Trng"]
