# The daemons are killed at steps of a guest's making, ending and making again, as xend's journal shows them, and started
# again: then what was under way is finished or undone, and nothing is left of it. Sourced by init, or after main.sh.

pidof xenstored > /dev/null || xenstored --pid-file /run/xenstored.pid
xend start
free=$(free_memory)
journal=/var/lib/xen/xend-db/journal
truncate -s 1M /tmp/k.img
cat > /tmp/k.cfg << 'END'
kernel = "/toolstack/tiny"
memory = 16
name = "k"
extra = "name=tiny"
disk = ["file:/tmp/k.img,xvda,w"]
vif = ["mac=aa:00:00:00:03:02, bridge=xen-br0"]
END

# kill_at PID OPERATION STEP: kills a process once the journal shows that step of that operation, or a later one; `at` is the
# one it shows then, or none when the work was over before. In the loop there are only the shell's own commands: steps are
# short.
kill_at() {
    at=none
    clock
    deadline=$((now + 300))
    until [ -e /tmp/over ] || [ $now -ge $deadline ]; do
        for file in $journal/*; do
            read -r line < "$file" || [ -n "$line" ] || continue
            case $line in '{"name":"'$2'"'*'"at":'*) ;; *) continue ;; esac
            step=${line#*\"at\":}
            step=${step%%,*}
            if [ "$step" -ge "$3" ]; then
                kill -9 "$1"
                at=$step
                return
            fi
        done
        clock
    done 2> /dev/null
}

is_dead() {
    ! grep -q '^State:[^Z]*$' "/proc/$1/status" 2> /dev/null
}

# killed OPERATION STEP COMMAND...: kills the daemon while the command has that operation done, starts it again, and waits for
# the command, whose status is its own.
killed() {
    operation=$1 step=$2
    shift 2
    rm -f /tmp/over
    { "$@" > /dev/null; result=$?; : > /tmp/over; exit $result; } &
    pid=$(cat /run/$daemon.pid)
    kill_at "$pid" "$operation" "$step"
    if [ $at != none ]; then
        await 30 is_dead "$pid"
        $start >> /tmp/said 2>&1
    fi
    wait $!
}

# reboots: makes a guest that reboots itself, and waits until it has come to its end twice more.
reboots() {
    lives=$(grep -c 'GUEST tiny ends' /var/log/xen/console-k.log)
    x create /tmp/k.cfg 'extra=name=tiny end=reboot' on_reboot=restart
    await 300 has_lived $((lives + 2))
}
has_lived() { [ "$(grep -c 'GUEST tiny ends' /var/log/xen/console-k.log)" -ge "$1" ]; }

# clean WHAT: notes in `bad` what is left; `at` is where the daemon was killed.
clean() {
    if [ $at = none ]; then bad="$bad $1 was over before"; fi
    await 120 nothing_left || { bad="$bad $1 $at"; echo "LOG $daemon $1 $at: $(left)"; x destroy k > /dev/null; }
}

# killing DAEMON COMMAND: kills a daemon, which the command starts again, at steps of making a guest, of ending it, and of making
# it again. `all` is at which steps that was, `bad` what was not right. Which steps it hits, the machine's speed decides.
killing() {
    daemon=$1 start=$2 all=create bad=
    for wanted in $create; do
        killed create "$wanted" x create -p /tmp/k.cfg
        fate=undone
        if [ -n "$(column k 2)" ]; then fate=made; x destroy k > /dev/null; fi
        clean create
        all="$all $at:$fate"
    done
    all="$all, destroy"
    for wanted in $destroy; do
        x create -p /tmp/k.cfg > /dev/null || bad="$bad no guest to destroy"
        killed destroy "$wanted" x destroy k
        clean destroy
        all="$all $at"
    done
    all="$all, restart"
    for wanted in $restart; do
        killed restart "$wanted" reboots || bad="$bad not made again after $at"
        x destroy k > /dev/null || bad="$bad lost after $at"
        clean restart
        all="$all $at"
    done
    [ -z "$bad" ]
}
create='0 1 2 3 5 7 9 10' destroy='0 2 4 6 8' restart='1 5 9'
killing xend "xend start"
check kill-xend "$all; not right: $bad"
create='1 2 3 4 6 8' destroy='1 3 5' restart='3 6'
killing xenstored "xenstored --pid-file /run/xenstored.pid"
check kill-xenstored "$all; not right: $bad"
xend stop
