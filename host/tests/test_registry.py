"""The registry: devices, pairing offline, secrets at rest, messages as files."""

import io
import sqlite3
from contextlib import closing, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ringpair.errors import RegistryError, UsageError, WrongPassphrase
from ringpair.messages import file_name, parse, read_file, to_text, write_file
from ringpair.registry import Registry, Secrecy, export, import_backup, vault
from ringpair.registry.models import ACTIVE, PENDING, RETIRED
from ringpair_protocol.messages import LENGTHS, PUZZLE, RESET, REVOKE
from ringpair_protocol.pairing import DeviceEntry, sealed_index, unseal

from host.tests.rig_registry import BAD_NAMES, SECRECY, chain, entry
from protocol.tests.rig import IDENTITY

# ------------------------------------------------------------------------------ the plain way


def test_devices_are_stored_with_what_they_are(registry, path):
    device = registry.find("alice")
    assert (device.id, device.state, device.wrap_index) == ("01" * 8, ACTIVE, 0)
    assert (device.gateware, device.simulated) == (IDENTITY.gateware.hex(), True)
    assert registry.find("0101").name == registry.find("01" * 8).name == "alice"
    assert registry.entry(device) == entry(1)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_pairing_makes_puzzles_that_the_devices_open(registry):
    for_alice, for_bob = registry.pair("alice", "bob")
    keys = [
        unseal(message.body, entry(number).wrap_key, entry(number).device_id)
        for message, number in ((for_alice, 1), (for_bob, 2))
    ]
    assert keys[0] == keys[1]
    assert len(keys[0]) == 32
    for number, name in ((1, "alice"), (2, "bob")):
        assert registry.entry(registry.find(name)) == entry(number).successor()
    assert [(m.recipient.name, m.peer_id) for m in registry.outbox()] == [("alice", "02" * 8), ("bob", "01" * 8)]
    (pairing,) = registry.pairings("bob")
    assert (pairing.low.name, pairing.high.name, pairing.revoked_at) == ("alice", "bob", None)


def test_revocation_and_pairing_again(registry):
    registry.pair("alice", "bob")
    registry.delivered(registry.outbox("alice")[0])
    messages = registry.revoke("bob", "alice")
    assert {message.recipient.name: message.wrap_index for message in messages} == {"alice": 1, "bob": 1}
    for message, number in zip(messages, (2, 1), strict=True):
        assert unseal(message.body, chain(number, 1), entry(number).device_id) == b""
        assert message.body[0] == REVOKE
    waiting = registry.outbox()
    assert [(m.recipient.name, m.kind) for m in waiting] == [("alice", "revocation"), ("bob", "revocation")]
    registry.pair("alice", "bob")
    assert [m.wrap_index for m in registry.outbox("alice")] == [1, 2]
    assert len([p for p in registry.pairings() if p.revoked_at is None]) == 1


def test_reset_and_retirement(registry):
    registry.pair("alice", "bob")
    message = registry.reset("alice")
    assert unseal(message.body, chain(1, 1), entry(1).device_id) == b""
    assert message.body[0] == RESET
    assert message.id not in [waiting.id for waiting in registry.outbox()]
    device = registry.retire("alice")
    assert (device.state, device.wrap_key) == (RETIRED, None)
    assert [waiting.recipient.name for waiting in registry.outbox()] == ["bob"]
    with pytest.raises(RegistryError, match="retired"):
        registry.pair(device.name, "bob")
    registry.add(entry(9), "alice", IDENTITY)  # the name is free again


def test_advance_follows_the_chain(registry):
    registry.advance("carol", 5)
    assert registry.entry(registry.find("carol")) == DeviceEntry(entry(3).device_id, chain(3, 5), 5)


def test_no_message_is_issued_that_a_device_could_not_reach(registry):
    """64 steps from the last stepping stone: withdrawn puzzles are none, waiting ones are."""
    registry.advance("alice", 64)
    registry.pair("alice", "bob")  # index 64: just within reach, and a stone for what follows
    registry.advance("alice", 64)
    registry.advance("alice", 1)
    for action in (
        lambda: registry.pair("carol", "alice"),
        lambda: registry.pair("alice", "carol"),
        lambda: registry.reset("alice"),
    ):
        with pytest.raises(RegistryError, match="more than 64 wrap keys behind"):
            action()
    assert registry.find("carol").wrap_index == 0
    with pytest.raises(RegistryError, match="more than 64"):
        registry.revoke("alice", "bob")  # would withdraw the stone, too
    assert [m.wrap_index for m in registry.outbox("alice")] == [64]


def test_removal_takes_pairings_and_outbox_along(registry):
    registry.pair("alice", "bob")
    registry.pair("bob", "carol")
    registry.remove("bob")
    assert [device.name for device in registry.devices()] == ["alice", "carol"]
    assert registry.pairings() == []
    assert {message.recipient.name for message in registry.outbox()} == {"alice", "carol"}


def test_history_tells_what_was_done_and_no_key(registry):
    registry.pair("alice", "bob")
    history = [(entry.action, entry.detail) for entry in registry.history()]
    assert [action for action, _ in history] == ["create", *["enroll", "confirm"] * 3, "pair"]
    assert all(entry(1).wrap_key.hex() not in detail for _, detail in history)


# ------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda r: r.pair("alice", "alice"), "are the same"),
        (lambda r: r.pair("alice", "dave"), "it knows alice, bob, carol"),
        (lambda r: (r.pair("alice", "bob"), r.pair("bob", "alice")), "paired already"),
        (lambda r: r.revoke("alice", "bob"), "never paired"),
        (lambda r: r.add(entry(4), "alice", IDENTITY), "is taken by"),
        (lambda r: r.add(entry(1), "zoe", IDENTITY), "registered already"),
        (lambda r: (r.add(entry(4), "dave", IDENTITY), r.pair("alice", "dave")), "never confirmed"),
        (lambda r: r.confirm("alice"), "only a pending"),
        (lambda r: r.rename("alice", "bob"), "is taken by"),
        (lambda r: r.find("01"), "no device '01'"),
        (lambda r: (r.add(DeviceEntry(bytes([1] * 7 + [2]), bytes(32)), "x", IDENTITY), r.find("0101")), "2 ids"),
        *((lambda r, n=n: r.rename("alice", n), "no name for a device") for n in BAD_NAMES),
    ],
)
def test_refusals_say_why_and_change_nothing(registry, action, words):
    with pytest.raises(RegistryError, match=words) as caught:
        action(registry)
    assert caught.value.exit_code == 4
    assert registry.entry(registry.find("alice")).wrap_index <= 1
    assert registry.find("alice").state == ACTIVE


def test_a_device_holds_sixteen_pairings(registry):
    for number in range(10, 26):
        registry.add(entry(number), f"peer{number}", IDENTITY)
        registry.confirm(f"peer{number}")
        registry.pair("alice", f"peer{number}")
    with pytest.raises(RegistryError, match="16 pairings"):
        registry.pair("alice", "bob")
    assert registry.find("bob").wrap_index == 0


def test_steps_must_make_sense(registry):
    for steps in (0, -1, 10**6):
        with pytest.raises(UsageError, match="expected 1 to"):
            registry.advance("alice", steps)


def test_an_exhausted_chain_is_refused(registry, path):
    with closing(sqlite3.connect(path)) as database, database:
        sealed = registry.unlock().seal(bytes(32), "01" * 8, 2**32 - 1)
        database.execute("UPDATE devices SET wrap_index = ?, wrap_key = ? WHERE name = 'alice'", (2**32 - 1, sealed))
    with pytest.raises(RegistryError, match="enroll it again"):
        registry.pair("alice", "bob")
    assert registry.outbox() == []


# ------------------------------------------------------------------------------ secrets at rest


def test_no_key_lies_in_the_file(registry, path):
    """Neither present nor used wrap keys, nor the pair's key, in the clear; used ones not even encrypted."""
    before = {name: registry.find(name).wrap_key for name in ("alice", "bob", "carol")}
    (puzzle, _) = registry.pair("alice", "bob")
    registry.remove("carol")
    pair_key = unseal(puzzle.body, entry(1).wrap_key, entry(1).device_id)
    registry.close()
    content = path.read_bytes()
    assert not [name for name, sealed in before.items() if sealed in content]
    for secret in (pair_key, *(chain(number, index) for number in (1, 2) for index in (0, 1))):
        assert secret not in content
        assert secret.hex().encode() not in content
    assert puzzle.body in content


def test_wrong_passphrase(registry, path):
    with Registry(path, Secrecy("battery staple")) as other:
        assert [device.name for device in other.devices()] == ["alice", "bob", "carol"]  # reading needs none
        with pytest.raises(WrongPassphrase, match="wrong passphrase"):
            other.pair("alice", "bob")
        assert other.outbox() == []
        with pytest.raises(WrongPassphrase):
            other.add(entry(5), "eve", IDENTITY)


def test_passphrase_from_the_environment_or_not_at_all(registry, path, monkeypatch):
    monkeypatch.setenv("RINGPAIR_PASSPHRASE", "correct horse")
    with Registry(path) as other:
        other.pair("alice", "bob")
    monkeypatch.delenv("RINGPAIR_PASSPHRASE")
    monkeypatch.setattr("sys.stdin", io.StringIO("not a terminal"))
    with Registry(path) as other, pytest.raises(RegistryError, match="set RINGPAIR_PASSPHRASE"):
        other.pair("alice", "carol")


def test_another_passphrase(registry, path):
    registry.protect("new", cost=10)
    with Registry(path, SECRECY) as other, pytest.raises(WrongPassphrase):
        other.unlock()
    with Registry(path, Secrecy("new")) as other:
        assert other.entry(other.find("alice")) == entry(1)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE devices SET wrap_key = (SELECT wrap_key FROM devices WHERE name = 'bob') WHERE name = 'alice'",
        "UPDATE devices SET wrap_index = 1 WHERE name = 'alice'",
        "UPDATE devices SET wrap_key = x'00' WHERE name = 'alice'",
        "UPDATE devices SET wrap_key = zeroblob(60) WHERE name = 'alice'",
    ],
)
def test_altered_rows_are_noticed(registry, path, change):
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(change)
    with pytest.raises(RegistryError, match="altered or damaged"):
        registry.pair("alice", "bob")
    assert registry.outbox() == []
    assert registry.find("bob").wrap_index == 0


def test_a_forged_scrypt_cost_does_not_eat_the_memory(registry, path):
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE vault SET cost = 40")
    with Registry(path, SECRECY) as other, pytest.raises(RegistryError, match="scrypt cost of 10 to 20"):
        other.unlock()


def test_key_in_the_system_keyring(path, system_keyring, tmp_path):
    with Registry(path, Secrecy(keyring=True)) as registry:
        registry.add(entry(1), "alice", IDENTITY)
        export(registry, tmp_path / "backup", "travel", cost=10)
    with Registry(path) as registry:
        assert registry.entry(registry.find("alice")) == entry(1)
    with Registry(tmp_path / "other", SECRECY) as other:
        assert import_backup(other, tmp_path / "backup", "travel").added == ["alice"]
    system_keyring.stored.clear()
    with Registry(path) as registry, pytest.raises(WrongPassphrase, match="keyring holds no key"):
        registry.entry(registry.find("alice"))


def test_no_keyring_there(path):
    import keyring
    from keyring.backends import fail

    before = keyring.get_keyring()
    keyring.set_keyring(fail.Keyring())
    try:
        with Registry(path, Secrecy(keyring=True)) as registry, pytest.raises(RegistryError, match="use a passphrase"):
            registry.add(entry(1), "alice", IDENTITY)
    finally:
        keyring.set_keyring(before)


# ------------------------------------------------------------------------------ messages as files


def test_messages_as_files(registry, tmp_path):
    (message, _) = registry.pair("alice", "bob")
    path = tmp_path / "mail" / file_name("alice", message.body)
    write_file(path, message.body)
    assert path.name == "alice-000000.puzzle"
    assert read_file(path) == message.body
    path.write_bytes(message.body)
    assert read_file(path) == message.body
    with pytest.raises(UsageError, match="cannot read"):
        read_file(tmp_path / "nothing")
    with pytest.raises(UsageError, match="stays in the outbox"):
        write_file(tmp_path / "mail" / path.name / "x", message.body)


MESSAGES = st.sampled_from((PUZZLE, REVOKE, RESET)).flatmap(
    lambda kind: st.binary(min_size=LENGTHS[kind] - 1, max_size=LENGTHS[kind] - 1).map(bytes([kind]).__add__)
)


@given(MESSAGES, st.integers(1, 70))
def test_messages_survive_line_breaks(message, width):
    text = to_text(message)
    digits = text.split()[1]
    wrapped = "ringpair\n" + "\n".join(digits[start : start + width] for start in range(0, len(digits), width))
    assert parse(text.encode(), "x") == parse(wrapped.encode(), "x") == parse(message, "x") == message
    assert sealed_index(message) >= 0


CUT_SHORT = MESSAGES.map(lambda message: to_text(message)[:-3].encode())


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=100).map(b"ringpair ".__add__), CUT_SHORT))
def test_anything_else_is_a_usage_error(content):
    with suppress(UsageError):
        message = parse(content, "x")
        assert len(message) == LENGTHS[message[0]]


def test_pending_stays_until_confirmed(path):
    with Registry(path, SECRECY) as registry:
        registry.add(entry(1), "alice", IDENTITY)
        assert registry.find("alice").state == PENDING
    with Registry(path, SECRECY) as registry:
        assert registry.confirm("alice").state == ACTIVE


def test_scrypt_cost_is_real():
    assert vault.COST >= 15
