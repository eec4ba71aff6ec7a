"""A server of slow speech in a process of its own."""

import os

from fireredtts2.serving import run
from fireredtts2.serving.environment import serving_config
from tests.deploy.paced import paced_app

if __name__ == "__main__":
    run.serve(lambda: paced_app(serving_config()), "127.0.0.1", int(os.environ["TEST_PORT"]))
