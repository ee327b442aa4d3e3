#!/usr/bin/env bash
# The browser test of the console: `tests/console/run.sh [SOXSD]`. Chromium and node come from Debian, the driver
# (playwright-core, which has no dependencies) and axe-core from npm at the versions of the lock file.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
soxsd=${1:-$here/../../target/debug/soxsd}

skip() {
    echo "console: NOT TESTED IN A BROWSER: $1"
    exit 0
}

have_browser() {
    [ -n "${CHROMIUM:-}" ] || command -v chromium >/dev/null || command -v chromium-browser >/dev/null
}

if ! have_browser || ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    command -v apt-get >/dev/null || skip "chromium, node or npm is missing and there is no apt-get to install them"
    [ "$(id -u)" = 0 ] || skip "chromium, node or npm is missing and only root can install them"
    wanted=()
    have_browser || wanted+=(chromium)
    command -v node >/dev/null || wanted+=(nodejs)
    command -v npm >/dev/null || wanted+=(npm)
    { apt-get update && apt-get install -y --no-install-recommends "${wanted[@]}"; } >/dev/null ||
        skip "${wanted[*]} cannot be installed"
fi
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || skip "node $(node --version) is too old for the driver"
(cd "$here" && npm ci --no-fund --no-audit --ignore-scripts --loglevel=error >/dev/null) ||
    skip "the driver and axe-core cannot be installed by npm"
exec node "$here/console.mjs" "$soxsd"
