#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Make one of the environments under .build/, from nothing but a Python and the package registries.
#
#   environment.sh python VERSION      print a Python of that version, or fail
#   environment.sh backend FOLDER      the backend with its development tools
#   environment.sh bpy VERSION FOLDER  Blender as a Python module, with what tests need
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A BPY_RELEASE=([4.2]=4.2.23 [4.5]=4.5.15 [5.0]=5.0.1 [5.1]=5.1.2 [5.2]=5.2.3)
declare -A BPY_PYTHON=([4.2]=3.11 [4.5]=3.11 [5.0]=3.11 [5.1]=3.13 [5.2]=3.13)
# What the bpy wheels load from the system, as Debian names it: library file and package.
SYSTEM_LIBRARIES=(
  libX11.so.6:libx11-6 libXrender.so.1:libxrender1 libXfixes.so.3:libxfixes3 libXi.so.6:libxi6
  libxkbcommon.so.0:libxkbcommon0 libSM.so.6:libsm6 libICE.so.6:libice6 libGL.so.1:libgl1
)

find_python() {
  local candidate
  for candidate in "python$1" python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
    if "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  echo "make-real: Python $1 is not installed. Install it, then run make again." >&2
  return 1
}

require_system_libraries() {
  local entry missing=()
  for entry in "${SYSTEM_LIBRARIES[@]}"; do
    { ldconfig -p 2>/dev/null || /sbin/ldconfig -p; } | grep -q "${entry%%:*}" || missing+=("${entry##*:}")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -q && apt-get install -yq --no-install-recommends "${missing[@]}"
  else
    echo "make-real: Blender needs system libraries. Run: sudo apt-get install ${missing[*]}" >&2
    return 1
  fi
}

make_backend() {
  local python
  python=$(find_python 3.11)
  "$python" -m venv "$1"
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev,evaluate,adapt]'
  touch "$1/.ready"
}

make_bpy() {
  local python
  python=$(find_python "${BPY_PYTHON[$1]}")
  [ "$(uname -s)" != Linux ] || require_system_libraries
  "$python" -m venv "$2"
  "$2/bin/python" -m pip install --quiet --disable-pip-version-check "bpy==${BPY_RELEASE[$1]}" \
    "msgpack==1.2.4" "pyzmq==27.3.0" "pytest>=9.2" "pytest-timeout>=2.4" "pillow>=13"
  touch "$2/.ready"
}

case "$1" in
  python) find_python "$2" ;;
  backend) make_backend "$2" ;;
  bpy) make_bpy "$2" "$3" ;;
  *) echo "usage: environment.sh python VERSION | backend FOLDER | bpy VERSION FOLDER" >&2; exit 2 ;;
esac
