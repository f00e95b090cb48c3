"""Floor 2: the settings: what a user wrote, read once into frozen values.

    values.py      how one value is written: money, durations, scopes, addresses, key sources
    crons.py       how a cron line is written
    keysource.py   where a secret comes from, and reading it
    kinds.py       the kinds of values that a file holds, with their schemas
    models.py      what a file may say, and the frozen `Settings` that everything else reads
    served.py      the part of `Settings` that a gateway goes by; needs no models
    place.py       which file counts
    locate.py      the line on which a key stands, for messages
    resolve.py     what a file means: defaults filled in, names checked against one another
    unattended.py  the part of it that is for `serve`: slots, schedules, triggers, notices
    misplaced.py   a key that is well written and cannot be meant
    variables.py   the variables that are no secret, because programs obey them
    load.py        the user's file -> `Settings`, or one clear `SettingsError`
    repository.py  a repository's own `.crewcap.toml`: policy from strangers, merged under the user's
    hosts.py       the named lists of package hosts
    explain.py     every value with its origin; what this version does not serve yet; the JSON Schema

`crewcap.config` is the door; other floors import that.
"""
