"""What a guard's server says of itself: metadata, OpenAPI, and a page of it."""

from __future__ import annotations

import json
from typing import Any

from jinja2 import Environment, PackageLoader

from molehunt import __version__
from molehunt.guard._limits import Limits
from molehunt.guard._protocol import DATATYPES, INPUT, JSON_LENGTH
from molehunt.networks import ModelCard

_ERRORS = {
    400: "The request is not one of the protocol; `error` says what is wrong.",
    401: "No key, or an unknown one.",
    403: "The account is blocked.",
    404: "No such model.",
    408: "Headers or body came too slowly.",
    413: "The body is too long.",
    415: "The body is compressed.",
    429: "The account asks too fast; `Retry-After` says when it may ask again.",
    502: "The model behind the guard does not answer.",
    503: "Too many requests, or the guard's store does not answer.",
    504: "No answer in time.",
}


def describe_model(name: str, card: ModelCard, output: str) -> dict[str, Any]:
    """Return a model's metadata as the Open Inference Protocol has it.

    Parameters
    ----------
    name : str
    card : ModelCard
    output : str
        Name of the output.
    """
    return {
        "name": name,
        "versions": ["1"],
        "platform": "molehunt",
        "inputs": [{"name": INPUT, "datatype": "FP32", "shape": [-1, *card.input_shape]}],
        "outputs": [{"name": output, "datatype": "FP32", "shape": [-1, card.num_classes]}],
    }


def describe_api(
    name: str, card: ModelCard, output: str, limits: Limits, *, keyed: bool
) -> dict[str, Any]:
    """Return the server's description in OpenAPI 3.1.

    Parameters
    ----------
    name, card, output
        As in `describe_model`.
    limits : Limits
    keyed : bool
        Whether answers need a key.
    """
    model = f"/v2/models/{name}"
    gets = {
        "/v2": "The server's name and version",
        "/v2/health/live": "Whether the server lives",
        "/v2/health/ready": "Whether it answers",
        model: "The model's input and output",
        f"{model}/ready": "Whether the model answers",
        f"{model}/config": "The largest batch, as Triton says it",
        "/metrics": "Prometheus' metrics: with a key for them, else for this machine only",
    }
    paths: dict[str, Any] = {
        path: {"get": {"summary": summary, "responses": {"200": {"description": "Yes."}}}}
        for path, summary in gets.items()
    }
    numbers = [limits.batch, *card.input_shape]
    paths[f"{model}/infer"] = {
        "post": {
            "summary": f"The {output} of images",
            "description": (
                f"Pixels in [0, 1], or in 0 to 255 as UINT8; at most {limits.batch} images and "
                f"{limits.body} bytes. Raw tensors may stand behind the JSON, whose length "
                f"{JSON_LENGTH} tells."
            ),
            "security": [{"key": []}, {"plain": []}] if keyed else [],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _request_schema(numbers)}},
            },
            "responses": {
                "200": {
                    "description": f"{output} for {card.num_classes} classes",
                    "content": {"application/json": {"schema": _answer_schema(output)}},
                },
                **{
                    str(status): {
                        "description": text,
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Error"}}
                        },
                    }
                    for status, text in _ERRORS.items()
                },
            },
        }
    }
    error = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{name}, guarded by Molehunt",
            "version": __version__,
            "description": "The Open Inference Protocol, version 2. Queries are watched.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": error},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "plain": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def write_page(api: dict[str, Any]) -> str:
    """Return a page of a description; it loads nothing from anywhere."""
    page = Environment(
        loader=PackageLoader("molehunt.guard"), autoescape=True, trim_blocks=True
    ).get_template("api.html")
    return page.render(api=api, write=lambda value: json.dumps(value, indent=2))


def _request_schema(numbers: list[int]) -> dict[str, Any]:
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"const": INPUT},
            "shape": {"type": "array", "items": {"type": "integer"}, "examples": [numbers]},
            "datatype": {"enum": DATATYPES},
            "data": {"type": "array"},
            "parameters": {
                "type": "object",
                "properties": {"binary_data_size": {"type": "integer"}},
            },
        },
    }
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "items": tensor, "minItems": 1, "maxItems": 1},
            "outputs": {"type": "array", "maxItems": 1},
            "parameters": {
                "type": "object",
                "properties": {"binary_data_output": {"type": "boolean"}},
            },
        },
    }


def _answer_schema(output: str) -> dict[str, Any]:
    tensor = {
        "type": "object",
        "properties": {
            "name": {"const": output},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "datatype": {"const": "FP32"},
            "data": {"type": "array", "items": {"type": "number"}},
        },
    }
    return {
        "type": "object",
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"const": "1"},
            "id": {"type": "string"},
            "outputs": {"type": "array", "items": tensor},
        },
    }
