"""The page about object stores: its code runs, and its table of costs is what is measured."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from typing import TYPE_CHECKING, Any

from faulty_objects import names
from locations import ROOT
from object_server import ADMIN, REGION

from aiocheckpoint import CheckpointFlow
from aiocheckpoint.handlers.objects import ObjectStateHandler

if TYPE_CHECKING:
    from object_server import ObjectServer

PAGE = (ROOT / "docs" / "objects.md").read_text("utf-8")
PYTHON = re.findall(r"^```py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def execute(block: str, found: dict[str, Any]) -> None:
    """Execute a block as a prompt does that knows `await`."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    made = eval(compile(block, "objects.md", "exec", flags=flags), found)  # noqa: S307
    if inspect.iscoroutine(made):
        asyncio.run(made)


def test_code(objects: ObjectServer, bucket: str, bucket_url: str) -> None:
    """Each block runs, on a bucket of the server of the tests."""
    settings = {
        "endpoint": objects.endpoint,
        "region": REGION,
        "access_key_id": ADMIN.access,
        "secret_access_key": ADMIN.secret,
        "client_options": {"allow_http": True},
    }
    found: dict[str, Any] = {"settings": settings}
    query = bucket_url.partition("?")[2]
    flows = list[CheckpointFlow[Any]]()
    for block in PYTHON:
        execute(block.replace("BUCKET", bucket).replace("QUERY", query), found)
        if found["cp"] not in flows:
            flows.append(found["cp"])
    assert len(PYTHON) == len(flows) == 3
    assert flows[0].handler.flow == "orders"
    # The store of the second block is the place of the first.
    assert [header.run_id for header in flows[1].runs()] == ["order-42"]
    assert flows[2].runs() == []
    for cp in flows:
        cp.handler.close()


def test_options() -> None:
    """The table of options has those of the handler, with their defaults."""
    signature = inspect.signature(ObjectStateHandler)
    for name in ("lease", "patience", "connections"):
        default = signature.parameters[name].default
        assert re.search(rf"^\| `{name}=` .* \| {default:g} \|$", PAGE, re.MULTILINE), name
    assert "`prefix=`" in PAGE


def test_objects(objects: ObjectServer, bucket: str, bucket_url: str) -> None:
    """The table of objects names all folders that a flow makes."""
    cp: CheckpointFlow[Any] = CheckpointFlow(bucket_url, name="f", keep=3)
    cp.add_step(name="a")(lambda state: None)
    cp.run({}, run_id="x")
    cp.handler.close()
    folders = {name.split("/")[2] for name in names(objects, bucket)}
    assert folders == {"runs", "open", "done", "kept"} & folders | {"runs", "done", "kept"}
    for folder in folders:
        assert f"`flows/FLOW/{folder}/" in PAGE
