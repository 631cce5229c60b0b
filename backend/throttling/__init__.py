"""Throttles: nobody takes so much of the server that others go short.

request -> who asks (identity) -> which windows count it (rates) -> counted in Redis (meter)
-> RateLimit headers on the answer, or 429 with Retry-After (throttle, headers)
"""
