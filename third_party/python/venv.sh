#!/bin/sh
# Makes .venv at the root of the repository hold what third_party/python/requirements.txt pins (or the file
# named as the argument), and prints the path of its interpreter. Does nothing when that is already so.
# PYTHON chooses the interpreter to start from (default python3).
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
wanted=${1:-$here/requirements.txt}
venv=$root/.venv
stamp=$venv/.$(basename "$wanted").sum
alone=${wanted%.txt}-nodeps.txt # beside it, what is installed without its dependencies
[ -f "$alone" ] || alone=

# shellcheck disable=SC2086 # empty is none
sum=$(cat "$here/requirements.txt" "$wanted" $alone | cksum)
if [ ! -x "$venv/bin/python" ]; then
  "${PYTHON:-python3}" -m venv "$venv" >&2
fi
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$sum" ]; then
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$wanted" >&2
  [ -z "$alone" ] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$alone" >&2
  printf '%s\n' "$sum" >"$stamp"
fi
printf '%s\n' "$venv/bin/python"
