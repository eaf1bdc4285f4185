"""An S3-compatible server on a free port, with one bucket, until its input ends. Prints the port when it answers."""

import logging
import sys
import urllib.request

from moto.server import ThreadedMotoServer

# Each request would be a line among those of the tests.
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
_, port = server.get_host_and_port()
bucket = urllib.request.Request(f"http://127.0.0.1:{port}/{sys.argv[1]}", method="PUT")
urllib.request.urlopen(bucket).close()
print(port, flush=True)
sys.stdin.read()
