"""TLS, users, headers and rate limit from `--web.config.file`, as in Prometheus' exporter-toolkit.

`docs/web-config.md` lists the intended differences.
"""
