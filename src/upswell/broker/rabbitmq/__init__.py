"""RabbitMQ as a broker. `broker.py` keeps the protocol's promises and is the only importer of pika.

`connection.py` reconnects, `publishing.py` keeps what is not confirmed, `consumers.py` what is consumed,
`queues.py` what is declared; `delivery_count.py` says how attempts are counted, `url.py` what a URL may hold.
"""

from upswell.broker.rabbitmq.broker import RabbitBroker

__all__ = ["RabbitBroker"]
