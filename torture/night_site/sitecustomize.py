"""Python imports this by itself where the folder is on PYTHONPATH: so the real commands pass the night's points."""

import crewcap_fate

crewcap_fate.watch()
