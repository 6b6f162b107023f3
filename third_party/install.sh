#!/usr/bin/env bash
# Installs the Debian packages that are missing (see README.md here for which and why). Does nothing when all are there.
# Usage: install.sh [neon]   neon: also what builds and runs the tests for 64-bit Arm
set -euo pipefail
packages=(
  g++ clang clang-format clang-tidy cmake ninja-build ccache pkg-config git
  libxsimd-dev libomp-dev
  libprotobuf-dev protobuf-compiler
  libflatbuffers-dev flatbuffers-compiler
  libcli11-dev nlohmann-json3-dev libfmt-dev libstb-dev
  libbenchmark-dev doctest-dev
  libonnx-testdata
  python3-venv xz-utils
)
[ "${1:-}" != neon ] || packages+=(g++-aarch64-linux-gnu qemu-user)
missing=()
for p in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q '^install ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
echo "installing: ${missing[*]}" >&2
sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)
"${sudo[@]}" apt-get update -qq >&2
DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
