"""`python -m cdi_exporter` is the command `cdi-exporter`."""

from cdi_exporter.cli import main

if __name__ == "__main__":
    main()
