"""A bare loop around libcurl's multi interface: objects to files, each renamed when complete.

Arguments: BASE_URL KEYS DIRECTORY IN_FLIGHT [CA_BUNDLE [2]]. With the last one over HTTP/2. Prints
objects per second and CPU microseconds per object, without the start of the interpreter. It is the
ceiling of what Python can do with libcurl: requests are signed, but headers, times and failures are not
looked at.
"""

import os
import sys
import time

import pycurl

base, keys, directory, most = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
with open(keys) as file:
    names = file.read().split()
multi = pycurl.CurlMulti()
multi.setopt(pycurl.M_MAXCONNECTS, 2 * most)
chunks: dict[pycurl.Curl, list[bytes]] = {}
named: dict[pycurl.Curl, str] = {}


def handle() -> pycurl.Curl:
    curl = pycurl.Curl()
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.BUFFERSIZE, 256 << 10)
    curl.setopt(pycurl.PROXY, "")
    curl.setopt(pycurl.AWS_SIGV4, "aws:amz:us-east-1:s3")
    curl.setopt(pycurl.USERNAME, "bench")
    curl.setopt(pycurl.PASSWORD, "bench-secret")
    curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    if len(sys.argv) > 5 and sys.argv[5]:
        curl.setopt(pycurl.CAINFO, sys.argv[5])
    if len(sys.argv) > 6:
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        curl.setopt(pycurl.PIPEWAIT, 1)
    chunks[curl] = []
    curl.setopt(pycurl.WRITEFUNCTION, chunks[curl].append)
    return curl


began, cpu = time.perf_counter(), time.process_time()
todo, left = iter(names), len(names)
idle = [handle() for _ in range(min(most, left))]
while left:
    while idle and (name := next(todo, None)) is not None:
        curl = idle.pop()
        named[curl] = name
        curl.setopt(pycurl.URL, f"{base}/{name}")
        multi.add_handle(curl)
    multi.perform()
    _, ended, failed = multi.info_read()
    if failed:
        sys.exit(failed[0][2])
    for curl in ended:
        multi.remove_handle(curl)
        path, data = f"{directory}/{named[curl]}", chunks[curl]
        file_descriptor = os.open(path + "~", os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
        os.writev(file_descriptor, data)
        os.close(file_descriptor)
        os.rename(path + "~", path)
        data.clear()
        idle.append(curl)
        left -= 1
    if not ended:
        multi.select(1.0)
seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
print(f"{len(names) / seconds:.0f} objects/s, {1e6 * cpu / len(names):.0f} CPU us/object")
