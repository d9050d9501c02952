"""Parts of large objects: files that can be read before all of their bytes are there.

`opening` gives the file, `versions` finds out of which version. `part_file` is the file, and `block_reader`
gets what it reads, ahead of it where `pattern` sees what comes next. `completion` makes a cached file of all
blocks. `part_work` fetches the parts that a job names, and those that an object of a job lacks; `warmed`
tells which of the former are there.
"""
