"""RabbitMQ as a broker. `broker.py` keeps the protocol's promises and is the only importer of pika.

`link.py` makes the connection again, `outbox.py` keeps what is not confirmed, `consumers.py` what is
consumed, `queues.py` what is declared; `attempts.py` tells how attempts are counted, `url.py` what a URL
may say.
"""

from upswell.broker.rabbitmq.broker import RabbitBroker

__all__ = ["RabbitBroker"]
