#!/bin/sh
# The gateware tests need Icarus Verilog, which is no Python package: it comes from the distribution.
set -eu
command -v iverilog >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "== installing Icarus Verilog by apt-get"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends iverilog; } >/dev/null && exit 0
fi
echo "the gateware tests need Icarus Verilog: run 'sudo apt-get install iverilog' (or your system's equivalent) and try again" >&2
exit 1
