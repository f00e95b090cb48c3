"""Floor 3: the metering gateway, the only process that holds providers' keys.

server.py     the gateway as a whole: what is served, how it starts, drains and ends
doors.py      where requests come in: loopback, a run's unix socket, a listener handed out of a sandbox
control.py    what the command line and the runner may ask of a running gateway
admission.py  may this key ask this, and what is the most that it can cost
purse.py      money held, waited for, clamped, refused and settled; one writer thread
waiting.py    who is next when money is only held
latch.py      a key that can never pay again is told so at once
exchange.py   one request, forwarded and metered, whatever becomes of the client or the provider
ends.py       how each way in which a request can end is booked
freeze.py     a provider's key that is out of order
upstream.py   the one client to providers
headers.py    which headers pass, in each direction
client.py     finding or starting a gateway
"""
