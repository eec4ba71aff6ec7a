#!/bin/sh
# What an image holds, in two steps, of which the first changes seldom:
#   install.sh torch      an environment with torch
#   install.sh package    fireredtts2 in it, from the source folder this stands in
# Settings, from the environment:
#   PREFIX       where the environment is made: /opt/fireredtts2
#   DEVICE       cpu or cuda: which build of torch
#   TORCH_INDEX  where torch comes from instead; empty: the package index that pip is set up with
#   EXTRAS       of the package: serving
#   SOURCE       folder with constraints.txt and pyproject.toml: the one above this script
set -eu

step=${1:-}
prefix=${PREFIX:-/opt/fireredtts2}
device=${DEVICE:-cpu}
extras=${EXTRAS:-serving}
source=${SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}

case $device in
    cpu) default_index=https://download.pytorch.org/whl/cpu ;;
    cuda) default_index= ;; # on Linux, PyPI serves the build for NVIDIA cards
    *) echo "DEVICE=$device; allowed: cpu, cuda" >&2; exit 2 ;;
esac
index=${TORCH_INDEX-$default_index}

pip_install() {
    "$prefix/bin/python" -m pip install --no-cache-dir --disable-pip-version-check --quiet \
        --constraint "$source/constraints.txt" "$@"
}

case $step in
    torch)
        torch=$(grep '^torch==' "$source/constraints.txt")
        python3 -m venv "$prefix"
        if [ -n "$index" ]; then set -- --index-url "$index"; else set --; fi
        pip_install "$@" "$torch"
        ;;
    package)
        pip_install "$source[$extras]"
        ;;
    *)
        echo "usage: install.sh torch|package" >&2
        exit 2
        ;;
esac
