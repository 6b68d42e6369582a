"""What all tests share."""

import signal

# A shell turns interrupts off for what it runs in the background, and so for all that is started from there: the tests
# of interrupts need them.
signal.signal(signal.SIGINT, signal.default_int_handler)
