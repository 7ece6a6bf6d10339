"""The study of eyeglasses: its figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from molehunt.attacks import Masked, draw_eyeglasses
from molehunt.networks import Queried, Reveals
from molehunt.plotting import COLOURS
from molehunt_studies.eyeglasses.models import SIGNS, VIEWS, EyeglassesBench
from molehunt_studies.eyeglasses.signs import METHODS, attacked_classes, stuck


def area_figure(faces: Mapping[str, Any]) -> Figure:
    """Draw impersonation over the share of pixels, with what is possible at all."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for colour, (network, found) in zip(COLOURS, faces.items(), strict=False):
        areas = found["areas"]
        shares = [100 * area["share"] for area in areas]
        rates = np.array([area["rate"] for area in areas], dtype=float)
        ends = np.array([area["interval"] for area in areas]).T
        axes.errorbar(
            shares,
            rates,
            np.clip([rates - ends[0], ends[1] - rates], 0, None),
            marker="o",
            color=colour,
            capsize=2,
            linewidth=1.5,
            label=network,
        )
        if "ceiling" in areas[0]:
            bounds = [area["ceiling"]["rate"] for area in areas]
            axes.plot(shares, bounds, "x--", color="#222222", label=f"{network}: no attack passes")
    axes.axvline(8, color="#999999", linewidth=1, linestyle=":")
    axes.set_xlabel("pixels in the frames (%)")
    axes.set_ylabel("impersonation, 95 % interval")
    axes.set_ylim(-0.02, 1.02)
    axes.grid(axis="y", color="#eeeeee")
    axes.legend(fontsize=8, frameon=False)
    return figure


def query_figure(faces: Mapping[str, Any]) -> Figure:
    """Draw the share of photographs that dodge or impersonate after so many queries."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    kinds = {
        "queries, dodging": ("-", "dodging"),
        "queries, impersonation": ("--", "impersonation"),
        "list, impersonation": (":", "impersonation, three best"),
    }
    for colour, (network, found) in zip(COLOURS, faces.items(), strict=False):
        for kind, (style, said) in kinds.items():
            attack = found["attacks"][kind]
            needed = [1, *attack["needed"], attack["most_queries"]]
            share = np.arange(len(needed) - 1) / attack["n"]
            axes.step(
                needed,
                [*share, share[-1]],
                style,
                where="post",
                color=colour,
                label=f"{network}, {said}",
            )
    axes.set_xscale("log")
    axes.set_xlabel("queries for a photograph")
    axes.set_ylabel("succeeded")
    axes.set_ylim(-0.02, 1.02)
    axes.grid(axis="y", color="#eeeeee")
    axes.legend(fontsize=8, frameon=False)
    return figure


def glasses_figure(bench: EyeglassesBench) -> Figure:
    """Draw pairs of glasses alone, each learned from one person's photographs."""
    plan = bench.plan.faces
    mask = draw_eyeglasses(plan.size, plan.size, row=plan.row, rim=plan.rim)
    target = Queried(bench.model(plan.main), reveals=Reveals.WEIGHTS)
    attack = Masked(mask, steps=plan.steps, lr=plan.lr)
    rows = mask.any(1).nonzero().flatten()
    cut = slice(max(0, int(rows[0]) - 2), int(rows[-1]) + 3)
    people = sorted(set(bench.photographs().labels.tolist()))[:3]
    figure = Figure(figsize=(7, 1.6), layout="constrained")
    for axes, person in zip(figure.subplots(1, len(people), squeeze=False)[0], people, strict=True):
        mine = bench.faces.train.take(bench.faces.train.labels == person)
        mine = mine.take(torch.arange(min(len(mine), 7)))
        generator = torch.Generator().manual_seed(bench.plan.seed * 1_000 + person)
        pattern = attack.learn(target, mine.pixels(), mine.labels, None, generator)
        shown = torch.where(mask, pattern[0], torch.full((), 0.6))
        axes.imshow(shown[cut].numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_axis_off()
    return figure


def sign_figure(bench: EyeglassesBench) -> Figure:
    """Draw signs as they are, with stickers, and with a sticker in other views."""
    shown = list(METHODS)[1:4]
    pairs = attacked_classes(bench)[:6]
    model, names = bench.model(SIGNS), bench.signs.test.class_names
    target = Queried(model, reveals=Reveals.WEIGHTS)
    figure = Figure(figsize=(1.35 * len(pairs), 1.5 * (len(shown) + 2)), layout="constrained")
    grid = figure.subplots(len(shown) + 2, len(pairs), squeeze=False)
    for column, (sign, wanted) in enumerate(pairs):
        pictures: list[Tensor] = []
        for method in shown:
            images, worn = stuck(bench, target, sign, wanted, method)
            if not pictures:
                pictures.append(images.images[:1].float() / 255)
            pictures.append(worn[:1].float() / 255)
        generator = torch.Generator().manual_seed(sign)
        pictures.insert(3, VIEWS(pictures[2], generator))
        for axes, picture in zip(grid[:, column], pictures, strict=True):
            shown_picture = picture[0].permute(1, 2, 0).clamp(0, 1)
            axes.imshow(shown_picture.expand(-1, -1, 3).numpy(), interpolation="nearest")
            with torch.no_grad():
                called = int(model((picture * 255).round() / 255).argmax(1))
            colour = {sign: "#222222", wanted: "#d55e00"}.get(called, "#cc79a7")
            axes.set_title(_short(names[called]), fontsize=6, color=colour)
            axes.set_axis_off()
    return figure


def _short(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:19]}…"
