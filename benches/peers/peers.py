#!/usr/bin/env python3
"""Measure TFTP servers side by side, in one run, with one client.

    peers.py [--only NAME,NAME] [--case CASE,CASE] [--rounds 3] [--server 'NAME=CMD'] [--json FILE]
             [--busy N] [--delay-ms X]

A --server is added, or takes the place of one of that name. Its CMD may use {host}, {port} and
{root}, and runs in {root}; without {port} it is a build of stagecoach, which gets its usual
arguments. With a server named "old" and one named "new", every case ends with the ratio new/old.
Every round runs every server once, in turn (every second round in reverse), so that a drift of the
machine's speed falls on all alike; the table gives medians, and the ratio of each to the case's
floor (tftpfloor: the least that a machine can do). "client busy" is the client's share of the one
processor that it can use: near 100 % it is the client that limits. Processor time is the whole
process tree's (a cpuacct cgroup), memory is the tree's peak proportional share (PSS). Needs gcc, and
root for dnsmasq's port 69, the cgroups and the namespaces of --delay-ms.
"""
import argparse
import json
import os
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True  # No __pycache__ beside the sources.
from situation import busy_processors, network

HERE = os.path.dirname(os.path.abspath(__file__))
STAGECOACH = os.path.join(HERE, "../../target/release/stagecoach")
OUR_ARGUMENTS = " --host {host} -p {port} --root {root}"
OURS = shlex.quote(STAGECOACH) + OUR_ARGUMENTS
KB, MB = 1 << 10, 1 << 20

# name: (command, the port if it has no choice)
SERVERS = {
    "floor": ("{tools}/tftpfloor -a {host} {port} {root}/{file}", None),
    "floor-many": ("{tools}/tftpfloor -a {host} -e {port} {root}/{file}", None),
    "floor-put": ("{tools}/tftpfloor -a {host} -w {root} {port} {root}/{file}", None),
    "stagecoach": (OURS, None),
    "no-fsync": (OURS + " --no-fsync", None),
    "tftpd-hpa": ("in.tftpd -L -a {host}:{port} -s {root} -u root -c", None),
    "atftpd": (
        "atftpd --daemon --no-fork --port {port} --bind-address {host}"
        " --user root --group root --maxthread 20000 {root}",
        None,
    ),
    "dnsmasq": (
        "dnsmasq -k -C /dev/null -p 0 --enable-tftp --tftp-root={root} --listen-address={host}"
        " --bind-interfaces --tftp-max=20000 --user=root --log-facility=/dev/null",
        69,
    ),
    "rs-tftpd": ("tftpd -i {host} -p {port} -d {root} -q -q -q", None),
    "r-tftpd": ("r-tftpd -p {port} -l {host} -m 20000 --disable-proxy", None),
    "py3tftp": ("py3tftp --host {host} -p {port}", None),
}

# name: (the server's file, its size, what tftpload is told)
CASES = {
    "lock512": ("f16m", 16 * MB, "get -n 1"),
    "lock1428": ("f64m", 64 * MB, "get -n 1 --blksize 1428"),
    "lock65464": ("f64m", 64 * MB, "get -n 4 --blksize 65464"),
    "win16": ("f64m", 64 * MB, "get -n 4 --blksize 1428 --window 16"),
    "win64": ("f64m", 64 * MB, "get -n 4 --blksize 1428 --window 64"),
    "small": ("f400", 400, "get -n 5000 -c 16"),
    "storm100": ("f4m", 4 * MB, "get -n 200 -c 100 --blksize 1428"),
    "storm1000": ("f256k", 256 * KB, "get -n 2000 -c 1000 --blksize 1428 --timeout-ms 3000"),
    "storm1000w": ("f1m", MB, "get -n 2000 -c 1000 --blksize 1428 --window 16 --timeout-ms 3000"),
    "miss": ("f400", 400, "miss -n 20000 -c 16"),
    "put": ("f16m", 16 * MB, "put -n 1 --blksize 1428"),
    "putwin16": ("f64m", 64 * MB, "put -n 1 --blksize 1428 --window 16"),
    "loss1": ("f4m", 4 * MB, "get -n 1 --blksize 1428 --drop 1 --timeout-ms 1000"),
    "loss1w16": ("f4m", 4 * MB, "get -n 1 --blksize 1428 --window 16 --drop 1 --timeout-ms 1000"),
    "loss5w16": ("f4m", 4 * MB, "get -n 1 --blksize 1428 --window 16 --drop 5 --timeout-ms 1000"),
}

# Those that play in some cases only. The floors: none under loss, for they repeat nothing. And
# stagecoach without its polling, and without its care for the disk.
FLOORS = {
    "floor": {"lock512", "lock1428", "lock65464", "win16", "win64"},
    "floor-many": {"small", "miss", "storm100", "storm1000", "storm1000w"},
    "floor-put": {"put", "putwin16"},
}
VARIANTS = {"no-fsync": {"put", "putwin16"}}
# Cases of which the transfers count and not the octets.
BY_TRANSFERS = {"small", "miss"}
# Of cases whose rates swing most from one start of a server to the next, so many times the rounds.
TIMES = {"storm1000": 2, "put": 3, "putwin16": 5}
# With a delay, files are halved until the round trips of a run take no longer.
ROUND_TRIPS_S = 10


def case_for(name, delay_ms):
    """The case, with a file that can be transferred in time over a network with that delay."""
    file, size, args = CASES[name]

    def number(option, default):
        words = args.split()
        return int(words[words.index(option) + 1]) if option in words else default

    def round_trips():
        blocks = size // (number("--blksize", 512) * number("--window", 1)) + 1
        return blocks * number("-n", 1) / number("-c", 1)

    while size > 64 * KB and round_trips() * delay_ms / 1000 > ROUND_TRIPS_S:
        size //= 2
        file = f"f{size // KB}k" if size % MB else f"f{size // MB}m"
    return file, size, args


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def process_tree(pid):
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        try:
            for task in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{task}/children") as children:
                    todo += map(int, children.read().split())
        except OSError:
            pass  # It has ended meanwhile.
    return found


def pss_kb(pid):
    total = 0
    for one in process_tree(pid)[:400]:
        try:
            with open(f"/proc/{one}/smaps_rollup") as rollup:
                total += sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
        except OSError:
            pass
    return total


class Server:
    """A running server, and what it uses."""

    def __init__(self, name, command, port, bench, file):
        self.port = port or free_port()
        self.group = f"/sys/fs/cgroup/cpuacct/tftpbench-{os.getpid()}-{name}"
        try:
            os.makedirs(self.group, exist_ok=True)
        except OSError:
            self.group = None
        command = command.format(host=bench.net.host, port=self.port, root=bench.root, file=file, tools=bench.tools)
        self.process = subprocess.Popen(
            [*bench.net.for_server, *shlex.split(command)],
            cwd=bench.root, preexec_fn=self.enter_group,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        self.peak_kb, self.over = 0, threading.Event()
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()
        try:
            time.sleep(0.6)
            if self.process.poll() is not None:
                raise RuntimeError(f"{name} exited with {self.process.returncode}")
        except BaseException:  # ^C too
            self.close()
            raise

    def enter_group(self):
        os.setpgid(0, 0)
        if self.group:
            with open(self.group + "/tasks", "w") as tasks:
                tasks.write("0")

    def watch(self):
        while not self.over.wait(0.1):
            self.peak_kb = max(self.peak_kb, pss_kb(self.process.pid))

    def cpu_s(self):
        if not self.group:
            return float("nan")
        with open(self.group + "/cpuacct.usage") as usage:
            return int(usage.read()) / 1e9

    def close(self):
        self.over.set()
        self.watcher.join()
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
        except OSError:
            pass
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        time.sleep(0.1)
        if self.group:
            try:
                os.rmdir(self.group)
            except OSError:
                pass


class Bench:
    """The directory, the network and the cases of one run of this program."""

    def __init__(self, directory, options):
        self.tools, self.root = directory + "/tools", directory + "/root"
        self.options, self.net = options, None
        names = options.case.split(",") if options.case else CASES
        self.cases = {name: case_for(name, options.delay_ms) for name in names}

    def prepare(self):
        os.mkdir(self.tools)
        os.mkdir(self.root)
        os.chmod(self.root, 0o777)
        for tool in ("tftpload", "tftpfloor", "netdelay"):
            subprocess.run(["gcc", "-O2", "-o", f"{self.tools}/{tool}", f"{HERE}/{tool}.c"], check=True)
        for file, size, _ in self.cases.values():
            if not os.path.exists(f"{self.root}/{file}"):
                with open(f"{self.root}/{file}", "wb") as octets:
                    octets.write(os.urandom(size))
                os.chmod(f"{self.root}/{file}", 0o644)


def load(server, case, bench, seed):
    """One run of the client: what it says, and what the server used."""
    file, _, args = bench.cases[case]
    root, limit_s = bench.root, bench.options.limit_s
    remote = {"get": file, "put": "up-%d", "miss": "nope-%d"}[args.split()[0]]
    command = [*bench.net.for_client, bench.tools + "/tftpload", *shlex.split(args)]
    command += ["--host", bench.net.host, "--port", str(server.port), "--name", remote]
    command += ["--ref", f"{root}/{file}", "--limit-s", str(limit_s), "--seed", str(seed)]
    before = server.cpu_s()
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout
    told = json.loads(output or '{"ok": 0, "failed": 1, "error": "no output"}')
    told["server_cpu_s"], told["pss_kb"] = server.cpu_s() - before, server.peak_kb
    if args.startswith("put") and told["ok"] and not same(f"{root}/up-0", f"{root}/{file}"):
        told["failed"] += 1
        told["error"] = "the uploaded file differs"
    for name in os.listdir(root):
        if name.startswith("up-"):
            os.unlink(f"{root}/{name}")
    return told


def same(one, other):
    if not os.path.exists(one):
        return False
    with open(one, "rb") as left, open(other, "rb") as right:
        return left.read() == right.read()


def run_case(case, servers, bench):
    results = {name: [] for name in servers if case in (FLOORS | VARIANTS).get(name, CASES)}
    for seed in range(1, rounds_of(case, bench) + 1):
        for name in list(results) if seed % 2 else reversed(results):
            command, port = servers[name]
            try:
                server = Server(name, command, port, bench, bench.cases[case][0])
            except RuntimeError as error:
                results[name].append({"ok": 0, "failed": 1, "error": str(error)})
                continue
            try:
                results[name].append(load(server, case, bench, seed))
            finally:
                server.close()
    return results


def rounds_of(case, bench):
    return bench.options.rounds * TIMES.get(case, 1)


def rows_of(case, results, options):
    def median(name, key):
        return statistics.median(result.get(key, float("nan")) for result in results[name])

    unit = "transfers_s" if case in BY_TRANSFERS else "mb_s"
    base = next((median(name, unit) for name in FLOORS if name in results), None)
    for name, result in results.items():
        rate, cpu, gb = median(name, unit), median(name, "server_cpu_s"), median(name, "bytes") / 1e9
        yield {
            "case": case, "busy": options.busy, "delay_ms": options.delay_ms,
            "server": name, "rate": rate, "unit": unit,
            "x_floor": rate / base if base else None,
            "cpu": cpu / gb if gb and unit == "mb_s" else cpu,
            "client_busy": statistics.median(one.get("client_cpu_s", 0) / (one.get("wall_s") or 1) for one in result),
            "pss_kb": median(name, "pss_kb"),
            "first_us_p50": median(name, "first_us_p50"), "done_us_p99": median(name, "done_us_p99"),
            "rates": [one.get(unit) for one in result],
            "cpus": [one.get("server_cpu_s") for one in result],
            "failed": sum(one.get("failed", 0) for one in result),
            "error": next((one["error"] for one in result if one.get("error")), ""),
        }


def ratio_of(rows, key):
    """New by old, round by round, in words; the empty string without both."""
    by_name = {row["server"]: row[key] for row in rows}
    pairs = zip(by_name.get("new", []), by_name.get("old", []))
    ratios = [new / old for new, old in pairs if new and old]
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f}..{max(ratios):.3f})" if ratios else ""


def print_table(case, rows, bench):
    file, _, args = bench.cases[case]
    options = bench.options
    situation = f", --busy {options.busy}" if options.busy else ""
    situation += f", --delay-ms {options.delay_ms:g}" if options.delay_ms else ""
    print(f"\n## {case}: {args} ({file}), median of {rounds_of(case, bench)}{situation}")
    unit = rows[0]["unit"] if rows else ""
    print(
        f"{'server':14}{unit:>12}{'x floor':>9}{'cpu s/GB':>10}{'client busy':>13}{'pss MB':>8}{'first us':>10}"
        f"{'p99 done ms':>13}{'failed':>8}  error"
    )
    for row in rows:
        ratio = float("nan") if row["x_floor"] is None else row["x_floor"]
        print(
            f"{row['server']:14}{row['rate']:12.1f}{ratio:9.2f}{row['cpu']:10.2f}{row['client_busy']:13.0%}"
            f"{row['pss_kb'] / 1024:8.1f}{row['first_us_p50']:10.0f}{row['done_us_p99'] / 1000:13.1f}"
            f"{row['failed']:8d}  {row['error'][:60]}",
            flush=True,
        )
    if ratio_of(rows, "rates"):
        rate, cpu = ratio_of(rows, "rates"), ratio_of(rows, "cpus")
        print(f"new/old, median (least..most) of the rounds: rate {rate}, cpu {cpu}")


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="servers, by name, with commas between")
    parser.add_argument("--case", help="cases, by name, with commas between")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--server", action="append", default=[], metavar="NAME=CMD")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    parser.add_argument("--limit-s", type=int, default=40, help="seconds that one run may take")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="programs that keep processors busy meanwhile")
    parser.add_argument("--delay-ms", type=float, default=0, metavar="X", help="milliseconds added to a round trip")
    options = parser.parse_args()
    if options.delay_ms and any("127.0.0.1" in server for server in options.server):
        parser.error("with --delay-ms the server isn't at 127.0.0.1: write {host}")
    return options


def chosen_servers(options):
    servers = dict(SERVERS)
    for server in options.server:
        name, command = server.split("=", 1)
        words = shlex.split(command)
        if "/" in words[0]:
            words[0] = os.path.abspath(words[0])  # The server runs in another directory.
        command = shlex.join(words)
        if "{port}" not in command:
            command += OUR_ARGUMENTS
        servers[name] = (command, None)
    found = {}
    for name in options.only.split(",") if options.only else servers:
        program = shlex.split(servers[name][0])[0]
        if program.startswith("{tools}") or shutil.which(program):
            found[name] = servers[name]
        else:
            print(f"# {name}: {program} not found, left out", file=sys.stderr)
    return found


def main():
    # SIGTERM ends the servers, the busy programs and the relay too, as ^C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = parse_options()
    servers = chosen_servers(options)
    directory = tempfile.mkdtemp(prefix="tftpbench-")
    try:
        # Some servers give their rights away before they read.
        os.chmod(directory, 0o755)
        bench, rows = Bench(directory, options), []
        bench.prepare()
        with busy_processors(options.busy), network(bench.tools + "/netdelay", options.delay_ms) as bench.net:
            for case in bench.cases:
                of_case = list(rows_of(case, run_case(case, servers, bench), options))
                print_table(case, of_case, bench)
                rows += of_case
        if options.json:
            with open(options.json, "w") as file:
                json.dump(rows, file, indent=1)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
