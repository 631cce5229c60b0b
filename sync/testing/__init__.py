"""What tests of a project on top of `sync` use: faults of the line and of the server.

faulty_link        an HTTP link that loses, cuts, doubles and delays; its seed repeats a run
http_line          where HTTP messages begin and end, for it
failpoints         something happens inside a push, at a named point: it fails, or it waits
remote_failpoints  the same in server processes, which can be killed where they stand
database_link      a line to PostgreSQL that breaks at COMMIT
"""
