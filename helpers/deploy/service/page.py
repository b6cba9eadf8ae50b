"""The page at `/`: one file without any request to elsewhere, which its own headers would forbid."""

import base64
import hashlib
import re
from pathlib import Path

PAGE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")


def describe_policy(page: str) -> str:
    """Return what a browser may run and load of `page`: the script and style in it, and this service; nothing else."""
    kinds = {}
    for kind in ("script", "style"):
        (content,) = re.findall(f"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        kinds[kind] = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{kinds['script']}'; style-src 'sha256-{kinds['style']}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


PAGE_HEADERS = {
    "content-security-policy": describe_policy(PAGE),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
