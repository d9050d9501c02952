"""What a media file says of itself, from as few of its bytes as that takes.

`forebay.headers.images` and `forebay.headers.videos` tell the size and shape of an image or a video at
a URI. What is cached is read from the volume; of what is not, only the beginning, the index or whatever
part the format's reader asks for crosses the network, and nothing of it is kept.
"""
