# What an administrator does with xl, once each, on one guest after the other. Sourced by init.

domains_before=$(nr_domains)

# --- the machine ---
x info > /tmp/info
value() { sed -n "s/^$1 *: //p" /tmp/info; }
[ "$(value xen_version | cut -d. -f1,2)" = 4.17 ] && [ "$(value nr_cpus)" = 2 ] && [ "$(value total_memory)" -gt 3500 ] &&
    [ "$(value free_memory)" -gt 2000 ] && [ "$(value nr_nodes)" = 1 ]
check info "version=$(value xen_version) cpus=$(value nr_cpus) total=$(value total_memory) free=$(value free_memory)"
x list > /tmp/list
grep -q '^Domain-0 *0 *1024 *2 *r' /tmp/list
check list "$(tail -n 1 /tmp/list)"
x vcpu-list > /tmp/vcpus
[ "$(grep -c '^Domain-0 *0 *[01] *[01] ' /tmp/vcpus)" = 2 ]
check vcpu-list "lines=$(tail -n +2 /tmp/vcpus | wc -l)"
x dmesg > /tmp/dmesg
grep -q '(XEN)' /tmp/dmesg && [ "$(wc -l < /tmp/dmesg)" -gt 20 ]
check dmesg "lines=$(wc -l < /tmp/dmesg)"
x dmesg -c > /dev/null # what is explained from here on is new
timeout 60 xentop -b -i 2 -d 1 > /tmp/top
[ "$(grep -c 'Domain-0 .*1048576' /tmp/top)" = 2 ]
check top "$(grep Domain-0 /tmp/top | tail -n 1)"

# --- a guest with a disk and a network card ---
dd if=/dev/urandom of=/var/disk/u.img bs=1M count=4 2> /dev/null
written=$(sum_of < /var/disk/u.img)
dd if=/dev/zero of=/var/disk/u.img bs=1M count=0 seek=32 2> /dev/null
cat /xl/guest.cfg - > /tmp/u.cfg << 'END'
extra = "console=hvc0 quiet guest.ip=10.9.0.2"
disk = ["/var/disk/u.img,raw,xvda,w"]
vif = ["mac=00:16:3e:00:00:02,bridge=xenbr0"]
END
x create /tmp/u.cfg > /dev/null
check create "domid=$(domid u)"
first=$(domid u)
console_open u
await 400 is_up
check console-output "$(grep 'GUEST UP' /tmp/console | tr -d '\r')"
guest 200 'echo $((6 * 7)) $(nproc)' && [ "$said" = "42 2" ]
check console-input "$said"
[ "$(listed u 2)" = "$first" ] && [ "$(listed u 3)" = 192 ] && [ "$(listed u 4)" = 2 ]
check list-guest "$(x list u | tail -n 1)"

guest 200 'dd if=/dev/xvda bs=1M count=4 2>/dev/null | sha256sum | cut -c1-16' && [ "$said" = "$written" ]
check disk-read "wrote=$written read=$said"
guest 200 'dd if=/dev/urandom of=/tmp/r bs=1M count=4 2>/dev/null; dd if=/tmp/r of=/dev/xvda bs=1M seek=8 conv=fsync 2>/dev/null; sha256sum < /tmp/r | cut -c1-16; rm /tmp/r'
written=$said
seen=$(dd if=/var/disk/u.img bs=1M skip=8 count=4 2> /dev/null | sum_of)
[ "$written" = "$seen" ]
check disk-write "wrote=$written dom0=$seen"
guest 200 'echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/xvda bs=1M skip=8 count=4 2>/dev/null | sha256sum | cut -c1-16' && [ "$said" = "$written" ]
check disk-read-back "read=$said"

ping -c 3 -W 5 10.9.0.2 > /tmp/ping
check ping-guest "$(tail -n 2 /tmp/ping | head -n 1)"
guest 200 'ping -c 3 -W 5 10.9.0.1 > /tmp/ping; tail -n 2 /tmp/ping | head -n 1' && [ "${said#*3 packets received}" != "$said" ]
check ping-dom0 "$said"
# nc ends when the other side has ended; until then its own input must not end, hence the pipe that is its own writer.
dd if=/dev/urandom of=/tmp/20m bs=1M count=20 2> /dev/null
mkfifo /tmp/open
sent=$(sum_of < /tmp/20m)
listening() { netstat -ltn | grep -q ":$1 "; }
nc -l -p 5000 < /tmp/20m > /dev/null &
await 20 listening 5000
guest 200 'mkfifo /tmp/open; nc 10.9.0.1 5000 <> /tmp/open > /tmp/20m; sha256sum < /tmp/20m | cut -c1-16' && [ "$said" = "$sent" ]
check tcp-to-guest "sent=$sent got=$said"
kill $! 2> /dev/null
timeout 120 nc -l -p 5001 <> /tmp/open > /tmp/back &
await 20 listening 5001
guest 200 'nc 10.9.0.1 5001 < /tmp/20m > /dev/null; rm /tmp/20m'
wait $!
got=$(sum_of < /tmp/back)
[ "$got" = "$sent" ]
check tcp-to-dom0 "sent=$sent got=$got"
rm -f /tmp/20m /tmp/back

# --- the guest at work is changed ---
x pause u && in_state u p && ! ping -c 1 -W 2 10.9.0.2 > /dev/null
check pause "state=$(listed u 5)"
x unpause u && guest 200 'echo awake' && await 150 ping -c 1 -W 2 10.9.0.2
check unpause "state=$(listed u 5)"

memory_is() { [ "$(listed u 3)" = "$1" ]; }
x mem-set u 128 && await 150 memory_is 128
check mem-set-down "memory=$(listed u 3)"
guest 200 'free -k | awk "/Mem/ { print \$2 }"'
total_low=$said
x mem-set u 192 && await 150 memory_is 192 && guest 200 'free -k | awk "/Mem/ { print \$2 }"' && [ "$said" -gt "$total_low" ]
check mem-set-up "memory=$(listed u 3) total=$total_low..$said"
most_is() { timeout 30 xentop -b -i 1 | awk '$1 == "u" { print $7 }' | grep -qx "$1"; }
x mem-max u 224 && most_is $((224 * 1024 + 1024))
check mem-max "$(timeout 30 xentop -b -i 1 | awk '$1 == "u" { print $5, $7 }')"

cpu_of() { [ "$(timeout 20 xl vcpu-list u | awk -v v="$1" '$3 == v { print $4, $7 }')" = "$2" ]; }
x vcpu-pin u 0 1 && x vcpu-pin u 1 0 && guest 200 'sleep 1; taskset 1 true; taskset 2 true' && await 150 cpu_of 0 '1 1' && await 150 cpu_of 1 '0 0'
check vcpu-pin "$(timeout 20 xl vcpu-list u | awk 'NR > 1 { print $3 "@" $4 "/" $7 }')"
x vcpu-pin u all all && timeout 20 xl vcpu-list u | grep -q 'all / all'
check vcpu-pin-all "$(timeout 20 xl vcpu-list u | awk 'NR > 1 { print $3 "@" $4 "/" $7 }')"

offline() { timeout 20 xl vcpu-list u | grep -q " $1 .*--p"; }
x vcpu-set u 1 && await 150 offline 1 && guest 200 'nproc' && [ "$said" = 1 ]
check vcpu-set-down "nproc=$said"
# To set a CPU online is left to udev, which the guest does not have.
x vcpu-set u 2 && guest 200 'for i in 1 2 3 4 5 6 7 8 9; do echo 1 > /sys/devices/system/cpu/cpu1/online && break; sleep 1; done; nproc' && [ "${said##* }" = 2 ]
check vcpu-set-up "nproc=$said"

dd if=/dev/urandom of=/var/disk/b.img bs=1M count=4 2> /dev/null
written=$(sum_of < /var/disk/b.img)
x block-attach u /var/disk/b.img,raw,xvdb,w && guest 200 'n=0; while [ ! -e /dev/xvdb ] && [ $n -lt 30 ]; do n=$((n+1)); sleep 1; done; sha256sum < /dev/xvdb | cut -c1-16' && [ "$said" = "$written" ]
check block-attach "wrote=$written read=$said"
disk_gone() { ! losetup -a | grep -q b.img; }
x block-detach u xvdb && guest 200 '[ ! -e /dev/xvdb ]; echo $?' && await 150 disk_gone
check block-detach "$(x block-list u | wc -l) lines"

x network-attach u mac=00:16:3e:00:00:03 bridge=xenbr0 && guest 200 'n=0; while [ ! -e /sys/class/net/eth1 ] && [ $n -lt 30 ]; do n=$((n+1)); sleep 1; done; ip addr add 10.9.0.3/24 dev eth1 && ip link set eth1 up && cat /sys/class/net/eth1/address' && [ "$said" = 00:16:3e:00:00:03 ] && [ -e "/sys/class/net/xenbr0/brif/vif$first.1" ]
check network-attach "eth1=$said"
card_gone() { [ ! -e "/sys/class/net/vif$first.1" ]; }
x network-detach u 00:16:3e:00:00:03 && await 150 card_gone &&
    guest 200 'n=0; while [ -e /sys/class/net/eth1 ] && [ $n -lt 60 ]; do n=$((n+1)); sleep 1; done; [ ! -e /sys/class/net/eth1 ]'
check network-detach "$(x network-list u | wc -l) lines"

x rename u v && [ "$(domid v)" = "$first" ] && gone u
check rename "v=$(domid v)"

# --- the guest ends and comes back ---
reborn() { new=$(domid v) && [ "$new" -gt "$first" ]; }
x reboot v && await 150 reborn
check reboot "domid=$first..$(domid v)"
console_open v
await 400 is_up && guest 200 'sha256sum < /dev/null > /dev/null; nproc' && [ "$said" = 2 ]
check reboot-up "nproc=$said"
x shutdown v && await 150 gone v
check shutdown "domains=$(nr_domains)"
console_close

unpack_kernel /xl/vmlinux # as three guests now begin, one after the other
cat /xl/guest.cfg - > /tmp/c.cfg << 'END'
name = "c"
kernel = "/xl/vmlinux"
memory = 128
vcpus = 1
on_crash = "preserve"
END
x create -p /tmp/c.cfg > /dev/null && in_state c p
check create-paused "state=$(listed c 5)"
x unpause c
console_open c
await 400 is_up && echo '1 echo c > /proc/sysrq-trigger' >&8 && await 150 in_state c c
check crash-preserve "state=$(listed c 5)"
grep -q 'Kernel panic' /var/log/xen/console/guest-c.log
check crash-log "lines=$(wc -l < /var/log/xen/console/guest-c.log)"
x destroy c && await 150 gone c
check destroy "domains=$(nr_domains)"

sed -i 's/preserve/restart/' /tmp/c.cfg
x create /tmp/c.cfg > /dev/null
first=$(domid c)
console_open c
again() { new=$(domid c) && [ "$new" -gt "$first" ]; }
ups() { grep -c 'GUEST UP' /var/log/xen/console/guest-c.log; }
up_again() { [ "$(ups)" -gt "$up_before" ]; }
await 400 is_up && up_before=$(ups) && echo '1 echo c > /proc/sysrq-trigger' >&8 && await 150 again && await 400 up_again
check crash-restart "domid=$first..$(domid c) ups=$up_before..$(ups)"
x destroy c && await 150 gone c
check destroy-running "domains=$(nr_domains)"
console_close

# --- nothing is left ---
all_gone() { [ "$(nr_domains)" = "$domains_before" ]; }
await 150 all_gone
sleep 5
# What is kept for the next guest is there now, in domain 0 and in the hypervisor's heap: one more must leave nothing at all.
free_before=$(hv free-pages)
x create /tmp/u.cfg > /dev/null && console_open u && await 400 is_up
console_close
x destroy u && await 150 gone u
as_before() {
    lost=$((free_before - $(hv free-pages)))
    all_gone && [ "${lost#-}" -le "$slack" ]
}
await 150 as_before
check nothing-left "domains=$domains_before..$(nr_domains) free-pages=$free_before..$(hv free-pages)"
[ -z "$(losetup -a)" ] && [ -z "$(ls /sys/class/net | grep vif)" ]
check no-backends-left "$(losetup -a) $(ls /sys/class/net)"
finish
