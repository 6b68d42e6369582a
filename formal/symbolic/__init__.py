"""Symbolic models of the protocol, for ProVerif: `python -m formal.symbolic`."""
