"""What both ends of every wire agree on: layouts, labels, opcodes, constants, and the executable reference model."""

LEVEL = 1
"""Protocol level, announced on connect. A host refuses a device of another level."""
