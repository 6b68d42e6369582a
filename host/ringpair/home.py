"""Where everything of this user lies: the registry, the folders of virtual boards, and compiled ones."""

import os
from pathlib import Path

HOME_VARIABLE, CACHE_VARIABLE = "RINGPAIR_HOME", "RINGPAIR_CACHE"
REGISTRY_FILE = "registry.sqlite"
BOARDS_FOLDER = "boards"


def home() -> Path:
    """``$RINGPAIR_HOME``, or the user's data folder."""
    import platformdirs

    chosen = os.environ.get(HOME_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_data_path("ringpair")


def cache_folder() -> Path:
    """Of compiled virtual boards: below ``$RINGPAIR_CACHE``, or the user's cache folder."""
    import platformdirs

    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("ringpair")) / "virtual"


def default_path() -> Path:
    """The registry that is used if none is named."""
    return home() / REGISTRY_FILE
