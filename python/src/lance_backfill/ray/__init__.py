"""Workers on a Ray cluster: one supervisor job, and one detached actor for each share of a device.

An actor only reserves its share and keeps the ordinary worker program running: batches, heartbeats
and hosts are that program's.  Nothing here holds work, so whatever dies is started again.

`python -m lance_backfill.ray.supervisor` is the job.  Only these modules import Ray: `actor`,
`cluster` and `supervisor`; the others decide, and need the standard library alone.
"""
