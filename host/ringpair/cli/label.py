"""``ringpair label PORT``: the label of a device, with its PIN, as a QR code."""

import argparse
import io
from pathlib import Path

from .common import add_port, open_board
from .controlling import device_id_of
from .output import Output

HELP = "print the label of the device at PORT, its button held: id, PIN and QR code"
PIXELS = 8
"""Of a module of the picture's code."""


def configure(parser: argparse.ArgumentParser) -> None:
    add_port(parser)
    parser.add_argument("--png", type=Path, metavar="FILE", help="write the code as a picture")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the code as a drawing")


def run(arguments: argparse.Namespace, output: Output) -> None:
    import segno
    from ringpair_protocol.admin import Pin
    from ringpair_protocol.label import Label
    from ringpair_protocol.nor import write_whole

    with open_board(arguments) as board:
        device_id = device_id_of(board)
        label = Label(device_id, board.pin(Pin.PRESET))
    text = label.to_text()
    code = segno.make_qr(text, error="m")
    files = []
    for path, kind in ((arguments.png, "png"), (arguments.svg, "svg")):
        if path is not None:
            picture = io.BytesIO()
            code.save(picture, kind=kind, scale=PIXELS)
            write_whole(path, picture.getvalue())
            output.note(f"wrote {path}")
            files.append(str(path))
    drawn = io.StringIO()
    code.terminal(drawn, compact=True)
    data = {"device_id": device_id.hex(), "pin": label.pin, "qr": text, "files": files}
    output.result(data, f"{drawn.getvalue()}device {device_id.hex()}, PIN {label.pin}\n{text}")
