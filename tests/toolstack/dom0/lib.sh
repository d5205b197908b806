# What the scripts of domain 0 share. Sourced by init. A check prints `CHECK name ok|FAIL detail`; the host's
# tests/src/toolstack.rs reads it, and knows the names by the lines of a script that begin with `check `.

nr_ok=0
nr_failed=0

# The value of `name=value` on the kernel command line.
option() {
    for word in $(cat /proc/cmdline); do
        case $word in "$1="*) echo "${word#*=}"; return ;; esac
    done
}

# Seconds since the boot; sets `now`.
clock() {
    read -r now rest < /proc/uptime
    now=${now%.*}
}

# check NAME DETAIL: says ok or FAIL by the status of the command before it.
check() {
    if [ $? -eq 0 ]; then verdict=ok nr_ok=$((nr_ok + 1)); else verdict=FAIL nr_failed=$((nr_failed + 1)); fi
    name=$1
    shift
    clock
    echo "CHECK $name $verdict" $* "[$now s]"
    if [ $verdict = FAIL ]; then explain "$name"; fi
}

# After a failure: what could tell why, once for each.
explain() {
    for log in /tmp/said /var/log/xend.log /var/log/xend-debug.log /var/log/xen/*.log; do
        if [ -s "$log" ]; then tail -n 15 "$log" | sed "s|^|LOG $1 ${log##*/}: |"; fi
    done
    grep 'WARNING\|ERROR' /var/log/xend.log 2> /dev/null | tail -n 5 | sed "s|^|LOG $1 warnings of xend.log: |"
    : > /tmp/said
}

finish() {
    echo "CHECKS-DONE $nr_ok ok $nr_failed failed"
}

# await SECONDS COMMAND...: repeats the command until it succeeds or the time is over.
await() {
    clock
    deadline=$((now + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        clock
        [ $now -lt $deadline ] || return 1
        usleep 200000
    done
}

# xm with a deadline; what it says goes to /tmp/said, too.
x() {
    timeout 300 xm "$@" > /tmp/out 2>&1
    status=$?
    { echo "# xm $*"; cat /tmp/out; } >> /tmp/said
    cat /tmp/out
    return $status
}

# One column of a domain's line in `xm list`: its name, then 2 id, 3 memory, 4 CPU, 5 state.
column() {
    xm list "$1" 2> /dev/null | awk -v name="$1" -v n="$2" '$1 == name { print $n }'
}

is_gone() {
    ! xm list "$1" > /dev/null 2>&1
}

# Whether the guest has come up, by its console's log, as often as is said: is_up NAME [TIMES].
is_up() {
    [ "$(grep -c 'GUEST UP' "/var/log/xen/console-$1.log")" -ge "${2:-1}" ]
}

# guest NAME COMMANDS: has the guest do something; `said` is what it answers, the status its own.
nr_asked=0
guest() {
    nr_asked=$((nr_asked + 1))
    # Our end of the console is kept open until the answer is there; Ctrl-] then leaves it.
    rm -f /tmp/typed
    mkfifo /tmp/typed
    timeout 320 xm console "$1" < /tmp/typed > /tmp/console 2>&1 &
    exec 5> /tmp/typed
    shift
    echo "$nr_asked $(echo "$*" | tr '\n' ';')" >&5
    await 300 grep -q "@$nr_asked " /tmp/console
    printf '\035' >&5
    exec 5>&-
    wait $!
    answer=$(tr -d '\r' < /tmp/console | sed -n "s/.*@$nr_asked //p" | head -n 1)
    said=${answer#* }
    [ -n "$answer" ] && return "${answer%% *}"
}

# type_in NAME COMMAND: has the guest do something that it cannot answer.
type_in() {
    { echo "0 $2"; sleep 3; printf '\035'; } | timeout 60 xm console "$1" > /dev/null 2>&1
}

# in_state NAME PATTERN: whether a domain's state in `xm list` is that.
in_state() {
    case $(column "$1" 5) in $2) return 0 ;; *) return 1 ;; esac
}

# MiB that the hypervisor has free.
free_memory() {
    doom machine | cut -d' ' -f1
}

# Nothing of any guest is left but logs: in the store, in the host's kernel, in what xend keeps, and in the hypervisor. `free`
# is the memory that was free before. Few processes: where all is emulated, each of them takes a while.
nothing_left() {
    find_left
    [ -z "$found" ]
}
find_left() {
    found=
    xenstore-ls -f / > /tmp/tree 2> /dev/null || found=" the store does not answer"
    while read -r path value; do
        case $path in
        /local/domain/[1-9]* | /vm/?* | /libxl/?* | /local/domain/0/backend/*/[1-9]*) found="$found $path" ;;
        esac
    done < /tmp/tree
    for path in /sys/block/loop*/loop /sys/class/net/vif* /var/lib/xen/xend-db/journal/* /var/lib/xen/xend-db/domain/*; do
        if [ -e "$path" ]; then found="$found $path"; fi
    done
    doom machine > /tmp/machine
    read -r mib domains last state < /tmp/machine
    [ "$domains" = 1 ] || found="$found $domains domains"
    [ "$mib" -ge "$free" ] || found="$found $mib MiB free"
}
left() {
    find_left
    echo "left:${found:- nothing}"
}
