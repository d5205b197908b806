# Our xenstored below Debian's xl: killed again and again, while a guest boots and while it works, it loses nothing that
# the guest or domain 0's kernel rely on. Sourced by init; wants `xl.store=../lib/rexen/sbin/xenstored`.

own=/usr/lib/rexen
# kill_store: kill -9, and a new one, as an init system does it.
kill_store() {
    kill -9 "$(cat /run/xen/xenstored.pid)"
    $own/sbin/xenstored --pid-file /run/xen/xenstored.pid && await 60 xenstore-read /
}
# Debian's xenconsoled does not connect again: it is restarted, too.
new_consoled() {
    kill "$(cat /run/xen/xenconsoled.pid)" 2> /dev/null
    consoled_gone() { ! kill -0 "$(cat /run/xen/xenconsoled.pid)"; }
    await 60 consoled_gone
    xenconsoled --log=guest --log-dir=/var/log/xen/console --pid-file=/run/xen/xenconsoled.pid
}

xenstore-ls -p / > /tmp/ls && grep -q 'domid = "0"' /tmp/ls
check store-tree "lines=$(wc -l < /tmp/ls)"
kill_store
check store-kill "pid=$(cat /run/xen/xenstored.pid)"
new_consoled
x list > /tmp/list && grep -q Domain-0 /tmp/list
check store-xl-after-kill "$(tail -n 1 /tmp/list)"

# Our tools through the kernel's ring, as in any domain: a read, a transaction, a watch.
export XENSTORED_PATH=/dev/xen/xenbus
$own/bin/xenstore write /tool/own 'through the kernel' && [ "$($own/bin/xenstore read /tool/own)" = 'through the kernel' ] &&
    [ "$(timeout 20 $own/bin/xenstore watch -n 1 /tool/own)" = /tool/own ]
check store-through-kernel "$($own/bin/xenstore ls -f /tool | tail -n 1)"
unset XENSTORED_PATH

dd if=/dev/urandom of=/var/disk/u.img bs=1M count=4 2> /dev/null
written=$(sum_of < /var/disk/u.img)
cat /xl/guest.cfg - > /tmp/u.cfg << 'END'
extra = "console=hvc0 quiet guest.ip=10.9.0.2"
disk = ["/var/disk/u.img,raw,xvda,w"]
vif = ["mac=00:16:3e:00:00:02,bridge=xenbr0"]
END
x create /tmp/u.cfg > /dev/null
check store-create "domid=$(domid u)"
id=$(domid u)
if [ -z "$id" ]; then
    # Without it the rest would only wait. How far the backends came tells who is to blame.
    xenstore-ls -f /local/domain/0/backend | sed 's|^|XL-LOG store-create |'
    finish
    return
fi
nr_kills=0
while [ $nr_kills -lt 8 ] && kill_store; do
    nr_kills=$((nr_kills + 1))
    usleep 500000
done
[ $nr_kills = 8 ]
check store-kills-at-boot "kills=$nr_kills"
new_consoled
console_open u
states() { xenstore-read "/local/domain/$id/device/vbd/51712/state" "/local/domain/$id/device/vif/0/state" 2> /dev/null | tr '\n' ' '; }
connected() { [ "$(states)" = "4 4 " ]; }
await 400 connected
check store-devices "vbd vif: $(states)"
await 400 guest 20 'echo up'
guest 200 'dd if=/dev/xvda bs=1M count=4 2>/dev/null | sha256sum | cut -c1-16' && [ "$said" = "$written" ]
check store-disk "wrote=$written read=$said"
await 150 ping -c 1 -W 2 10.9.0.2
check store-ping "$(ping -c 3 -W 5 10.9.0.2 | tail -n 2 | head -n 1)"

# What the kernels watch has outlived the kills: the balloon's target, new and closing devices, on both sides.
memory_is() { [ "$(listed u 3)" = "$1" ]; }
kill_store
x mem-set u 128 && await 150 memory_is 128
check store-watch-memory "memory=$(listed u 3)"
dd if=/dev/urandom of=/var/disk/b.img bs=1M count=4 2> /dev/null
written=$(sum_of < /var/disk/b.img)
# libxl gives a hotplug script 40 s, which is little on a machine under load; every try has its own kill.
attached=no
for try in 1 2 3; do
    kill_store && x block-attach u /var/disk/b.img,raw,xvdb,w && attached=yes && break
done
[ $attached = yes ] && guest 200 'n=0; while [ ! -e /dev/xvdb ] && [ $n -lt 60 ]; do n=$((n+1)); sleep 1; done; sha256sum < /dev/xvdb | cut -c1-16' && [ "$said" = "$written" ]
check store-block-attach "try=$try wrote=$written read=$said"
kill_store
disk_gone() { ! losetup -a | grep -q b.img; }
x block-detach u xvdb && await 150 disk_gone
check store-block-detach "$(x block-list u | wc -l) lines"
console_close
x destroy u && await 150 gone u
left() { xenstore-ls -f / | grep "^/local/domain/$id\|^/local/domain/0/backend/[a-z]*/$id\|^/libxl/$id"; }
clean() { ! left | grep -q .; }
await 60 clean
check store-clean "left=$(left | wc -l) $(left | head -n 3 | tr '\n' ';')"
$own/bin/xenstore control check > /tmp/checked && grep -q 'store: consistent' /tmp/checked && grep -q 'state: saved' /tmp/checked
check store-consistent "$(tr '\n' ' ' < /tmp/checked)"
echo "XL-NOTE store $(grep VmRSS "/proc/$(cat /run/xen/xenstored.pid)/status" | tr -s '\t ' ' ')"
finish
