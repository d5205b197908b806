# What the scripts share: reading arguments, and doing twice what was done once without harm. POSIX shell and iproute2.
# Sourced, never run. A failing command ends the script.

set -eu

# The first argument is the operation; the others, VAR=VAL, become variables of the environment.
read_arguments() {
    op=${1:?"usage: $0 OPERATION [VAR=VAL...]"}
    shift
    for word in "$@"; do
        case $word in
            [A-Za-z_]*=*) export "$word" ;;
            *) fail "not VAR=VAL: $word" ;;
        esac
    done
}

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# require NAME...: each must have a value.
require() {
    for name in "$@"; do
        eval "value=\${$name:-}"
        [ -n "$value" ] || fail "$op: $name= is missing"
    done
}

exists() {
    ip link show dev "$1" >/dev/null 2>&1
}

# going VIF COMMAND...: a command on an interface that its driver may take away meanwhile; then there is nothing to do.
going() {
    vif_going=$1
    shift
    "$@" || ! exists "$vif_going"
}

# The interface or bridge another one is on; nothing if none.
master_of() {
    ip -o link show dev "$1" 2>/dev/null | sed -n 's/.* master \([^ ]*\).*/\1/p'
}

# once TABLE CHAIN RULE...: adds an iptables rule unless it is there.
once() {
    table=$1
    shift
    iptables -t "$table" -C "$@" 2>/dev/null || iptables -t "$table" -A "$@"
}

# gone TABLE CHAIN RULE...: removes an iptables rule as often as it is there.
gone() {
    table=$1
    shift
    while iptables -t "$table" -D "$@" 2>/dev/null; do :; done
}

# The first IPv4 address of an interface.
address_of() {
    ip -4 -o addr show dev "$1" 2>/dev/null | sed -n 's/.* inet \([0-9.]*\).*/\1/p' | head -n 1
}
