"""Remote media in FiftyOne's App.

The server gives the browser signed links in place of URIs (`link_rewriting`, `signed_links`). Its media
route (`route`) serves only the objects that links name, from the cache or from their source
(`media_responses`, `response_bodies`).
"""
