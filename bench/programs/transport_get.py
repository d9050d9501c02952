"""Forebay's transport, one thread: objects to files, each renamed when complete.

Arguments: BASE_URL KEYS DIRECTORY MAX_REQUESTS [CA_BUNDLE [2]]. With the last one over HTTP/2. Prints
objects per second and CPU microseconds per object, without the start of the interpreter. Requests are
signed, as those to S3 are.
"""

import os
import sys
import threading
import time

from forebay.transport import Credentials, Exchange, PathSink, Request, Route, Transport, TransportSettings
from forebay.transport.tls import TLS

base, keys, directory, most = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
bundle = sys.argv[5] if len(sys.argv) > 5 else None
with open(keys) as file:
    names = file.read().split()
route = Route(tls=TLS(bundle=bundle or None), http2=len(sys.argv) > 6)
credentials = Credentials("bench", "bench-secret")
first = min(most, int(os.environ.get("FIRST_REQUESTS", "32")))
transport = Transport(TransportSettings(max_requests=most, first_requests=first))
left, ended = len(names), threading.Event()


def done(exchange: Exchange) -> None:
    global left  # noqa: PLW0603
    sink, outcome = exchange.sink, exchange.outcome
    if outcome is None or outcome.error is not None:
        print(outcome, file=sys.stderr)
        os._exit(1)
    assert isinstance(sink, PathSink)
    os.rename(sink.path, sink.path[:-1])
    left -= 1
    if not left:
        ended.set()


began, cpu = time.perf_counter(), time.process_time()
for name in names:
    request = Request(f"{base}/{name}", credentials=credentials, route=route)
    transport.submit(request, PathSink(f"{directory}/{name}~"), done)
ended.wait()
seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
print(f"{len(names) / seconds:.0f} objects/s, {1e6 * cpu / len(names):.0f} CPU us/object")
if os.environ.get("SHOW_WINDOW"):
    print("window", transport.window(base[: base.index("/", 8)]), file=sys.stderr)
transport.close()
