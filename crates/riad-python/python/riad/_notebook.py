"""What a notebook shows."""

from __future__ import annotations

import base64
import html as escaping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._riad import Inspection


def html(found: Inspection) -> str:
    """What was found, in words and as the overlay: one element without a script."""
    name = escaping.escape(found.path or "an image in memory")
    if found.error is not None:
        return f"<p><b>{name}</b>: {escaping.escape(str(found.error))}</p>"
    words = f"score {found.score}"
    if found.p_value is not None:
        words += f", p-value {found.p_value}"
    picture = base64.b64encode(found._repr_png_() or b"").decode()
    return (
        f"<figure><img alt='{name}' style='max-width: 100%' src='data:image/png;base64,{picture}'>"
        f"<figcaption><b>{name}</b>: {words}</figcaption></figure>"
    )
