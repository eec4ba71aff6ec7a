"""The worker behind a load balancer, with the tiny model, which takes its time to load."""

import os
import sys
import time

from fastapi import FastAPI

from fireredtts2.serving.environment import serving_config
from fireredtts2.serving.runpod import load_balancer
from tests.deploy.paced import paced_app


def load() -> FastAPI:
    time.sleep(float(os.environ["TEST_LOAD_S"]))
    if os.environ.get("TEST_BROKEN"):
        raise ValueError("no such model")
    return paced_app(serving_config())


if __name__ == "__main__":
    sys.exit(load_balancer.main(load))
