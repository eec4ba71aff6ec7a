"""A local Ray cluster with a fleet on it: so many replicas as each line of standard input says.

It says "ready" when they are there, and ends when standard input does.
"""

import logging
import sys

import ray
from ray import serve

from fireredtts2.serving.environment import serving_config
from fireredtts2.serving.ray.fleet import FleetArguments, fleet_of
from tests.deploy.paced import paced_app

OBJECT_STORE_BYTES = 100_000_000


def main(port: int) -> None:
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        configure_logging=False,
        log_to_driver=False,
    )
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    for line in sys.stdin:
        serve.run(fleet_of(serving_config(), arguments(int(line)), paced_app))
        print("ready", flush=True)  # noqa: T201
    serve.shutdown()
    ray.shutdown()


def arguments(num_replicas: int) -> FleetArguments:
    return FleetArguments(
        min_replicas=num_replicas,
        max_replicas=num_replicas,
        num_cpus=0.1,
        max_queued_requests=4,
        downscale_delay_s=0,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
