# What making a domain costs: CPU time of all domains, which is instructions (1 ms is a million) where QEMU counts them.
# For tests/examples/costs.rs. Sourced by init.

# Milliseconds of CPU that the domains of the machine have had; `xl` counts in tenths of a second.
spent() { timeout 200 xl list | awk 'NR > 1 { s += $6 } END { print s * 1000 }'; }
cost() { echo "XL-LOG COST $1 $2"; }

cat /xl/guest.cfg - > /tmp/p.cfg << 'END'
name = "p"
memory = 128
maxmem = 128
vcpus = 1
END

x create -p /tmp/p.cfg > /dev/null
check first "domid=$(domid p)"
x destroy p

a=$(spent)
b=$(spent)
cost xl_list_ms $((b - a))
a=$(spent)
for nr in 1 2 3 4 5; do
    x create -p "/tmp/p.cfg" name="\"p$nr\"" > /dev/null
done
b=$(spent)
[ "$(nr_domains)" = 6 ]
check created "domains=$(nr_domains)"
cost xl_create_paused_ms $(((b - a) / 5))
a=$(spent)
for nr in 1 2 3 4 5; do
    x destroy "p$nr"
done
b=$(spent)
cost xl_destroy_ms $(((b - a) / 5))

up() { grep -q 'GUEST UP' "/var/log/xen/console/guest-p$1.log"; }
a=$(spent)
x create /tmp/p.cfg name='"p7"' > /dev/null
await 600 up 7
check up "domid=$(domid p7)"
b=$(spent)
cost xl_create_to_guest_init_ms $((b - a))
x destroy p7
finish
