# What the scripts of domain 0 share: lines for the host, waiting with a deadline, guests and their consoles.
# Sourced by init. A check prints `XL-CHECK name ok|FAIL detail`; tests/src/xl.rs reads it.

nr_ok=0
nr_failed=0

# The value of `name=value` on the kernel command line.
option() {
    for word in $(cat /proc/cmdline); do
        case $word in "$1="*) echo "${word#*=}"; return ;; esac
    done
}

# Seconds since the boot; sets `now`, so that no process is needed.
clock() {
    read -r now rest < /proc/uptime
    now=${now%.*}
}

# check NAME DETAIL: says ok or FAIL by the status of the command before it.
check() {
    if [ $? -eq 0 ]; then verdict=ok nr_ok=$((nr_ok + 1)); else verdict=FAIL nr_failed=$((nr_failed + 1)); fi
    checked=$1
    shift
    read -r up rest < /proc/uptime
    echo "XL-CHECK $checked $verdict" $* "[$up s]"
    if [ $verdict = FAIL ]; then explain "$checked"; return 1; fi
}

# After a failure: what could tell why. As much as a reader can bear, once for each.
explain() {
    for log in /tmp/xl.err /var/log/xen/xen-hotplug.log $(ls /var/log/xen/console/*.log /var/log/xen/xl-*.log 2> /dev/null); do
        if [ -s "$log" ]; then tail -n 12 "$log" | sed "s|^|XL-LOG $1 ${log##*/}: |"; : > "$log"; fi
    done
    timeout 20 xl dmesg -c 2> /dev/null | tail -n 15 | sed "s|^|XL-LOG $1 dmesg: |"
}

finish() {
    echo "XL-DONE $nr_ok ok $nr_failed failed"
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

# xl with a deadline; what it complains about is shown if a check fails.
x() {
    timeout 200 xl "$@" 2>> /tmp/xl.err
}

# Pages by which the hypervisor's own heap may have grown when all guests are gone: none on ours.
find_slack() {
    slack=128
    if timeout 20 xl dmesg | grep -q Rexen; then slack=0; fi
}

start_toolstack() {
    ulimit -c 0
    mkdir -p /run/xen /run/lock /run/xenstored /var/lib/xen/dump /var/lib/xenstored /var/log/xen/console /var/disk
    : > /var/log/xen/xen-hotplug.log
    store=$(option xl.store)
    "/usr/sbin/${store:-oxenstored}" --pid-file /run/xen/xenstored.pid
    await 60 xenstore-read / || echo "XL-LOG start: xenstore does not answer"
    timeout 60 /usr/lib/xen-4.17/bin/xen-init-dom0 || echo "XL-LOG start: xen-init-dom0 failed"
    xenconsoled --log=guest --log-dir=/var/log/xen/console --pid-file=/run/xen/xenconsoled.pid
    find_slack
    dd if=/dev/zero of=/var/disk/empty bs=1M count=0 seek=48 2> /dev/null
}

# unpack_kernel FILE: the ELF in Debian's bzImage, as xl would unpack it for every guest anew (boot protocol 2.15).
# (The shell is busybox, which takes its own xz where no path is given, and that one lacks the filter for code.)
unpack_kernel() {
    number() { od -A n -t u4 -j "$1" -N 4 /xl/vmlinuz | tr -d ' '; }
    sectors=$(od -A n -t u1 -j 497 -N 1 /xl/vmlinuz | tr -d ' ')
    tail -c +$(((sectors + 1) * 512 + $(number 584) + 1)) /xl/vmlinuz | head -c "$(number 588)" | /usr/bin/xz -dc --single-stream > "$1"
}

domid() { timeout 20 xl domid "$1" 2> /dev/null; }
# A field of `xl list`: ID Mem VCPUs State Time(s) are 2 to 6.
listed() { timeout 20 xl list "$1" 2> /dev/null | awk -v f="$2" 'NR == 2 { print $f }'; }
in_state() { case $(listed "$1" 5) in *"$2"*) ;; *) return 1 ;; esac; }
gone() { ! timeout 20 xl list "$1" > /dev/null 2>&1; }
nr_domains() { timeout 20 xl list | tail -n +2 | wc -l; }

has_tty() { xenstore-read "/local/domain/$(domid "$1")/console/tty"; }
# console_open NAME: `xl console` with its input on file descriptor 8, its output in /tmp/console.
console_open() {
    console_close
    # A guest that was just made, or made again, gets its console a moment later.
    await 150 has_tty "$1"
    rm -f /tmp/keys
    mkfifo /tmp/keys
    : > /tmp/console
    await 60 xenstore-exists "/local/domain/$(domid "$1")/console/tty"
    on-tty xl console "$1" < /tmp/keys > /tmp/console &
    console=$!
    exec 8<> /tmp/keys # to have it open for reading, too, lets nothing block or break if xl console has ended
}

console_close() {
    [ -n "$console" ] || return 0
    exec 8>&-
    kill "$console" 2> /dev/null
    wait "$console" 2> /dev/null
    console=
}

asked=0
answered() { grep -q "^@$asked " /tmp/console; }
# guest SECONDS COMMAND: has the guest on the console do it; its output is in `said`, its status is ours.
guest() {
    patience=$1
    shift
    asked=$((asked + 1))
    echo "$asked $*" >&8
    if ! await "$patience" answered; then said="no answer within $patience s"; return 1; fi
    set -- $(grep "^@$asked " /tmp/console | tail -n 1 | tr -d '\r')
    status=$2
    shift 2
    said=$*
    return "$status"
}

is_up() { grep -q "GUEST UP" /tmp/console; }

sum_of() { sha256sum | cut -c 1-16; }
