"""A report as one page of HTML that needs nothing else: drawings, numbers and scripts are inside."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .bits import Figures
from .dataset import DataError
from .figures import Figure
from .files import write_whole
from .svg import DARK, LIGHT, standalone

__all__ = ["GENERATOR", "NUMBERS", "Claim", "claims", "export", "page"]

GENERATOR = "<meta name='generator' content='ringpair'>"
"""Tells a report from any other page."""
NUMBERS = "metrics.json"
"""All numbers, beside the exported figures."""

Claim = tuple[str, str, str, str]
"""Claim, target, what was found, verdict."""
TARGETS: tuple[tuple[str, str, float, bool, str], ...] = (
    ("Uniqueness of the device's bits", "uniqueness", 0.493, True, ".2%"),
    ("Reliability of single reads", "reliability", 0.999, True, ".3%"),
    ("Helper data tell nothing: bits per ring", "leakage_bits_per_ring", 0.001, False, ".5f"),
)
ENTROPY_TARGET, FAILURE_TARGET = 128, 1e-9
SHOWN = (
    ("bits", "d"),
    ("uniqueness", ".2%"),
    ("reliability", ".3%"),
    ("uniformity", ".2%"),
    ("bit_aliasing_sd", ".4f"),
    ("bit_aliasing_sd_corrected", ".4f"),
    ("min_entropy_per_bit", ".3f"),
    ("min_entropy_of_fair_bits", ".3f"),
    ("min_entropy_per_bit_corrected", ".3f"),
    ("steadiness", ".4f"),
    ("diffuseness", ".4f"),
    ("leakage_bits_per_ring", ".5f"),
    ("wrong_bits", "d"),
    ("bits_read", "d"),
    ("largest_within", "d"),
    ("smallest_between", "d"),
)


def claims(result: Figures) -> list[Claim]:
    """What a device of this kind promises, and whether these chips show it.

    "met" and "not met" if the whole interval says so, "open" if the target lies inside it.
    """
    rows: list[Claim] = []
    device = result["methods"].get("device", {})
    for text, name, target, above, form in TARGETS:
        if device.get(name) is not None:
            sign = "≥" if above else "≤"
            rows.append(
                (text, f"{sign} {target:{form}}", _cell(device, name, form), _verdict(device, name, target, above))
            )
    if device.get("bits_read"):
        found = f"{device['wrong_bits']} of {device['bits_read']}"
        rows.append(("No wrong bit after enrollment", "0", found, "met" if not device["wrong_bits"] else "not met"))
    entropy = result.get("entropy")
    if entropy and "total" in entropy:
        found = _cell(entropy, "total", ".0f")
        rows.append(
            (
                f"Entropy of {entropy['rings']} rings, bits",
                f"≥ {ENTROPY_TARGET}",
                found,
                _verdict(entropy, "total", 128, True),
            )
        )
    for row in result.get("key_failure", {}).get("measured", ()):
        if row["shift"] in (0, 0.15) and row["budget"] > 256:
            text = f"Keys lost at {row['budget']} tries, measured rings" + (
                ", moved 0.15 sigma" if row["shift"] else ""
            )
            found = "< 1e-15" if row["rate"] < 1e-15 else f"{row['rate']:.1e}"
            rows.append((text, f"≤ {FAILURE_TARGET:.0e}", found, _verdict(row, "rate", FAILURE_TARGET, False)))
    return rows


def _verdict(figures: Figures, name: str, target: float, above: bool) -> str:
    low, high = figures.get(f"{name}_ci") or (figures[name], figures[name])
    if not above:
        low, high, target = -high, -low, -target
    return "met" if low >= target else "not met" if high < target else "open"


def _cell(figures: Figures, name: str, form: str) -> str:
    value = figures.get(name)
    if value is None:
        return "–"
    interval = figures.get(f"{name}_ci")
    text = f"{value:{form}}" if form != "d" else f"{value:,}".replace(",", "\u202f")
    return text + (f" [{interval[0]:{form}}, {interval[1]:{form}}]" if interval else "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], marked: bool = False) -> str:
    def cell(text: str, last: bool) -> str:
        kind = f" class='{text.split()[0]}'" if marked and last else ""
        value, bracket, interval = text.partition(" [")
        more = f"<span>{bracket}{escape(interval)}</span>" if bracket else ""
        return f"<td{kind}>{escape(value)}{more}</td>"

    body = "".join(
        "<tr>" + "".join(cell(text, number == len(row) - 1) for number, text in enumerate(row)) + "</tr>"
        for row in rows
    )
    return (
        f"<div class='wide'><table><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>{body}</table></div>"
    )


def _csv(figure: Figure) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([figure.columns, *figure.rows])
    return out.getvalue()


def page(result: Figures, without_table: Figures | None, figures: Sequence[Figure], title: str) -> str:
    """The whole page.

    Parameters
    ----------
    result : dict
        From `evaluate`.
    without_table : dict, optional
        Figures of the device method without a layout table, and the entropy account then.
    figures : sequence of Figure
    title : str
    """
    methods = dict(result["methods"])
    if without_table is not None:
        methods["device, no table"] = without_table
    shown = [
        [name.replace("_", " "), *(_cell(values, name, form) for values in methods.values())]
        for name, form in SHOWN
        if any(values.get(name) is not None for values in methods.values())
    ]
    entropy = result["entropy"] or {}
    if "total" in entropy:
        totals = [entropy if name == "device" else values.get("entropy", {}) for name, values in methods.items()]
        shown.append([f"entropy of {entropy['rings']} rings, bits", *(_cell(own, "total", ".1f") for own in totals)])
    facts = {
        "Silicon": result["silicon"],
        "Chips": str(result["chips"]),
        "Rings a chip": str(result["rings"]),
        "Reads a ring": str(result["reads"]),
        "Conditions": "; ".join(result["conditions"]),
        "Floorplan": result["floorplan"],
        "Device method": f"layout table {result['methods'].get('device', {}).get('layout', 'not evaluated')}",
        "Intervals": f"{result['confidence']:.0%}, {result['replicates']} bootstrap replicates over chips",
        "Made by": f"ringpair {version('ringpair')}",
    } | {str(key): str(value) for key, value in result["metadata"].items()}
    if result["silicon"] == "simulated":
        facts["Note"] = "All values come from a model of silicon, none was measured."
    definitions = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts.items())
    notes = "".join(f"<li>{escape(note)}</li>" for note in result["notes"])
    drawings = "".join(
        f"<figure id='{figure.name}'><h3>{escape(figure.title)}</h3>{figure.svg}"
        f"<figcaption>{escape(figure.caption)}</figcaption><p class='save'>"
        + "".join(f"<button data-kind='{kind}'>{kind.upper()}</button>" for kind in ("png", "svg", "csv"))
        + f"</p><script type='text/csv'>{escape(_csv(figure), quote=False)}</script></figure>"
        for figure in figures
    )
    summary = _table(("Claim", "Target", "Found", "Verdict"), claims(result), marked=True)
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"{GENERATOR}<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{_style()}</style></head><body><main>"
        f"<h1>{escape(title)}</h1><dl>{definitions}</dl>{f'<ul class=notes>{notes}</ul>' if notes else ''}"
        f"<h2>Summary</h2>{summary}"
        "<p class='small'>Met or not met: the whole interval lies on that side of the target; open: the "
        "target lies within it.</p>"
        f"<h2>Bits, made in {len(result['methods'])} ways from the same counts</h2>{_table(('', *methods), shown)}"
        f"<h2>Figures</h2>{drawings}</main><script>{SCRIPT}</script></body></html>\n"
    )


def export(folder: Path, figures: Sequence[Figure], result: Figures) -> list[Path]:
    """Write every figure as SVG and CSV, and all numbers as JSON.

    Raises
    ------
    DataError
        The folder cannot be written.
    """
    texts = {NUMBERS: json.dumps(result) + "\n"}
    for figure in figures:
        texts |= {f"{figure.name}.svg": standalone(figure.svg), f"{figure.name}.csv": _csv(figure)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror}") from error
    for name, text in texts.items():
        write_whole(folder / name, text)
    return [folder / name for name in texts]


def _style() -> str:
    def variables(colors: dict[str, Any]) -> str:
        return "".join(f"--{name}:{value};" for name, value in colors.items())

    return (
        f":root{{color-scheme:light dark;{variables(LIGHT)}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{variables(DARK)}}}}}{STYLE}"
    )


STYLE = """
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:900px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:26px;line-height:1.25;margin:0 0 14px;overflow-wrap:anywhere}
h2{font-size:19px;margin:34px 0 10px}h3{font-size:16px;margin:0 0 8px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px;margin:0}dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
.notes,.small,figcaption{color:var(--soft);font-size:13.5px}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:5px 14px 5px 0;border-bottom:1px solid var(--grid);vertical-align:top}
th{color:var(--soft);font-weight:600}td.met{color:var(--good)}td.not{color:var(--bad)}td.open{color:var(--open)}
td span{color:var(--soft);white-space:nowrap;font-size:13px;display:inline-block;padding-left:.3em}
td.met,td.not,td.open{font-weight:600;white-space:nowrap}
figure{margin:0 0 34px;break-inside:avoid}figure svg{width:100%;height:auto;display:block}
.save{margin:8px 0 0}button{font:12px system-ui,sans-serif;color:var(--soft);background:none;
border:1px solid var(--grid);
border-radius:4px;padding:3px 9px;margin-right:6px;cursor:pointer}button:hover{color:var(--ink)}
@media print{.save{display:none}main{max-width:none;padding:0}body{font-size:11pt}*{print-color-adjust:exact;
-webkit-print-color-adjust:exact}h2,h3{break-after:avoid}}
"""
SCRIPT = """
const save=(blob,name)=>{const a=document.createElement('a');a.href=URL.createObjectURL(blob);a.download=name;a.click();
setTimeout(()=>URL.revokeObjectURL(a.href),1e3)};
const drawing=(figure)=>{const svg=figure.querySelector('svg').cloneNode(true),box=svg.viewBox.baseVal;
const colors=getComputedStyle(document.documentElement);svg.setAttribute('xmlns','http://www.w3.org/2000/svg');
svg.setAttribute('width',box.width);svg.setAttribute('height',box.height);
return [svg.outerHTML.replace(/var\\((--[a-z0-9-]+)\\)/g,(_,name)=>colors.getPropertyValue(name).trim()),box,
colors.getPropertyValue('--page').trim()]};
document.querySelectorAll('button').forEach(button=>button.onclick=()=>{const figure=button.closest('figure');
const kind=button.dataset.kind,name=figure.id+'.'+kind;
if(kind==='csv'){const area=document.createElement('textarea');
area.innerHTML=figure.querySelector('script').textContent;
return save(new Blob([area.value],{type:'text/csv'}),name)}
const [text,box,paper]=drawing(figure),blob=new Blob([text],{type:'image/svg+xml'});
if(kind==='svg')return save(blob,name);
const image=new Image();image.onload=()=>{const canvas=document.createElement('canvas');canvas.width=3*box.width;
canvas.height=3*box.height;const pen=canvas.getContext('2d');pen.fillStyle=paper;
pen.fillRect(0,0,canvas.width,canvas.height);
pen.drawImage(image,0,0,canvas.width,canvas.height);canvas.toBlob(data=>save(data,name))};
image.src='data:image/svg+xml;charset=utf-8,'+encodeURIComponent(text)});
"""
