#!/bin/bash
# run.sh HYPERVISOR [WORDS FOR DOMAIN 0]: boots a domain 0 with Debian's xl; needs vmlinuz and dom0.gz beside it.
# Without words it gives a shell (Ctrl-A x leaves); xl.run=main runs a script of tests/xl/dom0 and switches off.
# HVOPTS="..." adds to the hypervisor's command line, SERIAL=file:PATH sends the serial line elsewhere.
here=$(cd "$(dirname "$0")" && pwd)
hypervisor=$1
shift
exec qemu-system-x86_64 -accel tcg -machine q35 -cpu "${CPU:-qemu64}" -smp 2 -m 4096 -nodefaults -no-user-config \
    -display none -no-reboot -serial "${SERIAL:-mon:stdio}" -kernel "$hypervisor" \
    -append "dom0_mem=1024M,max:1024M console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all $HVOPTS" \
    -initrd "$here/vmlinuz console=hvc0 panic=5 ${*//,/,,},$here/dom0.gz"
