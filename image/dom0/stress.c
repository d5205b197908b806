/*
 * Load for domain 0 that a shell cannot make: `stress NAME SECONDS` runs one kind until its time is over, and says
 * `STRESS NAME ok|FAIL detail`. Each kind knows what must come out, and looks. Linked statically into the initramfs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define THREADS 4

static const char *kind;
static time_t end;
static atomic_ulong rounds;

/* One write, so that the lines of others do not get into ours. */
static void say(const char *verdict, const char *format, va_list args) {
    char detail[200], line[300];
    vsnprintf(detail, sizeof detail, format, args);
    int length = snprintf(line, sizeof line, "STRESS %s %s %s\n", kind, verdict, detail);
    if (write(1, line, length) != length)
        _exit(2);
}

static void fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    say("FAIL", format, args);
    _exit(1);
}

static int done(const char *format, ...) {
    va_list args;
    va_start(args, format);
    say("ok", format, args);
    return 0;
}

static int64_t now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * INT64_C(1000000000) + at.tv_nsec;
}

static int go_on(void) { return now_ns() / 1000000000 < end; }

static void in_threads(void *(*work)(void *)) {
    pthread_t threads[THREADS];
    for (long n = 0; n < THREADS; n++)
        if (pthread_create(&threads[n], 0, work, (void *)n))
            fail("pthread_create: %s", strerror(errno));
    for (int n = 0; n < THREADS; n++)
        pthread_join(threads[n], 0);
}

/* mmap, mprotect, faults, madvise, mremap, munmap, all threads in one address space. */

static __thread sigjmp_buf refused;

static void on_fault(int signal) {
    (void)signal;
    siglongjmp(refused, 1);
}

static int can_write(volatile char *at) {
    if (sigsetjmp(refused, 1))
        return 0;
    *at = *at;
    return 1;
}

static void *churn(void *which) {
    unsigned seed = (unsigned)(long)which + 1;
    while (go_on()) {
        size_t pages = 2 + rand_r(&seed) % 127, half = pages / 2;
        unsigned char *area = mmap(0, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (area == MAP_FAILED)
            fail("mmap of %zu pages: %s", pages, strerror(errno));
        for (size_t n = 0; n < pages; n++) {
            if (area[n * PAGE] || area[n * PAGE + PAGE - 1])
                fail("a new page is not empty");
            memset(area + n * PAGE, (int)(n + seed), PAGE);
        }
        if (mprotect(area, half * PAGE, PROT_READ))
            fail("mprotect: %s", strerror(errno));
        if (can_write((char *)area) || !can_write((char *)area + half * PAGE))
            fail("mprotect had no effect, or on another page");
        if (mprotect(area, half * PAGE, PROT_READ | PROT_WRITE) || !can_write((char *)area))
            fail("a page stays read-only");
        if (madvise(area + half * PAGE, PAGE, MADV_DONTNEED) || area[half * PAGE])
            fail("a dropped page keeps its contents");
        unsigned char *moved = mremap(area, pages * PAGE, 2 * pages * PAGE, MREMAP_MAYMOVE);
        if (moved == MAP_FAILED)
            fail("mremap: %s", strerror(errno));
        for (size_t n = 0; n < pages; n++)
            if (n != half && moved[n * PAGE + n] != (unsigned char)(n + seed))
                fail("page %zu of %zu has lost its contents", n, pages);
        munmap(moved, 2 * pages * PAGE);
        rounds++;
    }
    return 0;
}

static int stress_mm(void) {
    signal(SIGSEGV, on_fault);
    in_threads(churn);
    return done("rounds=%lu", rounds);
}

/* fork with copy-on-write checked on both sides, and fork with exec. */

static void expect_exit(pid_t child, int code) {
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child)
        fail("fork or wait: %s", strerror(errno));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
        fail("child ended with status %#x, not code %d", status, code);
}

static int stress_fork(void) {
    enum { PAGES = 64 };
    static unsigned char area[PAGES * PAGE];
    for (; go_on(); rounds++) {
        memset(area, (int)rounds, sizeof area);
        pid_t child = fork();
        if (child == 0) {
            for (int n = 0; n < PAGES; n++) {
                if (area[n * PAGE] != (unsigned char)rounds)
                    _exit(1);
                area[n * PAGE] = 0xa5;
            }
            _exit(42);
        }
        for (int n = 0; n < PAGES; n += 2)
            area[n * PAGE + 1] = 0x5a;
        expect_exit(child, 42);
        for (int n = 0; n < PAGES; n++)
            if (area[n * PAGE] != (unsigned char)rounds)
                fail("the child's write reached the parent");
        child = vfork();
        if (child == 0) {
            execl("/bin/busybox", "false", (char *)0);
            _exit(127);
        }
        expect_exit(child, 1);
    }
    return done("rounds=%lu", rounds);
}

/* Two processes that wake each other by signal, under an interval timer. */

static volatile sig_atomic_t ticks;

static void on_tick(int signal) {
    (void)signal;
    ticks++;
}

static void nothing(int signal) { (void)signal; }

static int stress_signals(void) {
    sigset_t turn;
    int got;
    sigemptyset(&turn);
    sigaddset(&turn, SIGUSR1);
    sigprocmask(SIG_BLOCK, &turn, 0);
    signal(SIGUSR1, nothing);
    pid_t parent = getpid(), child = fork();
    if (child == 0)
        for (;;) {
            sigwait(&turn, &got);
            kill(parent, SIGUSR1);
        }
    signal(SIGALRM, on_tick);
    struct itimerval every = {{0, 4000}, {0, 4000}};
    setitimer(ITIMER_REAL, &every, 0);
    for (; go_on(); rounds++) {
        struct timespec patience = {20, 0};
        kill(child, SIGUSR1);
        /* An alarm may interrupt the wait. */
        while ((got = sigtimedwait(&turn, 0, &patience)) < 0 && errno == EINTR)
            ;
        if (got != SIGUSR1)
            fail("no answer for 20 s after %lu rounds", rounds);
    }
    kill(child, SIGKILL);
    waitpid(child, 0, 0);
    if (!ticks)
        fail("the interval timer never fired");
    return done("rounds=%lu ticks=%d", rounds, (int)ticks);
}

/* A busy process each on more CPUs than there are: their floating-point state must survive every switch. */

static double series(double x) {
    double sum = 0, term = 1;
    for (int n = 1; n < 200; n++) {
        sum += term;
        term *= x / n;
    }
    return sum;
}

static int stress_busy(void) {
    long double kept = 1.0L / 3; /* x87, the sum below is in SSE registers */
    double x = 1 + (getpid() % 97) / 97.0, expected = series(*(volatile double *)&x);
    for (; go_on(); rounds++) {
        long double third = 1.0L;
        for (int n = 0; n < 500; n++) {
            if (series(*(volatile double *)&x) != expected)
                fail("a sum came out otherwise");
            third = third / 3 * 3;
        }
        if (third < 1 - 1e-15L || third > 1 + 1e-15L || kept != 1.0L / 3)
            fail("an x87 register has changed");
    }
    return done("rounds=%lu", rounds);
}

/* Time must not go back, not even from one CPU to the next. */

static _Atomic int64_t latest;

static void *watch(void *unused) {
    (void)unused;
    while (go_on()) {
        int64_t before = latest, at = now_ns();
        if (at < before)
            fail("the clock went back by %lld ns", (long long)(before - at));
        while (before < at && !atomic_compare_exchange_weak(&latest, &before, at))
            ;
        if (rounds++ % 1024 == 0) {
            int64_t began = now_ns();
            usleep(1000);
            if (now_ns() - began < 1000000)
                fail("a sleep was too short");
        }
    }
    return 0;
}

static int stress_clock(void) {
    in_threads(watch);
    return done("looks=%lu", rounds);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*run)(void);
    } kinds[] = {{"mm", stress_mm},     {"fork", stress_fork},   {"signals", stress_signals},
                 {"busy", stress_busy}, {"clock", stress_clock}};
    if (argc != 3)
        return 2;
    kind = argv[1];
    end = now_ns() / 1000000000 + atoi(argv[2]);
    for (size_t n = 0; n < sizeof kinds / sizeof kinds[0]; n++)
        if (!strcmp(kind, kinds[n].name))
            return kinds[n].run();
    fail("no such kind");
}
