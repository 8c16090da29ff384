#!/bin/bash
# Installs the servers that peers.py compares with (Debian packages, crates, a Python package) into DIR, by default ~/.cache/tftp-peers, and prints
# what to add to PATH. Needs root for apt-get; two of them are compiled, which takes minutes.
set -euo pipefail
dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/tftp-peers}
mkdir -p "$dir/bin" "$dir/deb"
export DEBIAN_FRONTEND=noninteractive

from_debian() {
    command -v in.tftpd >/dev/null && command -v dnsmasq >/dev/null && return
    apt-get update -q
    apt-get install -y -q --no-install-recommends tftpd-hpa dnsmasq-base
}

# atftpd and tftpd-hpa refuse to be installed together: this one is only unpacked.
atftpd() {
    [ ! -x "$dir/bin/atftpd" ] || return 0
    cd "$dir/deb"
    apt-get download -q atftpd
    dpkg -x atftpd*.deb .
    ln -sf "$dir/deb/usr/sbin/atftpd" "$dir/bin/atftpd"
}

py3tftp() {
    [ ! -x "$dir/bin/py3tftp" ] || return 0
    python3 -m venv "$dir/venv"
    "$dir/venv/bin/pip" -q install py3tftp
    ln -sf "$dir/venv/bin/py3tftp" "$dir/bin/py3tftp"
}

{
    from_debian
    (atftpd)
    [ -x "$dir/bin/tftpd" ] || cargo install -q tftpd --root "$dir"
    [ -x "$dir/bin/r-tftpd" ] || cargo install -q r-tftpd --root "$dir"
    py3tftp
} >&2
echo "$dir/bin"
