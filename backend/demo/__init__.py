"""The demo: devices work offline, come back over a bad link, and everything adds up. Proven.

__main__   options, progress, exit status
stage      services, data, technicians, server, link
device     one technician's day: a real SDK client and a ledger of what it did
office     what becomes of a technician while they are offline
fleet      all devices at once: first sync, offline, reconnect until every outbox is empty
proof      the truth of the tables against every replica and every ledger
figures    what it came to, as a table or as JSON
"""
