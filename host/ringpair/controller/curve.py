"""The curve of a controller: everything with a secret key is done by the library `cryptography`."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from ringpair_protocol.curve25519 import BadPoint, check_public_key


class LibraryCurve:
    """:class:`ringpair_protocol.curve25519.Curve`."""

    def x25519(self, scalar: bytes, u: bytes, /) -> bytes:
        try:
            return X25519PrivateKey.from_private_bytes(scalar).exchange(X25519PublicKey.from_public_bytes(u))
        except ValueError as error:
            raise BadPoint("the point has a small order: expected one of another key pair") from error

    def public_key(self, seed: bytes, /) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()

    def sign(self, seed: bytes, message: bytes, /) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(seed).sign(message)

    def verify(self, public_key: bytes, message: bytes, signature: bytes, /) -> bool:
        try:
            check_public_key(public_key)  # the library takes keys of small order
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        except (BadPoint, InvalidSignature, ValueError):
            return False
        return True
