# What becomes of a guest that ends by itself, with one that does so at once. Sourced by init.

xend start
free=$(free_memory)
truncate -s 1M /tmp/t.img
cat > /tmp/t.cfg << 'END'
kernel = "/toolstack/tiny"
memory = 16
name = "t"
extra = "name=tiny"
disk = ["file:/tmp/t.img,xvda,w"]
vif = ["mac=aa:00:00:00:03:01, bridge=xen-br0"]
END

# ended [TIMES]: whether the guest has come to its end so often, by its console's log.
ended() {
    [ "$(grep -c 'GUEST tiny \(PASS\|ends\)' /var/log/xen/console-t.log)" -ge "$1" ]
}
x create /tmp/t.cfg > /dev/null && await 120 ended 1 && await 120 is_gone t
check poweroff-destroy "$(tail -n 1 /tmp/out)"
x create /tmp/t.cfg on_poweroff=preserve > /dev/null && await 120 in_state t '*s*' && ended 2 &&
    x destroy t > /dev/null && await 120 is_gone t
check preserved-destroy "$(tail -n 1 /tmp/out)"
x create /tmp/t.cfg 'extra=name=tiny end=reboot' on_reboot=restart > /dev/null && await 120 ended 4 &&
    x shutdown -H t > /dev/null && await 120 is_gone t
check reboot-restart "$(tail -n 1 /tmp/out)"
x create /tmp/t.cfg 'extra=name=tiny end=crash' on_crash=destroy > /dev/null && await 120 ended 5 && await 120 is_gone t
check crash-destroy "$(tail -n 1 /tmp/out)"
await 120 nothing_left
check policies-clean "$(left)"
xend stop
