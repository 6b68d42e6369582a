"""Curve25519, Ed25519, Elligator 2 and SHA-512 on a microprogrammed 16-bit engine."""
