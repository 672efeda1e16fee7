#include "cmd/interrupt.h"

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

bool interrupt_open(struct interrupt *i, struct err *e)
{
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGINT);
    sigaddset(&wanted, SIGTERM);
    i->fd = signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC);
    if (i->fd < 0)
        return err_sys(e, "signalfd");
    pthread_sigmask(SIG_BLOCK, &wanted, &i->old);
    return true;
}

int interrupt_take(const struct interrupt *i)
{
    struct signalfd_siginfo info;
    return read(i->fd, &info, sizeof info) == sizeof info ? (int)info.ssi_signo : 0;
}

void interrupt_close(struct interrupt *i)
{
    if (i->fd < 0)
        return;
    while (interrupt_take(i)) {
        /* taken: it must not end the program now */
    }
    close(i->fd);
    i->fd = -1;
    pthread_sigmask(SIG_SETMASK, &i->old, NULL);
}
