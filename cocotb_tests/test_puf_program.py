"""The assembler of the PUF engine, and the contents of its ROMs."""

import pytest
from ringpair_hdl.puf.microcode import PAGE, Access, Action, Address, Condition, Jump, Operand, Program
from ringpair_hdl.puf.program import control_words
from ringpair_hdl.puf.quantizer import boundary_address, rom_words, threshold_address
from ringpair_protocol import puf
from ringpair_protocol.puf import MODELED_LAYOUT, Quantizer


def test_words_have_the_documented_fields():
    program = Program()
    program.do(Action.TAKE, Condition.NO_BYTE, "end")
    program.access(200, Operand.MINUS_P, p=True)
    program.access(Address.RANK, write=True)
    program.label("end")
    words = program.page()
    assert words[0] == 15 << 11 | 6 << 7 | 3
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


def test_both_pages_begin_alike():
    """The page changes with the command while the engine rests."""
    words = control_words()
    assert len(words) == 2 * PAGE
    head = next(n for n in range(PAGE) if words[n] != words[PAGE + n])
    ready = next(n for n in range(PAGE) if words[n] >> 11 == Action.READY.value)
    assert ready < head


def test_quantizer_rom():
    quantizer = Quantizer(MODELED_LAYOUT)
    signed = [word - (word >> 15 << 16) for word in rom_words(quantizer)]
    assert tuple(signed[: puf.RINGS]) == MODELED_LAYOUT.entries
    assert tuple(signed[threshold_address(helper)] for helper in range(8)) == quantizer.thresholds
    for code in range(16):  # walk the tree as the engine does
        node = 1
        for bit in (code >> n & 1 for n in (3, 2, 1, 0)):
            boundary = quantizer.boundaries.index(signed[boundary_address(node)]) + 1
            assert (code >= boundary) == bit
            node = node << 1 | bit
