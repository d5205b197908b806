# What a kernel needs, as domain 0's and as a guest's: memory without the caches of files, in KiB, and the way to init, in
# nanoseconds, which are instructions where QEMU counts them. For tests/examples/kernels.rs. Sourced by init.

number() { echo "XL-LOG NUMBER $1 $2"; }
cached="awk '/^(MemFree|Buffers|Cached):/ { n += \$2 } END { print n }' /proc/meminfo"

number domain0_to_init "$born" # init looked at the clock first of all
sleep 10 # for what goes on after the boot
number domain0_memory $((1024 * 1024 - $(eval "$cached")))

cat /xl/guest.cfg - > /tmp/n.cfg << 'END'
name = "n"
memory = 128
maxmem = 128
vcpus = 1
END
x create /tmp/n.cfg > /dev/null
check created "domid=$(domid n)"
console_open n
await 600 is_up
check up "$(grep 'GUEST UP' /tmp/console | tr -d '\r')"
number guest_to_init "$(hv cpu-ns "$(domid n)")"
guest 200 "sleep 10; $cached"
check memory "free and cached: $said KiB"
number guest_memory $((128 * 1024 - said))
finish
