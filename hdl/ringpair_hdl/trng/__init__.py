"""Noise source with health tests."""

from .health import HealthTests
from .source import RingNoise
from .trng import Trng

__all__ = ["HealthTests", "RingNoise", "Trng"]
