# Guests in number: 100 made and destroyed, then 16 at once; afterwards everything is as before. Sourced by init.

cycles=$(option xl.cycles)
guests=$(option xl.guests)
cycles=${cycles:-100} guests=${guests:-16}

# Domains, the machine's free memory, domain 0's event channels, and the grants that any domain has in use.
channels() { timeout 20 /usr/lib/xen-4.17/bin/lsevtchn 0 | wc -l; }
# Xen lists the entries that are in use, `[ref] domain mfn ...`; ours gives their number for each domain.
grants() {
    timeout 20 xl dmesg -c > /dev/null
    timeout 20 xl debug-keys g
    timeout 20 xl dmesg | awk '/\[ *[0-9]+\] +[0-9]+ +0x/ { n += 1 } /entries in use/ { n += $NF } END { print n + 0 }'
}
world() { echo "domains=$(nr_domains) free-pages=$(hv free-pages) channels=$(channels) grants=$(grants)"; }
pages() { echo "$1" | sed 's/.*free-pages=\([0-9]*\).*/\1/'; }
others() { echo "$1" | sed 's/free-pages=[0-9]*//'; }
# All as before; the free pages too, but for what Xen's own heap keeps.
is_as() {
    now_is=$(world)
    lost=$(($(pages "$1") - $(pages "$now_is")))
    [ "$(others "$now_is")" = "$(others "$1")" ] && [ "${lost#-}" -le "$slack" ]
}

# A guest that takes all of its CPU when it is destroyed.
cat > /tmp/s.cfg << 'END'
name = "s"
kernel = "/xl/spin"
memory = 16
vcpus = 1
END
cycle() { x create /tmp/s.cfg > /dev/null && x destroy s; }

# The first ones leave behind what is kept for the next: caches of domain 0, the hypervisor's heap.
cycle && cycle && [ "$(hv free-pages)" -gt 0 ] && [ "$(channels)" -gt 0 ]
check first-cycles "$(world)"
before=$(world)
clock
began=$now
nr=0
while [ $nr -lt "$cycles" ] && cycle; do nr=$((nr + 1)); done
[ $nr = "$cycles" ]
clock
check cycles "count=$nr seconds=$((now - began)) domid=$(xenstore-read /tool/xl-last-domid 2> /dev/null)"
await 20 is_as "$before"
check as-before-cycles "before: $before after: $(world)"

# Each with a disk and a network card, all at work at the same time.
unpack_kernel /xl/vmlinux
check unpack-kernel "bytes=$(stat -c %s /xl/vmlinux)"
create_all() {
    nr=0
    while [ $nr -lt "$guests" ]; do
        nr=$((nr + 1))
        truncate -s 4M "/var/disk/g$nr.img"
        cat /xl/guest.cfg - > "/tmp/g$nr.cfg" << END
name = "g$nr"
kernel = "/xl/vmlinux"
extra = "console=hvc0 quiet guest.ip=10.9.1.$nr"
memory = 112
maxmem = 112
vcpus = 1
disk = ["/var/disk/g$nr.img,raw,xvda,w"]
vif = ["bridge=xenbr0"]
END
        x create "/tmp/g$nr.cfg" > /dev/null || break
    done
    [ "$(nr_domains)" = $((guests + 1)) ]
}
all_up() { [ "$(grep -l 'GUEST UP' /var/log/xen/console/guest-g*.log | wc -l)" = "$guests" ]; }
destroy_all() {
    nr=0
    while [ $nr -lt "$guests" ]; do
        nr=$((nr + 1))
        x destroy "g$nr" &
    done
    wait
    await 60 all_gone
}
all_gone() { [ "$(nr_domains)" = 1 ]; }

# The first time, domain 0 comes to have room for so many mappings of grants, and the hypervisor's heap for so many guests.
create_all && await 200 all_up && destroy_all
check first-sixteen "domains=$(nr_domains) free-pages=$(hv free-pages)"
rm -f /var/log/xen/console/guest-g*.log
sleep 5
before=$(world)
clock
began=$now
create_all
clock
check sixteen-created "domains=$(nr_domains) seconds=$((now - began)) free-pages=$(hv free-pages)"
await 200 all_up
clock
check sixteen-up "up=$(grep -l 'GUEST UP' /var/log/xen/console/guest-g*.log | wc -l) seconds=$((now - began))"
ip addr add 10.9.1.254/24 dev xenbr0
nr=0 reached=0
while [ $nr -lt "$guests" ]; do
    nr=$((nr + 1))
    ping -c 1 -W 5 "10.9.1.$nr" > /dev/null && reached=$((reached + 1))
done
[ $reached = "$guests" ] && [ "$(grants)" -gt "$guests" ]
check sixteen-reached "answers=$reached world: $(world)"
destroy_all
await 60 is_as "$before"
check as-before-sixteen "before: $before after: $(world)"
finish
