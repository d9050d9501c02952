"""What stands behind the URL of a Redis: Sentinels with a master and replicas, or the nodes of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forebay.config.redis_address import host_text, parse_address
from forebay.config.sizes import count
from forebay.errors import IndexUnavailableError
from forebay.index import redis_errors
from forebay.index.connection import Connection

_ALL_SLOTS = 16384
_MAX_BEHIND_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Topology:
    """What was found.

    Attributes:
        kind: ``sentinels`` or ``cluster``.
        summary: one sentence.
        warnings: what makes a failover impossible or unsafe, and what to do about it, each a sentence.
    """

    kind: str
    summary: str
    warnings: list[str]


def topology(connection: Connection) -> Topology | None:
    """The servers behind a connection; ``None`` where its URL names one server.

    Raises:
        IndexUnavailableError: they cannot be asked.
    """
    import redis

    from forebay.index.server_routes import ClusterRoute, SentinelRoute

    route = connection.route
    try:
        if isinstance(route, SentinelRoute):
            return _of_sentinels(connection, route)
        if isinstance(route, ClusterRoute):
            return _of_cluster(connection, route)
    except (redis.RedisError, OSError) as error:
        raise redis_errors.explained(error, connection.url, queue=False) from None
    return None


def _of_sentinels(connection: Connection, route: Any) -> Topology:
    name = parse_address(connection.url).master
    answers = route.sentinels.answers()
    states = [state for _, state, _ in answers if state is not None]
    missing = [(place, reason) for place, state, reason in answers if state is None]
    warnings = [f"no answer from the Sentinel {place} ({reason}): start it" for place, reason in missing]
    if not states:
        raise IndexUnavailableError(f"no Sentinel of {name!r} answers: start them")
    masters = {f"{host_text(str(state['ip']))}:{state['port']}" for state in states}
    if len(masters) > 1:
        warnings.append(
            f"the Sentinels name different masters ({', '.join(sorted(masters))}): a failover is under way, "
            "or they cannot reach each other"
        )
    replicas = _replicas(connection)
    if not replicas:
        warnings.append("no replica follows the master, so that none can take its place: start one")
    quorum = int(states[0]["quorum"])
    needed = max(quorum, len(answers) // 2 + 1)
    if len(states) < needed:
        warnings.append(f"{needed} Sentinels must agree before a replica is promoted: start the others")
    warnings += _unsafe(connection, replicas)
    return Topology(
        "sentinels",
        f"the master of {name!r} is {masters.pop()}, with {count(replicas, 'replica')}; {len(states)} of "
        f"{len(answers)} Sentinels answer",
        warnings,
    )


def _of_cluster(connection: Connection, route: Any) -> Topology:
    slots = route.slots()
    served = sum(one.last - one.first + 1 for one in slots)
    primaries = {one.nodes[0]: len(one.nodes) - 1 for one in slots}
    own = next((one for one in slots if one.first <= route.slot <= one.last), None)
    warnings = []
    if served != _ALL_SLOTS:
        warnings.append(
            f"only {served:,} of {_ALL_SLOTS:,} slots are served: `CLUSTER NODES` says which node is "
            "missing; start it, or have a replica take over"
        )
    where = "at no node"
    if own is not None:
        where = f"at {host_text(own.nodes[0][0])}:{own.nodes[0][1]}"
        if len(own.nodes) < 2:
            warnings.append(
                f"no replica follows the node that has the volume's slot ({where}), so that none can take "
                "its place: add one"
            )
        warnings += _unsafe(connection, len(own.nodes) - 1)
    return Topology(
        "cluster",
        f"{count(len(primaries), 'primary')}, {count(sum(primaries.values()), 'replica')}, "
        f"{served:,} of {_ALL_SLOTS:,} slots served; the volume's slot {route.slot} is {where}",
        warnings,
    )


def _replicas(connection: Connection) -> int:
    return int(connection.command("info", "replication").get("connected_slaves", 0))


def _unsafe(connection: Connection, replicas: int) -> list[str]:
    """What a failover may lose more than the last moment."""
    info = connection.command("info", "replication")
    behind = [
        int(info["master_repl_offset"]) - int(state["offset"])
        for name, state in info.items()
        if name.startswith("slave") and isinstance(state, dict)
    ]
    if replicas and not behind:
        return ["no replica is connected to the master at this moment: see their logs"]
    if behind and min(behind) > _MAX_BEHIND_BYTES:
        return [
            f"the replicas are {min(behind):,} bytes behind the master, which a failover would lose: see "
            "whether they and the network keep up"
        ]
    return []
