"""No leak by structure: in the netlist of the whole device, secrets come to a pin by the listed wires only."""

from functools import cache

import pytest
from ringpair_hdl.control import sequencer
from ringpair_hdl.control.exchange import Exchange
from ringpair_hdl.device import Device
from ringpair_protocol.admin import Profile

from formal.leaks import CUTS, FULL_CUTS, FULL_PINS, FULL_SOURCES, PINS, SOURCES, Flat
from formal.programs import identity
from formal.prove import mutant

pytestmark = pytest.mark.filterwarnings("ignore:can't resolve package:ImportWarning")  # of a module made from text


WAYS = {
    Profile.PAIR: (PINS, SOURCES, CUTS),
    Profile.FULL: (FULL_PINS, FULL_SOURCES, FULL_CUTS),
}


@cache
def device(profile: Profile) -> Flat:
    return Flat.of(Device(identity(profile)), WAYS[profile][0])


def each(number: int):
    """Parameters: profile and each source, or each cut."""
    cases = [(profile, name) for profile, ways in WAYS.items() for name in ways[number]]
    return pytest.mark.parametrize(("profile", "name"), cases, ids=lambda case: getattr(case, "name", case))


@each(1)
def test_only_the_cuts_lead_to_pins(profile, name):
    flat, (pins, sources, cuts) = device(profile), WAYS[profile]
    assert flat.pins(sources[name], ()) == list(pins), "without cuts it is seen that there are ways"
    found = flat.pins(sources[name], tuple(cuts))
    assert not found, f"a way to {found[0]}: {' > '.join(flat.path(sources[name], found[0], tuple(cuts)))}"


@each(2)
def test_every_cut_is_needed(profile, name):
    _, sources, cuts = WAYS[profile]
    wires = [wire for wires in sources.values() for wire in wires]
    assert device(profile).pins(wires, [other for other in cuts if other != name])


@pytest.mark.parametrize(
    ("profile", "source", "target"),
    [
        (Profile.PAIR, "puf.datapath.margin", "link.transmitter_0.shift"),
        (Profile.PAIR, "sponge.modes.sponge.state.x0", "spi.copi"),
        (Profile.PAIR, "trng.shift", "sequencer.output"),
        (Profile.FULL, "curve.accumulator", "display.digit0"),
        (Profile.FULL, "shelf.o__payload", "spi.copi"),
    ],
)
def test_a_wire_more_is_noticed(profile, source, target):
    flat, (_, sources, cuts) = device(profile), WAYS[profile]
    there = {bit: set(following) for bit, following in flat.edges.items()}
    try:
        flat.join(source, target)
        assert flat.pins([wire for wires in sources.values() for wire in wires], tuple(cuts))
    finally:
        flat.edges.clear()
        flat.edges.update(there)


def test_a_leak_in_the_source_is_noticed(monkeypatch):
    """What a port gives goes straight on to another."""
    leaks = mutant(
        Exchange,
        "Mux(self.emitting, self.operand, self.memory)",
        "Mux(self.emitting, self.operand, self.memory | self.value)",
    )
    monkeypatch.setattr(sequencer, "Exchange", leaks)
    flat = Flat.of(Device(identity(Profile.PAIR)))
    for names in SOURCES.values():
        assert {"admin_tx", "peer_tx", "flash_copi"} <= set(flat.pins(names, tuple(CUTS)))
