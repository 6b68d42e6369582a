"""The text of a label's QR code."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ringpair_protocol.label import Label

ID = bytes.fromhex("0123456789abcdef")
TEXT = "RP1:0123456789ABCDEF:12345678:"


def test_known_text() -> None:
    text = Label(ID, "12345678").to_text()
    assert text.startswith(TEXT)
    assert text == "RP1:0123456789ABCDEF:12345678:8C77"
    assert Label.from_text(f"  {text.lower()}\n") == Label(ID, "12345678")
    assert "12345678" not in repr(Label(ID, "12345678"))


@given(st.binary(min_size=8, max_size=8), st.from_regex(r"[0-9]{6,12}", fullmatch=True), st.data())
def test_there_and_back(device_id: bytes, pin: str, data: st.DataObject) -> None:
    text = Label(device_id, pin).to_text()
    assert Label.from_text(text) == Label(device_id, pin)
    assert set(text) <= set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")
    place = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(ValueError, match="label"):
        Label.from_text(text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :])


@pytest.mark.parametrize("text", ["", "RP1", "RP1:::", TEXT, TEXT + "0000", "RP2:00:1:2", TEXT[:-2] + "é:0000"])
def test_what_is_no_label(text: str) -> None:
    with pytest.raises(ValueError, match="label"):
        Label.from_text(text)


@pytest.mark.parametrize("pin", ["", "12345", "1" * 13, "12345a", "１２３４５６"])
def test_what_is_no_pin(pin: str) -> None:
    with pytest.raises(ValueError, match="a PIN has 6 to 12 digits"):
        Label(ID, pin)
    with pytest.raises(ValueError, match="a device id has 8 bytes, not 7"):
        Label(ID[1:], "123456")
