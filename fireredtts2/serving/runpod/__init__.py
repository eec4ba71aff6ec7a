"""The API on RunPod: a worker that takes jobs from a queue, and one behind a load balancer."""
