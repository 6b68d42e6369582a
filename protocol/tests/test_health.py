"""Health tests of the noise source: cutoffs against published values, model against the text of the standard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ringpair_protocol.health import HealthTests, proportion_cutoff, repetition_cutoff


@pytest.mark.parametrize(
    ("entropy", "cutoff"),
    [(1, 589), (0.8, 664), (0.6, 748), (0.4, 840), (0.2, 941)],  # SP 800-90B, table 2: alpha = 2^-20, binary
)
def test_proportion_cutoffs_of_the_standard(entropy: float, cutoff: int) -> None:
    assert proportion_cutoff(entropy, 20) == cutoff


def test_cutoffs() -> None:
    assert (repetition_cutoff(), proportion_cutoff()) == (61, 810)
    assert [repetition_cutoff(h, 20) for h in (1, 0.8, 0.3)] == [21, 26, 68]
    assert proportion_cutoff(1e-9) == 1024, "never more than a window has"


@pytest.mark.parametrize("function", [repetition_cutoff, proportion_cutoff])
def test_bad_claims(function) -> None:  # type: ignore[no-untyped-def]
    for entropy in (0, -1, 1.01):
        with pytest.raises(ValueError, match=rf"in \(0, 1\], not {entropy}"):
            function(entropy)
    for bits in (19, 41):
        with pytest.raises(ValueError, match=rf"not 2\^-{bits}"):
            function(0.5, bits)


def standard(samples: list[int], repetition: int, proportion: int, window: int) -> int | None:
    """Number of the sample with the first alarm, word by word from sections 4.4.1 and 4.4.2."""
    alarms = []
    a, b = None, 0
    for number, x in enumerate(samples):
        if x == a:
            b += 1
        else:
            a, b = x, 1
        if b >= repetition:
            alarms.append(number)
            break
    for start in range(0, len(samples), window):
        a, b = samples[start], 1
        for i in range(1, window):
            if start + i < len(samples) and samples[start + i] == a:
                b += 1
            if b >= proportion:
                alarms.append(start + i)
                break
        if b >= proportion:
            break
    return min(alarms) if alarms else None


@given(st.lists(st.integers(0, 1), max_size=120), st.integers(2, 9), st.integers(2, 16))
def test_model_is_the_standard(samples: list[int], repetition: int, proportion: int) -> None:
    model = HealthTests(repetition, proportion, 16)
    alarm = None
    for number, bit in enumerate(samples):
        model.feed(bit)
        if model.alarm and alarm is None:
            alarm = number
        assert model.alarm == (alarm is not None), "an alarm stays"
        assert model.ready == (number >= 15 and alarm is None)
    assert alarm == standard(samples, repetition, proportion, 16)
    model.clear()
    assert not model.alarm
    assert not model.ready


@pytest.mark.parametrize(("pattern", "limit"), [((0,), 61), ((1,), 61), ((1, 0, 1, 1, 1, 1, 1), 1024)])
def test_dead_sources(pattern: tuple[int, ...], limit: int) -> None:
    model = HealthTests()
    for number in range(limit):
        model.feed(pattern[number % len(pattern)])
    assert model.alarm
