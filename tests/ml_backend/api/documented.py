"""Holds every answer of an app against its OpenAPI document: status, content type and shape."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import jsonschema_rs
from flask import Flask, Response, request

from ml_backend.api import openapi

_kept: dict[str, dict[str, Any]] = {}


def document(app: Flask) -> dict[str, Any]:
    """The document; made once for each of the two apps."""
    if app.name not in _kept:
        _kept[app.name] = openapi.document(app)
    return _kept[app.name]


@cache
def _validator(name: str, path: str, method: str, status: str) -> Any:
    schema = _kept[name]["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"]
    return jsonschema_rs.Draft202012Validator(
        {**schema, "components": _kept[name]["components"]}, validate_formats=True, ignore_unknown_formats=False
    )


def check(app: Flask) -> Flask:
    """Make the app fail where it gives an answer that its document does not describe."""

    def describe(response: Response) -> Response:
        method = request.method.lower().replace("head", "get")
        if request.url_rule is None or response.status_code == 500 or request.path.startswith("/page/"):
            return response
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", request.url_rule.rule)
        described = document(app)["paths"][path][method]["responses"]
        status = str(response.status_code)
        assert status in described, f"{request.method} {path} gave {status}, which is not documented"
        if not described[status]["content"]:
            return response
        assert response.mimetype in described[status]["content"], f"{path} gave {response.mimetype}"
        if response.is_json:
            wrong = [
                f"{each.instance_path}: {each.message}"
                for each in _validator(app.name, path, method, status).iter_errors(response.get_json())
            ]
            assert not wrong, f"{request.method} {path} {status}: {wrong}"
        return response

    app.after_request(describe)
    return app
