"""The entry that RunPod's hub looks for; the worker is in the package."""

from fireredtts2.serving.runpod.queue_worker import main

if __name__ == "__main__":
    main()
