# Every xm command once, with its output and exit status, and every configuration variable as a guest sees it.
# Sourced by init, or after main.sh.

pidof xenstored > /dev/null || xenstored --pid-file /run/xenstored.pid
xend start
free=$(free_memory)
x list > /tmp/list
check xm-starts "$(wc -l < /tmp/list) lines"

# good PATTERN ARG...: xm with these succeeds, and prints a line like the pattern, or nothing when that is empty.
# bad PATTERN ARG...: xm with these exits with 1, and says a line like the pattern. What is not so goes to /tmp/wrong.
: > /tmp/wrong
good() {
    pattern=$1
    shift
    x "$@" > /tmp/got
    verdict=$?
    if [ -z "$pattern" ]; then [ ! -s /tmp/got ]; else grep -qE -- "$pattern" /tmp/got; fi
    [ "$?$verdict" = 00 ] || echo "xm $*: $verdict $(head -n 3 /tmp/got | tr '\n' ' ');" >> /tmp/wrong
}
bad() {
    pattern=$1
    shift
    x "$@" > /tmp/got
    verdict=$?
    grep -qE -- "^(Error|ERROR): .*$pattern" /tmp/got
    [ "$?$verdict" = 01 ] || echo "xm $*: $verdict $(head -n 3 /tmp/got | tr '\n' ' ');" >> /tmp/wrong
}
# Whether nothing was wrong since the last time; what was is in `wrong`.
fine() {
    wrong=$(cat /tmp/wrong)
    : > /tmp/wrong
    [ -z "$wrong" ]
}
# store PATH: what stands below the domain xa in the store.
store() { xenstore-read "/local/domain/$(xm domid xa)/$1"; }

# --- a guest with everything ---
dd if=/dev/zero of=/tmp/xa1.img bs=1M count=0 seek=8 2> /dev/null
dd if=/dev/zero of=/tmp/xa2.img bs=1M count=0 seek=3 2> /dev/null
dd if=/dev/zero of=/tmp/xa3.img bs=1M count=0 seek=4 2> /dev/null
phy=$(losetup -f)
losetup "$phy" /tmp/xa2.img
cat > /tmp/vif-mark << 'END'
#!/bin/sh
echo "$@" >> /tmp/vif-marks
vif=$(echo "$@" | tr ' ' '\n' | sed -n 's/^vif=//p')
[ "$1" != up ] || { ip link set "$vif" master xen-br0 && ip link set "$vif" up; }
END
chmod 755 /tmp/vif-mark
cat guest.cfg - > /tmp/xa.cfg << END
name = "xa"
builder = "linux"
memory = 144
maxmem = 192
vcpus = 1
maxvcpus = 2
cpu = 1
cpus = "0-1"
cpu_weight = 512
uuid = "6f7a1b2c-0000-4000-8000-0000000000aa"
console = 9777
root = "/dev/xvda1 ro"
ip = "10.9.0.7"
gateway = "10.9.0.1"
netmask = "255.255.255.0"
hostname = "xa-host"
interface = "eth0"
dhcp = "off"
nfs_server = "10.9.0.9"
nfs_root = "/export/xa"
ipaddr = ["10.9.0.7"]
disk = ["file:/tmp/xa1.img,xvda,w", "phy:$phy,xvdb,r"]
vif = ["mac=aa:00:00:00:00:a1, bridge=xen-br0, vifname=xa.lan, ip=10.9.0.7, rate=8Mb/s, script=/tmp/vif-mark"]
nics = 2
rtc_timeoffset = 7200
restart = "onreboot"
on_crash = "preserve"
END

good '^Using config file' create -n /tmp/xa.cfg
good 'bind a block device' create -q --plan /tmp/xa.cfg
good '^Started domain xa, console on port 9777' create -p /tmp/xa.cfg
good '^xa  *[0-9]+  *[0-9]+  *[01]  --p--  *[0-9.]+ *9777' list xa
good '' unpause xa
fine
check xm-create "$wrong"
await 300 is_up xa
check xm-guest-up "$(grep 'GUEST UP' /var/log/xen/console-xa.log | tr -d '\r')"

# --- what the guest sees of its configuration ---
guest xa 'cat /proc/cmdline' &&
    [ "$said" = 'ip=10.9.0.7:10.9.0.9:10.9.0.1:255.255.255.0:xa-host:eth0:off root=/dev/xvda1 ro nfsroot=10.9.0.9:/export/xa console=hvc0 quiet' ]
check xm-var-cmdline "$said"
guest xa 'sed -n "s/^MemTotal: *\([0-9]*\) kB/\1/p" /proc/meminfo' && [ "$said" -gt 90000 ] && [ "$said" -le 147456 ]
check xm-var-memory "$said kB"
guest xa 'cat /sys/devices/system/cpu/online /sys/devices/system/cpu/possible' && [ "$said" = "0 0-1" ]
check xm-var-vcpus "$said"
guest xa 'cat /sys/hypervisor/uuid' && [ "$said" = 6f7a1b2c-0000-4000-8000-0000000000aa ]
check xm-var-uuid "$said"
guest xa 'cd /sys/block; cat xvda/ro xvda/size xvdb/ro xvdb/size' && [ "$said" = "0 16384 1 6144" ]
check xm-var-disk "$said"
guest xa 'dd if=/dev/zero of=/dev/xvdb bs=512 count=1 2> /dev/null; echo $?' && [ "$said" != 0 ]
check xm-var-disk-readonly "dd says $said"
guest xa 'cat /sys/class/net/eth0/address /sys/class/net/eth1/address; ls -d /sys/class/net/eth2' ; echo "$said" | grep -q '^aa:00:00:00:00:a1 aa:00:00:[0-7][0-9a-f]:[0-9a-f]*:[0-9a-f]* ls: '
check xm-var-vif-nics "$said"
[ "$(basename "$(readlink /sys/class/net/xa.lan/master)")" = xen-br0 ] &&
    grep -q '^up .*aa:00:00:00:00:a1' /tmp/vif-marks && grep -q 'ip=.*10.9.0.7' /tmp/vif-marks
check xm-var-vif-script "$(head -n 1 /tmp/vif-marks)"
[ "$(xenstore-read "/local/domain/0/backend/vif/$(xm domid xa)/0/rate")" = 50000,50000 ]
check xm-var-vif-rate "$(xenstore-read "/local/domain/0/backend/vif/$(xm domid xa)/0/rate")"
guest xa 'date +%s' && ahead=$((said - $(date +%s))) && [ $ahead -gt 6900 ] && [ $ahead -lt 7500 ]
check xm-var-clock "$ahead s"
good '^xa .* 512 ' sched-credit -d xa
good '^xa  *[0-9]+  *0 .*  (all|0-1) / 1$' vcpu-list xa
[ "$(store name)" = xa ] || echo "the name in the store is $(store name);" >> /tmp/wrong
[ "$(store memory/static-max)" = 196608 ] || echo "static-max is $(store memory/static-max);" >> /tmp/wrong
fine
check xm-var-placement "$wrong"

# --- commands that only look ---
good '^Commands for domains:' help
good '^End a domain at once' help destroy
good 'Unknown command: frob' help frob
bad 'Unknown command: frobnicate' frobnicate
good 'complete -F _xm' completion bash
bad 'SHELL' completion csh
good '^\.TH XM 1' manual xm.1
bad 'PAGE' manual frob
good '^xa$' complete-words domains
bad 'KIND' complete-words frob
good '^\(ls node domain console' call
good '^\(Domain-0 xa\)$' call domains
bad 'invalid domain:nobody' call domain nobody
good '^system  *: Linux' info
bad 'one too many' info xa
good '^(.XEN. |.*Xen)' dmesg
bad '' dmesg frob
good 'xa' log
bad 'one too many' log xa
good '^xa$' domname "$(xm domid xa)"
bad 'invalid domain:4711' domname 4711
good '^[0-9]+$' domid xa
bad 'invalid domain:nobody' domid nobody
good '^Domain-0  *0  *1024 ' list
good '^    \(cpu_time [0-9.]+\)$' list -l xa
good '"name": "xa"' --json list xa
bad 'invalid domain:nobody' list nobody
good '^xa  *[0-9]+  *[0-9]' uptime xa
bad 'invalid domain:nobody' uptime nobody
bad 'invalid domain:nobody' vcpu-list nobody
good '^ *xa ' top -b -i 1
bad 'iterations' top -i x
good '^ *[0-9]+ 9777 ' consoles
bad 'one too many' consoles xa
bad 'invalid domain:nobody' console nobody
good '^\(vbd .*\(mode w\) \(dev xvda\) \(uname file:/tmp/xa1.img\)' vbd-list xa
bad 'invalid domain:nobody' vbd-list nobody
good '^51712 0 .* 4 ' block-list xa
bad 'invalid domain:nobody' block-list nobody
good '^\(vif .*\(mac aa:00:00:00:00:a1\) \(bridge xen-br0\)' vif-list xa
bad 'invalid domain:nobody' vif-list nobody
good '^0   0  aa:00:00:00:00:a1 0      4 ' network-list xa
bad 'invalid domain:nobody' network-list nobody
bad 'one too many' events xa
fine
check xm-looks "$wrong"
timeout 60 xm events > /tmp/events 2>&1 &
is_told() { x pause xa; x unpause xa; grep -q '^xend.domain.pause ' /tmp/events; }
await 60 is_told
check xm-events "$(head -n 1 /tmp/events)"

# --- commands that change a running guest ---
good '' pause xa
good '  -[b-]p--  ' list xa
good '' unpause xa
bad 'invalid domain:nobody' pause nobody
bad 'Missing domain' unpause
good '' rename xa xz
good '^xz$' domname "$(xm domid xz)"
good '' rename xz xa
bad 'invalid vm name' rename xa 1st
good '' pincpu xa 1
good '^xa .*  1 / 1$' vcpu-list xa
good '' pincpu xa -1
bad 'has CPUs 0 to 1' pincpu xa 9
good '' vcpu-pin xa 0 1
bad 'has vcpus 0 to 1' vcpu-pin xa 7 1
good '' vcpu-pin xa all all
good '' sched-credit -d xa -w 300
good '^xa .* 300 ' sched-credit2 -d xa
bad 'Missing domain' sched-credit -w 5
bad 'invalid domain:nobody' sched-credit2 -d nobody
bad 'scheduler' bvt xa 1 0 0 0 0
bad 'scheduler' bvt_ctxallow 5000000
bad 'scheduler' atropos xa 1 1 1 1
bad 'scheduler' rrobin 5000000
bad 'scheduler' sched-bvt xa 1 0 0 0 0
bad 'scheduler' sched-bvt-ctxallow 5000000
bad 'scheduler' sched-atropos xa 1 1 1 1
bad 'scheduler' sched-rrobin 5000000
bad 'not offered' save xa /tmp/state
bad 'not offered' restore /tmp/state
bad 'not offered' migrate xa there
good '' trigger xa nmi
bad 'TRIGGER' trigger xa frob
good '' sysrq xa h
bad 'LETTER' sysrq xa
good '' debug-keys h
bad 'KEYS' debug-keys
fine
check xm-changes "$wrong"
guest xa 'dmesg | grep -c "sysrq: HELP"' && [ "$said" = 1 ]
check xm-sysrq "$said lines in the guest's dmesg"
good '' maxmem xa 160
good '' mem-max xa 192
bad 'MB' maxmem xa none
good '' balloon xa 112
bad 'may have 1 to 192' mem-set xa 4000
has_memory() { [ "$(column xa 3)" -le "$1" ] && [ "$(column xa 3)" -ge "$2" ]; }
fine && await 120 has_memory 113 100 && good '' mem-set xa 144 && await 120 has_memory 145 140 && fine
check xm-balloon "$wrong now $(column xa 3) MB"

# --- disks and interfaces come and go ---
good '' vbd-create xa file:/tmp/xa3.img xvdc w
bad '' vbd-create xa file:/tmp/xa3.img xvdc w
has_disk() { guest xa "cat /sys/block/$1/size" && [ "$said" = "$2" ]; }
fine && await 60 has_disk xvdc 8192
check xm-vbd-create "$wrong size: $said"
dd if=/dev/zero of=/tmp/xa3.img bs=1M count=0 seek=6 2> /dev/null
good '' vbd-refresh xa 51744
bad 'has no vbd' vbd-refresh xa 5
has_grown() { guest xa 'dd if=/dev/xvdc of=/dev/null bs=512 count=1 2> /dev/null; echo 3 > /proc/sys/vm/drop_caches'; has_disk xvdc 12288; }
fine && await 60 has_grown
check xm-vbd-refresh "$wrong size: $said"
good '' vbd-destroy xa 51744
bad 'has no vbd' vbd-destroy xa 51744
good '' block-attach xa file:/tmp/xa3.img,xvdd,r
bad 'invalid disk mode' block-attach xa phy:a xvde q
fine && await 60 has_disk xvdd 12288
check xm-block-attach "$wrong size: $said"
good '' block-detach xa xvdd
bad 'has no vbd' block-detach xa xvdd
good '' network-attach xa mac=aa:00:00:00:00:a3 bridge=xen-br0
bad 'network-attach' network-attach xa frob=1
has_interface() { guest xa 'cat /sys/class/net/*/address' && echo "$said" | grep -q "$1"; }
fine && await 60 has_interface aa:00:00:00:00:a3
check xm-network-attach "$wrong $said"
good '' vif-limit xa 2 100000 50000
bad 'has no vif' vif-limit xa 7 1 1
[ "$(xenstore-read "/local/domain/0/backend/vif/$(xm domid xa)/2/rate")" = 100000,50000 ] || echo "no rate in the store" >> /tmp/wrong
good '' network-detach xa aa:00:00:00:00:a3
bad 'has no vif' network-detach xa 2
fine
check xm-network-detach "$wrong"

good '' vcpu-set xa 2
bad '1 to 2 can be up' vcpu-set xa 3
# The kernel makes the CPU present; putting it to use is udev's business, which this guest has not.
has_cpus() { guest xa 'cd /sys/devices/system/cpu; echo 1 > cpu1/online; cat online' && [ "$said" = "$1" ]; }
fine && await 120 has_cpus 0-1 && x vcpu-set xa 1 && await 120 guest xa '! test -e /sys/devices/system/cpu/cpu1/online'
check xm-vcpu-set "$wrong online: $said"

# --- ends, and what follows them ---
good '' reboot xa
bad 'invalid domain:nobody' reboot nobody
fine && await 300 is_up xa 2
check xm-reboot "$wrong $(column xa 5)"
x shutdown -w xa > /tmp/ended && grep -q '^Domain xa terminated$' /tmp/ended && grep -q '^All domains terminated$' /tmp/ended && is_gone xa
check xm-shutdown-wait "$(tr '\n' ' ' < /tmp/ended)"
bad "wait and reboot" shutdown -w -R xa
bad 'invalid domain:xa' shutdown xa
bad 'invalid domain:xa' destroy xa
bad 'Cannot open config file' create nowhere
fine
check xm-gone "$wrong"

cat > /tmp/xb.cfg << 'END'
name = "xb"
type = "pv"
kernel = "/toolstack/vmlinuz"
ramdisk = "/toolstack/guest.gz"
memory = 128
cmdline = "console=hvc0 quiet only=this"
localtime = 1
blkif = 1
netif = 1
nics = 0
restart = "always"
on_reboot = "destroy"
on_crash = "preserve"
on_watchdog = "destroy"
END
x create /tmp/xb.cfg > /tmp/created && await 300 is_up xb
check xm-xl-guest-up "$(head -n 1 /tmp/created)"
guest xb 'cat /proc/cmdline; ls /sys/class/net' && [ "$said" = "console=hvc0 quiet only=this lo" ]
check xm-var-xl-cmdline "$said"
ls=$(xenstore-ls "/local/domain/$(xm domid xb)/backend" | tr '\n' ' ')
[ "${ls#*vbd*vif}" != "$ls" ]
check xm-var-backends "$ls"
x shutdown xb > /dev/null && await 300 is_up xb 2
check xm-var-restart-always "$(column xb 5)"
type_in xb 'echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger'
await 120 in_state xb '*c*'
check xm-var-on-crash "$(column xb 5)"
x destroy xb > /dev/null && await 60 is_gone xb
check xm-destroy "$(column xb 5)"
# By itself: xm reboot has it start again, whatever its configuration says.
x create -q /tmp/xb.cfg > /dev/null && await 300 is_up xb 3 && type_in xb 'reboot -f' && await 120 is_gone xb
check xm-var-on-reboot "$(column xb 5)"
good '' dmesg -c
losetup -d "$phy"
fine && await 60 nothing_left && [ ! -e /sys/class/net/xa.lan ]
check xm-clean "$wrong $(left)"
xend stop
! xend status > /dev/null
check xm-stop ""
