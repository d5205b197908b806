# What Debian's xl and our xm and xend cost on one hypervisor, one after the other in one boot, both on the store that
# `xl.store=` names; xl alone where that is not ours. For tests/examples/toolstack_costs.rs, where QEMU counts
# instructions: 1 ns is one. Sourced by init. A line is `XL-LOG COST tool operation cpu time`: domain 0's CPU time until all
# is quiet again, the time until the command returned, both in ns.

own=/usr/lib/rexen
export PATH=$PATH:$own/sbin:$own/bin
guests=$(option xl.guests)
guests=${guests:-64}

# measure OPERATION COMMAND...
measure() {
    operation=$1
    shift
    cpu=$(hv cpu-ns 0)
    began=$(hv tsc)
    "$@" > /tmp/out 2>> /tmp/xl.err
    status=$?
    ended=$(hv tsc)
    usleep 300000 # for what goes on behind the command's back
    echo "XL-LOG COST $tool $operation $(($(hv cpu-ns 0) - cpu)) $((ended - began))"
    [ $status = 0 ] || echo "XL-LOG FAILED $tool $operation: $(tail -n 1 /tmp/out) $(tail -n 1 /tmp/xl.err)"
    return $status
}
# resident WHEN PROGRAM...: the memory of all processes of each of these programs, and of it what no file backs, in KiB.
resident() {
    when=$1
    shift
    for program in "$@"; do
        for pid in $(pidof "$program"); do cat "/proc/$pid/status"; done |
            awk -v name="$tool $when $program" '/^Name/ { nr++ } /^VmRSS/ { all += $2 } /^RssAnon/ { own += $2 }
                END { print "XL-LOG MEMORY " name, nr + 0, all + 0, own + 0 }'
    done
}
is_up() { grep -q "GUEST UP" "$log"; }
to_init() {
    rm -f "$log"
    timeout 200 $tool create "$@" || return 1
    await 60 is_up
}

cat > /tmp/tiny.cfg << 'END'
name = "t"
kernel = "/xl/spin"
memory = 8
vcpus = 1
vif = []
END
cat > /tmp/guest.cfg << 'END'
name = "g"
kernel = "/tmp/vmlinux"
ramdisk = "/xl/guest.gz"
extra = "console=hvc0 quiet"
memory = 128
vcpus = 1
vif = []
END

sed "s|/tmp/vmlinux|/xl/vmlinuz|" /tmp/guest.cfg > /tmp/packed.cfg

# life DAEMON...: what is measured of a toolstack.
life() {
    measure none true && measure none true && measure none true
    resident idle "$@"
    nr=0 made=0 destroyed=0
    while [ $nr -lt "$guests" ]; do
        nr=$((nr + 1))
        # In the file, because the two do not agree on how a variable is set in the command.
        sed "s/^name.*/name = \"t$nr\"/" /tmp/tiny.cfg > /tmp/t.cfg
        measure "create_tiny_$nr" $tool create -p /tmp/t.cfg && made=$((made + 1))
        case $nr in 1 | 32 | 64)
            measure "list_$nr" $tool list && measure "list_$nr" $tool list && measure "list_$nr" $tool list
            resident "$nr" "$@"
            ;;
        esac
    done
    [ $made = "$guests" ]
    check "$tool-created" "tiny=$made"
    while [ $nr -gt 0 ]; do
        measure "destroy_tiny_$nr" $tool destroy "t$nr" && destroyed=$((destroyed + 1))
        nr=$((nr - 1))
    done
    [ $destroyed = "$guests" ]
    check "$tool-destroyed" "tiny=$destroyed"
    [ "$(nr_domains)" = 1 ]
    check "$tool-nothing-left" "domains=$(nr_domains)"
}
# Debian's kernel as it comes: to unpack it is most of the work.
packed() {
    measure create_packed $tool create -p /tmp/packed.cfg && $tool destroy g
}
# The same kernel as an ELF: what is left is the toolstack's work and the guest's.
boots() {
    measure create_elf $tool create -p /tmp/guest.cfg && measure destroy_elf $tool destroy g
    measure to_init to_init /tmp/guest.cfg
    check "$tool-up" "$(grep 'GUEST UP' "$log" | tr -d '\r') $($tool list g | tail -n 1)"
    $tool destroy g > /dev/null
}

# A machine that has just booted spends a second of CPU time on its first random numbers, whoever asks first.
head -c 16 /dev/random > /tmp/random
store=$(option xl.store)
case $store in
*/rexen/*)
    # xend keeps unpacked kernels. Room for them, as a disk has it: they are domain 0's memory, as the page cache would be.
    mkdir -p /var/lib/xen/kernels
    mount -t tmpfs -o size=400m tmpfs /var/lib/xen/kernels
    kill "$(cat /run/xen/xenconsoled.pid)"
    xend start
    # The first call finds its files in no cache.
    xm list > /dev/null
    check xend "$(xm list 2>&1 | tail -n 1)"
    tool=xm log=/var/log/xen/console-g.log
    life xenstored xend
    packed
    measure create_packed_again xm create -p /tmp/packed.cfg && xm destroy g
    # What it keeps is a copy of the file, and the ELF in it.
    tail -c "+$(($(wc -c < /xl/vmlinuz) + 1))" /var/lib/xen/kernels/*/* > /tmp/vmlinux
    boots
    xend stop
    umount /var/lib/xen/kernels
    xenconsoled --log=guest --log-dir=/var/log/xen/console --pid-file=/run/xen/xenconsoled.pid
    ;;
esac
[ -e /tmp/vmlinux ] || unpack_kernel /tmp/vmlinux
xl list > /dev/null
tool=xl log=/var/log/xen/console/guest-g.log
store=${store:-oxenstored}
life "${store##*/}" xenconsoled xl
boots
packed
finish
