"""The worked handshakes: 25 from a file (RINGPAIR_VECTORS), two typed in; made by another implementation."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ringpair_protocol.admin import Role
from ringpair_protocol.derivations import KEK, PAIR
from ringpair_protocol.ppake import Established, Party, PeerRecord, Send
from ringpair_protocol.records import PeerHeader, open_peer, seal_peer

TYPED = """[{
"pair_key": "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
"id_low": "6465766963654131", "id_high": "6465766963654232", "initiator_is_low": true, "epoch": 0,
"chain_key": "4d2359844ff5f3274f442567597841caebc54d1802b8c9ee5d850d92735ace7e",
"auth_key": "8c2a6053855c9371cf910531815b9aeb",
"next_chain_key": "1af42f5e32ad351677353215f03950cd90ff127bd70daa57b61f3c4ec5421a1e",
"nonce_i": "404142434445464748494a4b4c4d4e4f", "nonce_r": "808182838485868788898a8b8c8d8e8f",
"m1": "11404142434445464748494a4b4c4d4e4f1faa4ff51c6c2003c29ae8715a84970e",
"m2": "12808182838485868788898a8b8c8d8e8f911e40df21bf161f4d44079a4e840ab0",
"m3": "13fc1da34abeb870ed21ec2e312cb6a4a1", "resync": "14ba7633d720418a3dc5c80610f825c7cb",
"key_ir": "d8303653a9dc608875f10d5ebc9a5168", "key_ri": "8047fe9e1fb02259764af5711bb43807",
"exporter": "4668bc80aad808c2a2931e2aa7a3f71f4a168a7a0b8e56ed2947289c481c8279",
"session_id": "b75fb80586bd53e2", "iv_ir": "3a5c68bb9e4b6ab6626e33b8", "iv_ri": "5f9bafe8458dce6ac1250be6",
"initiator_record": {
"puf_key": "1111111111111111111111111111111111111111111111111111111111111111",
"salt": "22222222222222222222222222222222", "kek": "3053b66c78675e2a15dc9a787dfb6b10",
"header": "646576696365423201000101",
"slot_after": "01000000540e858f3f4fa4cb8f72f22427c2ddd0ec673e49d63b79505d3b0413285fb00dcc043c10a10dffd190ed14ee\
d42d0d56cf7adab46214edf178ee8b79c57624ad"}
}, {
"pair_key": "598fb22aac25025c52b9b35754bac9b3b03b7dd127f028a74c2f766bbd01b3dc",
"id_low": "0c6f64594386bdbf", "id_high": "c4deebdd870a707c", "initiator_is_low": false, "epoch": 3,
"chain_key": "0b79bcd1115c93bdc4fb57468edcd99c2941f0b3a0b273ff4fb399adcc3c9766",
"auth_key": "677c4784dfdd3896595e82460daad3dd",
"next_chain_key": "4bf0d5eaeb7b0181d931eb2f26a2f848af7d792327d3cd1b048321362c48aa23",
"nonce_i": "f1caf6ec3bffb926c83cecaf9f315c9d", "nonce_r": "628703c9bff49da00ff345d341f371fb",
"m1": "11f1caf6ec3bffb926c83cecaf9f315c9d2e603a2c2cfc15c812c391d678f49649",
"m2": "12628703c9bff49da00ff345d341f371fb7bd42732c65110648d3b1b4a46c408de",
"m3": "1337539f9233c08f7c53541c7eef88066b", "resync": "1487cb947946f9755b25e752c40486d4b8",
"key_ir": "e94fbb17d579983de3c041d489be61f1", "key_ri": "b2a5a2789ce0e21f0137af025ca75b57",
"exporter": "69bde3a9d0a34ddcab5806d18bae5ea9c6b84df5a60ee973e3cb2e85d58ef5cc",
"session_id": "ea37052dd12563f8", "iv_ir": "edc19bf128c7facc7270363e", "iv_ri": "2435ff0d9d87f7a418946476",
"initiator_record": {
"puf_key": "33b020c29b7e800c147857ed3af5fc9c9a1f85fd27179c1e671a6e161266c674",
"salt": "6f555498978b58293af38aa06be57760", "kek": "48db3333bd347eeb389ef1686fd92e02",
"header": "0c6f64594386bdbf92010001",
"slot_after": "04000000fb93b21ef51f9ecc2faf590c3f3b8ea8b6b84d6384524bc3d10a0169adbb274a6db07970940e8d7ec3d38668\
4eded1a3bafc7bf2db039dd3696ef7bec6a8533d"}
}]"""


def bytes_of(value: Any) -> Any:
    """Hex strings of a parsed JSON value to bytes."""
    if isinstance(value, dict):
        return {key: bytes_of(item) for key, item in value.items()}
    return bytes.fromhex(value) if isinstance(value, str) else value


def check(case: dict[str, Any]) -> None:
    """One worked handshake, played by two parties that start from the pair key."""
    case = bytes_of(case)
    root = PAIR(pair_key=case["pair_key"], id_low=case["id_low"], id_high=case["id_high"])
    records = {}
    for role, low in (Role.INITIATOR, case["initiator_is_low"]), (Role.RESPONDER, not case["initiator_is_low"]):
        record = PeerRecord(0, low, 0, root["chain_key"], root["auth_prev"])
        for _ in range(case["epoch"]):
            record = record.next().after
        records[role] = record
        assert (record.chain_key, record.next().auth_key) == (case["chain_key"], case["auth_key"])

    a, b = (OnePeer(records[role]) for role in Role)
    initiator = Party(a, lambda: case["nonce_i"])
    responder = Party(b, lambda: case["nonce_r"])
    assert initiator.connect(0, 1) == [Send(1, case["m1"])]
    assert responder.receive(case["m1"], 2) == [Send(2, case["m2"])]
    first, second = initiator.receive(case["m2"], 1)
    assert first == Send(1, case["m3"])
    (accepted,) = responder.receive(case["m3"], 2)
    assert isinstance(second, Established)
    assert isinstance(accepted, Established)
    i, r = second.session, accepted.session
    assert (i.key_out, i.key_in) == (r.key_in, r.key_out) == (case["key_ir"], case["key_ri"])
    assert (i.iv_out, i.iv_in) == (r.iv_in, r.iv_out) == (case["iv_ir"], case["iv_ri"])
    for session in (i, r):
        assert (session.session_id, session.exporter) == (case["session_id"], case["exporter"])
        assert session.epoch == case["epoch"]
    responder_record = b.record
    for store in (a, b):
        assert store.record.epoch == case["epoch"] + 1
        assert store.record.chain_key == case["next_chain_key"]
        assert store.record.auth_prev == case["auth_key"]

    assert responder.receive(case["m1"], 3) == [Send(3, case["resync"])], "the responder is one epoch ahead now"
    assert b.record == responder_record

    sealed = case["initiator_record"]
    header = PeerHeader.from_bytes(sealed["header"])
    assert header.to_bytes() == sealed["header"]
    assert header.low == case["initiator_is_low"]
    index = header.pair_index.to_bytes(2, "little")
    assert KEK(puf_key=sealed["puf_key"], salt=sealed["salt"], pair_index=index)["kek"] == sealed["kek"]
    after = (a.record.epoch, a.record.chain_key, a.record.auth_prev)
    assert seal_peer(sealed["kek"], sealed["header"], *after) == sealed["slot_after"]
    assert open_peer(sealed["kek"], sealed["header"], sealed["slot_after"]) == after


class OnePeer:
    """A store of one pairing, in memory."""

    def __init__(self, record: PeerRecord):
        self.record = record

    def live(self) -> list[PeerRecord]:
        return [self.record]

    def load(self, number: int) -> PeerRecord | None:
        return self.record if number == self.record.number else None

    def commit(self, record: PeerRecord) -> None:
        self.record = record


@pytest.mark.parametrize("case", json.loads(TYPED), ids=["low starts", "high starts"])
def test_known_answers(case: dict[str, Any]) -> None:
    check(case)


def test_vector_file() -> None:
    folder = os.environ.get("RINGPAIR_VECTORS")
    if not folder:
        pytest.skip("RINGPAIR_VECTORS is not set; the typed-in answers were checked")
    cases = json.loads((Path(folder) / "ppake1.json").read_text())["cases"]
    assert len(cases) == 25
    for case in cases:
        check(case)
