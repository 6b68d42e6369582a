"""The process of one virtual board: settings as JSON in the argument, one JSON line out; serves until stdin ends."""

import json
import sys
from typing import Any

from ..errors import RingpairError
from ..portlock import reason
from .server import Settings, serve


def main() -> int:
    """Serve; the exit code says why it ended."""

    def say(content: dict[str, Any]) -> None:
        print(json.dumps(content), flush=True)

    try:
        serve(Settings.from_json(sys.argv[1]), say, parent=sys.stdin.fileno())
    except RingpairError as error:
        say({"error": str(error), "kind": type(error).__name__})
        return error.exit_code
    except OSError as error:  # no room, no permission, no such folder
        where = f"{error.filename}: " if error.filename else ""
        say({"error": f"{where}{reason(error)}; check the folder, its permissions and the disk's space", "kind": ""})
        return RingpairError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
