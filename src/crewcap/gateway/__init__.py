"""Floor 3: the metering gateway, the only process that holds providers' keys.

server.py     the gateway as a whole: how it starts, drains and ends       reload.py   settings and prices anew
service.py    the list of paths                                            assemble.py from settings to a gateway
metered.py    the way of one metered request through the rooms             client.py   found or started by commands
control.py    what commands and the runner may ask of a running gateway    process.py  not to be looked into

front/        requests come in: doors, keys, paths, whose agent it is, and answers that are our own
money/        what a request may cost, whether the money is there, who waits, and how its end is booked
provider/     the way out and back: attempts, one exchange, a key's troubles, the provider's own limits
watching/     those who look on: metrics, spans, the log, what caches save
"""
