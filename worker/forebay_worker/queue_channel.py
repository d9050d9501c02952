"""Kombu's connection to Redis, with our gate in it: no message of a queue can end a worker."""

from __future__ import annotations

import functools
import logging
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.transport import redis as kombu_redis
from redis import RedisError

from forebay.config.redis_address import kind_of
from forebay_worker.message_gate import BadMessageError, MessageGate, check_stored

log = logging.getLogger(__name__)


def install(app: Celery, gate: MessageGate) -> None:
    """Has an application's consumers read all messages through a gate; before it has connected."""

    with_sentinels = kind_of(app.forebay_broker) == "sentinel"
    base: Any = kombu_redis.SentinelTransport if with_sentinels else kombu_redis.Transport

    class GatedChannel(_Gated, base.Channel):  # type: ignore[misc]
        message_gate = gate

    class GatedTransport(base):  # type: ignore[misc]
        Channel = GatedChannel

    class GatedConnection(Connection):
        def get_transport_cls(self) -> type[kombu_redis.Transport]:
            return GatedTransport

    class GatedAmqp(AMQP):  # type: ignore[misc]
        Connection = GatedConnection

    app.amqp_cls = GatedAmqp


class _GatedClient(kombu_redis.PrefixedStrictRedis):
    """The client that pops messages.

    Args:
        gate: what each message goes through.
    """

    def __init__(self, *arguments: Any, gate: MessageGate, **options: Any) -> None:
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
        self._gate = gate

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        found = super().parse_response(  # type: ignore[no-untyped-call]
            connection, command_name, **options
        )
        if command_name != "BRPOP" or not found:
            return found
        key, raw = found
        # A queue has one list for each priority, whose names it begins.
        queue = key.decode(errors="replace").rsplit(kombu_redis.Channel.sep, 1)[0]
        admitted = self._gate.admit(queue, raw)
        # Nothing, as if it had waited in vain: the next message is asked for at once.
        return None if admitted is None else (key, admitted)


class _GatedQoS(kombu_redis.QoS):
    """What has not been acknowledged yet; it is put back into the queue when it is ours."""

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        with self.channel.conn_or_acquire(client) as acquired:
            stored = acquired.hget(self.unacked_key, tag)
            try:
                check_stored(stored)
            except BadMessageError as error:
                with acquired.pipeline() as pipe:
                    self._remove_from_indices(tag, pipe).execute()  # type: ignore[no-untyped-call]
                self.channel.message_gate.set_aside(self.unacked_key, stored, str(error))
            else:
                super().restore_by_tag(tag, acquired, leftmost)  # type: ignore[no-untyped-call]


class _Gated:
    """What a channel of Kombu's does otherwise, of whichever kind it is."""

    QoS = _GatedQoS
    message_gate: MessageGate
    global_keyprefix: str

    def _get_client(self) -> Any:
        return functools.partial(_GatedClient, global_keyprefix=self.global_keyprefix, gate=self.message_gate)

    def _deliver_fanout_message(self, message: Any, exchange: str) -> Any:
        """Takes a message of Celery's remote control, which costs itself only where it cannot be read."""
        try:
            return super()._deliver_fanout_message(message, exchange)  # type: ignore[misc]
        except (RedisError, OSError):
            raise
        except Exception as error:
            log.warning(
                "a message of Celery's remote control (%s) cannot be read: %s", exchange, type(error).__name__
            )
            return None
