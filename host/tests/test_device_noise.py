"""Noise sources that fail, on the compiled device: how many samples pass until its health tests say so."""

import pytest
from ringpair.virtual import NoiseSource
from ringpair_protocol import frames
from ringpair_protocol.admin import Opcode, Status
from ringpair_protocol.health import WINDOW, repetition_cutoff

from host.tests.rig_device import Twin
from host.tests.rig_scenes import scene

INTERVAL = 32
"""Clocks between two samples."""
SLACK = 150
"""Samples that pass while the device is asked."""

FAILURES = {
    "stuck at one": (NoiseSource(one=1), repetition_cutoff()),
    "stuck at zero": (NoiseSource(one=0), repetition_cutoff()),
    "repeats in 99 %": (NoiseSource(repeat=0.99), 20 * repetition_cutoff()),
    "95 % ones": (NoiseSource(one=0.95), 2 * WINDOW),
    "90 % ones": (NoiseSource(one=0.90), 2 * WINDOW),
    "90 % zeros": (NoiseSource(one=0.10), 2 * WINDOW),
}
"""Sources, and within how many samples the alarm must come: SP 800-90B, 4.4, asks for the cutoff, and for a window.

A window that was half full when the source failed counts what came before, so the proportion test has a second one.
"""


def alarm(twin: Twin) -> bool:
    """STATUS of the device alone: the model does not see its samples."""
    twin.device.write(frames.encode(bytes([Opcode.STATUS])))
    twin._run_device()
    return Status.from_bytes(twin.admin_out[0][2:]).trng_alarm


@pytest.mark.parametrize("failure", FAILURES)
def test_alarm_in_time(failure: str) -> None:
    twin, _ = scene()
    source, limit = FAILURES[failure]
    twin.device.set_noise(source)
    begun = twin.device.status.noise_bits
    while not alarm(twin):
        assert twin.device.status.noise_bits - begun <= limit + SLACK, "no alarm"
        twin.device.run(16 * INTERVAL)


def test_no_alarm_without_reason() -> None:
    """A good source, and one that is as bad as the claim allows, for 200 windows each."""
    for source in (NoiseSource(), NoiseSource(one=0.7)):
        twin, _ = scene()
        twin.device.set_noise(source)
        twin.device.run(200 * WINDOW * INTERVAL)
        assert not alarm(twin)
        assert twin.device.status.noise_bits >= 200 * WINDOW
