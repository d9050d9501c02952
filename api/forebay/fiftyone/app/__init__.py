"""Remote media in FiftyOne's App.

The server hands out *links* in place of URIs (`urls`, `links`), and its media route serves what a link
names, and nothing else (`route`), from the cache or from its source (`bodies`, `answers`).
"""
