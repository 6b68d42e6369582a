"""What the linker refuses: what comes before its operands are there, lifetimes, and branches on secrets."""

from .flow import Refused, check_stack
from .lifetimes import Lifetimes
from .pipeline import Pipeline

__all__ = ["Refused", "check"]


def check(code):
    """All checks; raises `Refused` naming the routine and the instruction."""
    Pipeline(code).check()
    check_stack(code)
    Lifetimes(code).check()
