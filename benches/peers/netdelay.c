/* netdelay - holds every frame that passes between two interfaces for a while.
 *
 * It takes the place of netem, which many kernels are built without. It reads the
 * frames of one interface with a packet socket, keeps them in a queue, and writes
 * them to the other interface when they are due: HOLD_US microseconds after the
 * kernel received them (by the kernel's own time stamp, so that the time this
 * program takes to wake up is not added). Order is kept. A round trip through it
 * takes 2 * HOLD_US longer.
 *
 *   gcc -O2 -o netdelay netdelay.c
 *   netdelay IFACE IFACE HOLD_US
 *
 * The interfaces are two ends of veth pairs without offloads (see situation.py).
 * Runs until SIGTERM or SIGINT, then prints one JSON line: frames forwarded, frames
 * dropped, and how late frames were written. Needs CAP_NET_RAW, and CAP_SYS_NICE:
 * it runs at real-time priority, because a network is not slowed by busy programs.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define QUEUE_FRAMES 8192 /* of each direction; what does not fit waits in the socket's buffer */
#define FRAME_OCTETS 1600 /* MTU 1500 and the Ethernet header, rounded up */
#define BATCH 32          /* frames read or written by one system call */
#define SPIN_NS 50000     /* the last part of a wait is spent awake: a sleep ends late */
#define SOCKET_OCTETS (64 << 20)
#define LATE_BUCKETS 10000 /* of one microsecond */

struct frame {
    int64_t due_ns;
    uint32_t octets;
    uint8_t data[FRAME_OCTETS];
};

struct direction {
    int in, out;
    uint64_t head, tail; /* frames are written at head and added at tail */
    uint64_t forwarded, unsent;
    struct frame *queue;
};

static int64_t hold_ns;
static uint64_t late_us[LATE_BUCKETS];
static volatile sig_atomic_t stop;

static void on_signal(int signal) { (void)signal; stop = 1; }

static int64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what) { perror(what); exit(1); }

static int packet_socket(const char *name) {
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = if_nametoindex(name),
    };
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, octets = SOCKET_OCTETS;
    if (fd < 0 || !address.sll_ifindex) die(name);
    if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on)) die("PACKET_IGNORE_OUTGOING");
    if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on)) die("PACKET_QDISC_BYPASS");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof octets)) die("SO_RCVBUFFORCE");
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &octets, sizeof octets)) die("SO_SNDBUFFORCE");
    if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on)) die("SO_TIMESTAMPNS");
    if (bind(fd, (void *)&address, sizeof address)) die("bind");
    return fd;
}

/* When the kernel received the frame, on the monotonic clock. */
static int64_t received_ns(struct msghdr *message, int64_t monotonic_less_real_ns) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
            struct timespec t;
            memcpy(&t, CMSG_DATA(c), sizeof t);
            return t.tv_sec * 1000000000LL + t.tv_nsec + monotonic_less_real_ns;
        }
    return clock_ns(CLOCK_MONOTONIC);
}

static int read_frames(struct direction *d) {
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    uint8_t controls[BATCH][64] __attribute__((aligned(8)));
    int room = QUEUE_FRAMES - (int)(d->tail - d->head), wanted = room < BATCH ? room : BATCH;
    for (int i = 0; i < wanted; i++) {
        struct frame *frame = &d->queue[(d->tail + i) % QUEUE_FRAMES];
        vectors[i] = (struct iovec){ frame->data, FRAME_OCTETS };
        messages[i].msg_hdr = (struct msghdr){
            .msg_iov = &vectors[i], .msg_iovlen = 1, .msg_control = controls[i], .msg_controllen = sizeof controls[i],
        };
    }
    int count = wanted ? recvmmsg(d->in, messages, wanted, MSG_DONTWAIT, NULL) : 0;
    if (count <= 0) return 0;
    int64_t monotonic_less_real_ns = clock_ns(CLOCK_MONOTONIC) - clock_ns(CLOCK_REALTIME);
    for (int i = 0; i < count; i++) {
        struct frame *frame = &d->queue[(d->tail + i) % QUEUE_FRAMES];
        frame->octets = messages[i].msg_len;
        frame->due_ns = received_ns(&messages[i].msg_hdr, monotonic_less_real_ns) + hold_ns;
    }
    d->tail += count;
    return count;
}

static int write_due_frames(struct direction *d) {
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    int64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    int count = 0;
    while (count < BATCH && d->head + count < d->tail) {
        struct frame *frame = &d->queue[(d->head + count) % QUEUE_FRAMES];
        if (frame->due_ns > now_ns) break;
        int64_t late = (now_ns - frame->due_ns) / 1000;
        late_us[late < LATE_BUCKETS ? late : LATE_BUCKETS - 1]++;
        vectors[count] = (struct iovec){ frame->data, frame->octets };
        messages[count].msg_hdr = (struct msghdr){ .msg_iov = &vectors[count], .msg_iovlen = 1 };
        count++;
    }
    for (int done = 0; done < count;) {
        int sent = sendmmsg(d->out, messages + done, count - done, MSG_DONTWAIT);
        if (sent > 0) {
            d->forwarded += sent;
            done += sent;
        } else { /* The first of those left could not be written: it is dropped, and counted. */
            d->unsent++;
            done++;
        }
    }
    d->head += count;
    return count;
}

static void wait_for_frames(struct direction both[2]) {
    struct pollfd sockets[2];
    int64_t due_ns = INT64_MAX;
    for (int i = 0; i < 2; i++) {
        int full = both[i].tail - both[i].head == QUEUE_FRAMES;
        sockets[i] = (struct pollfd){ .fd = full ? -1 : both[i].in, .events = POLLIN };
        if (both[i].head < both[i].tail) {
            int64_t first_ns = both[i].queue[both[i].head % QUEUE_FRAMES].due_ns;
            if (first_ns < due_ns) due_ns = first_ns;
        }
    }
    int64_t wait_ns = due_ns == INT64_MAX ? 1000000000 : due_ns - clock_ns(CLOCK_MONOTONIC) - SPIN_NS;
    if (wait_ns <= 0) return;
    struct timespec timeout = { wait_ns / 1000000000, wait_ns % 1000000000 };
    ppoll(sockets, 2, &timeout, NULL);
}

static uint64_t lost_by_kernel(int fd) {
    struct tpacket_stats statistics = { 0 };
    socklen_t length = sizeof statistics;
    getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &statistics, &length);
    return statistics.tp_drops;
}

static long percentile_us(double share) {
    uint64_t total = 0, seen = 0;
    for (long i = 0; i < LATE_BUCKETS; i++) total += late_us[i];
    for (long i = 0; i < LATE_BUCKETS; i++)
        if (total && (seen += late_us[i]) >= share * total) return i;
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 4) { fprintf(stderr, "usage: netdelay IFACE IFACE HOLD_US; see the source's head\n"); return 2; }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_TIMERSLACK, 1);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    hold_ns = atof(argv[3]) * 1000;
    struct sched_param priority = { .sched_priority = 1 };
    int real_time = !sched_setscheduler(0, SCHED_FIFO, &priority);
    if (!real_time) setpriority(PRIO_PROCESS, 0, -20);
    int one = packet_socket(argv[1]), other = packet_socket(argv[2]);
    struct direction both[2] = { { .in = one, .out = other }, { .in = other, .out = one } };
    for (int i = 0; i < 2; i++) {
        both[i].queue = malloc(QUEUE_FRAMES * sizeof *both[i].queue);
        if (!both[i].queue) die("malloc");
        memset(both[i].queue, 0, QUEUE_FRAMES * sizeof *both[i].queue); /* no page faults later */
    }
    puts("ready");
    fflush(stdout);
    while (!stop) {
        int moved = 0;
        for (int i = 0; i < 2; i++) moved += write_due_frames(&both[i]) + read_frames(&both[i]);
        if (!moved) wait_for_frames(both);
    }
    uint64_t forwarded = both[0].forwarded + both[1].forwarded;
    uint64_t dropped = both[0].unsent + both[1].unsent + lost_by_kernel(one) + lost_by_kernel(other);
    printf("{\"forwarded\":%llu,\"dropped\":%llu,", (unsigned long long)forwarded, (unsigned long long)dropped);
    printf("\"late_us_p50\":%ld,\"late_us_p99\":%ld,\"late_us_max\":%ld,",
           percentile_us(.5), percentile_us(.99), percentile_us(1));
    printf("\"real_time\":%s}\n", real_time ? "true" : "false");
    return 0;
}
