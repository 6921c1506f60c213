#!/bin/sh
# Makes the environment of the peers that are measured beside lanternfish.
#
#   benchmarks/peers/setup.sh [FOLDER]     by default benchmarks/.peers/sbi
#
# PyTorch comes first, so that sbi takes the build that is there; on one core the CPU's build
# is enough.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/../.peers/sbi}
[ -x "$folder/bin/python" ] || "${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install torch==2.13.0
"$folder/bin/pip" install -r "$here/requirements-sbi.txt"
