"""The table of who serves what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from xserve.core.exposure import Exposure
from xserve.http.errors import ApiError
from xserve.http.meter import Histogram
from xserve.http.metrics import TrafficCollector
from xserve.http.traffic import Traffic, Unavailable


@pytest.fixture
def drained() -> list[str]:
    return []


@pytest.fixture
def traffic(drained: list[str]) -> Traffic:
    return Traffic(drained.append)


def publish(traffic: Traffic, uid: str = "m", replicas: int = 2, **exposure) -> None:
    traffic.publish(uid, Exposure("LLM", **exposure))
    traffic.set_endpoints(uid, [(f"{uid}-{n}", f"/{uid}/{n}") for n in range(replicas)])


def test_a_model_is_found_by_its_uid_and_its_aliases(traffic):
    publish(traffic, aliases=("gpt", "other"))
    assert traffic.resolve("m") is traffic.resolve("gpt") is traffic.resolve("other")
    assert traffic.resolve("M") is None


def test_aliases_change_live_and_go_with_their_model(traffic):
    publish(traffic, aliases=("old",))
    lease = traffic.enter("m")
    traffic.publish("m", Exposure("LLM", aliases=("new",)))
    assert traffic.resolve("old") is None
    assert traffic.resolve("new").uid == "m"
    assert traffic.in_flight(lease.instance) == 1, "a request in flight is not disturbed"
    traffic.withdraw("m")
    assert traffic.resolve("new") is None


def test_a_uid_wins_over_an_alias_and_the_first_alias_over_later_ones(traffic):
    publish(traffic, "a", aliases=("b", "shared"))
    publish(traffic, "b", aliases=("shared",))
    assert traffic.resolve("b").uid == "b"
    assert traffic.resolve("shared").uid == "a"
    traffic.withdraw("b")
    assert traffic.resolve("shared").uid == "a"


def test_an_adapter_is_found_like_an_alias_and_goes_with_its_model(traffic):
    publish(traffic, adapters={"legal": {}})
    assert traffic.resolve("legal") is traffic.resolve("m")
    traffic.publish("m", Exposure("LLM", adapters={"tone": {}}))
    assert traffic.resolve("legal") is None
    assert traffic.resolve("tone").uid == "m"
    traffic.withdraw("m")
    assert traffic.resolve("tone") is None


@pytest.mark.parametrize("first", ["a", "b"])
def test_an_alias_moves_whichever_of_its_owners_is_told_first(traffic, first):
    before = {"a": (), "b": ("moved",)}
    after = {"a": ("moved",), "b": ()}
    for uid, aliases in before.items():
        publish(traffic, uid, aliases=aliases)
    for uid in (first, "ab".replace(first, "")):
        traffic.publish(uid, Exposure("LLM", aliases=after[uid]))
    assert traffic.resolve("moved").uid == "a"
    traffic.withdraw("a")
    assert traffic.resolve("moved") is None


def test_an_alias_stays_with_its_owner_when_something_else_of_it_changes(traffic):
    publish(traffic, "a", aliases=("shared",))
    publish(traffic, "b", aliases=("shared",))
    traffic.publish("a", Exposure("LLM", aliases=("shared",), request_limit=1))
    assert traffic.resolve("shared").uid == "a"
    traffic.withdraw("a")
    assert traffic.resolve("shared").uid == "b"


def test_equally_idle_replicas_take_turns(traffic):
    publish(traffic, replicas=3)
    chosen = []
    for _ in range(6):
        lease = traffic.enter("m")
        chosen.append(lease.instance)
        lease.release()
    assert sorted(chosen) == ["m-0", "m-0", "m-1", "m-1", "m-2", "m-2"]


@given(st.lists(st.booleans(), max_size=60))
def test_a_request_always_enters_a_replica_with_the_fewest_in_flight(steps):
    traffic = Traffic(lambda instance: None)
    publish(traffic, replicas=3)
    leases = []
    for enters in steps:
        counts = {f"m-{n}": traffic.in_flight(f"m-{n}") for n in range(3)}
        if enters or not leases:
            leases.append(traffic.enter("m"))
            assert counts[leases[-1].instance] == min(counts.values())
        else:
            leases.pop(0).release()
    assert sum(traffic.in_flight(f"m-{n}") for n in range(3)) == len(leases)


def test_beyond_the_limit_of_every_replica_is_429_and_a_release_makes_room(traffic):
    publish(traffic, request_limit=1)
    first, _ = traffic.enter("m"), traffic.enter("m")
    with pytest.raises(ApiError, match="Rate limit reached for the model m") as refused:
        traffic.enter("m")
    assert refused.value.status == 429
    first.release()
    first.release()
    traffic.enter("m")
    with pytest.raises(ApiError):
        traffic.enter("m")


def test_a_changed_limit_holds_at_once(traffic):
    publish(traffic, replicas=1, request_limit=1)
    traffic.enter("m")
    traffic.publish("m", Exposure("LLM", request_limit=2))
    traffic.enter("m")
    with pytest.raises(ApiError):
        traffic.enter("m")


def test_a_draining_replica_gets_nothing_new_and_reports_its_last_release_once(traffic, drained):
    publish(traffic)
    leases = [traffic.enter("m") for _ in range(4)]
    traffic.drain("m-0")
    assert {traffic.enter("m").instance for _ in range(3)} == {"m-1"}
    mine = [lease for lease in leases if lease.instance == "m-0"]
    for lease in mine:
        assert drained == []
        lease.release()
    assert drained == ["m-0"]
    assert traffic.in_flight("m-0") == 0


def test_a_release_reports_nothing_unless_the_replica_drains(traffic, drained):
    publish(traffic)
    traffic.enter("m").release()
    lease = traffic.enter("m")
    traffic.withdraw("m")
    lease.release()
    assert drained == []


def test_replicas_that_are_gone_leave_nothing_behind(traffic):
    publish(traffic)
    lease = traffic.enter("m")
    traffic.set_endpoints("m", [("new", "/new")])
    lease.release()
    traffic.withdraw("m")
    assert not traffic._replicas


def test_draining_an_idle_or_unknown_replica_reports_at_once(traffic, drained):
    publish(traffic)
    traffic.drain("m-0")
    traffic.drain("nobody")
    assert drained == ["m-0", "nobody"]


def test_a_replica_that_is_no_endpoint_any_more_finishes_and_can_be_drained(traffic, drained):
    publish(traffic, replicas=1)
    lease = traffic.enter("m")
    traffic.set_endpoints("m", [("new", "/new")])
    assert traffic.enter("m").instance == "new"
    traffic.drain("m-0")
    assert (drained, traffic.in_flight("m-0")) == ([], 1)
    lease.release()
    assert (drained, traffic.in_flight("m-0")) == (["m-0"], 0)


def test_a_replica_that_comes_back_keeps_its_count_and_can_be_drained(traffic):
    publish(traffic, replicas=1)
    first = traffic.enter("m")
    traffic.set_endpoints("m", [])
    traffic.set_endpoints("m", [("m-0", "/m/0")])
    again = traffic.enter("m")
    assert (again.instance, traffic.in_flight("m-0")) == ("m-0", 2)
    first.release()
    again.release()
    traffic.drain("m-0")
    with pytest.raises(ApiError):
        traffic.enter("m")


def test_a_drained_replica_stays_out_even_if_it_is_listed_again(traffic):
    publish(traffic)
    traffic.drain("m-0")
    traffic.set_endpoints("m", [("m-0", "/m/0"), ("m-1", "/m/1")])
    assert {traffic.enter("m").instance for _ in range(4)} == {"m-1"}


def test_a_withdrawn_model_finishes_its_requests(traffic, drained):
    publish(traffic, replicas=1)
    lease = traffic.enter("m")
    traffic.withdraw("m")
    with pytest.raises(ApiError, match="Model not found"):
        traffic.enter("m")
    traffic.drain("m-0")
    lease.release()
    assert drained == ["m-0"]


def test_replicas_to_avoid_are_avoided(traffic):
    publish(traffic)
    assert {traffic.enter("m", avoid=["m-0"]).instance for _ in range(3)} == {"m-1"}


@pytest.mark.parametrize(
    ("explanation", "status", "start", "headers"),
    [
        (Unavailable.loading("60 %"), 503, "Model is loading, please retry later: 60 %", ((b"retry-after", b"30"),)),
        (Unavailable.failed("Out of memory."), 503, "Out of memory.", ()),
        (lambda: Unavailable(500, "now"), 500, "now", ()),
        (None, 503, "No replica of the model m is ready.", ((b"retry-after", b"5"),)),
    ],
)
def test_a_model_without_a_ready_replica_says_why(traffic, explanation, status, start, headers):
    publish(traffic, replicas=0)
    traffic.explain("m", explanation)
    with pytest.raises(ApiError) as refused:
        traffic.enter("m")
    assert (refused.value.status, refused.value.headers) == (status, headers)
    assert refused.value.message.startswith(start)


def test_an_unknown_name_is_told_what_there_is(traffic):
    assert traffic.unknown("x").message == "Model not found in the model list, uid: x. Available: none."
    for n in range(30):
        publish(traffic, f"m{n:02}", replicas=1)
    publish(traffic, "a-model-that-waits", replicas=0)
    message = traffic.unknown("x").message
    assert message.startswith("Model not found in the model list, uid: x. Available: m00, m01, ")
    assert message.endswith("m19, ....")


@given(st.lists(st.floats(0, 1000), max_size=50))
def test_a_histogram_counts_every_duration_in_each_bucket_that_holds_it(durations):
    histogram = Histogram()
    for duration in durations:
        histogram.observe(duration)
    for bound, count in histogram.cumulative():
        assert count == sum(duration <= float(bound) for duration in durations)
    assert histogram.sum == sum(durations)


def test_the_figures_are_valid_prometheus_text(traffic):
    publish(traffic)
    traffic.enter("m")
    meter = traffic.resolve("m").meter
    meter.count("2xx", 0.2)
    meter.count("2xx", 0.02)
    meter.first_byte.observe(0.1)
    registry = CollectorRegistry()
    registry.register(TrafficCollector(traffic))
    text = generate_latest(registry).decode()
    assert 'xserve_requests_total{model="m",outcome="2xx"} 2.0' in text
    assert 'xserve_requests_in_flight{model="m"} 1.0' in text
    assert 'xserve_request_seconds_bucket{le="0.025",model="m"} 1.0' in text
    assert 'xserve_request_seconds_count{model="m"} 2.0' in text
    assert 'xserve_first_byte_seconds_count{model="m"} 1.0' in text
