"""This host as a controller: it binds devices by a PIN and opens sessions with them by its services' keys."""

from .curve import LibraryCurve
from .drive import DeviceSession, bind, open_session

__all__ = ["DeviceSession", "LibraryCurve", "bind", "open_session"]
