"""Host side of ringpair: boards, transports, the registry of enrolled devices, and the command line.

Import what you need from its module; the package itself imports nothing, so that ``ringpair --help`` is quick::

    from ringpair.board import Board
    from ringpair.registry import Registry
"""
