"""Who runs the downloads of a job: this process's threads, or the Celery fleet."""
