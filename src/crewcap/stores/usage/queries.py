"""Statements about the index of transcripts, by name; the sentence above each says what it is for."""

from __future__ import annotations

# Every file that was read.
FILES = "SELECT id, path, agent, device, inode, size, mtime_ns, at, checked, state, problems FROM file"

# A file as it is now.
PUT_FILE = """
INSERT INTO file (path, agent, device, inode, size, mtime_ns, at, checked, state, problems)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (path) DO UPDATE SET
    agent = excluded.agent, device = excluded.device, inode = excluded.inode, size = excluded.size,
    mtime_ns = excluded.mtime_ns, at = excluded.at, checked = excluded.checked, state = excluded.state,
    problems = excluded.problems
RETURNING id
"""

# A file that was read as another agent's than it is, with what it told first.
DROP_FILE = "DELETE FROM file WHERE id = ?"
DROP_TOLD = "DELETE FROM message WHERE file = ?"

# Files of an agent of which nothing is known any more but that they were there: they are read from their beginning.
READ_AGAIN = "UPDATE file SET size = -1, at = 0, checked = 0, state = '{}', problems = '{}' WHERE agent = ?"

# A message that is told once more: the fuller telling is believed, the first time and its session are kept. It is the
# rule of `core.transcripts.better`, and the contract's tests compare the two.
_FULLER = """(excluded.output, excluded.input, excluded.cache_read, excluded.write_5m, excluded.write_1h)
    > (message.output, message.input, message.cache_read, message.write_5m, message.write_1h)"""
_BELIEVED = ("place", "kind", "input", "cache_read", "write_5m", "write_1h", "output", "thinking", "searches", "is_sub",
             "parts", "nano")  # fmt: skip
PUT_MESSAGE = f"""
INSERT INTO message (key, file, at, session, place, kind, input, cache_read, write_5m, write_1h, output, thinking,
    searches, is_sub, parts, nano)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET
    {", ".join(f"{name} = CASE WHEN {_FULLER} THEN excluded.{name} ELSE message.{name} END" for name in _BELIEVED)},
    session = CASE WHEN excluded.at < message.at THEN excluded.session ELSE message.session END,
    at = min(excluded.at, message.at)
WHERE excluded.at < message.at OR {_FULLER}
"""  # noqa: S608  (names of columns, all written above)

# A copy of a message may lack its request's id, and then has a key of its own, `claude:ID:`. It is the message whose
# key goes on from there, where there is just one, and that of its session or of its time. The order of the join is said
# because the other one would compare every message with every other.
COPIES = """
SELECT bare.key, min(told.key) FROM message AS bare
CROSS JOIN message AS told ON told.key > bare.key AND told.key < substr(bare.key, 1, length(bare.key) - 1) || ';'
WHERE bare.key GLOB 'claude:*:'
GROUP BY bare.key HAVING count(*) = 1 AND max(bare.session = told.session OR bare.at = told.at)
"""
MESSAGE = """
SELECT file, at, session, place, kind, input, cache_read, write_5m, write_1h, output, thinking, searches, is_sub, parts,
    nano
FROM message WHERE key = ?
"""
DROP_MESSAGE = "DELETE FROM message WHERE key = ?"

# Names that messages refer to.
SESSIONS = "SELECT agent, name, id FROM session"
PUT_SESSION = "INSERT INTO session (agent, name) VALUES (?, ?) RETURNING id"
PLACES = "SELECT folder, id, repo FROM place"
PUT_PLACE = "INSERT INTO place (folder, repo) VALUES (?, ?) RETURNING id"
KINDS = "SELECT agent, provider, model, speed, geo, tier, id FROM kind"
PUT_KIND = "INSERT INTO kind (agent, provider, model, speed, geo, tier) VALUES (?, ?, ?, ?, ?, ?) RETURNING id"

# Small facts.
FACT = "SELECT text FROM fact WHERE name = ?"
PUT_FACT = "INSERT INTO fact (name, text) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET text = excluded.text"
DROP_ANSWERS = "DELETE FROM fact WHERE name LIKE 'answer:%'"

# Everything that is needed to price messages again, in the order of their keys.
TO_PRICE = """
SELECT m.key, m.at, '', '', k.provider, k.model, m.input, m.cache_read, m.write_5m, m.write_1h, m.output, m.thinking,
    m.searches, k.speed, k.geo, k.tier, m.is_sub, m.parts
FROM message AS m JOIN kind AS k ON k.id = m.kind
WHERE m.key > ? ORDER BY m.key LIMIT ?
"""
REPRICE = "UPDATE message SET nano = ? WHERE key = ?"

# Sums by everything that reports ask for, by numbers: what they are called is looked up for the sums. Quarters of an
# hour are whole in every time zone.
SUMS = """
SELECT m.kind, m.place, {session} AS session, {bucket} AS bucket, m.is_sub,
    count(*), count(*) - count(m.nano), coalesce(sum(m.nano), 0), sum(m.input), sum(m.cache_read), sum(m.write_5m),
    sum(m.write_1h), sum(m.output), sum(m.thinking), sum(m.searches), min(m.at), max(m.at)
FROM message AS m
WHERE m.at >= :since{chosen}
GROUP BY 1, 2, 3, 4, 5
"""
QUARTER_HOUR_MS = 900_000
BUCKET = f"m.at / {QUARTER_HOUR_MS}"

# Files that a question is about; where these are all of them, nobody need be asked about each message's.
CHOOSE = "CREATE TEMP TABLE IF NOT EXISTS chosen (id INTEGER PRIMARY KEY)"
CLEAR_CHOSEN = "DELETE FROM chosen"
ADD_CHOSEN = "INSERT OR IGNORE INTO chosen (id) VALUES (?)"
IN_CHOSEN = " AND m.file IN (SELECT id FROM chosen)"
IS_CHOICE = "SELECT 1 FROM file WHERE id NOT IN (SELECT id FROM chosen) LIMIT 1"
