"""track as a process: started in a role, asked on its listeners, loaded with `track load`."""

import http.client
import json
import os
import socket
import subprocess

from . import place
from .process import Process, run, wait_until


# Of an embedded log: what track makes by itself, short of a quota.
FOLDER_PARTITIONS = min(len(os.sched_getaffinity(0)), 16)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(port, path, within=10):
    """Status and body; status 0 where nobody listens yet."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=within)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


class Track(Process):
    """A running track. `port` is its public one, or gRPC's for a processor."""

    def __init__(self, role=None, *flags, program="track"):
        self.port, self.admin = free_port(), free_port()
        listen = "--grpc-listen" if role == "processor" else "--listen"
        roles = [role] if role else []
        super().__init__(
            role or "standalone",
            [place.binary(program), *roles, listen, f"127.0.0.1:{self.port}", "--admin-listen",
             f"127.0.0.1:{self.admin}", "--log-level", "warn", *flags],
        )

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def wait_ready(self, every=0.02, within=600):
        wait_until("ready", lambda: get(self.admin, "/readyz")[0] == 200, self, within=within, every=every)
        return self

    def folded(self):
        """Events folded so far by this process, duplicates included."""
        _, text = get(self.admin, "/metrics")
        names = ("track_events_folded_total", "track_events_duplicate_total")
        return sum(int(float(line.split()[-1])) for line in text.splitlines() if line.startswith(names))

    def metrics(self, start, end, more=""):
        """The rows of an answer of /metrics."""
        status, body = get(self.port, f"/metrics?start_date={start}&end_date={end}{more}", within=60)
        if status != 200:
            raise RuntimeError(f"/metrics: {status} {body}")
        return json.loads(body)["data"]


def standalone(data_dir, *flags):
    return Track(None, "--data-dir", data_dir, *flags)


def load(*flags):
    """`track load`, to its end; its report. A difference in the answers fails the run."""
    output, _ = run("load", [place.binary("track"), "load", "--json", *flags])
    return json.loads(output)


def load_apart(*flags):
    """`track load`, under way."""
    return Process("load", [place.binary("track"), "load", "--json", *flags], stdout=subprocess.PIPE)


def report(loading):
    """What a load under way came to."""
    output = loading.child.stdout.read().decode()
    if loading.wait().code != 0:
        raise RuntimeError(f"{output}\n{loading.log_end()}")
    return json.loads(output)


class Broker(Process):
    """A Kafka broker of its own."""

    def __init__(self):
        # The tests' broker is set to start soon; this one is to run fast. The variable goes before its command line.
        fast = {"_JAVA_OPTIONS": "-XX:TieredStopAtLevel=4 -Xmx1g"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        super().__init__("kafka-broker", [place.binary("kafka-broker")], env=fast, **pipes)
        self.address = self.child.stdout.readline().decode().strip()
        if not self.address:
            raise RuntimeError(f"the broker did not start:\n{self.log_end()}")

    def __exit__(self, *_):
        # The end of its input: it stops Java and takes its folder away.
        self.child.stdin.close()
        self.wait()
