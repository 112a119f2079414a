"""TLS, users, headers and rate limit from `--web.config.file`.

Format and meaning are those of Prometheus' exporter-toolkit; `docs/web-config.md` lists the
intended differences. `sections` has the keys of the file, `policy` reads it, and `guard` reloads
the policy and applies it to each request.
"""
