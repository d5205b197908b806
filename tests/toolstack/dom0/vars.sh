# Two guests at once, of two disks and two interfaces each; what xm.sh does not show of the variables; what is refused; and
# `xm create -c` at a terminal. Sourced by init, or after other scripts.

pidof xenstored > /dev/null || xenstored --pid-file /run/xenstored.pid
TZ=UTC-3 xend start # three hours ahead of UTC, for localtime
free=$(free_memory)
ip link add xen-br1 type bridge
ip addr add 10.9.1.1/24 dev xen-br1
ip link set xen-br1 up

# --- two guests of one file ---
for image in 11 12 21; do
    dd if=/dev/urandom of=/tmp/v$image.img bs=1M count=1 2> /dev/null
    truncate -s 2M /tmp/v$image.img
done
phy=$(losetup -f)
losetup "$phy" /tmp/v12.img
cat /usr/sbin/xenstore > /tmp/v22.img # a program for the guest
truncate -s 4M /tmp/v22.img
cat > /tmp/v.cfg << END
def number(name, value):
    value = int(value)
    if value not in (1, 2):
        raise ValueError("it is 1 or 2")
    return value

xm_vars.var("vmid", use="Which of the two guests.", check=number)
xm_vars.check()

kernel = "/toolstack/vmlinuz"
ramdisk = "/toolstack/guest.gz"
name = "v%d" % vmid
console = 0
extra = "console=hvc0 quiet guest.ip=10.9.0.1%d" % vmid
vif = ["mac=aa:00:00:00:04:%d%d, bridge=xen-br%d" % (vmid, n, n) for n in range(2)]
if vmid == 1:
    memory = 136
    maxmem = 160
    vcpus = 2
    cpus = ["0", "1"]
    cpu_weight = 0.5
    localtime = 1
    restart = "never"
    disk = ["file:/tmp/v11.img,xvda,w", "phy:$phy,xvdb,w"]
else:
    memory = 120
    cpu = -1
    builder = "linux"
    dhcp = "dhcp"
    hostname = "v2-host"
    on_reboot = "preserve"
    on_crash = "rename-restart"
    disk = ["file:/tmp/v21.img,xvda,w", "file:/tmp/v22.img,xvdb,r", "phy:$phy,xvdc,w!"]
END
x create /tmp/v.cfg vmid=1 > /dev/null && x create /tmp/v.cfg vmid=2 > /dev/null
check two-create "$(tail -n 1 /tmp/out)"
await 300 is_up v1 && await 300 is_up v2
check two-up "$(xm list | tail -n 2 | tr '\n' ' ')"
for n in 1 2; do
    guest v$n "ip addr add 10.9.1.1$n/24 dev eth1; ip link set eth1 up; mkfifo /tmp/open
        dd if=/dev/urandom of=/tmp/r bs=1M count=1 2> /dev/null; md5sum < /tmp/r"
    eval "sum$n='$said'"
done

# --- their disks ---
# sums IMAGE...: of the whole images. A guest has read nothing of a disk before that it has in its cache still.
sums() { echo $(for image in "$@"; do md5sum < "/tmp/v$image.img"; done); }
fresh='for disk in $disks; do dd if=/tmp/r of=/dev/$disk bs=64k count=8 seek=8 conv=fsync 2> /dev/null; done
    sync; echo 3 > /proc/sys/vm/drop_caches; for disk in $disks; do md5sum < /dev/$disk; done'
before=$(sums 11 12)
guest v1 'for disk in xvda xvdb; do md5sum < /dev/$disk; done' && [ "$said" = "$before" ] &&
    guest v1 "disks='xvda xvdb'; $fresh" && [ "$said" = "$(sums 11 12)" ] && [ "$said" != "$before" ]
check two-disks-file-phy "inside: $said"
before=$(sums 21)
guest v2 'for disk in xvda xvdb; do md5sum < /dev/$disk; done' && [ "$said" = "$(sums 21 22)" ] &&
    guest v2 "disks=xvda; $fresh" && [ "$said" = "$(sums 21)" ] && [ "$said" != "$before" ]
check two-disks-file "inside: $said"
# w! shares a disk that another has: both have the same before them.
guest v2 'dd if=/tmp/r of=/dev/xvdc bs=64k count=4 conv=fsync 2> /dev/null; md5sum < /dev/xvdc' && sum=$said &&
    guest v1 'echo 3 > /proc/sys/vm/drop_caches; md5sum < /dev/xvdb' && [ "$said" = "$sum" ] && [ "$said" = "$(sums 12)" ]
check two-disk-shared "inside: $said"

# --- their network ---
pings='for to in $all; do ping -c 1 -w 60 $to > /dev/null && echo $to; done'
all='10.9.0.12 10.9.1.12 10.9.0.1 10.9.1.1'
guest v1 "all='$all'; $pings" && [ "$said" = "$all" ]
check two-ping "answered: $said"
all='10.9.0.11 10.9.1.11 10.9.0.12 10.9.1.12'
said=$(echo $(eval "$pings")) && [ "$said" = "$all" ]
check two-ping-dom0 "answered: $said"
# nc ends when the other side has ended; until then its own input must not end, hence the pipe that is its own writer.
# receives GUEST: it listens; sends GUEST ADDRESS PORT; received GUEST: what came is what `sum` says.
receives() {
    guest "$1" 'rm -f /tmp/end; i=0
        { nc -l -p 7000 <> /tmp/open > /tmp/got; md5sum < /tmp/got > /tmp/end; } > /dev/null 2>&1 & :
        until netstat -ltn | grep -q :7000 || [ $i = 300 ]; do i=$((i + 1)); usleep 200000; done'
}
sends() {
    guest "$1" "nc $2 $3 < /tmp/r > /dev/null 2>&1 & echo sent"
}
received() {
    guest "$1" 'i=0; until [ -s /tmp/end ] || [ $i = 1200 ]; do i=$((i + 1)); usleep 200000; done; cat /tmp/end' &&
        [ "$said" = "$sum" ]
}
receives v1 && receives v2 && sends v1 10.9.0.12 7000 && sends v2 10.9.1.11 7000 &&
    sum=$sum1 && received v2 && sum=$sum2 && received v1
check two-tcp "sent $sum1 and $sum2, last came $said"
rm -f /tmp/open
mkfifo /tmp/open
listening() { [ "$(netstat -ltn | grep -c ':700[12] ')" = 2 ]; }
for n in 1 2; do timeout 300 nc -l -p 700$n <> /tmp/open > /tmp/got$n & eval "nc$n=$!"; done
await 20 listening && sends v1 10.9.0.1 7001 && sends v2 10.9.1.1 7002
wait $nc1 $nc2
said=$(echo $(md5sum < /tmp/got1) $(md5sum < /tmp/got2)) && [ "$said" = "$sum1 $sum2" ]
check two-tcp-to-dom0 "came $said"
sum=$sum1
receives v1 && receives v2 &&
    timeout 300 nc 10.9.1.11 7000 < /tmp/got1 > /dev/null && timeout 300 nc 10.9.0.12 7000 < /tmp/got1 > /dev/null &&
    received v1 && received v2
check two-tcp-from-dom0 "came $said"
rm -f /tmp/got?

# --- what they see of their variables ---
# Each is asked once: fields with | between them. The kernel says how much memory there was before it took its own.
total='dmesg | sed -n "s/.*Memory: [0-9]*K.\([0-9]*\)K available.*/\1/p"'
seen() { echo "$said" | cut -d'|' -f "$1" | sed 's/^ //; s/ $//'; }
guest v1 "cat /proc/cmdline; echo '|'; nproc; echo '|'; $total; echo '|'; date +%s; echo '|'; cat /sys/class/net/eth?/address"
ahead=$(($(seen 4) - $(date +%s)))
[ "$(seen 1)" = "console=hvc0 quiet guest.ip=10.9.0.11" ] && [ "$(seen 2)" = 2 ]
check vars-vmid-vcpus "$(seen 1), $(seen 2) CPUs"
[ "$(seen 3)" -le 163840 ] && [ "$(seen 3)" -gt 150000 ]
check vars-maxmem "$(seen 3) kB"
[ "$ahead" -gt 10500 ] && [ "$ahead" -lt 11100 ]
check vars-localtime "$ahead s"
[ "$(seen 5)" = "aa:00:00:00:04:10 aa:00:00:00:04:11" ] &&
    [ -e "/sys/class/net/xen-br0/brif/vif$(column v1 2).0" ] && [ -e "/sys/class/net/xen-br1/brif/vif$(column v1 2).1" ]
check vars-vif "$(seen 5)"
[ "$(xm vcpu-list v1 | awk 'NR > 1 { print $3 "@" $(NF - 2) }' | tr '\n' ' ')" = "0@0 1@1 " ]
check vars-cpus "$(xm vcpu-list v1 | tail -n 2 | tr '\n' ' ')"
xm sched-credit -d v1 > /tmp/out; grep -q ' 128 ' /tmp/out
check vars-weight "$(tail -n 1 /tmp/out)"
guest v2 "cat /proc/cmdline; echo '|'; cat /sys/block/xvd?/ro; echo '|'; $total; echo '|'; date +%s; echo '|'; cat /sys/hypervisor/uuid"
ahead=$(($(seen 4) - $(date +%s)))
[ "$(seen 1)" = "ip=:1.2.3.4:::v2-host:eth0:dhcp console=hvc0 quiet guest.ip=10.9.0.12" ]
check vars-dhcp "$(seen 1)"
[ "$(seen 2)" = "0 1 0" ]
check vars-disk-modes "$(seen 2)"
[ "$(seen 3)" -le 122880 ] && [ "$(seen 3)" -gt 121856 ]
check vars-memory "$(seen 3) kB"
[ "$ahead" -gt -300 ] && [ "$ahead" -lt 300 ]
check vars-utc "$ahead s"
xm list -l v2 > /tmp/out && uuid=$(sed -n 's/^ *(uuid \(.*\))$/\1/p' /tmp/out | head -n 1) && [ "$(seen 5)" = "$uuid" ]
check vars-uuid-drawn "$(seen 5)"
# The store as the guest has it, by a program that is its second disk.
size=$(stat -c %s /usr/sbin/xenstore)
guest v2 "head -c $size /dev/xvdb > /tmp/xenstore; chmod 755 /tmp/xenstore; cd /tmp
    ./xenstore read name memory/target memory/static-max console/port cpu/0/availability device/vbd/51728/virtual-device" &&
    [ "$said" = "v2 122880 122880 2 online 51728" ]
check vars-store "$said"
one=$(column v1 2)
guest v2 "/tmp/xenstore read /local/domain/$one/name || /tmp/xenstore write /local/domain/$one/name mine || echo no"
[ "${said%no}" != "$said" ] && [ "$(xenstore-read "/local/domain/$one/name")" = v1 ]
check vars-store-of-another "$said"

# --- what is refused ---
# refused PATTERN WORD...: a configuration with these is refused by such words, with 1.
: > /tmp/wrong
refused() {
    pattern=$1
    shift
    x create /tmp/w.cfg "$@" > /tmp/got
    verdict=$?
    why=$(tr '\n' ' ' < /tmp/got)
    echo "$why" | grep -qE -- "Error: .*$pattern"
    [ "$?$verdict" = 01 ] || echo "$*: $verdict $why;" >> /tmp/wrong
}
cat > /tmp/w.cfg << 'END'
name = "w"
kernel = "/toolstack/tiny"
memory = 16
nics = 0
END
there() { left; xm list | awk 'NR > 1 { print $1, $2 }'; }
before=$(there)
refused 'kernel= and ramdisk=' bootloader=pygrub
refused 'hvm' builder=hvm
refused 'hvm' type=hvm
refused 'frame buffers' vfb=type=vnc
refused 'not offered yet' pci=00:1f.2
refused 'core dumps' on_crash=coredump-destroy
refused "did you mean 'memory'" memroy=64
refused 'memory' memory=900000
refused '/nowhere' ramdisk=/nowhere
refused '/toolstack/lib.sh' kernel=/toolstack/lib.sh
refused 'CPUs 0 to 1' cpus=7
refused 'name clash: v1' name=v1
refused 'in use' "uuid=$uuid"
refused 'console port in use' "console=$((9600 + one))"
refused '/nowhere' disk=file:/nowhere,xvda,w
refused '/dev/nowhere' disk=phy:nowhere,xvda,w
refused 'w. to share' disk=file:/tmp/v11.img,xvda,w
refused 'r. to share' disk=file:/tmp/v11.img,xvda,r
refused 'read-only use' disk=file:/tmp/v22.img,xvda,w
refused 'nowhere' vif=bridge=nowhere
refused 'nowhere' vif=script=/nowhere
wrong=$(cat /tmp/wrong)
[ -z "$wrong" ]
check refused "$wrong"
after=$(there)
[ "$after" = "$before" ]
check refused-nothing-left "$(there > /tmp/after; echo "$before" | diff - /tmp/after | tr '\n' ' ')"

# --- what becomes of them ---
type_in v1 'reboot -f'
await 120 is_gone v1
check vars-restart-never "state=$(column v1 5)"
two=$(column v2 2)
type_in v2 'echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger'
await 120 in_state "v2-$two" '*c*' && await 300 is_up v2 2 && guest v2 'md5sum < /dev/xvda' && [ "$said" = "$(sums 21)" ]
check vars-rename-restart "$(xm list | tail -n 2 | tr '\n' ' ')"
type_in v2 'reboot -f'
await 120 in_state v2 '*s*'
check vars-reboot-preserve "state=$(column v2 5)"
x destroy v2 > /dev/null && x destroy "v2-$two" > /dev/null && await 60 is_gone v2 && await 60 is_gone "v2-$two"
check vars-destroy "$(tail -n 1 /tmp/out)"

# --- a shell at a terminal ---
# A terminal for xm is what telnetd makes; what it shows goes to /tmp/screen.
cat guest.cfg - > /tmp/c.cfg << 'END'
name = "c"
nics = 0
extra = "console=hvc0 quiet rdinit=/bin/sh"
END
cat > /tmp/at-terminal << 'END'
#!/bin/sh
xm create -c /tmp/c.cfg
echo "xm's status: $?"
stty -a | grep -o '[-]*icanon'
sleep 100
END
chmod 755 /tmp/at-terminal
telnetd -F -b 127.0.0.1 -p 2300 -l /tmp/at-terminal &
telnetd=$!
served() { netstat -ltn | grep -q '127.0.0.1:2300 '; }
await 20 served
rm -f /tmp/typed
mkfifo /tmp/typed
nc 127.0.0.1 2300 < /tmp/typed > /tmp/screen &
nc=$!
exec 6> /tmp/typed
shows() { tr -d '\r' < /tmp/screen | grep -q -- "$1"; }
await 300 shows '/ #'
check shell-prompt "$(tr -d '\r' < /tmp/screen | tail -n 1)"
echo 'echo six times seven is $((6 * 7))' >&6
await 100 shows '^six times seven is 42'
check shell-typed "$(tr -d '\r' < /tmp/screen | tail -n 2)"
# Ctrl-C is the guest's; Ctrl-] is xm's, which leaves the terminal as it was.
printf '\003\035' >&6
await 100 shows "xm's status: 0" && await 20 shows '^icanon' && [ -n "$(column c 2)" ]
check shell-left "$(tr -d '\r' < /tmp/screen | tail -n 2)"
x destroy c > /dev/null && await 60 is_gone c
check shell-destroy "$(tail -n 1 /tmp/out)"
exec 6>&-
kill $nc $telnetd

losetup -d "$phy"
await 60 nothing_left
check vars-clean "$(left)"
ip link del xen-br1
xend stop
! xend status > /dev/null
check vars-stop ""
