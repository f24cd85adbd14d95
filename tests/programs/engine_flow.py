"""A flow that engines execute, by the target `engine_flow:cp`.

The environment says where:

    ENGINE_STORE        the store of the flow
    ENGINE_OPTIONS      options of the flow, in JSON
    ENGINE_LOG          a file, which gets "begin RUN STEP KEY PROCESS" and "end ..." in one piece
    ENGINE_SECONDS      the least and the most seconds that a step takes, "0.02 0.08" by default
"""

from __future__ import annotations

import json
import os

from engine_steps import make_flow

cp = make_flow(os.environ["ENGINE_STORE"], **json.loads(os.environ["ENGINE_OPTIONS"]))
