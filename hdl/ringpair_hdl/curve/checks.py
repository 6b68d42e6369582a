"""What the linker refuses."""


def check(code):
    """All checks."""
