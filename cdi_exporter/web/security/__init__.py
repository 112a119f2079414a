"""TLS, users, headers and rate limit out of `--web.config.file`.

The format and its meaning are those of Prometheus' exporter-toolkit; `docs/web-config.md` lists the
intended differences. `sections` has its keys, `policy` what one file asks for;
`guard` keeps the policy that is in force and applies it to each request.
"""
