"""Devices of a registry, for its tests; `conftest.py` has the registry."""

from ringpair.registry import Secrecy
from ringpair_protocol.pairing import DeviceEntry, next_wrap_key

BAD_NAMES = ("", "7", "a b", "é", "a" * 49, "abcdef0123456789")
PASSPHRASE = "correct horse"
SECRECY = Secrecy(PASSPHRASE, cost=10)


def entry(number):
    return DeviceEntry(bytes([number]) * 8, bytes([0xA0 + number]) * 32)


def chain(number, index):
    wrap_key = entry(number).wrap_key
    for _ in range(index):
        wrap_key = next_wrap_key(wrap_key)
    return wrap_key
