/*
 * What only the hypervisor or the CPU can say to the last digit:
 *   hv free-pages    pages that the machine has free: XEN_SYSCTL_physinfo (xl info says it in MiB, which hides a leak)
 *   hv cpu-ns DOMID  CPU time that a domain has had, in ns: XEN_SYSCTL_getdomaininfolist (xl list says tenths of seconds)
 *   hv tsc           the time-stamp counter
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <x86intrin.h>

struct hypercall {
    uint64_t op, arg[5];
};
#define IOCTL_PRIVCMD_HYPERCALL _IOC(_IOC_NONE, 'P', 0, sizeof(struct hypercall))
#define SYSCTL 35
#define INTERFACE_4_17 0x15
#define PHYSINFO 3
#define FREE_PAGES_AT 48
#define GETDOMAININFOLIST 6
/* In xen_domctl_getdomaininfo: domid first. */
#define CPU_TIME_AT 56

/* Command, version, and room for the largest argument; then the list. */
static _Alignas(4096) unsigned char sysctl[4096], info[4096];

static long ask(uint32_t command, const void *argument, size_t size) {
    uint32_t head[2] = {command, INTERFACE_4_17};
    struct hypercall call = {.op = SYSCTL, .arg = {(uintptr_t)sysctl}};
    int privcmd = open("/dev/xen/privcmd", O_RDWR);
    memcpy(sysctl, head, sizeof head);
    memcpy(sysctl + sizeof head, argument, size);
    memset(info, 0, sizeof info); /* and there, for the hypervisor's sake */
    if (privcmd < 0 || mlock(sysctl, sizeof sysctl) || mlock(info, sizeof info))
        return -1;
    return ioctl(privcmd, IOCTL_PRIVCMD_HYPERCALL, &call);
}

static uint64_t number(const unsigned char *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    uint64_t value;
    if (!strcmp(what, "tsc")) {
        value = __rdtsc();
    } else if (!strcmp(what, "free-pages")) {
        if (ask(PHYSINFO, 0, 0))
            goto failed;
        value = number(sysctl + 8 + FREE_PAGES_AT);
    } else if (!strcmp(what, "cpu-ns") && argc == 3) {
        /* xen_sysctl_getdomaininfolist: first domid, most of them, list, how many there were. */
        struct {
            uint16_t first;
            uint32_t most;
            uint64_t list;
            uint32_t nr;
        } list = {.first = (uint16_t)atoi(argv[2]), .most = 1, .list = (uintptr_t)info};
        uint16_t domid;
        if (ask(GETDOMAININFOLIST, &list, sizeof list))
            goto failed;
        memcpy(&domid, info, sizeof domid);
        memcpy(&list, sysctl + 8, sizeof list);
        if (list.nr != 1 || domid != list.first) {
            fprintf(stderr, "hv: there is no domain %s\n", argv[2]);
            return 1;
        }
        value = number(info + CPU_TIME_AT);
    } else {
        fprintf(stderr, "usage: hv free-pages | cpu-ns DOMID | tsc\n");
        return 2;
    }
    printf("%llu\n", (unsigned long long)value);
    return 0;
failed:
    perror("hv");
    return 1;
}
