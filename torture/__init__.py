"""What crewcap's books live through: gateways killed at every named point, streams cut at every byte, sick disks.

    python -m torture [--short] [--seed N] [--only kills,moments,cuts,books,clocks,pairs]

Each trial has real parts alone: a gateway, a ledger on disk, HTTP on loopback, a provider that bills on a meter of its
own. After each the same law is checked (`law.py`). The seed of every trial is printed, and repeats it.
"""
