# Guests are made and destroyed 200 times: the daemons and the hypervisor need no more memory afterwards than after the
# first twenty. Sourced by init, or after main.sh.

pidof xenstored > /dev/null || xenstored --pid-file /run/xenstored.pid
xend start
free=$(free_memory)
truncate -s 1M /tmp/c.img
cat > /tmp/c.cfg << 'END'
kernel = "/toolstack/tiny"
memory = 16
name = "c"
extra = "name=tiny"
disk = ["file:/tmp/c.img,xvda,w"]
vif = ["mac=aa:00:00:00:03:03, bridge=xen-br0"]
END
sed '/^disk\|^vif/d; $a nics = 0' /tmp/c.cfg > /tmp/plain.cfg

# costs DAEMON: its resident memory in kB, its open files and its threads.
costs() {
    pid=$(cat "/run/$1.pid")
    echo "$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status") $(ls "/proc/$pid/fd" | wc -l) $(ls "/proc/$pid/task" | wc -l)"
}
# cycles TIMES: makes and destroys guests so often, one in ten with devices, whose scripts and drivers take most of the time.
cycles() {
    nr=0
    while [ $nr -lt "$1" ]; do
        case $nr in *5) config=/tmp/c.cfg ;; *) config=/tmp/plain.cfg ;; esac
        xm create -p $config > /tmp/said 2>&1 && xm destroy c >> /tmp/said 2>&1 || return 1
        nr=$((nr + 1))
    done
}
# flat DAEMON BEFORE: whether it costs what it did: memory to 512 kB, files to one, threads as they were.
flat() {
    after=$(costs "$1")
    echo "$2 $after" | awk '{ exit !($4 <= $1 + 512 && $5 <= $2 + 1) }'
}
cycles 20
settled="$? $nr"
await 60 nothing_left
xend=$(costs xend) store=$(costs xenstored) free_before=$(free_memory)
cycles 200 && [ "$settled" = "0 20" ]
check cycles "$settled, then $nr"
await 60 nothing_left
check cycles-clean "$(left)"
flat xend "$xend"
check cycles-xend-flat "memory in kB, files, threads: $xend, then $after"
flat xenstored "$store"
check cycles-xenstored-flat "$store, then $after"
[ "$(free_memory)" -ge "$free_before" ]
check cycles-memory-flat "$free_before, then $(free_memory) MB"
xend stop
