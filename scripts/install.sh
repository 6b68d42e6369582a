#!/bin/sh
# Makes the virtual environment $2 with Python $1 and installs ringpair into it with the extra $3.
set -eu
python=$1 venv=$2 extra=$3
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "ringpair needs Python 3.11 or newer, $python is $("$python" --version 2>&1): set PYTHON=python3.11 or newer" >&2
    exit 1
}
if [ ! -x "$venv/bin/python" ]; then
    echo "== making the virtual environment $venv"
    "$python" -m venv "$venv" || {
        echo "this Python has no venv module: on Debian and Ubuntu, apt-get install python3-venv; then try again" >&2
        rm -rf "$venv"
        exit 1
    }
fi
echo "== installing ringpair[$extra] from PyPI (some 150 MB the first time)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$extra]"
