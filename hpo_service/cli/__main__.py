"""`python -m hpo_service.cli`, the same as `hpo`. Nothing else lives here."""

from hpo_service.cli import main

main()
