#!/bin/sh
# Installs Rexen on this host, or with --uninstall takes it away: hands over to install/usr/sbin/rexen-install, which
# lies beside this script in the unpacked tarball. Needs nothing but a POSIX shell; where it cannot go on, it says why.
#
#   ./install.sh --help
#
# REXEN_SYSTEM and REXEN_MACHINE stand for what uname says, for tests.

fail() {
    echo "install.sh: $1" >&2
    echo "  remedy: $2" >&2
    exit 1
}

here=$(dirname "$0")
program=$here/install/usr/sbin/rexen-install
system=${REXEN_SYSTEM-$(uname -s)}
machine=${REXEN_MACHINE-$(uname -m)}

[ "$system" = Linux ] ||
    fail "this host runs $system, not Linux" "run it on a Debian-like Linux host for x86_64"

case $machine in
x86_64 | amd64) ;;
i?86) fail "this host runs a 32-bit kernel ($machine)" "install a 64-bit Linux: Rexen and its domain 0 are 64-bit" ;;
*) fail "this host is $machine, not x86_64" "Rexen needs a 64-bit x86 machine" ;;
esac

[ -f "$program" ] ||
    fail "$program is not there" "unpack the whole tarball, and run install.sh from it"
[ -x "$program" ] ||
    fail "$program may not be run" "unpack the tarball with tar, which keeps permissions"

# Rather than leave it to the shell, which says 'not found' or nothing.
"$program" --version >/dev/null 2>&1 ||
    fail "$program does not run here" "get the tarball again, and unpack it where programs may be run (no noexec)"

# It says itself what else is missing: root's rights, GRUB, room on the disk.
case " $* " in
*" --uninstall "* | *" --tree"*) exec "$program" "$@" ;;
*) exec "$program" --tree "$here/install" "$@" ;;
esac
