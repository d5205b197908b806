# One guest from its first to its last: the second half of the check of `cargo world`. Sourced by init.

dd if=/dev/urandom of=/var/disk/u.img bs=1M count=2 2> /dev/null
written=$(sum_of < /var/disk/u.img)
cat /xl/guest.cfg - > /tmp/u.cfg << 'END'
extra = "console=hvc0 quiet guest.ip=10.9.0.2"
disk = ["/var/disk/u.img,raw,xvda,w"]
vif = ["mac=00:16:3e:00:00:02,bridge=xenbr0"]
END
x create /tmp/u.cfg > /dev/null
check guest-created "domid=$(domid u) memory=$(listed u 3) vcpus=$(listed u 4) for $(uname -r)"
console_open u
await 400 is_up && guest 60 'uname -r' && [ "$said" = "$(cat /xl/release)" ]
check guest-console "release=$said $(grep 'GUEST UP' /tmp/console | tr -d '\r')"
guest 60 'dd if=/dev/xvda bs=1M count=2 2> /dev/null | sha256sum | cut -c1-16' && [ "$said" = "$written" ]
check guest-disk "wrote=$written read=$said"
ping -c 3 -W 5 10.9.0.2 > /tmp/ping
check guest-net "$(tail -n 2 /tmp/ping | head -n 1)"
x shutdown u && await 150 gone u
check guest-shutdown "domains=$(nr_domains)"
finish
