/* Prints how many pages the machine has free: XEN_SYSCTL_physinfo. (xl info says it in MiB, which hides a leak.) */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

struct hypercall {
    uint64_t op, arg[5];
};
#define IOCTL_PRIVCMD_HYPERCALL _IOC(_IOC_NONE, 'P', 0, sizeof(struct hypercall))
#define SYSCTL 35
#define INTERFACE_4_17 0x15
#define PHYSINFO 3
#define FREE_PAGES_AT 48

/* Command, version, and room for the largest argument. */
static _Alignas(4096) unsigned char sysctl[4096];

int main(void) {
    uint32_t head[2] = {PHYSINFO, INTERFACE_4_17};
    memcpy(sysctl, head, sizeof head);
    struct hypercall call = {.op = SYSCTL, .arg = {(uintptr_t)sysctl}};
    int privcmd = open("/dev/xen/privcmd", O_RDWR);
    if (privcmd < 0 || mlock(sysctl, sizeof sysctl) || ioctl(privcmd, IOCTL_PRIVCMD_HYPERCALL, &call)) {
        perror("free-pages");
        return 1;
    }
    uint64_t free;
    memcpy(&free, sysctl + 8 + FREE_PAGES_AT, sizeof free);
    printf("%llu\n", (unsigned long long)free);
    return 0;
}
