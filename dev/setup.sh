#!/bin/sh
# A Python environment of the project from the hashed lock, in .venv or $VENV, with python3 or $PYTHON.
# Installs Debian's python3-venv where it is missing.
set -eu
cd "$(dirname "$0")/.."
say() { echo "setup: $*" >&2; }
python=${PYTHON:-python3}
venv=${VENV:-.venv}
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
  [ "$(id -u)" = 0 ] || { say "Python 3.11 or later with venv is needed: apt-get install python3-venv (as root)"; exit 1; }
  say "installing python3-venv"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-venv ca-certificates >/dev/null
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { say "Python 3.11 or later is needed, $("$python" --version) is too old; set PYTHON=..."; exit 1; }
lock=$(cat requirements-dev.txt dev/requirements-uv.txt pyproject.toml | sha256sum | cut -c1-16)
[ "$(cat "$venv"/lock 2>/dev/null)" != "$lock" ] || exit 0
[ -x "$venv"/bin/python ] || "$python" -m venv "$venv"
say "installing the locked packages into $venv"
"$venv"/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r dev/requirements-uv.txt
export VIRTUAL_ENV="$PWD/$venv"
# The machine's own certificates, as pip uses them: a site's proxy may have an authority of its own.
export UV_SYSTEM_CERTS=1
"$venv"/bin/uv pip sync -q --require-hashes requirements-dev.txt
"$venv"/bin/uv pip install -q --no-deps --no-build-isolation -e .
echo "$lock" > "$venv"/lock
