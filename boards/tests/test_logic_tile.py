"""The rules of the logic tile against the chip database of nextpnr, which comes from the tables of Project IceStorm."""

import pytest
from ringpair_boards import logic_tile
from ringpair_boards.asc import Tile
from ringpair_boards.chipdb import ChipDatabase, DatabaseError
from ringpair_boards.tools import chip_database

PLACES = {"5k": (9, 10), "8k": (11, 12)}


@pytest.fixture(scope="module", params=PLACES)
def die(request):
    return ChipDatabase(chip_database(request.param)), *PLACES[request.param]


def sources(database, x, y, wire):
    """For each pip into a wire: name and place of the source, all bits of the switch, and those that are 1."""
    for pip in database.uphill(database.wire(x, y, wire)):
        if database.has_bits(pip):
            sx, sy, bits = database.switch_bits(pip.switch)
            assert (sx, sy) == (x, y)
            ones = {bit for n, bit in enumerate(reversed(bits)) if pip.mask >> n & 1}
            wx, wy, name = database.place(pip.source)
            yield (wx - x, wy - y), name, set(bits), ones


def tile_with(ones):
    tile = Tile("logic_tile", [bytearray(54) for _ in range(16)])
    for bit in ones:
        tile.flip(*bit)
    return tile


def test_local_tracks(die):
    for group in range(4):
        for track in range(8):
            seen = set()
            bits = logic_tile.local_bits(group, track)
            for place, name, switch, ones in sources(*die, f"local_g{group}_{track}"):
                assert switch == set(bits)
                code = logic_tile.selected(tile_with(ones), bits)
                if name == f"lutff_{track}:out":
                    assert place == (0, 0) if code == logic_tile.OWN_OUTPUT else logic_tile.NEIGHBORS[group][code]
                    seen.add(code)
                else:
                    assert code not in {logic_tile.OWN_OUTPUT, *logic_tile.NEIGHBORS[group]}, name
            assert seen == {2, 3, 4, 5, 6}


def test_lut_inputs(die):
    for cell in range(8):
        for pin in range(4):
            bits = logic_tile.input_bits(cell, pin)
            found = 0
            for _, name, switch, ones in sources(*die, f"lutff_{cell}:in_{pin}"):
                if name == f"lutff_{cell - 1}:lout":
                    assert switch == {logic_tile.cascade_bit(cell)}
                    continue
                assert switch == set(bits)
                source = logic_tile.input_source(cell, pin, logic_tile.selected(tile_with(ones), bits))
                assert name == ("local_g{}_{}".format(*source) if source else name)
                assert (source is None) == (not name.startswith("local_"))
                found += source is not None
            assert found == (15 if pin == 3 else 16)


def test_clock_and_controls(die):
    found = {}
    for _, name, switch, ones in sources(*die, "lutff_global:clk"):
        assert switch == set(logic_tile.clock_bits())
        found[name] = logic_tile.selected(tile_with(ones), logic_tile.clock_bits())
    local = {f"local_g{g}_{t}": code for (g, t), code in logic_tile.CLOCK_CODES.items()}
    assert {name: code for name, code in found.items() if name.startswith("local_")} == local
    assert not set(local.values()) & {code for name, code in found.items() if not name.startswith("local_")}
    controls = {
        bit for wire in ("cen", "s_r") for _, _, switch, _ in sources(*die, f"lutff_global:{wire}") for bit in switch
    }
    assert set(logic_tile.control_bits()) == controls | {(0, 0)}


def test_outputs(die):
    database, x, y = die
    for cell in range(8):
        bits = set()
        for pip in database.downhill(database.wire(x, y, f"lutff_{cell}:out")):
            if not database.place(pip.destination)[2].startswith("local_"):
                sx, sy, switch = database.switch_bits(pip.switch)
                assert (sx, sy) == (x, y)
                bits.update(switch)
        assert bits == set(logic_tile.output_bits(cell))


def test_truth_table():
    """Known answers of IceStorm's LC_0: bit 4 is the output for inputs 0, bit 0 the one for all ones."""
    bits = logic_tile.cell_bits(0)
    assert logic_tile.truth_table(tile_with([bits[4]]), 0) == 0x0001
    assert logic_tile.truth_table(tile_with([bits[14]]), 0) == 0x0002
    assert logic_tile.truth_table(tile_with([bits[0]]), 0) == 0x8000
    assert logic_tile.cell_config(tile_with([bits[9], bits[18]]), 0) == {"flip-flop", "set"}


def test_unknown_wire(die):
    database, x, y = die
    with pytest.raises(DatabaseError, match="no wire 'lutff_9:out'"):
        database.wire(x, y, "lutff_9:out")


def test_unknown_layout(tmp_path):
    path = tmp_path / "chipdb-5k.bin"
    path.write_bytes(bytes(4096))
    with pytest.raises(DatabaseError, match="another layout"):
        ChipDatabase(path)
