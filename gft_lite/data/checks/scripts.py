"""Which writing system a text is in: no language detection, only the script of most letters.

English, German and Vietnamese are all Latin here; what it finds is a file of mixed scripts, or one
in another script than expected.
"""

from __future__ import annotations

import re

SEEN_CHARACTERS = 200

LETTERS: dict[str, re.Pattern[str]] = {
    "Latin": re.compile("[A-Za-zÀ-ɏḀ-ỿ]"),
    "Cyrillic": re.compile("[Ѐ-ӿ]"),
    "Greek": re.compile("[Ͱ-Ͽ]"),
    "Arabic": re.compile("[؀-ۿ]"),
    "Hebrew": re.compile("[֐-׿]"),
    "Devanagari": re.compile("[ऀ-ॿ]"),
    "Thai": re.compile("[฀-๿]"),
    "Hangul": re.compile("[가-힯]"),
    "Kana": re.compile("[぀-ヿ]"),
    "Han": re.compile("[一-鿿㐀-䶿]"),
}


def script_of(text: str) -> str:
    """The script of most letters at the beginning; "none" without a letter. Any kana is Kana."""
    seen = text[:SEEN_CHARACTERS]
    if seen.isascii():
        return "Latin" if LETTERS["Latin"].search(seen) else "none"
    counts = {name: len(letters.findall(seen)) for name, letters in LETTERS.items()}
    if counts["Kana"]:
        return "Kana"
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] else "other"
