# One guest's life with our toolstack, and the daemons' own. Sourced by init.

# --- the daemons ---
xenstored --pid-file /run/xenstored.pid && xenstore-ls / > /tmp/ls
check store "$(wc -l < /tmp/ls) lines"
xend status > /dev/null
[ $? = 3 ] && xend start && xend status > /dev/null
check xend "status $?"
x list > /tmp/list && grep -q '^Domain-0 *0 *1024 ' /tmp/list
check list "$(tail -n 1 /tmp/list)"
x info > /tmp/info && grep -q '^xen_version *: 4.17' /tmp/info && grep -q '^nr_cpus *: 2$' /tmp/info
check info "$(grep '^xen_version' /tmp/info)"
x dmesg > /tmp/dmesg && grep -q '(XEN)' /tmp/dmesg
check dmesg "$(wc -l < /tmp/dmesg) lines"
free=$(free_memory)

# --- a guest with a disk and a network card ---
dd if=/dev/urandom of=/tmp/u.img bs=1M count=2 2> /dev/null
sum=$(md5sum < /tmp/u.img | cut -d' ' -f1)
dd if=/dev/zero of=/tmp/u.img bs=1M count=0 seek=16 2> /dev/null
cat guest.cfg - > /tmp/u.cfg << 'END'
extra = "console=hvc0 quiet guest.ip=10.9.0.2"
disk = ["file:/tmp/u.img,xvda,w"]
vif = ["mac=aa:00:00:00:00:02, bridge=xen-br0"]
END
x create /tmp/u.cfg > /tmp/created
check create "$(head -n 1 /tmp/created)"
[ "$(column u 2)" = 1 ] && [ "$(column u 3)" = 128 ]
check listed "id=$(column u 2) memory=$(column u 3) state=$(column u 5)"
await 300 is_up u
check up "$(grep 'GUEST UP' /var/log/xen/console-u.log | tr -d '\r')"
guest u 'echo $((6 * 7)) $(nproc)' && [ "$said" = "42 1" ]
check console "said=$said"
guest u 'dd if=/dev/xvda bs=1M count=2 2>/dev/null | md5sum | cut -d" " -f1' && [ "$said" = "$sum" ]
check disk-read "sum=$said"
guest u 'yes rexen | dd of=/dev/xvda bs=4096 seek=1024 count=64 conv=fsync 2>/dev/null; sync; echo done' && [ "$said" = done ] &&
    [ "$(dd if=/tmp/u.img bs=4096 skip=1024 count=64 2> /dev/null | grep -c '^rexen$')" -gt 40000 ]
check disk-write "said=$said"
guest u 'ping -c 3 -w 30 10.9.0.1 > /dev/null && echo answered' && [ "$said" = answered ]
check network "said=$said"

# --- what one does with it ---
# One that was blocked when it was paused may show both.
x pause u && in_state u '*p*' && x unpause u && ! in_state u '*p*'
check pause "state=$(column u 5)"
x pincpu u 1 > /dev/null; x vcpu-list u > /tmp/vcpus && grep -q '^u .* 1 *$\|^u .* 1 / ' /tmp/vcpus
check pin "$(tail -n 1 /tmp/vcpus)"
x list -l u > /tmp/long && grep -q '(name u)' /tmp/long
check list-long "$(wc -l < /tmp/long) lines"

# --- the daemons are killed; the guest does not mind ---
kill -9 "$(pidof xend)"; await 10 sh -c '! pidof xend'
x list > /dev/null
[ $? != 0 ] && xend start && [ "$(column u 2)" = 1 ] && guest u 'echo alive' && [ "$said" = alive ]
check xend-killed "said=$said"
kill -9 "$(cat /run/xenstored.pid)"; await 10 sh -c '! pidof xenstored'
xenstored --pid-file /run/xenstored.pid && [ "$(xenstore-read /local/domain/1/name)" = u ]
check xenstored-killed "name=$(xenstore-read /local/domain/1/name)"

# --- it ends ---
x shutdown u > /dev/null && await 120 is_gone u
check shutdown "$(column u 5)"
x create /tmp/u.cfg > /dev/null && await 300 is_up u 2 && x destroy u > /dev/null && await 60 is_gone u
check destroy "$(tail -n 1 /tmp/out)"
x create /tmp/u.cfg 'kernel="/nowhere"' > /tmp/refused
[ $? = 1 ] && is_gone u && grep -q /nowhere /tmp/refused
check no-kernel "$(head -n 1 /tmp/refused)"

# --- nothing is left ---
store_is_clean() { ! xenstore-ls / | grep -q 'u.img\|aa:00:00'; }
machine_is_clean() { [ -z "$(losetup -a)" ] && ! ls /sys/class/net | grep -q '^vif' && [ "$(free_memory)" -ge "$free" ]; }
await 60 store_is_clean
check store-clean "$(xenstore-ls / | wc -l) lines"
await 60 machine_is_clean
check machine-clean "free=$(free_memory) before=$free loops=$(losetup -a | wc -l)"
xend stop
[ $? = 0 ] && ! xend status > /dev/null
check stop "status $?"
