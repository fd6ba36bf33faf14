"""Say what the authority in a folder says about itself, without its secrets: authority.py FOLDER"""

import json
import pathlib
import sys

folder = pathlib.Path(sys.argv[1])
record = folder / "state.json"
told = {}
if record.exists():
    told = json.loads(record.read_text())
    told["certificates"] = {path.parent.name: path.read_text() for path in folder.glob("*/ca.crt")}
print(json.dumps(told))
