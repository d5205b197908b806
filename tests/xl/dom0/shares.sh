# Two busy guests and a busy domain 0, two vcpus each, on two CPUs: each gets the part of CPU time that its weight asks for,
# a guest that is pinned stays where it is, and clocks go on as if nothing were. Sourced by init.

seconds=$(option xl.seconds)
seconds=${seconds:-60}
weight_dom0=512 weight_a=256 weight_b=1024

# Xen calls its weighted schedulers credit and credit2; ours answers to the first name.
x info > /tmp/info
scheduler=$(sed -n 's/^xen_scheduler *: //p' /tmp/info)
grep -q '^nr_cpus *: 2$' /tmp/info
check two-cpus "scheduler=$scheduler"

for name in a b; do
    cat /xl/guest.cfg - > "/tmp/$name.cfg" << END
name = "$name"
memory = 128
maxmem = 128
END
    x create "/tmp/$name.cfg" > /dev/null || break
done
all_up() { [ "$(cat /var/log/xen/console/guest-[ab].log | grep -c 'GUEST UP')" = 2 ]; }
await 200 all_up
check guests-up "$(x list | tail -n +2 | awk '{ printf "%s:%s ", $1, $4 }')"

set_weight() { x "sched-$scheduler" -d "$1" -w "$2"; }
weight_of() { x "sched-$scheduler" -d "$1" | awk 'NR == 2 { print $3 }'; }
set_weight Domain-0 $weight_dom0 && set_weight a $weight_a && set_weight b $weight_b &&
    [ "$(weight_of 0) $(weight_of a) $(weight_of b)" = "$weight_dom0 $weight_a $weight_b" ]
check weights "dom0=$(weight_of 0) a=$(weight_of a) b=$(weight_of b)"

# --- clocks, as far as a question and its answer let tell: the shortest of some ---
# Microseconds of a time in seconds with a fraction of as many digits as $2 says.
micros() {
    whole=${1%.*} fraction=${1#*.}000000
    fraction=${fraction%"${fraction#??????}"}
    echo $((whole * 1000000 + 1$fraction - 1000000))
}
# clocks_of GUEST: `wall` and `mono`, how far its clocks are ahead of ours, and `unsure`, by how much that may be wrong; us.
clocks_of() {
    console_open "$1"
    unsure=1000000000
    tries=0
    while [ $tries -lt 6 ]; do
        tries=$((tries + 1)) asked=$((asked + 1))
        read -r mono_before rest < /proc/uptime
        before=$EPOCHREALTIME
        echo "$asked"' echo $EPOCHREALTIME $(cut -d" " -f1 /proc/uptime)' >&8
        tests=0
        until answered || [ $tests -gt 400 ]; do tests=$((tests + 1)); done
        after=$EPOCHREALTIME
        set -- "$1" $(grep "^@$asked " /tmp/console | tail -n 1 | tr -d '\r')
        [ $# = 5 ] || continue
        before=$(micros "$before") after=$(micros "$after")
        width=$((after - before))
        if [ $((width / 2)) -lt $unsure ]; then
            unsure=$((width / 2))
            wall=$(($(micros "$4") - before - unsure))
            mono=$(($(micros "$5") - $(micros "$mono_before") - unsure))
        fi
        set -- "$1"
    done
    console_close
    echo "$wall $mono $unsure"
}
# Early in their boot kernels count ticks, and lose some on a loaded machine: they start seconds apart, not years.
near_us() {
    limit=$1
    shift
    for number in "$@"; do [ "${number#-}" -le "$limit" ] || return 1; done
}
clocks_a=$(clocks_of a)
clocks_b=$(clocks_of b)
[ "${clocks_a##* }" -lt 500000 ] && [ "${clocks_b##* }" -lt 500000 ] && near_us 60000000 ${clocks_a%% *} ${clocks_b%% *}
check clocks-before "a: $clocks_a b: $clocks_b (wall, monotonic, unsure; us)"

# --- everyone computes ---
hog='(while :; do :; done) > /dev/null 2>&1 & echo $! >> /tmp/hogs;'
for name in a b; do
    console_open $name
    guest 30 "$hog $hog echo busy" || break
done
check guests-busy "$said"
console_close
(while :; do :; done) & hog1=$!
(while :; do :; done) & hog2=$!
# Tenths of seconds that domain 0, a and b have run.
cpu_times() { x list | awk '{ t[$1] = $6 } END { printf "%d %d %d\n", t["Domain-0"] * 10, t["a"] * 10, t["b"] * 10 }'; }
# snapshot: what `cpu_times` says in `ran`, and when, in `when`: about the middle of the time that asking takes.
snapshot() {
    when=$EPOCHREALTIME
    ran=$(cpu_times)
    when=$(echo "$when $EPOCHREALTIME" | awk '{ printf "%.3f", ($1 + $2) / 2 }')
}
# since FROM: seconds until `when`.
since() { echo "$when $1" | awk '{ printf "%.2f", $1 - $2 }'; }
# shares BEFORE AFTER SECONDS: each part in thousandths of what it should be, and all of them of all CPU time.
shares() {
    echo $1 $2 $3 | awk -v w="$weight_dom0 $weight_a $weight_b" '{
        split(w, weight, " "); all = $4 + $5 + $6 - $1 - $2 - $3
        for (n = 1; n <= 3; n++)
            printf "%d ", 1000 * ($(n + 3) - $n) / all * (weight[1] + weight[2] + weight[3]) / weight[n]
        printf "%d\n", 1000 * all / (20 * $7) }'
}
# accounts: "now CPUs ran idled" of our debug key `r`, in ns; nothing on others.
accounts() {
    x dmesg -c > /dev/null
    x debug-keys r
    x dmesg | sed -n 's/.*now \([0-9]*\) ns x \([0-9]*\) CPUs; vcpus ran \([0-9]*\) ns, CPUs idled \([0-9]*\) ns.*/\1 \2 \3 \4/p'
}
# near PER-MILLE LIMIT...: each number is near 1000.
near() {
    limit=$1
    shift
    for part in "$@"; do [ "$part" -ge $((1000 - limit)) ] && [ "$part" -le $((1000 + limit)) ] || return 1; done
}
sleep 3 # for what was uneven before
accounts_before=$(accounts)
snapshot
began=$ran from=$when
sleep "$seconds"
snapshot
accounts_after=$(accounts)
took=$(since "$from")
set -- $(shares "$began" "$ran" "$took")
near 50 "$1" "$2" "$3"
check shares "dom0=$1 a=$2 b=$3 per mille of what weights ask for; tenths of seconds: $began to $ran in $took s"
near 50 "$4"
check all-time-is-somebodys "sum=$4 per mille of two CPUs"
parts=$(echo $accounts_before $accounts_after | awk 'NF == 8 { printf "%d", 1e6 * ($7 + $8 - $3 - $4) / ($6 * ($5 - $1)) }')
[ -z "$parts" ] || { [ "$parts" -ge 998000 ] && [ "$parts" -le 1002000 ]; }
check accounts-add-up "ran and idled: ${parts:-unknown} millionths of what passed"

# --- one is pinned ---
x vcpu-pin a all 1
sleep 1
pinned=0 elsewhere=0
snapshot
began=$ran from=$when
while [ $((pinned + elsewhere)) -lt 20 ]; do
    x vcpu-list a > /tmp/vcpus || break
    # Name ID VCPU CPU State Time(s) Affinity; CPU is `-` for a vcpu that is down.
    if [ "$(awk 'NR > 1 && $4 == 1 { n++ } END { print n + 0 }' /tmp/vcpus)" = 2 ]; then
        pinned=$((pinned + 1))
    else
        elsewhere=$((elsewhere + 1))
    fi
    usleep 200000
done
snapshot
[ $pinned = 20 ]
check pinned-stays "seen on CPU 1: $pinned times, elsewhere: $elsewhere; $(tail -n 1 /tmp/vcpus)"
took=$(since "$from")
set -- $(shares "$began" "$ran" "$took")
near 100 "$1" "$2" "$3"
check pinned-has-its-share "dom0=$1 a=$2 b=$3 per mille of what weights ask for, in $took s"
x vcpu-pin a all all

# --- the clocks again ---
kill $hog1 $hog2
for name in a b; do
    console_open $name
    guest 60 'kill $(cat /tmp/hogs); echo idle' || break
done
check guests-idle "$said"
console_close
# Whether neither clock of a guest has gained or lost more than a fifth of a second, or than can be told.
steady() {
    may_be=$((200000 + $3 + $6))
    for change in $(($4 - $1)) $(($5 - $2)); do [ ${change#-} -le $may_be ] || return 1; done
}
clocks_a_after=$(clocks_of a)
clocks_b_after=$(clocks_of b)
steady $clocks_a $clocks_a_after && steady $clocks_b $clocks_b_after
check clocks-did-not-drift "a: $clocks_a_after b: $clocks_b_after (wall, monotonic, unsure; us)"
x destroy a && x destroy b
check destroyed "$(nr_domains)"
finish
