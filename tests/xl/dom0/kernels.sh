# Our own kernels: xen0 is domain 0, xenU the guest; what guest-kernel-patches/README.md promises of them. Sourced by init.

ends_in() { case $1 in *"$2") ;; *) return 1 ;; esac; }

# --- domain 0 ---
ends_in "$(uname -r)" -xen0 && [ "$(cat /proc/xen/capabilities)" = control_d ]
check xen0-is-domain-0 "release=$(uname -r) capabilities=$(cat /proc/xen/capabilities)"
# `xencons=` says which device the console is; xen0 has virtual terminals where `tty` would be, and says so.
option_is=$(option xencons)
case $option_is in
ttyS) wanted=ttyS0 ;;
*) wanted=hvc0 ;;
esac
[ "$(awk '{ print $1; exit }' /proc/consoles)" = $wanted ] && [ -c "/dev/$wanted" ] &&
    { [ "$option_is" != tty ] || dmesg | grep -q 'xencons=tty ignored: .* virtual terminals'; }
check xen0-xencons "xencons=${option_is:-none}: $(cat /proc/consoles)"
missing=
for device in evtchn gntdev gntalloc privcmd hypercall xenbus xenbus_backend; do
    [ -c "/dev/xen/$device" ] || missing="$missing $device"
done
[ -z "$missing" ]
check xen0-devices "missing:${missing:- none}"
# Without its hardware a driver may refuse; nothing else may be wrong with a module.
: > /tmp/refused
loaded=0
modules=/lib/modules/$(uname -r)
while read -r module; do
    name=${module##*/}
    if modprobe "${name%.ko}" 2> /tmp/modprobe; then
        loaded=$((loaded + 1))
    else
        grep -q 'No such device' /tmp/modprobe || cat /tmp/modprobe >> /tmp/refused
    fi
done < "$modules/modules.order"
[ $loaded -gt 10 ] && [ ! -s /tmp/refused ]
check xen0-modules "loaded=$loaded of=$(wc -l < "$modules/modules.order") refused: $(head -n 3 /tmp/refused)"
truncate -s 16M /tmp/fs
# made_and_read MAKER TYPE: a file on a new file system in a file can be read after it was mounted again.
made_and_read() {
    $1 /tmp/fs > /dev/null && mount -t "$2" -o loop /tmp/fs /mnt && echo "$2" > /mnt/file && umount /mnt &&
        mount -t "$2" -o loop /tmp/fs /mnt && [ "$(cat /mnt/file)" = "$2" ] && umount /mnt
}
{ made_and_read mkdosfs vfat && made_and_read "mke2fs -F" ext4; } 2> /tmp/made && [ "$(grep -c -w -E 'ext4|xfs|vfat|nfs' /proc/filesystems)" = 4 ]
check xen0-file-systems "$(grep -w -E 'ext4|xfs|vfat|nfs' /proc/filesystems) $(cat /tmp/made)"
# (Busybox' shell prefers its own ip, which cannot do this.)
ip=/usr/sbin/ip
grep -q device-mapper /proc/devices && $ip link add link xenbr0 name vlan5 type vlan id 5 && $ip link del vlan5 &&
    $ip tuntap add dev tap5 mode tap && $ip link del tap5
check xen0-mapper-vlan-tun "$(grep device-mapper /proc/devices)"

# --- a guest with a disk and a network card ---
dd if=/dev/urandom of=/var/disk/u.img bs=1M count=2 2> /dev/null
written=$(sum_of < /var/disk/u.img)
truncate -s 16M /var/disk/u.img
cat /xl/guest.cfg - > /tmp/u.cfg << 'END'
extra = "console=hvc0 quiet guest.ip=10.9.0.2"
disk = ["/var/disk/u.img,raw,xvda,w"]
vif = ["mac=00:16:3e:00:00:02,bridge=xenbr0"]
END
x create /tmp/u.cfg > /dev/null
check create "domid=$(domid u)"
console_open u
await 400 is_up && guest 60 'uname -r; nproc' && [ "${said#*-xenU 2}" = "" ]
check xenU-is-up "$said $(grep 'GUEST UP' /tmp/console | tr -d '\r')"
guest 60 'dd if=/dev/xvda bs=1M count=2 2>/dev/null | sha256sum | cut -c1-16' && [ "$said" = "$written" ]
check xenU-disk-read "wrote=$written read=$said"
guest 60 'mkdir -p /mnt; mke2fs /dev/xvda > /dev/null 2>&1; mount -t ext4 /dev/xvda /mnt && seq 1 9999 > /mnt/n && sha256sum < /mnt/n | cut -c1-16; umount /mnt'
mount -o loop,ro /var/disk/u.img /mnt
[ "$(sum_of < /mnt/n)" = "$said" ]
check xenU-disk-write "guest=$said domain-0=$(sum_of < /mnt/n)"
umount /mnt
ping -c 3 -W 5 10.9.0.2 > /tmp/ping && guest 60 'ping -c 3 -W 5 10.9.0.1 > /dev/null; echo $?' && [ "$said" = 0 ]
check xenU-network "$(tail -n 2 /tmp/ping | head -n 1)"
# It says of the hypervisor what xl says.
x info > /tmp/info
value() { sed -n "s/^$1 *: //p" /tmp/info; }
guest 60 'cd /sys/hypervisor; echo $(cat type) $(cat version/major).$(cat version/minor)$(cat version/extra)'
[ "$said" = "xen $(value xen_version)" ] && { [ $slack -gt 0 ] || ends_in "$said" -rexen; }
check xenU-hypervisor "$said"

# --- the balloon, as the manual of Xen 2.0 has it ---
target=/proc/xen/memory_target
memory_is() { [ "$(listed u 3)" = "$1" ]; }
total="awk '/^MemTotal/ { print \$2 }' /proc/meminfo"
guest 60 "mount -t xenfs xenfs /proc/xen; cat $target; $total" && [ "${said% *}" = $((192 << 20)) ] && memory_is 192
check target-read "target=${said% *} list=$(listed u 3)"
total_before=${said#* }
guest 60 "echo 128M > $target; cat $target" && [ "$said" = $((128 << 20)) ] && await 60 memory_is 128
check target-down "target=$said list=$(listed u 3)"
guest 60 "$total" && [ "$said" -lt $((total_before - 60 * 1024)) ]
check target-down-in-guest "total=$total_before..$said"
refused=
for bad in some 12X 64MB -5 1K 100G 99999999999999999999; do
    guest 60 "echo $bad > $target" || refused="$refused $bad"
done
guest 60 "cat $target" && [ "$said" = $((128 << 20)) ] && [ "$(echo $refused | wc -w)" = 7 ] && memory_is 128
check target-bad-input "refused:$refused; target=$said"
guest 60 "echo $((192 << 10))k > $target" && await 60 memory_is 192 && guest 60 "$total" && [ "$said" -ge $((total_before - 1024)) ]
check target-up "list=$(listed u 3) total=$said"
x shutdown u && await 150 gone u
check xenU-shutdown "domains=$(nr_domains)"
console_close

# --- xencons= in guests, all at once ---
# small NAME WORDS: creates a guest with these words on its command line.
small() {
    cat /xl/guest.cfg - > "/tmp/$1.cfg" << END
name = "$1"
extra = "quiet $2"
memory = 96
maxmem = 96
vcpus = 1
vif = ["bridge=xenbr0"]
END
    x create "/tmp/$1.cfg" > /dev/null
}
small tty xencons=tty && small ttyS xencons=ttyS && small bad xencons=lpt && small off 'xencons=off guest.stay guest.ip=10.9.0.3'
check xencons-guests "domains=$(nr_domains)"
# console_is NAME DEVICE LINES: the guest's console is this one, also for what is typed there; so many hvc devices are left.
console_is() {
    console_open "$1"
    await 200 is_up && guest 60 'set -- $(cat /proc/consoles); [ -c /dev/$1 ] && echo $1 $(ls /dev | grep -c ^hvc)' &&
        [ "$said" = "$2 $3" ]
}
console_is tty tty1 0
check xencons-tty "$said"
console_is ttyS ttyS0 0
check xencons-ttyS "$said"
console_is bad hvc0 8 && guest 60 'dmesg | grep -o "xencons=lpt ignored: .*"'
check xencons-bad "$said"
console_close
await 200 ping -c 1 -W 2 10.9.0.3 && [ ! -s /var/log/xen/console/guest-off.log ]
check xencons-off "said: $(cat /var/log/xen/console/guest-off.log)"
for name in tty ttyS bad off; do x destroy $name; done
all_gone() { [ "$(nr_domains)" = 1 ]; }
await 60 all_gone
check destroyed "domains=$(nr_domains)"
finish
