"""The route table: every path that is answered, with what it takes, what it gives, and who may call it.

Nothing outside this table is answered. A new endpoint is a handler and a row here.
"""

from __future__ import annotations

from typing import Any

from xserve.core.views import ModelView, PlanView, ReloadView, StatusView, WaitView
from xserve.http import admin, cluster, health, launching, models, registrations
from xserve.http.inference_routes import INFERENCE_ROUTES
from xserve.http.route import Route

_JSON_OR_EVENTS = ("application/json", "text/event-stream")
_TEXT = ("text/plain",)

ROUTES: tuple[Route, ...] = (
    # health
    Route("GET", "/livez", "public", health.livez, "health", "Does the loop turn?", response=health.HealthView),
    Route(
        "GET",
        "/readyz",
        "public",
        health.readyz,
        "health",
        "Does the daemon, or one model, answer?",
        query=health.ReadyQuery,
        response=health.HealthView,
    ),
    Route("GET", "/metrics", "read", health.metrics, "health", "Figures of xserve and its engines.", media=_TEXT),
    Route("GET", "/openapi.json", "public", health.openapi, "health", "This document.", response=dict[str, Any]),
    *INFERENCE_ROUTES,
    # models
    Route(
        "GET",
        "/v1/models",
        "infer",
        models.list_models,
        "models",
        "Models that take requests.",
        response=models.ModelList,
    ),
    Route(
        "GET",
        "/v1/models/{uid}",
        "infer",
        models.describe_model,
        "models",
        "One model.",
        response=models.ModelDescription,
        unknown=400,
    ),
    Route(
        "POST",
        "/v1/models",
        "admin",
        launching.launch,
        "models",
        "Deploy a registration.",
        request=launching.LaunchBody,
        query=launching.LaunchQuery,
        response=launching.LaunchView,
        unknown=400,
    ),
    Route("DELETE", "/v1/models/{uid}", "admin", launching.terminate, "models", "End a deployment.", unknown=400),
    # registrations
    Route(
        "GET",
        "/v1/model_registrations/{type}",
        "read",
        registrations.list_registrations,
        "registrations",
        "Definitions of a type.",
        query=registrations.RegistrationsQuery,
        response=list[registrations.RegistrationItem],
    ),
    Route(
        "POST",
        "/v1/model_registrations/{type}",
        "admin",
        registrations.register,
        "registrations",
        "Put a definition in force.",
        request=registrations.RegisterBody,
        unknown=400,
    ),
    Route(
        "GET",
        "/v1/model_registrations/{type}/{name}",
        "read",
        registrations.get_registration,
        "registrations",
        "One definition.",
        response=registrations.RegistrationItem,
        unknown=400,
    ),
    Route(
        "DELETE",
        "/v1/model_registrations/{type}/{name}",
        "admin",
        registrations.unregister,
        "registrations",
        "Remove a definition.",
        unknown=400,
    ),
    # cluster
    Route(
        "GET", "/v1/cluster/auth", "public", cluster.auth, "cluster", "Do calls need a key?", response=cluster.AuthView
    ),
    # our own
    Route("GET", "/xserve/v1/status", "read", admin.status, "xserve", "Everything at a glance.", response=StatusView),
    Route("GET", "/xserve/v1/models/{uid}", "read", admin.model, "xserve", "One deployment.", response=ModelView),
    Route(
        "GET",
        "/xserve/v1/models/{uid}/log",
        "read",
        admin.log,
        "xserve",
        "The log of a replica.",
        query=admin.LogQuery,
        media=_TEXT,
    ),
    Route("POST", "/xserve/v1/reload", "admin", admin.reload, "xserve", "Read all files now.", response=ReloadView),
    Route(
        "POST",
        "/xserve/v1/plan",
        "admin",
        admin.plan,
        "xserve",
        "What would be done with these files?",
        request=admin.PlanBody,
        response=PlanView,
    ),
    Route(
        "GET",
        "/xserve/v1/wait",
        "read",
        admin.wait,
        "xserve",
        "Wait until deployments are as wanted.",
        query=admin.WaitQuery,
        response=WaitView,
    ),
    Route(
        "GET",
        "/xserve/v1/events",
        "read",
        admin.events,
        "xserve",
        "What happened and what happens.",
        query=admin.EventsQuery,
        response=admin.EventsView,
        media=_JSON_OR_EVENTS,
    ),
    Route(
        "GET",
        "/xserve/v1/engines",
        "read",
        admin.engines,
        "xserve",
        "The engines of this machine.",
        query=admin.EnginesQuery,
        response=admin.EnginesView,
    ),
)
