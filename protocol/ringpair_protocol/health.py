"""Health tests of the noise source: NIST SP 800-90B, section 4.4, for a binary source.

Both tests are built for an assessed min-entropy of H bits a sample and a false-alarm probability alpha per test:

* Repetition count test (4.4.1): an alarm when the same bit comes C times in a row, ``C = 1 + ceil(-log2(alpha) / H)``.
* Adaptive proportion test (4.4.2): an alarm when the first bit of a window of W = 1024 samples comes at least C times
  in that window (the first one counted), ``C = 1 + CRITBINOM(W, 2^-H, 1 - alpha)``: the smallest c for which a
  binomial variable of W trials with probability 2^-H is at most c with probability 1 - alpha, plus one.

Start-up test (4.3): both tests over the first 1024 samples, which are not used for anything else.
"""

from __future__ import annotations

import math
from fractions import Fraction

WINDOW = 1024
"""Samples of a window of the adaptive proportion test on bits, and of the start-up test."""
ENTROPY = 0.5
"""Claimed min-entropy in bits of a raw sample: the 64 raw bytes of a draw carry 256 bits."""
ALPHA_BITS = 30
"""alpha = 2^-30, in the range of 2^-20 to 2^-40 that section 4.3 recommends."""


def check_claim(entropy: float, alpha_bits: int) -> None:
    if not 0 < entropy <= 1:
        raise ValueError(f"the claimed min-entropy of a bit must be in (0, 1], not {entropy}")
    if not 20 <= alpha_bits <= 40:
        raise ValueError(f"alpha must be 2^-20 to 2^-40 (SP 800-90B, 4.3), not 2^-{alpha_bits}")


def repetition_cutoff(entropy: float = ENTROPY, alpha_bits: int = ALPHA_BITS) -> int:
    """Cutoff C of the repetition count test."""
    check_claim(entropy, alpha_bits)
    return 1 + math.ceil(alpha_bits / entropy)


def proportion_cutoff(entropy: float = ENTROPY, alpha_bits: int = ALPHA_BITS, window: int = WINDOW) -> int:
    """Cutoff C of the adaptive proportion test; exact arithmetic on the probability 2^-H rounded to a double."""
    check_claim(entropy, alpha_bits)
    p = Fraction(2.0**-entropy)
    scale = p.denominator**window  # makes all terms integers
    a, b = p.numerator, p.denominator - p.numerator
    allowed = scale >> alpha_bits
    term, tail = a**window, 0  # P(X = k) and P(X > k), times scale, from k = window down
    for k in range(window, -1, -1):
        tail += term
        if tail > allowed:  # P(X > k - 1) is too much, P(X > k) is not: the critical value is k
            return min(1 + k, window)
        term = term * k * b // ((window - k + 1) * a)
    raise AssertionError("the probabilities of a binomial variable sum up to 1")


class HealthTests:
    """Reference model of the gateware: feed it samples; `alarm` stays until `clear`.

    Attributes
    ----------
    alarm : bool
        One of the tests has failed.
    """

    def __init__(self, repetition: int | None = None, proportion: int | None = None, window: int = WINDOW) -> None:
        self.repetition = repetition_cutoff() if repetition is None else repetition
        self.proportion = proportion_cutoff() if proportion is None else proportion
        self.window = window
        self.clear()

    def clear(self) -> None:
        """Forget everything, start with the start-up test."""
        self.alarm = False
        self._passed = False
        self._last: int | None = None
        self._run = 0
        self._position = 0
        self._first = 0
        self._count = 0

    def feed(self, bit: int) -> None:
        """One sample."""
        self._run = self._run + 1 if bit == self._last else 1
        self._last = bit
        if self._position == 0:
            self._first, self._count = bit, 0
        self._count += bit == self._first
        self._position = (self._position + 1) % self.window
        if self._run >= self.repetition or self._count >= self.proportion:
            self.alarm = True
        if self._position == 0 and not self.alarm:
            self._passed = True

    @property
    def ready(self) -> bool:
        """The start-up test has passed and no test has failed since: samples may be used."""
        return self._passed and not self.alarm
