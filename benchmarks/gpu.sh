#!/usr/bin/env bash
# All benchmarks on a GPU at official size: random weights made there, bfloat16, no download.
#   benchmarks/gpu.sh [OUT.json] [OPTION...]
# Ends within 10 minutes: each benchmark has its share, begins nothing when that is nearly over, and
# is stopped at its end. What it measured until then is kept. PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python}
out=${1:-benchmarks-gpu.json}
shift || true
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT

common=(--init-random official --device cuda)
files=()
margin_s=20 # for what has begun when the budget ends

bench() { # SHARE_S FILE MODULE OPTION...
    local share_s=$1 file=$parts/$2.json module=$3
    shift 3
    timeout -k 5 "$share_s" "$python" -m "benchmarks.$module" "${common[@]}" --out "$file" \
        --budget "$((share_s - margin_s))" "$@" || echo "$module failed or was stopped" >&2
    files+=("$file")
}

bf16=(--dtype bfloat16)
# Shares add up to 540 s, and a process that will not stop gets 5 s more.
bench 180 frame frame "${bf16[@]}" --variants "${VARIANTS:-plain,engine,fp8}" "$@"
bench 50 first_audio first_audio "${bf16[@]}" "$@"
bench 50 first_audio_fp8 first_audio --dtype fp8 "$@" # its memory is what a small card must hold
bench 140 listeners listeners "${bf16[@]}" --seconds 10 "$@"
bench 80 long long "${bf16[@]}" --minutes 10 "$@"
bench 40 codec codec "${bf16[@]}" "$@"

"$python" -m benchmarks.merge "$out" "${files[@]}"
echo "all in $out"
