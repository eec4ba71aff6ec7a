"""RunPod's SDK with a worker that speaks with the tiny model."""

from fireredtts2.serving.environment import serving_config
from fireredtts2.serving.runpod.queue_worker import QueueWorker
from tests.deploy.paced import paced_app

if __name__ == "__main__":
    config = serving_config(api_keys=())
    QueueWorker(paced_app(config), config.num_slots).start()
