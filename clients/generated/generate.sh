#!/usr/bin/env bash
# Generates clients of the API from its description, into a folder, and compiles them.
#
#   clients/generated/generate.sh python FOLDER
#   clients/generated/generate.sh typescript FOLDER      needs Node.js 22 or later with npm
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
description=$here/../../docs/openapi/v2.yaml
kind=${1:-} folder=${2:-}
if [[ ! -d $here/$kind || -z $kind || -z $folder ]]; then
  sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
mkdir -p "$folder"
cp -R "$here/$kind/." "$folder"
cd "$folder"
case $kind in
  python)
    uv=$here/../../.venv/bin/uv
    "$uv" venv --quiet .venv
    "$uv" pip install --quiet --python .venv/bin/python --require-hashes --requirement requirements.lock
    PATH=$PWD/.venv/bin:$PATH openapi-python-client generate \
      --path "$description" --output-path fieldsync_api --meta none --overwrite
    .venv/bin/python -m compileall -q fieldsync_api
    ;;
  typescript)
    npm ci --silent --no-audit --no-fund
    npx openapi-typescript "$description" --output src/api.d.ts
    npm run --silent build
    ;;
esac
