"""A registry with three devices."""

import pytest
from ringpair.registry import Registry

from host.tests.rig_registry import SECRECY, entry
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
