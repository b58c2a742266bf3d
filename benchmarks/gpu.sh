#!/usr/bin/env bash
# Checks and times training and encoding on a GPU, within eight minutes; needs no network.
#
#   benchmarks/gpu.sh --wheels WHEELS --out gpu.json     on the machine with the GPU
#   benchmarks/gpu.sh --wheels WHEELS --out more.json --after gpu.json
#                                                        what the first run had no time for
#   benchmarks/gpu.sh --small                            every path, at tiny sizes, on a CPU
#
# In this order: parity of small models with what a CPU computed (benchmarks/gpu/parity.npz); the
# peak of the device; steps of training and of encoding at full size, the important ones first, with
# their memory and the operations that take the most time; decoding and copying on the host. Every
# measurement is a process of its own, and is in the JSON as soon as it is made; one that does not
# fit in the time that is left is skipped, and a signal to end leaves what is there. The exit status
# is 0, 1 where parity does not hold, 2 for a mistake in how it was called.
#
#   --wheels DIR     installs the wheels in DIR into a folder of this run alone
#   --minutes 8      the time limit
#   --only WORDS     only measurements whose name has these words (a regular expression)
#   PYTHON=python3   the interpreter: 3.11 or 3.12, with a CUDA build of JAX 0.10 or 0.11
#
# It says at its start what is missing. To carry what is missing, on a machine with a network:
#
#   pip download --no-deps --dest WHEELS ml-collections
#
# That is all where JAX, Flax, Optax, Orbax and Pillow are there. Name others likewise, each with
# --no-deps; one that is not pure Python must fit the other machine: --python-version 3.12
# --only-binary=:all: --platform manylinux_2_28_x86_64.
set -euo pipefail

python=${PYTHON:-python3}
wheels=
arguments=()
while (($#)); do
  case $1 in
    --wheels) wheels=${2:-}; shift ;;
    --wheels=*) wheels=${1#*=} ;;
    *) arguments+=("$1") ;;
  esac
  (($#)) && shift
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
if [[ -n $wheels ]]; then
  if ! compgen -G "$wheels/*.whl" >/dev/null; then
    echo "error: $wheels has no *.whl; the head of $0 says how to make it" >&2
    exit 2
  fi
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$packages" \
    "$wheels"/*.whl || exit 2
  export PYTHONPATH=$packages:$PYTHONPATH
fi

"$python" -m benchmarks.gpu ${arguments[@]+"${arguments[@]}"} &
child=$!
trap 'kill -TERM "$child" 2>/dev/null || true' TERM INT
status=0
wait "$child" || status=$?
# A signal ends the waiting, not the process, which still writes what it has.
while kill -0 "$child" 2>/dev/null; do
  wait "$child" || status=$?
done
exit "$status"
