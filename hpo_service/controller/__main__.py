"""`python -m hpo_service.controller`: the controller process, alone or as the server's child."""

import sys

from hpo_service.controller.process import main
from hpo_service.settings import load_settings

if __name__ == "__main__":
    sys.exit(main(load_settings()))
