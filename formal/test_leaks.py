"""No leak by structure: in the netlist of the whole device, secrets come to a pin by the listed wires only."""

from functools import cache

import pytest
from ringpair_hdl.control import sequencer
from ringpair_hdl.control.exchange import Exchange
from ringpair_hdl.device import Device
from ringpair_protocol.admin import Profile

from formal.leaks import CUTS, PINS, SOURCES, Flat
from formal.programs import identity
from formal.prove import mutant

pytestmark = pytest.mark.filterwarnings("ignore:can't resolve package:ImportWarning")  # of a module made from text


@cache
def device() -> Flat:
    return Flat.of(Device(identity(Profile.PAIR)))


@pytest.mark.parametrize("source", SOURCES)
def test_only_the_cuts_lead_to_pins(source):
    flat = device()
    assert flat.pins(SOURCES[source], ()) == list(PINS), "without cuts it is seen that there are ways"
    found = flat.pins(SOURCES[source], tuple(CUTS))
    assert not found, f"a way to {found[0]}: {' > '.join(flat.path(SOURCES[source], found[0], tuple(CUTS)))}"


@pytest.mark.parametrize("cut", CUTS)
def test_every_cut_is_needed(cut):
    sources = [name for names in SOURCES.values() for name in names]
    assert device().pins(sources, [other for other in CUTS if other != cut])


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("puf.datapath.margin", "link.transmitter_0.shift"),
        ("sponge.modes.sponge.state.x0", "spi.copi"),
        ("trng.shift", "sequencer.output"),
    ],
)
def test_a_wire_more_is_noticed(source, target):
    flat = device()
    there = {bit: set(following) for bit, following in flat.edges.items()}
    try:
        flat.join(source, target)
        sources = [name for names in SOURCES.values() for name in names]
        assert flat.pins(sources, tuple(CUTS))
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
