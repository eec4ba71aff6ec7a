#!/usr/bin/env bash
# All benchmarks on the CPU with the embedded model, and the frame at published shapes.
#   benchmarks/cpu.sh [OUT.json] [OPTION...]      options go to every benchmark, such as --threads 2
# PYTHON names the interpreter, MINUTES the length of the long dialogue, VARIANTS what is compared.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python}
out=${1:-benchmarks-cpu.json}
shift || true
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT

bench() { # FILE MODULE OPTION...: one that fails does not stop the others
    local file=$parts/$1.json module=$2
    shift 2
    "$python" -m "benchmarks.$module" --device cpu --out "$file" "$@" || echo "$module failed" >&2
    files+=("$file")
}

variants=${VARIANTS:-plain,float32,bfloat16,int8,int8-compiled}
files=()
bench frame frame --variants "$variants" "$@"
bench first_audio first_audio "$@"
bench listeners listeners "$@"
bench long long --minutes "${MINUTES:-60}" "$@"
bench codec codec "$@"
bench judged_streams judged_streams "$@"
# The smallest published shapes, about 4 GB of weights: one listener, the short prompt.
bench frame_500m frame --init-random qwen-500m/qwen-200m --variants "$variants" \
    --batches 1 --prompt-rows 200 "$@"

"$python" -m benchmarks.merge "$out" "${files[@]}"
echo "all in $out"
