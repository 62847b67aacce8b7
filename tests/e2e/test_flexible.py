"""Real flexible models through the real daemon: a definition, an entry, a call by Xinference's client.

The daemon runs the engine in the environment that was made for it; without one the tests are skipped.
"""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from xinference_client.client.restful.restful_client import Client

from ..engines.interpreters import ENVIRONMENTS, interpreter
from ..weights import model
from .conftest import Serve
from .daemon import ServedDaemon, wait_until
from .files import Config

LAUNCHERS = Path(__file__).parents[1] / "engines" / "launchers"
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
PATIENCE = 300.0  # seconds; scikit-learn and torch are slow to load on a busy machine

_, LACKING = interpreter("flexible")
pytestmark = [
    pytest.mark.skipif(bool(LACKING), reason=LACKING),
    pytest.mark.timeout(2 * PATIENCE),
]


def ready(daemon: ServedDaemon, uid: str) -> None:
    """Wait for it; fail at once where it cannot come."""
    state = wait_until(lambda: daemon.model(uid)["state"] in ("ready", "failed") and daemon.model(uid), uid, PATIENCE)
    assert state["state"] == "ready", state


def served(serve: Serve, **settings: object) -> ServedDaemon:
    """A daemon with the environments of the tests."""
    return serve(environments={"make": False, "directory": str(ENVIRONMENTS)}, **settings)


def test_code_of_ones_own_is_served_once_the_settings_allow_it(files: Config, serve: Serve) -> None:
    files.drop(
        {"model_name": "mood", "launcher": "sentiment.launcher", "launcher_args": json.dumps({"good": ["fine"]})}
    )
    files.deploy("mood", options={"probe": {"args": ["fine"]}})
    daemon = served(serve, allow_custom_launchers=["sentiment.*"], launcher_dirs=[str(LAUNCHERS)])
    ready(daemon, "mood")
    with closing(Client(daemon.url)) as client, closing(client.get_model("mood")) as mood:
        assert mood.infer("a fine and fine day") == {"score": 2}


def test_code_of_ones_own_waits_until_the_settings_allow_it(files: Config, serve: Serve) -> None:
    files.drop({"model_name": "mood", "launcher": "sentiment.launcher", "launcher_args": "{}"})
    files.deploy("mood")
    daemon = served(serve, launcher_dirs=[str(LAUNCHERS)])
    wait_until(lambda: "allow_custom_launchers" in json.dumps(daemon.model("mood")), "it says why it waits")


@pytest.mark.skipif(bool(model("iris.skops")[1]), reason=model("iris.skops")[1])
def test_an_estimator_is_served_from_its_file(files: Config, serve: Serve) -> None:
    weights, _ = model("iris.skops")
    files.drop(
        {"model_name": "iris", "model_uri": weights, "launcher": "xserve.launchers.sklearn", "launcher_args": "{}"}
    )
    files.deploy("iris", options={"probe": {"args": [FLOWERS]}})
    daemon = served(serve)
    ready(daemon, "iris")
    with closing(Client(daemon.url)) as client, closing(client.get_model("iris")) as iris:
        assert iris.infer(FLOWERS) == ["setosa", "virginica"]
        assert [round(sum(row), 6) for row in iris.infer(FLOWERS, method="predict_proba")] == [1, 1]
        with pytest.raises(RuntimeError, match="features"):
            iris.infer([[1.0]])
