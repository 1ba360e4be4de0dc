"""Metrics for Prometheus, health and readiness: what the parts of this process count, over HTTP.

    figures.py           every metric, and one figure of it
    monitor_metrics.py   the applications, from the monitor's rounds; busiest.py: whose series are shown
    part_metrics.py      the scaler, a worker, and whether a part works
    exposition.py        figures as text (the only importer of prometheus_client)
    server.py            /metrics, /healthz, /readyz

Imported only where an address is set; nothing else imports it but the commands.
"""
