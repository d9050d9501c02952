"""Lists the objects below a prefix, a URI a line. Argument: the prefix."""

import sys

import forebay
from forebay.remote import Remote

found = Remote(forebay.media_cache).list_objects(sys.argv[1])
sys.stdout.write("".join(f"{each.uri}\n" for each in found))
