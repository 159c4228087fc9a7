// The least a program must do to join two TAP interfaces: one thread a direction, a read, a write, no look at the frame.
// usage: forward NETNS-A NETNS-B NAME; prints "ready". Documentation/networking/tuntap.rst, linux/if_tun.h.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LONGEST = 12 + 14 + 65535 };
static int taps[2];

static void check(int result, const char *what) {
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

static int open_tap(const char *netns, const char *name) {
    char path[128];
    snprintf(path, sizeof path, "/var/run/netns/%s", netns);
    int space = open(path, O_RDONLY | O_CLOEXEC);
    check(space, path);
    check(setns(space, CLONE_NEWNET), "setns");
    close(space);
    int tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    check(tap, "/dev/net/tun");
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    check(ioctl(tap, TUNSETIFF, &request), "TUNSETIFF");
    check(ioctl(tap, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6), "TUNSETOFFLOAD");
    return tap;
}

static void *forward(void *direction) {
    int from = (int)(intptr_t)direction;
    char *frame = malloc(LONGEST);
    for (;;) {
        ssize_t length = read(taps[from], frame, LONGEST);
        // A frame that the other side refuses (it is down) is lost, as on a wire.
        if (length > 0 && write(taps[!from], frame, (size_t)length) < 0)
            continue;
    }
    return NULL;
}

int main(int count, char **args) {
    if (count != 4) {
        fprintf(stderr, "usage: forward NETNS-A NETNS-B NAME\n");
        return 2;
    }
    taps[0] = open_tap(args[1], args[3]);
    taps[1] = open_tap(args[2], args[3]);
    puts("ready");
    fflush(stdout);
    pthread_t other;
    pthread_create(&other, NULL, forward, (void *)(intptr_t)1);
    forward((void *)(intptr_t)0);
}
