"""Floor 3: a scripted provider on loopback, for the demo, the tests and `doctor`.

It speaks the Messages API, obeys the law that providers obey (MONEY 9), bills every answer on a meter of its own,
and plays a script whose steps are picked by what a request says. `crewcap.simulator.server.Simulator` is the door.
"""
