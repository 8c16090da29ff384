"""Situations that peers.py can measure in: busy processors, and a network with a delay.

Both are context managers. Both leave nothing behind: the processes are ended by their ids when the context ends, for
whatever reason, and end by themselves when the harness was killed. The network namespaces have no name outside the
mount namespace of the relay (netdelay.c), so the kernel removes them, and their interfaces, with its process.
"""
import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time

# Spins until its parent is another process, which means that the harness has ended.
SPINNER = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(1_000_000):
        pass
"""

# RFC 2544 reserves these addresses for benchmarks.
CLIENT_ADDRESS, SERVER_ADDRESS = "198.18.0.1", "198.18.0.2"
CLIENT_MAC, SERVER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"

# Run in a network and a mount namespace of its own. The four interfaces are c0 (the client's), c1, s1 (the relay's) and
# s0 (the server's). Neighbours are permanent: an ARP question in the middle of a transfer would wait for the delay too.
SETUP = f"""
mount -t tmpfs tmpfs /run
ip netns add client
ip netns add server
ip link add c1 type veth peer name c0 address {CLIENT_MAC} netns client
ip link add s1 type veth peer name s0 address {SERVER_MAC} netns server
ip -n client address add {CLIENT_ADDRESS}/24 dev c0
ip -n server address add {SERVER_ADDRESS}/24 dev s0
for end in "-n client c0" "-n server s0" "c1" "s1"; do
    name=${{end##* }} where=${{end% *}}
    [ "$where" != "$end" ] || where=
    ip $where link set "$name" addrgenmode none
    ip $where link set "$name" up
    ip $where link set lo up
done
ip -n client neighbour add {SERVER_ADDRESS} lladdr {SERVER_MAC} dev c0 nud permanent
ip -n server neighbour add {CLIENT_ADDRESS} lladdr {CLIENT_MAC} dev s0 nud permanent
exec "$@"
"""

# From linux/sockios.h and linux/ethtool.h: transmit checksums, scatter-gather, TSO, GSO, GRO.
SIOCETHTOOL = 0x8946
OFFLOADS = (0x17, 0x19, 0x1F, 0x24, 0x2C)
CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def busy_processors(count):
    """Keeps `count` programs spinning, at the priority of the harness, pinned to no processor."""
    programs = []
    try:
        for _ in range(count):
            programs.append(subprocess.Popen([sys.executable, "-c", SPINNER, str(os.getpid())]))
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


class Loopback:
    """The network without a delay: client and server are where the harness is."""

    host = "127.0.0.1"
    for_client = for_server = ()


class DelayedNetwork:
    """Client and server in two network namespaces, with a relay between."""

    host = SERVER_ADDRESS

    def __init__(self, relay, delay_ms):
        self.delay_ms = delay_ms
        self.relay = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-ec", SETUP, "sh", relay, "c1", "s1", str(delay_ms * 1000 / 2)],
            stdout=subprocess.PIPE, text=True,
        )
        try:
            if self.relay.stdout.readline() != "ready\n":
                raise RuntimeError("no network with a delay: needs root, unshare, ip and veth")
        except BaseException:  # ^C too
            self.close()
            raise
        self.for_client = ("nsenter", "--net=" + self.namespace("client"), "--")
        self.for_server = ("nsenter", "--net=" + self.namespace("server"), "--")

    def namespace(self, name):
        return f"/proc/{self.relay.pid}/root/run/netns/{name}"

    def socket(self, namespace, *kind):
        """A socket of that namespace: a socket stays where it was made, and the harness comes back."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as here, open(self.namespace(namespace)) as there:
            if libc.setns(there.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            try:
                return socket.socket(*kind)
            finally:
                libc.setns(here.fileno(), CLONE_NEWNET)

    def turn_offloads_off(self):
        """Makes the kernel cut what is sent with UDP_SEGMENT before the relay sees it, as a wire would."""
        for namespace, interface in (("client", b"c0"), ("server", b"s0")):
            with self.socket(namespace, socket.AF_INET, socket.SOCK_DGRAM) as it:
                for offload in OFFLOADS:
                    value = ctypes.create_string_buffer(struct.pack("II", offload, 0), 8)
                    fcntl.ioctl(it, SIOCETHTOOL, struct.pack("16sQ8x", interface, ctypes.addressof(value)))

    def round_trips_ms(self, count=200):
        """Round trips of ICMP echoes, which the kernel of the server's namespace answers."""
        found = []
        with self.socket("client", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as it:
            it.settimeout(1)
            for number in range(count):
                # Type 8 (echo); the sum of all words, the checksum among them, is 0xffff.
                sent = time.perf_counter()
                it.sendto(struct.pack("!BBHHH", 8, 0, 0xFFFF - 0x0800 - number, 0, number), (SERVER_ADDRESS, 0))
                answer = b""
                while answer[:2] != bytes(2) or answer[4:] != struct.pack("!HH", 0, number):
                    answer = it.recv(128)[20:]  # without the IP header
                found.append((time.perf_counter() - sent) * 1000)
                time.sleep(0.002)
        return sorted(found)

    def dropped_by_interfaces(self):
        total = 0
        for namespace in (self.namespace("client"), self.namespace("server"), f"/proc/{self.relay.pid}/ns/net"):
            command = ["nsenter", "--net=" + namespace, "ip", "-s", "-j", "link", "show", "type", "veth"]
            for interface in json.loads(subprocess.check_output(command)):
                total += interface["stats64"]["rx"]["dropped"] + interface["stats64"]["tx"]["dropped"]
        return total

    def close(self):
        """Ends the relay, and with it the namespaces. Returns its report, if it could still make one."""
        self.relay.send_signal(signal.SIGTERM)
        try:
            return self.relay.communicate(timeout=5)[0]
        except subprocess.TimeoutExpired:
            self.relay.kill()
            return self.relay.communicate()[0]


@contextlib.contextmanager
def network(relay, delay_ms):
    """The loopback interface, or two namespaces between which a round trip takes `delay_ms` longer."""
    if not delay_ms:
        yield Loopback()
        return
    it = DelayedNetwork(relay, delay_ms)
    dropped = 0
    try:
        it.turn_offloads_off()
        trips = it.round_trips_ms()
        print(
            f"# delay: {delay_ms} ms added to a round trip; an ICMP echo takes {statistics.median(trips):.3f} ms (p50),"
            f" {trips[int(len(trips) * 0.99)]:.3f} ms (p99)", flush=True,
        )
        yield it
        dropped = it.dropped_by_interfaces()
    finally:
        report = it.close()
        if report:
            told = json.loads(report)
            priority = "real-time" if told["real_time"] else "NOT real-time"
            print(
                f"\n# relay: {told['forwarded']} frames forwarded, {told['dropped'] + dropped} dropped; written late by"
                f" {told['late_us_p50']} us (p50), {told['late_us_p99']} us (p99), {told['late_us_max']} us (most);"
                f" {priority} priority", flush=True,
            )
