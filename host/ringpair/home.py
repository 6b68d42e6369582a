"""Where everything of this user lies: the registry and the folders of virtual boards."""

import os
from pathlib import Path

HOME_VARIABLE = "RINGPAIR_HOME"
REGISTRY_FILE = "registry.sqlite"
BOARDS_FOLDER = "boards"


def home() -> Path:
    """``$RINGPAIR_HOME``, or the user's data folder."""
    import platformdirs

    chosen = os.environ.get(HOME_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_data_path("ringpair")


def default_path() -> Path:
    """The registry that is used if none is named."""
    return home() / REGISTRY_FILE
