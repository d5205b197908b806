/*
 * on-tty COMMAND...: runs it on a pseudo-terminal, as `xl console` wants, between our standard input and output.
 * Ends with the command; the end of our input does not end it.
 */
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* Copies what is there; returns 0 at the end. */
static int copy(int from, int to) {
    char buffer[4096];
    ssize_t length = read(from, buffer, sizeof buffer);
    for (ssize_t done = 0; done < length;) {
        ssize_t nr = write(to, buffer + done, length - done);
        if (nr <= 0)
            return 0;
        done += nr;
    }
    return length > 0;
}

int main(int argc, char **argv) {
    struct termios raw = {0};
    int master, status;
    if (argc < 2)
        return 2;
    cfmakeraw(&raw);
    pid_t child = forkpty(&master, NULL, &raw, NULL);
    if (child < 0) {
        perror("on-tty: forkpty");
        return 2;
    }
    if (child == 0) {
        execvp(argv[1], argv + 1);
        perror(argv[1]);
        _exit(127);
    }
    struct pollfd ends[] = {{.fd = master, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
    while (poll(ends, 2, -1) >= 0) {
        if (ends[0].revents && !copy(master, 1))
            break;
        if (ends[1].revents && !copy(0, master))
            ends[1].fd = -1;
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
