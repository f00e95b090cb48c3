"""Python imports this by itself where the folder is on PYTHONPATH: so the real commands pass the night's points."""

import crewcap_fate  # type: ignore[import-not-found]  # beside this file, on the path of those who are to die

crewcap_fate.watch()
