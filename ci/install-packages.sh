#!/usr/bin/env bash
# Installs the packages in ci/packages.txt on a Debian host; needs root. `cargo rexen world` does the same by itself,
# but CI needs the linker before there is a `cargo rexen`.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t packages < <(sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e '/^$/d' ci/packages.txt)
missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done

if [ "$(id -u)" != 0 ]; then
    [ ${#missing[@]} -eq 0 ] && exit 0
    echo "not root; run: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 3
fi
# Also when nothing is missing: the tests fetch domain 0's kernel through apt's index.
apt-get -q update
if [ ${#missing[@]} -gt 0 ]; then
    DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "${missing[@]}"
fi
