"""Floor 4: `crewcap serve`, the small process that keeps a gateway and a worker alive.

supervisor.py  the whole: start, watch, end            claim.py   one serve a home, and its note
keeping.py     one child that is kept alive            keys.py    providers' keys, for a gateway that starts again
children.py    one process, and what it says           reading.py what of the settings is needed here
fellow.py      the other side: what a worker does      unit.py    the systemd unit
pulse.py       whether a worker's loop goes round      systemd.py what systemd is told
"""
