"""Real servers for tests and benchmarks.

Each starter is a context manager: it takes free ports, returns once the server answers, and ends the
whole process group. A server also dies with the process that started it. `tests/conftest.py` makes
session fixtures of them.
"""

from tests.servers.proxy import Fault, Proxy, Request

__all__ = ["Fault", "Proxy", "Request"]
