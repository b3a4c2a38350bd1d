"""Answers requests with Helm's own Go SDK, until standard input ends.

A request is a line of standard input, its answer a line of standard output; both
are JSON objects. `error` in an answer is what Helm says.
"""

import json
import sys

import helm_python
from helm_python import Chart, chart


def merged(base, over):
    """What Helm makes of two values files, the later one on top."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return base | {key: merged(base.get(key), value) for key, value in over.items()}


def values(request):
    together = {}
    for text in request["values"]:
        together = merged(together, chart.values_from_yaml(text))
    return together


def render(request):
    with Chart.load(request["chart"]) as loaded:
        files = loaded.render(
            values(request), name=request["release"], namespace=request["namespace"]
        )
    texts, objects = {}, {}
    for path, text in files.items():
        path = path.removeprefix("image-swap/templates/")
        texts[path] = text
        if path.endswith(".yaml") and text.strip():
            objects[path] = chart.values_from_yaml(text)
    return {"texts": texts, "objects": objects}


def defaults(request):
    with Chart.load(request["chart"]) as loaded:
        return {"values": loaded.values}


def lint(request):
    report = chart.lint(request["chart"], values(request), strict=True)
    return {"errors": report["errors"]}


def package(request):
    return {"archive": chart.package(request["chart"], destination=request["destination"])}


def cluster(request):
    """The cluster and the namespace that a request names."""
    return helm_python.Config(
        kubeconfig_path=request["kubeconfig"], namespace=request["namespace"]
    )


def upgrade_install(request):
    """`helm upgrade --install`: as Helm's own command, by whether there is a history."""
    name, options = request["release"], {"wait": request["wait"], "timeout": request["timeout"]}
    with cluster(request) as config:
        try:
            is_there = bool(config.history(name))
        except helm_python.HelmNotFoundError:
            is_there = False
        if is_there:
            return config.upgrade(request["chart"], name, values(request), **options)
        return config.install(
            request["chart"], name, values(request), create_namespace=True, **options
        )


def rollback(request):
    with cluster(request) as config:
        config.rollback(
            request["release"],
            version=request["revision"],
            wait=request["wait"],
            timeout=request["timeout"],
        )
    return {}


def uninstall(request):
    with cluster(request) as config:
        return config.uninstall(
            request["release"], wait=request["wait"], timeout=request["timeout"]
        )


def history(request):
    with cluster(request) as config:
        try:
            return {"revisions": config.history(request["release"])}
        except helm_python.HelmNotFoundError:
            return {"revisions": []}


VERBS = {
    "render": render,
    "defaults": defaults,
    "lint": lint,
    "package": package,
    "upgrade_install": upgrade_install,
    "rollback": rollback,
    "uninstall": uninstall,
    "history": history,
}

for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = VERBS[request["verb"]](request)
    except helm_python.HelmError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
