"""A registry with three devices, a system keyring, and the command line with a registry of its own."""

import json

import pytest
from ringpair.cli import main
from ringpair.registry import Registry

from host.tests.rig_registry import PASSPHRASE, SECRECY, entry
from protocol.tests.rig import IDENTITY


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "registry.sqlite"


@pytest.fixture
def registry(path):
    """alice, bob and carol are enrolled."""
    with Registry(path, SECRECY) as registry:
        for number, name in enumerate(("alice", "bob", "carol"), start=1):
            registry.add(entry(number), name, IDENTITY)
            registry.confirm(name)
        yield registry


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A registry of its own, with a cheap passphrase."""
    monkeypatch.setenv("RINGPAIR_HOME", str(tmp_path))
    monkeypatch.setenv("RINGPAIR_PASSPHRASE", PASSPHRASE)
    with Registry(tmp_path / "registry.sqlite", SECRECY) as registry:
        registry.unlock()
    return tmp_path


@pytest.fixture
def run(capsys):
    """Run a command; exit code, JSON object, standard error."""

    def run(*arguments, code=0):
        capsys.readouterr()
        assert main([*map(str, arguments), "--json"]) == code, capsys.readouterr().err
        out, err = capsys.readouterr()
        lines = [json.loads(line) for line in out.splitlines()]
        return (lines[0] if len(lines) == 1 else lines), err

    return run


@pytest.fixture
def system_keyring():
    """Keyring backends need a desktop session; this one is registered through keyring's own interface."""
    import keyring
    from keyring.backend import KeyringBackend

    class InMemory(KeyringBackend):
        priority = 1

        def __init__(self):
            super().__init__()
            self.stored = {}

        def set_password(self, service, username, password):
            self.stored[service, username] = password

        def get_password(self, service, username):
            return self.stored.get((service, username))

        def delete_password(self, service, username):
            del self.stored[service, username]

    before = keyring.get_keyring()
    backend = InMemory()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)
