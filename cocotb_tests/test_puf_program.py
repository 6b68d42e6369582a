"""The assembler of the PUF engine, and the contents of its ROMs."""

import pytest
from ringpair_hdl.puf import program as puf_program
from ringpair_hdl.puf.microcode import PAGE, Access, Action, Address, Condition, Jump, Operand, Program
from ringpair_hdl.puf.program import control_words
from ringpair_hdl.puf.quantizer import (
    LEVEL_PLACES,
    boundary_place,
    layout_place,
    layout_words,
    level_words,
    threshold_place,
)
from ringpair_protocol import puf
from ringpair_protocol.puf import MODELED_LAYOUT, Quantizer


def test_words_have_the_documented_fields():
    program = Program()
    program.do(Action.TAKE, Condition.NO_BYTE, "end")
    program.access(200, Operand.MINUS_P, p=True)
    program.access(Address.RANK, write=True)
    program.label("end")
    words = program.page()
    assert words[0] == 16 << 11 | 6 << 7 | 3
    assert words[1] == 3 << 14 | 0 << 13 | 1 << 12 | 0 << 10 | 4 << 7 | 72
    assert words[2] == 3 << 14 | 1 << 13 | 0 << 12 | 3 << 10
    assert Jump.as_shape().size == Access.as_shape().size == 16
    assert max(action.value for action in Action) < 24, "24 and above are memory accesses"


def test_mistakes_are_refused():
    program = Program()
    program.label("here")
    with pytest.raises(ValueError, match="label 'here' is there already"):
        program.label("here")
    for word in (127, 256):
        with pytest.raises(ValueError, match=rf"words 128\.\.255, not {word}"):
            program.access(word)
    program.jump(Condition.ALL, "nowhere")
    with pytest.raises(ValueError, match="no label 'nowhere'"):
        program.page()
    long = Program()
    for _ in range(PAGE + 1):
        long.do()
    with pytest.raises(ValueError, match="128 instructions, not 129"):
        long.page()
    with pytest.raises(ValueError, match="cannot go on at word 128: 129 are there"):
        long.place(128)


def test_both_pages_begin_alike():
    """The page changes with the command while the engine rests."""
    words = control_words(Quantizer())
    assert len(words) == 2 * PAGE
    head = next(n for n in range(PAGE) if words[n] != words[PAGE + n])
    ready = next(n for n in range(PAGE) if words[n] >> 11 == Action.READY.value)
    assert ready < head


def signed(words, bits):
    return [word - (word >> bits - 1 << bits) for word in words]


def test_layout():
    words = control_words(Quantizer(MODELED_LAYOUT))
    for ring, entry in enumerate(MODELED_LAYOUT.entries):
        word = words[layout_place(ring)]
        (digit,) = signed([word >> 5 * (ring // 64) & 31], puf.PACKED_BITS)
        assert digit << MODELED_LAYOUT.shift == entry
        assert not word >> 15, "bit 15 alone would begin an action"
    assert len({layout_place(ring) for ring in range(puf.RINGS)}) == 64
    assert not layout_words(Quantizer())


def test_instructions_do_not_reach_into_the_tables(monkeypatch):
    """Neither page has room for one more where the tables begin."""
    page = puf_program.bits_next_clear

    def longer(program):
        page(program)
        for _ in range(3):
            program.do(Action.READY)

    monkeypatch.setattr(puf_program, "bits_next_clear", longer)
    control_words(Quantizer())
    with pytest.raises(ValueError, match="word 0xe0 of the control ROM is an instruction, and a level or layout entry"):
        control_words(Quantizer(MODELED_LAYOUT))


@pytest.mark.parametrize("sigma", [puf.SIGMA_PPM, puf.SIGMA_PPM_MAX])
def test_levels(sigma):
    quantizer = Quantizer(sigma_ppm=sigma)
    words = control_words(quantizer)[LEVEL_PLACES.start : LEVEL_PLACES.stop]
    assert all(found == word for found, word in zip(words, level_words(quantizer), strict=True) if word)
    words = level_words(quantizer)
    named = {action.value for action in Action} - {Action.NOP.value, Action.FETCH.value}
    assert all(word >> 11 not in named for word in words), "a level does nothing but be loaded"
    levels = signed(words, puf.LEVEL_BITS)
    assert tuple(levels[threshold_place(helper)] for helper in range(8)) == quantizer.thresholds
    for code in range(16):  # walk the tree as the engine does
        node = 1
        for bit in (code >> n & 1 for n in (3, 2, 1, 0)):
            boundary = quantizer.boundaries.index(levels[boundary_place(node)]) + 1
            assert (code >= boundary) == bit
            node = node << 1 | bit
