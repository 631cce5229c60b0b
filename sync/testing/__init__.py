"""What tests of a project on top of `sync` use: faults on the line, so far.

faulty_link     an HTTP link that loses, cuts, doubles and delays; its seed repeats a run
http_line       where HTTP messages begin and end, for it
"""
