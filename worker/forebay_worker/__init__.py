"""The Celery side of Forebay: the application, its tasks and its maintenance."""
