"""The assembler of the curve engine: what it refuses, and what it says of durations."""

import pytest
from ringpair_hdl.curve import isa
from ringpair_hdl.curve.assembler import PL, PV, L, Program, V, small
from ringpair_hdl.curve.checks import Refused
from ringpair_hdl.curve.constants import Rom
from ringpair_hdl.curve.cycles import cycles
from ringpair_hdl.curve.elements import COUNT, KEPT, LENGTH, STATUS, Q
from ringpair_hdl.curve.elements import Element as E
from ringpair_hdl.curve.isa import Pre
from ringpair_hdl.curve.program import curve_program

SYSTEM = {
    name: L(E.SYSTEM, limb) for name, limb in (("q", Q), ("count", COUNT), ("length", LENGTH), ("status", STATUS))
}


def linked(leaf=None, routine=None, *, secret=True, **marks):
    """A program of one leaf and one command, which calls it unless it is given; both end by themselves."""
    p = Program()
    with p.leaf("unknown"):
        p.acc(pre=Pre.ZERO, flag=True)
        p.done()
        p.label("rest")
        p.idle()
    for name in ("boot", "wipe"):
        with p.routine(name, secret=True):
            p.enter("off")
            p.jump("rest")
    with p.leaf("off"):
        p.acc(pre=Pre.ZERO, flag=True)
        p.wait(2)
        p.ret()
    with p.leaf("leaf", **marks):
        if leaf:
            leaf(p)
        p.ret()
    with p.routine("command", secret=secret):
        if routine:
            routine(p)
        else:
            p.call("leaf", E.S, E.R, E.PUBLIC)
        p.jump("unknown")
    return p.link({8: "command"})


def refused(match, leaf=None, routine=None, **marks):
    with pytest.raises(Refused, match=match):
        linked(leaf, routine, **marks)


X, Y = L(E.R), L(E.S)


@pytest.mark.parametrize("between", [0, 1, 2])
def test_a_word_is_read_three_cycles_after_it_is_written(between):
    def leaf(p):
        p.term(small(1), X, pre=Pre.ZERO)
        if between:
            p.wait(between)
        p.term(X, Y, pre=Pre.ZERO)

    if between == 2:
        linked(leaf)
    else:
        refused("'leaf', word .*: reads what 'leaf', word 0 has not written yet: wait", leaf)


@pytest.mark.parametrize("read", [PL(0), PV()])
def test_what_a_pointer_names_may_be_what_was_written(read):
    def leaf(p):
        p.term(small(1), X, pre=Pre.ZERO)
        p.sum(read, pre=Pre.ZERO)

    refused("has not written yet", leaf)


def test_a_pointer_does_not_name_scratch():
    def leaf(p):
        p.term(small(1), SYSTEM["q"], pre=Pre.ZERO)
        p.sum(PL(0), pre=Pre.ZERO)

    linked(leaf)


def test_hazards_across_a_loop_a_call_and_a_return():
    def loop(p):
        p.load(3)
        p.label("again")
        p.term(X, Y, pre=Pre.ZERO)
        p.term(small(1), X, pre=Pre.ZERO)
        p.count("again")

    def call(p):
        p.term(small(1), X, pre=Pre.ZERO)
        p.enter("reader")
        p.jump("end of leaf")
        p.label("reader")
        p.term(X, Y, pre=Pre.ZERO)
        p.ret()
        p.label("end of leaf")

    def back(p):
        p.enter("writer")
        p.term(X, Y, pre=Pre.ZERO)
        p.jump("end of leaf")
        p.label("writer")
        p.term(small(1), X, pre=Pre.ZERO)
        p.ret()
        p.label("end of leaf")

    for leaf in (loop, call, back):
        refused("has not written yet", leaf)


def test_the_ring_turns_with_the_counter():
    """What was written at a limb of the ring stands four limbs further after the counter went down."""

    def leaf(p, limb):
        p.load(3, ring=True)
        p.label("again")
        p.term(L(E.STATE, limb), Y, pre=Pre.ZERO)
        p.term(small(1), L(E.STATE, 2), pre=Pre.ZERO)
        p.count("again")
        p.load(0)

    refused("has not written yet", lambda p: leaf(p, 6))
    with pytest.raises(Refused, match="nothing was written"):  # no hazard, but a value that was not there
        linked(lambda p: leaf(p, 7))


def test_steps_of_one_instruction():
    def leaf(p):
        p.zero()
        p.sum(V(E.R), None, V(E.R, 1), repeat=15)

    refused("a step reads what one of the two before it writes", leaf)


def test_flag_too_early():
    def leaf(p):
        p.sum(SYSTEM["count"], small(1), sub=True, pre=Pre.ZERO, flag=True)
        p.wait(1)
        p.if_flag("unknown")

    refused("the flag is not there yet", leaf)


def test_swap_too_early():
    def leaf(p):
        p.acc(pre=Pre.ZERO, flag=True)
        p.term(small(1), L(E.X2), pre=Pre.ZERO)

    refused("may swap: wait", leaf)


def test_swap_not_meant():
    def leaf(p):
        p.term(small(1), L(E.X2), pre=Pre.ZERO)
        p.sum(X, small(1), pre=Pre.ZERO, flag=True)
        p.wait(2)
        p.term(L(E.X2), Y, pre=Pre.ZERO)

    refused("uses element 0 while the flag may be set, and does not mean to swap", leaf)
    linked(leaf, lambda p: p.call("leaf", swaps=True))


def test_flag_changes_in_a_vector():
    def leaf(p):
        p.zero()
        p.sum(V(E.R), None, V(E.X2), repeat=16, flag=True)

    refused("they would change places", leaf)


def test_x_too_early():
    def leaf(p):
        p.xor(X)
        p.load_x()
        p.load(0)

    refused("X is not there yet", leaf)


def test_two_bytes():
    def leaf(p):
        p.byte(X, pre=Pre.ZERO)
        p.byte(Y, pre=Pre.ZERO)

    refused("two bytes cannot be taken", leaf)


def test_large_product_subtracted():
    refused("below 2\\^31", lambda p: p.product(X, small(0xFFFF), sub=True, pre=Pre.ZERO))
    refused("below 2\\^31", lambda p: p.product(X, Y, sub=True, pre=Pre.ZERO))


def test_secret_branch():
    """On the flag of a value; of a public limb; of a value that is said to be public; in what is no secret."""

    def leaf(p, operand, **reveal):
        p.sum(operand, small(1), sub=True, pre=Pre.ZERO, flag=True, **reveal)
        p.wait(2)
        p.if_flag("unknown")

    refused("a branch depends on the flag, which may be secret", lambda p: leaf(p, X))
    refused("a branch depends on the flag, which may be secret", lambda p: leaf(p, SYSTEM["q"]))
    linked(lambda p: leaf(p, SYSTEM["length"]))
    linked(lambda p: leaf(p, X, reveal="a test"))


def test_secret_branch_of_a_routine():
    def leaf(p):
        p.zero()
        p.sum(PV(), None, V(E.T0), repeat=16, flag=True)
        p.wait(1)

    def routine(p):
        p.call("leaf", 0, E.R)
        p.if_flag("unknown")

    refused("'command', word 1: a branch depends on the flag", leaf, routine)
    linked(leaf, routine, secret=False)


def test_secret_in_a_public_limb():
    refused("writes what may be secret to a public limb", lambda p: p.term(X, SYSTEM["status"], pre=Pre.ZERO))
    refused("writes what may be secret to a public limb", lambda p: p.term(small(1), SYSTEM["count"]))
    linked(lambda p: p.term(small(1), SYSTEM["count"], pre=Pre.ZERO))


def test_lifetimes():
    refused("reads element 7, which nothing was written to", lambda p: p.term(L(7), X, pre=Pre.ZERO))
    linked(lambda p: p.term(L(7), X, pre=Pre.ZERO), lambda p: p.jump("unknown"))  # never run

    def on_one_path(p):
        p.sum(SYSTEM["count"], small(1), sub=True, pre=Pre.ZERO, flag=True)
        p.wait(2)
        p.if_flag("past")
        p.term(small(1), L(7), pre=Pre.ZERO)
        p.wait(2)
        p.label("past")
        p.term(L(7), X, pre=Pre.ZERO)

    refused("reads element 7", on_one_path)


def copy(p):
    p.zero()
    p.term(PV(), PV(), repeat=16)


def test_what_belongs_to_others():
    refused("belongs to whoever gives the commands", copy, lambda p: p.call("leaf", KEPT[0], 0, E.R))
    refused("which leaves use themselves", copy, lambda p: p.call("leaf", E.PRODUCT, 0, E.R))
    refused("element 31 must stay 0", lambda p: p.term(small(1), L(E.ZERO), pre=Pre.ZERO))
    linked(copy, lambda p: p.call("leaf", E.T0, 0, KEPT[0]))

    def scratch(p):
        p.zero()
        p.sum(PV(), None, V(E.PRODUCT), repeat=16)

    refused("which it is called to read", scratch, lambda p: p.call("leaf", 0, E.PRODUCT))


def test_flag_at_the_end():
    def leaf(p):
        p.sum(X, small(1), pre=Pre.ZERO, flag=True)
        p.wait(2)
        p.jump("rest")

    refused("the flag may be set when the command ends", leaf)


def test_stack():
    def routine(p, levels):
        p.enter("level 0")
        p.jump("unknown")
        for level in range(levels):
            p.label(f"level {level}")
            p.enter(f"level {level + 1}")
            p.ret()
        p.label(f"level {levels}")
        p.ret()

    linked(routine=lambda p: routine(p, isa.STACK - 1))
    refused(
        f"needs a return stack of {isa.STACK + 1} levels, there are {isa.STACK}",
        routine=lambda p: routine(p, isa.STACK),
    )


@pytest.mark.parametrize(
    ("emit", "message"),
    [
        (lambda p: p.term(X, repeat=5), "a repetition has .* steps, not 5"),
        (lambda p: p.sum(X, None, repeat=4), "operand a moves on in a repetition: use V or PV"),
        (lambda p: p.term(X, repeat=4), "in a repetition operand b is V or PV"),
        (lambda p: p.sum(V(Rom.L), None, repeat=4), "only operand b can be a constant, not a"),
        (lambda p: p.term(L(KEPT[0])), "elements 20..27 are reached by pointers only, not by name as 20"),
        (lambda p: p.term(small(3)), "3 is not among the constants"),
        (lambda p: p.term(L(64)), "there are elements 0..63 of limbs 0..15, not 64, 0"),
        (lambda p: p.load(256), "the counter is 0..255, not 256"),
        (lambda p: p.label("leaf"), "label 'leaf' is there already"),
        (lambda p: p.jump("nowhere"), "there is no label 'nowhere', which 'leaf' goes to"),
        (lambda p: [p.zero() for _ in range(512)], "leaves have room for 510 words, not 5"),
    ],
)
def test_wrong_words(emit, message):
    with pytest.raises(ValueError, match=message):
        linked(emit)


def test_structure():
    p = Program()
    with pytest.raises(ValueError, match="outside any leaf or routine"):
        p.zero()
    with p.routine("arranges", secret=True):
        with pytest.raises(ValueError, match="only a leaf computes"):
            p.zero()
        with pytest.raises(ValueError, match="'other' begins within 'arranges'"):
            with p.leaf("other"):
                pass
    with pytest.raises(ValueError, match="the program has room for 984 words"):
        linked(routine=lambda p: [p.enter("leaf") for _ in range(1000)])


def test_cycles():
    """Of the whole program, as the commands take them: two more, to come from the table and back."""
    code = curve_program()
    assert cycles(code, "x25519") == 648_971
    assert cycles(code, "x25519_base") == 587_770
    assert cycles(code, "elligator") == 48_626
    with pytest.raises(ValueError, match="'hash' branches on lengths"):
        cycles(code, "hash")


def test_recursion():
    refused("'command', word 0: calls itself", routine=lambda p: p.enter("command"))
