/*
 * Ends a process or a domain the moment xend's journal shows a step of an operation.
 *   doom OPERATION STEP VICTIM AFTER COMMAND...
 *       runs the command, and when the journal shows the step, or a later one: ends the victim, runs AFTER in a shell. The
 *       victim is a file with a pid, `destroy` or `crash`: the domain that the journal names.
 *       Says "STEP THEN STEPS STATUS": the step that it was (none, if there was none such within a minute), the one that the
 *       journal shows when the victim has ended (STEPS if the operation is over), how many there are, and the command's status.
 *   doom reboot DOMID
 *       has the domain end as if it had asked for a reboot.
 *   doom machine
 *       says "MIB DOMAINS DOMID STATE": free memory, how many domains there are, the last one's number, and its state: dying,
 *       down, paused or alive.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOURNAL "/var/lib/xen/xend-db/journal"
#define PATIENCE_S 60

struct hypercall {
    uint64_t op, arg[5];
};
#define IOCTL_PRIVCMD_HYPERCALL _IOC(_IOC_NONE, 'P', 0, sizeof(struct hypercall))
#define SYSCTL 35
#define PHYSINFO 3
#define FREE_PAGES_AT 48
#define GETDOMAININFOLIST 6
/* Of a xen_domctl_getdomaininfo: domid first. */
#define INFO_SIZE 112
#define FLAGS_AT 4
#define SCHED_OP 29
#define REMOTE_SHUTDOWN 4
#define DOMCTL 36
#define INTERFACE_4_17 0x15
#define DESTROYDOMAIN 2
enum reason { REBOOT = 1, CRASH = 3 };

static _Alignas(4096) unsigned char argument[4096], infos[4096];

static long ask(uint64_t op, uint64_t first, uint64_t second) {
    struct hypercall call = {.op = op, .arg = {first, second}};
    return ioctl(open("/dev/xen/privcmd", O_RDWR | O_CLOEXEC), IOCTL_PRIVCMD_HYPERCALL, &call);
}

/* What cannot be done is no failure: the domain may have gone already. */
static void shut_down(int domid, uint32_t reason) {
    struct { uint16_t domid; uint32_t reason; } what = {(uint16_t)domid, reason};
    memcpy(argument, &what, sizeof what);
    if (domid > 0)
        ask(SCHED_OP, REMOTE_SHUTDOWN, (uintptr_t)argument);
}

static void destroy(int domid) {
    struct { uint32_t command, version; uint16_t domid; } what = {DESTROYDOMAIN, INTERFACE_4_17, (uint16_t)domid};
    memset(argument, 0, sizeof argument);
    memcpy(argument, &what, sizeof what);
    if (domid > 0)
        ask(DOMCTL, (uintptr_t)argument, 0);
}

static int machine(void) {
    struct { uint32_t command, version; uint64_t argument[16]; } physinfo = {PHYSINFO, INTERFACE_4_17, {0}}, list = physinfo;
    struct { uint16_t first; uint32_t most; uint64_t infos; uint32_t nr; } which = {0, sizeof infos / INFO_SIZE, (uintptr_t)infos, 0};
    uint64_t free_pages;
    uint16_t domid;
    uint32_t flags;
    list.command = GETDOMAININFOLIST;
    memcpy(list.argument, &which, sizeof which);
    memset(infos, 0, sizeof infos);
    memcpy(argument, &physinfo, sizeof physinfo);
    if (mlock(infos, sizeof infos) || ask(SYSCTL, (uintptr_t)argument, 0))
        return perror("doom: physinfo"), 1;
    memcpy(&free_pages, argument + 8 + FREE_PAGES_AT, sizeof free_pages);
    memcpy(argument, &list, sizeof list);
    if (ask(SYSCTL, (uintptr_t)argument, 0))
        return perror("doom: getdomaininfolist"), 1;
    memcpy(&which, argument + 8, sizeof which);
    const unsigned char *last = infos + (which.nr ? which.nr - 1 : 0) * INFO_SIZE;
    memcpy(&domid, last, sizeof domid);
    memcpy(&flags, last + FLAGS_AT, sizeof flags);
    printf("%llu %u %u %s\n", (unsigned long long)free_pages / 256, which.nr, domid,
           flags & 1 ? "dying" : flags & 4 ? "down" : flags & 8 ? "paused" : "alive");
    return 0;
}

/* What the journal shows of an operation. */
struct shown {
    int there, at, steps, domid;
};

static int number_behind(const char *text, const char *name) {
    const char *found = strstr(text, name);
    return found ? atoi(found + strlen(name)) : -1;
}

/* Commas between the steps: those of objects are within brackets. */
static int count_steps(const char *text) {
    const char *at = strstr(text, "\"steps\":[");
    int depth = 0, steps = 1;
    if (!at)
        return 0;
    for (at += strlen("\"steps\":["); *at && (depth || *at != ']'); at++) {
        depth += *at == '{' || *at == '[';
        depth -= *at == '}' || *at == ']';
        steps += *at == ',' && !depth;
    }
    return steps;
}

static struct shown read_file(const char *name, const char *operation) {
    static char text[1 << 16];
    char begin[64], path[512];
    struct shown shown = {0};
    snprintf(begin, sizeof begin, "{\"name\":\"%s\"", operation);
    snprintf(path, sizeof path, JOURNAL "/%s", name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? 0 : read(file, text, sizeof text - 1);
    close(file);
    text[size > 0 ? size : 0] = 0;
    if (!strncmp(text, begin, strlen(begin))) {
        shown.there = 1;
        shown.steps = count_steps(text);
        shown.at = number_behind(text, "\"at\":");
        shown.domid = number_behind(text, "\"facts\":{\"domid\":");
    }
    return shown;
}

static int is_new(const char *name) {
    size_t length = strlen(name);
    return length > 4 && !strcmp(name + length - 4, ".new");
}

static struct shown look(const char *operation) {
    struct shown shown = {0};
    struct dirent *entry;
    DIR *folder = opendir(JOURNAL);
    while (folder && !shown.there && (entry = readdir(folder)))
        if (entry->d_name[0] != '.' && !is_new(entry->d_name))
            shown = read_file(entry->d_name, operation);
    if (folder)
        closedir(folder);
    return shown;
}

/* Waits for the step. A line is read when it is written beside, so that there is nothing more to do when it is in its place. */
static struct shown await_step(int journal, const char *operation, int step) {
    static _Alignas(struct inotify_event) char events[1 << 16];
    struct pollfd more = {.fd = journal, .events = POLLIN};
    struct shown shown = look(operation), next = {0};
    for (time_t deadline = time(0) + PATIENCE_S; time(0) < deadline;) {
        if (shown.there && shown.at >= step)
            return shown;
        if (poll(&more, 1, 1000) <= 0)
            continue;
        ssize_t size = read(journal, events, sizeof events);
        struct inotify_event *event;
        for (char *at = events; at < events + size; at += sizeof *event + event->len) {
            event = (struct inotify_event *)at;
            if (is_new(event->name))
                next = read_file(event->name, operation);
            else
                shown = next.there ? next : read_file(event->name, operation);
            if (shown.there && shown.at >= step)
                return shown;
        }
    }
    return (struct shown){0};
}

/* A process by the file with its pid. */
static int open_process(const char *pid_file) {
    int pid = 0, process = -1;
    FILE *file = fopen(pid_file, "re");
    if (file && fscanf(file, "%d", &pid) == 1)
        process = (int)syscall(SYS_pidfd_open, pid, 0);
    if (file)
        fclose(file);
    return process;
}

/* Puts xend and ourselves on one CPU: there we come before it, and no step can pass unseen. */
static void share_cpu(void) {
    char path[64];
    int pid = 0;
    cpu_set_t first;
    struct dirent *entry;
    FILE *file = fopen("/run/xend.pid", "re");
    if (!file || fscanf(file, "%d", &pid) != 1)
        pid = 0;
    if (file)
        fclose(file);
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *threads = opendir(path);
    while (threads && (entry = readdir(threads)))
        if (atoi(entry->d_name))
            sched_setaffinity(atoi(entry->d_name), sizeof first, &first);
    if (threads)
        closedir(threads);
    sched_setaffinity(0, sizeof first, &first);
}

static void kill_process(int process) {
    struct pollfd ended = {.fd = process, .events = POLLIN};
    syscall(SYS_pidfd_send_signal, process, SIGKILL, 0, 0);
    poll(&ended, 1, PATIENCE_S * 1000);
}

int main(int argc, char **argv) {
    struct sched_param soon = {.sched_priority = 50};
    if (mlock(argument, sizeof argument))
        return perror("doom: mlock"), 2;
    if (argc == 2 && !strcmp(argv[1], "machine"))
        return machine();
    if (argc == 3 && !strcmp(argv[1], "reboot")) {
        shut_down(atoi(argv[2]), REBOOT);
        return 0;
    }
    if (argc < 6) {
        fprintf(stderr, "usage: doom OPERATION STEP VICTIM AFTER COMMAND... | doom reboot DOMID | doom machine\n");
        return 2;
    }
    const char *operation = argv[1], *victim = argv[3];
    cpu_set_t all;
    int status = 0, process = -1, journal = inotify_init1(IN_CLOEXEC);
    if (inotify_add_watch(journal, JOURNAL, IN_MODIFY | IN_MOVED_TO) < 0)
        return perror("doom: " JOURNAL), 2;
    if (victim[0] == '/' && (process = open_process(victim)) < 0)
        return perror("doom: the victim"), 2;
    sched_getaffinity(0, sizeof all, &all);
    share_cpu();
    /* Before whoever wrote the journal. What is run from here is as everything else. */
    if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &soon))
        return perror("doom: sched_setscheduler"), 2;
    pid_t command = fork();
    if (!command) {
        sched_setaffinity(0, sizeof all, &all);
        dup2(2, 1); /* our own output is ours */
        execvp(argv[5], argv + 5);
        _exit(127);
    }
    struct shown shown = await_step(journal, operation, atoi(argv[2]));
    if (shown.there) {
        usleep(getpid() % 16 * 1000); /* sometimes before the step, sometimes within it */
        if (process >= 0)
            kill_process(process);
        else if (!strcmp(victim, "destroy"))
            destroy(shown.domid);
        else
            shut_down(shown.domid, CRASH);
        struct shown then = look(operation);
        printf("%d %d %d ", shown.at, then.there ? then.at : shown.steps, shown.steps);
    } else
        printf("none none 0 ");
    sched_setaffinity(0, sizeof all, &all);
    if (system(argv[4]))
        fprintf(stderr, "doom: this fails: %s\n", argv[4]);
    waitpid(command, &status, 0);
    printf("%d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}
