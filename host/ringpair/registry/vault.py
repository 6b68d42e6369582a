"""Encryption of the wrap keys at rest.

One random *data key* of 32 bytes encrypts every wrap key with AES-256-GCM (NIST SP 800-38D), a fresh 96-bit nonce each
time, the device's id and the key's index as associated data. The data key itself is sealed the same way under a key
that scrypt (RFC 7914) makes from the passphrase, or lies in the system keyring. So a new passphrase re-encrypts 32
bytes, and a wrong one is told by the tag.
"""

import base64
import os
import secrets
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from ringpair.errors import RegistryError, WrongPassphrase
from ringpair.foreign import is_text

from .models import VaultRow

PASSPHRASE_VARIABLE = "RINGPAIR_PASSPHRASE"
NEW_PASSPHRASE_VARIABLE = "RINGPAIR_NEW_PASSPHRASE"
KEY_LENGTH = 32
NONCE_LENGTH = 12
COST = 16
"""Base-2 logarithm of scrypt's N: 64 MiB and a fifth of a second per guess, with r = 8, p = 1."""
MAX_COST = 20
CHECK_LABEL = b"ringpair registry"
KEYRING_SERVICE = "ringpair registry"


class Vault:
    """Opens and seals wrap keys with the data key."""

    def __init__(self, data_key: bytes) -> None:
        self._data_key = data_key

    def __repr__(self) -> str:
        return "Vault(...)"

    def seal(self, wrap_key: bytes, device_id: str, index: int) -> bytes:
        """Nonce 12, ciphertext 32 and tag 16."""
        return _seal(self._data_key, wrap_key, _context(device_id, index))

    def open(self, sealed: bytes, device_id: str, index: int) -> bytes:
        """The wrap key.

        Raises
        ------
        RegistryError
            The row was altered, or moved from another device or index.
        """
        try:
            return _open(self._data_key, sealed, _context(device_id, index))
        except InvalidTag:
            raise RegistryError(
                f"the stored key of {device_id} does not open: the registry was altered or damaged; "
                "restore a backup (ringpair registry import-backup)"
            ) from None

    def protect(self, passphrase: str | None, registry_id: str = "", cost: int = COST) -> VaultRow:
        """The row that opens this vault again by ``passphrase``, or by the system keyring if that is None."""
        registry_id = registry_id or secrets.token_hex(16)
        salt, sealed_key = b"", b""
        if passphrase is None:
            _to_keyring(registry_id, self._data_key)
        else:
            salt = secrets.token_bytes(16)
            sealed_key = _seal(_stretch(passphrase, salt, cost), self._data_key, CHECK_LABEL)
        check_value = _seal(self._data_key, b"", CHECK_LABEL)
        return VaultRow(
            id=1, registry_id=registry_id, salt=salt, cost=cost, sealed_key=sealed_key, check_value=check_value
        )


def new_vault() -> Vault:
    """A vault with a fresh data key."""
    return Vault(secrets.token_bytes(KEY_LENGTH))


def open_vault(row: VaultRow, passphrase: str | None = None) -> Vault:
    """The vault behind ``row``; asks for the passphrase if it needs one and got none.

    Raises
    ------
    WrongPassphrase
        The passphrase, or the key in the keyring, is not the one of this registry.
    RegistryError
        There is nobody to ask, no keyring, or the row is damaged.
    """
    if not row.sealed_key:
        data_key = _from_keyring(row.registry_id)
    else:
        if not 10 <= row.cost <= MAX_COST:
            raise RegistryError(
                f"expected a scrypt cost of 10 to {MAX_COST}, the registry says {row.cost}: restore a backup"
            )
        if passphrase is None:
            passphrase = ask_passphrase("Passphrase of the registry: ")
        try:
            data_key = _open(_stretch(passphrase, row.salt, row.cost), row.sealed_key, CHECK_LABEL)
        except InvalidTag:
            raise WrongPassphrase(
                f"wrong passphrase for this registry: check {PASSPHRASE_VARIABLE} or type it again"
            ) from None
    try:
        _open(data_key, row.check_value, CHECK_LABEL)
    except InvalidTag:
        raise WrongPassphrase(
            "the key in the system keyring is not this registry's: restore that keyring, or import a backup"
        ) from None
    return Vault(data_key)


def ask_passphrase(prompt: str, confirm: bool = False, variable: str = PASSPHRASE_VARIABLE) -> str:
    """The passphrase, from the environment or typed in; ``confirm`` asks twice.

    Raises
    ------
    RegistryError
        Neither is possible, or the two differ.
    """
    given = os.environ.get(variable)
    if given and not is_text(given):
        raise RegistryError(f"expected a passphrase in UTF-8, {variable} holds something else: set it anew")
    if given:
        return given
    if not sys.stdin.isatty():
        raise RegistryError(f"the registry's keys need a passphrase and there is no terminal to ask: set {variable}")
    import getpass

    passphrase = getpass.getpass(prompt)
    if not passphrase:
        raise RegistryError("expected a passphrase, got an empty line")
    if confirm and getpass.getpass("The same again: ") != passphrase:
        raise RegistryError("the two passphrases differ: try again")
    return passphrase


def _context(device_id: str, index: int) -> bytes:
    try:
        return bytes.fromhex(device_id) + index.to_bytes(4, "little")
    except (ValueError, OverflowError) as problem:  # a row that somebody has altered
        raise InvalidTag from problem


def _seal(key: bytes, plaintext: bytes, context: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE_LENGTH)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, context)


def _open(key: bytes, sealed: bytes, context: bytes) -> bytes:
    if len(sealed) < NONCE_LENGTH + 16:
        raise InvalidTag
    return AESGCM(key).decrypt(sealed[:NONCE_LENGTH], sealed[NONCE_LENGTH:], context)


def _stretch(passphrase: str, salt: bytes, cost: int) -> bytes:
    return Scrypt(salt=salt, length=KEY_LENGTH, n=1 << cost, r=8, p=1).derive(passphrase.encode())


def _to_keyring(registry_id: str, data_key: bytes) -> None:
    import keyring
    from keyring.errors import KeyringError

    try:
        keyring.set_password(KEYRING_SERVICE, registry_id, base64.b64encode(data_key).decode())
    except KeyringError as problem:
        raise _no_keyring(problem) from problem


def _from_keyring(registry_id: str) -> bytes:
    import keyring
    from keyring.errors import KeyringError

    try:
        found = keyring.get_password(KEYRING_SERVICE, registry_id)
    except KeyringError as problem:
        raise _no_keyring(problem) from problem
    try:
        data_key = base64.b64decode(found or "", validate=True)
    except ValueError:
        data_key = b""
    if len(data_key) != KEY_LENGTH:
        raise WrongPassphrase(
            "the system keyring holds no key for this registry: log in as the user who made it, or import a backup"
        )
    return data_key


def _no_keyring(problem: Exception) -> RegistryError:
    return RegistryError(
        f"the system keyring cannot be used ({' '.join(str(problem).split())}): install or unlock one, "
        f"or use a passphrase ({PASSPHRASE_VARIABLE})"
    )
