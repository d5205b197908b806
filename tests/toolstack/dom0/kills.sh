# The fault matrix: xend, xenstored, or the guest is ended at every step of making a guest, of destroying it, and of its
# reboot, and a daemon is started again: then all is as if that had not begun, or as if nothing had happened, and nothing is
# left of it. The steps are those of xend's own plan. Each is disturbed by one of the victims in turn; `kills=all` on the
# kernel command line takes each victim at each step. Sourced by init, or after main.sh.
#
# There is no console service to be killed besides: consoles are threads of xend (xend/src/console.rs). So the last check has
# a guest print, and its log must have every line though xend is killed meanwhile.

pidof xenstored > /dev/null || xenstored --pid-file /run/xenstored.pid
xend start
free=$(free_memory)
mkdir -p /var/lib/xen/xend-db/journal
truncate -s 1M /tmp/k.img
cat > /tmp/k.cfg << 'END'
kernel = "/toolstack/tiny"
memory = 16
name = "k"
extra = "name=tiny stay=1"
on_crash = "destroy"
disk = ["file:/tmp/k.img,xvda,w"]
vif = ["mac=aa:00:00:00:03:02, bridge=xen-br0"]
END

# The steps, counted from 0 as in the journal: those of the plan; a pause, and what undoes the plan; the plan again, and that
# the guest is let run.
xm create --plan /tmp/k.cfg > /tmp/plan
nr_create=$(grep -c '^ *[0-9]*\. ' /tmp/plan)
nr_destroy=$((1 + $(grep -c '(undo: ' /tmp/plan)))
nr_restart=$((nr_create + 1))
has_domain=$(sed -n 's/^ *\([0-9]*\)\. create the domain .*/\1/p' /tmp/plan) # the first step with a domain to be ended
[ "$nr_create" -gt 8 ] && [ "$nr_destroy" -gt 6 ] && [ "$has_domain" -gt 0 ]
check kill-plan "$nr_create steps to make it, $nr_destroy to destroy it, $nr_restart to make it again"

# Hundredths of seconds since the boot; sets `ticks`.
tick() {
    read -r ticks rest < /proc/uptime
    ticks=${ticks%.*}${ticks#*.}
}
# As often as the guest has come up; sets `lives`.
count_lives() {
    grep -c 'GUEST tiny stays' /var/log/xen/console-k.log > /tmp/lives 2> /dev/null
    read -r lives < /tmp/lives || lives=0
}
# The domain that there is besides domain 0: `domains` are how many there are, `last` its number, `state` its state.
look() {
    doom machine > /tmp/machine
    read -r mib domains last state < /tmp/machine
}
is_made() { look && [ "$domains $state" = "2 paused" ] && [ -e "/var/lib/xen/xend-db/domain/$last" ]; }
# Whether the guest that was asked for a reboot runs again.
runs_again() { look && [ "$domains $state" = "2 alive" ] && count_lives && [ "$lives" -gt "$lived" ]; }
runs_or_gone() { runs_again || nothing_left; }
# k COMMAND...: xm, what it says goes to where failures are explained.
k() {
    xm "$@" >> /tmp/said 2>&1
}

# disturb WORK STEP VICTIM: has the work done and the victim ended at that step; `bad` gets what is not right.
disturb() {
    work=$1 wanted=$2 victim=$3 operation=$1 place=$3 start=: shown=
    case $victim in
    xend) place=/run/xend.pid start='xend start' ;;
    xenstored) place=/run/xenstored.pid start='xenstored --pid-file /run/xenstored.pid' ;;
    esac
    if [ "$work" != create ]; then k create -p /tmp/k.cfg && look || bad="$bad no guest to $work;"; fi
    case $work in
    create) set -- xm create -p /tmp/k.cfg ;;
    destroy) set -- xm destroy k ;;
    again) operation=destroy; set -- doom reboot "$last" ;;
    restart) set -- doom reboot "$last" ;;
    esac
    count_lives
    lived=$lives
    doom "$operation" "$wanted" "$place" "$start" "$@" > /tmp/doom 2>> /tmp/said
    read -r shown then steps status < /tmp/doom
    tick
    began=$ticks
    here="$victim at $work $shown of $steps, then $then, status $status"
    # What is to come of it.
    case $work:$victim in
    create:xend) if [ "$then" -lt $((nr_create - 1)) ]; then fate=nothing_left; else fate=is_made; fi ;;
    create:xenstored) if [ "$status" = 0 ]; then fate=is_made; else fate=nothing_left; fi ;;
    create:* | destroy:*) fate=nothing_left ;;
    restart:destroy | restart:crash) fate=runs_or_gone ;;
    *) fate=runs_again ;;
    esac
    await 60 $fate || bad="$bad $here: not $fate but $domains domains, $state, $(left);"
    tick
    echo "NOTE $here: $fate after $((ticks - began)) hundredths"
    # xend waits before it makes one again that ends at once.
    if [ $fate != runs_or_gone ] && [ $((ticks - began)) -gt $slowest ]; then slowest=$((ticks - began)) slow=$here; fi
    if [ $fate != nothing_left ]; then
        k destroy k || [ $fate = runs_or_gone ] || bad="$bad not destroyed after $here;"
        await 60 nothing_left || bad="$bad after $here: $(left);"
    fi
    nr_disturbed=$((nr_disturbed + 1))
}

# disturb_all WORK STEPS FIRST: at each step; the guest only from the first on at which there is one.
disturb_all() {
    at=0
    while [ $at -lt "$2" ]; do
        turn=$((turn + 1))
        case $turn in
        *[147]) victims=xend ;;
        *[258]) victims=xenstored ;;
        *[36]) victims=destroy ;;
        *[90]) victims=crash ;;
        esac
        if [ "$(option kills)" = all ]; then victims="xend xenstored destroy crash"; fi
        for one in $victims; do
            case $one in destroy | crash) if [ $at -lt "$3" ]; then one=xend; fi ;; esac
            for try in 1 2 3; do
                disturb "$1" $at "$one"
                [ "$shown" = $at ] && break
            done
            [ "$shown" = $at ] || missed="$missed $one at $1 $at: $shown;"
        done
        at=$((at + 1))
    done
}
# matrix WORK STEPS FIRST: as above, and says in `found` how it was.
matrix() {
    bad= missed= slowest=0 nr_disturbed=0
    disturb_all "$@"
    found="$nr_disturbed times, the slowest took $slowest hundredths of a second ($slow);${missed:+ not hit: $missed}"
    if [ -n "$bad" ]; then found="$found not right: $bad"; fi
    [ -z "$bad$missed" ]
}
turn=0
matrix create "$nr_create" "$has_domain"
check kill-at-create "$found"
matrix destroy "$nr_destroy" 0
check kill-at-destroy "$found"
matrix again "$nr_destroy" 0
check kill-at-reboot "$found"
matrix restart "$nr_restart" "$has_domain"
check kill-at-restart "$found"

# xend is killed while a guest prints, up to four times.
x create /tmp/k.cfg name=p 'extra=name=tiny lines=20000 stay=1' > /dev/null
log=/var/log/xen/console-p.log nr_kills=0 nr_amid=0 printed=0
ended() { grep -q 'GUEST tiny stays' $log; }
more() { [ "$(wc -l < $log)" -gt "$printed" ] || ended; }
is_dead() { ! grep -q '^State:[^Z]*$' "/proc/$pid/status" 2> /dev/null; }
while [ $nr_kills -lt 4 ] && ! ended && await 60 more; do
    pid=$(cat /run/xend.pid)
    kill -9 "$pid"
    await 30 is_dead
    printed=$(wc -l < $log)
    ended || nr_amid=$((nr_amid + 1))
    xend start && nr_kills=$((nr_kills + 1))
done
await 120 ended
lines=$(tr -d '\r' < $log | sed -n 's/^line \([0-9]*\) of tiny$/\1/p' | sort -nu | awk '$1 <= 20000' | wc -l)
[ $nr_amid -gt 0 ] && [ "$lines" = 20000 ]
check kill-console "killed $nr_kills times, $nr_amid while it printed, the last after $printed lines; then the log had $lines"
x destroy p > /dev/null && await 60 nothing_left
check kill-clean "$(left)"
xend stop
