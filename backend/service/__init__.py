# SPDX-License-Identifier: GPL-3.0-or-later
"""The service: a supervisor that owns sockets, journal and files; a disposable worker that owns the device.

serve.py            assembles the process, holds its lifetime
supervisor.py       answers clients, feeds the worker
front.py            who is there, who listens, who is owed a result
intake.py           accepted jobs on their way in
ledger.py           every change of a job, in the order that loses nothing
jobs.py             what may become of a job, as data
journal.py          jobs on disk
spool.py            planes on disk, until their job ends
results.py          finished pictures on disk
worker_keeper.py    keeps a worker running
worker_process.py   one start of the worker, seen from the supervisor
worker.py           the worker
channel.py          the pipe between the two
process.py          single instances, when to end, children that do not outlive their parent
"""
