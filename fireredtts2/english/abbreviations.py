"""Abbreviations, titles and the numerals of kings as English words."""

from __future__ import annotations

import re

from fireredtts2.english import number_words as words
from fireredtts2.english.number_words import Reading
from fireredtts2.english.rules import Rule, replacement, rule
from fireredtts2.english.times import MONTHS
from fireredtts2.english.word_sets import word_set

#: Before a name: the dot goes whatever follows.
_TITLES = {
    "Dr": "Doctor", "Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Prof": "Professor",
    "Capt": "Captain", "Col": "Colonel", "Gen": "General", "Lt": "Lieutenant", "Sgt": "Sergeant",
    "Maj": "Major", "Sen": "Senator", "Rep": "Representative", "Gov": "Governor",
    "Pres": "President", "Rev": "Reverend", "Hon": "Honorable", "Fr": "Father", "Sr": "Senior",
    "Mt": "Mount", "Ft": "Fort", "Messrs": "Messieurs",
    "Drs": "Doctors",
}  # fmt: skip

#: Anywhere: the dot stays if it ends the sentence as well.
_WORDS = {
    "etc": "et cetera", "vs": "versus", "approx": "approximately", "Approx": "Approximately",
    "dept": "department",
    "Dept": "Department", "govt": "government", "Jr": "Junior",
    "Sr": "Senior", "Inc": "Incorporated", "Ltd": "Limited", "Corp": "Corporation", "Co": "Company",
    "Bros": "Brothers", "Ave": "Avenue", "Blvd": "Boulevard", "Rd": "Road", "Hwy": "Highway",
    "Apt": "Apartment", "apt": "apartment", "Ste": "Suite", "Univ": "University", "Dr": "Drive",
    "incl": "including", "excl": "excluding", "misc": "miscellaneous", "Assn": "Association",
    "Mon": "Monday", "Tues": "Tuesday", "Tue": "Tuesday", "Wed": "Wednesday",
    "Thurs": "Thursday", "Thur": "Thursday", "Thu": "Thursday", "Fri": "Friday", "Ph.D": "P H D",
    "PhD": "P H D", "M.D": "M D", "B.A": "B A", "M.A": "M A", "B.Sc": "B S C", "i.e": "that is",
    "I.e": "That is", "e.g": "for example", "E.g": "For example", "P.S": "P S", "a.k.a": "A K A",
    "cf": "compare", "et al": "and others", "Eq": "equation", "w": "with",
    **{name[:3]: name for name in MONTHS if name != "May"}, "Sept": "September",
}  # fmt: skip

#: Without a dot too.
_BARE = {
    "e.g.": "for example", "i.e.": "that is", "PhD": "P H D", "govt": "government", "vs": "versus",
    "aka": "A K A", "etc": "et cetera", "w/o": "without", "w/": "with ", "b/c": "because",
    "asap": "A S A P", "ASAP": "A S A P", "FYI": "F Y I", "approx": "approximately",
    "dept": "department", "yrs": "years",
}  # fmt: skip

_NEVER_LAST = frozenset({"vs", "Co", "i.e", "I.e", "e.g", "E.g", "cf", "w", "approx"})

_KINGS = (
    "Henry|Louis|Charles|George|Edward|Elizabeth|James|William|Richard|Philip|Napoleon|Paul|Pius|"
    "Benedict|Leo|Gregory|Nicholas|Alexander|Catherine|Frederick|Wilhelm|Ivan|Peter|Mary|Francis|"
    "Ramesses|Ramses|Ptolemy|Xerxes|Darius|Clement|Innocent|Urban|Sixtus|Juan|Carlos|Felipe|Haakon|"
    "Gustav|Christian|Leopold|Joseph|Ferdinand|Margrethe"
)
_MONTH_STARTS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_NUMBERED = "World War|Chapter|Part|Act|Volume|Book|Phase|Type|Section|Article|Episode|Super Bowl"
_NO_STREETS = word_set("The In At Of On From To And By For With Near Visit Mount Fort Port")
_ROMAN = r"(?P<roman>(?=[XVIL])(?:XL|L?X{0,3})(?:IX|IV|V?I{0,3}))\b"
#: "James V. Forrestal" has an initial, and "James I think" a pronoun.
_AFTER_A_KING = r"(?=[,;:'?!)]|\.?$| (?:of|was|had|died|reigned|ruled|who|and|in|is)\b)"
_NO_INITIAL = rf"(?<! [IVXL](?=\. ))(?:(?<! I)|{_AFTER_A_KING})"
#: "This IV" is no numeral, and no name stands before it.
_OWNERS = (
    "His|Her|My|Your|Our|Their|Its|No|This|That|These|Those|Another|Each|Any|Some|Every|One|New|Old"
)
#: Named with numerals, also where a sentence begins.
_TITLED = (
    "Rocky|Fantasy|Wars?|Apollo|Saturn|Gemini|Scene|Level|Stage|Grade|Class|Title|Appendix|Table|"
    "Figure|Vatican|Mark|Terminator|Godfather|Alien|Rambo|Shrek|Elizabeth|Olympiad"
)
#: After any other name; one letter is an initial, and "an IV" is no numeral.
_NAMED_ROMAN = r"(?P<roman>II|III|IV|VII?I?|IX|XI{1,3}|XIV|XVI{0,3}|XIX|XXI{1,3})\b"
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50}


def _roman(numeral: str) -> int:
    values = [_ROMAN_VALUES[letter] for letter in numeral]
    following = [*values[1:], 0]
    return sum(-v if v < after else v for v, after in zip(values, following, strict=True))


def _king(match: re.Match[str], reading: Reading) -> str:
    return f"{match['name']} the {words.ordinal(_roman(match['roman'])).title()}"


def _part(match: re.Match[str], reading: Reading) -> str:
    return f"{match['name']} {words.cardinal(_roman(match['roman'])).title()}"


def _ordinal_century(match: re.Match[str], reading: Reading) -> str:
    return words.ordinal(_roman(match["roman"]))


def _title(match: re.Match[str], reading: Reading) -> str:
    """ "dr. smith" and "DR. SMITH", in their own case."""
    title = _TITLES[match["short"].capitalize()]
    return (title.upper() if match["short"].isupper() else title.lower()) + " "


def _word(match: re.Match[str], reading: Reading) -> str:
    """Keeps the dot where the sentence ends: before a capital letter or nothing."""
    rest = match.string[match.end() : match.end() + 4].lstrip(" ")
    is_month = _WORDS[match["short"]] in MONTHS or _WORDS[match["short"]].endswith("day")
    is_end = not rest.strip("\"')") or (rest[0].isupper() and not is_month)
    before_name = match["short"] in _NEVER_LAST and rest[:1].isupper()
    return _WORDS[match["short"]] + ("." if is_end and not before_name else "")


def _street(match: re.Match[str], reading: Reading) -> str:
    """ "Baker St." is a street, "in St. Louis" a saint."""
    before, after = match["before"] or "", match["after"]
    if not before or before.strip() in _NO_STREETS:
        return f"{before}Saint{after or ''}"
    return f"{before}Street" + (f".{after}" if after is not None else "")


def _escaped(table: dict[str, str]) -> str:
    return "|".join(re.escape(key) for key in sorted(table, key=len, reverse=True))


RULES: tuple[Rule, ...] = (
    rule(rf"\b(?P<name>(?:{_KINGS})) {_ROMAN}(?<! ){_NO_INITIAL}", _king),
    rule(rf"\b(?P<name>(?:{_NUMBERED})) {_ROMAN}(?<! )", _part),
    replacement(r"\bWW ?(?:II|2)\b", "World War Two"),
    replacement(r"\bWW ?(?:I|1)\b", "World War One"),
    rule(rf"\b{_NAMED_ROMAN}(?=(?:st|nd|rd|th)? [Cc]entury)", _ordinal_century),
    rule(
        rf"(?<!^)(?<![.!?] )\b(?P<name>(?!(?:The|An|{_OWNERS})\b)[A-Z][a-z]+) {_NAMED_ROMAN}",
        _part,
    ),
    rule(rf"\b(?P<name>(?:{_TITLED})) {_NAMED_ROMAN}", _part),
    rule(
        r"(?P<before>\b(?:[A-Z][a-z]+|\d+(?:st|nd|rd|th)) )?"
        r"\bSt\.(?P<after>\s*$|\s+[A-Z])?",
        _street,
    ),
    replacement(r"(?:\b(?:No|no|NO)\. ?|№ ?)(?=\d)", "number "),
    replacement(r"\b(?:Nos|nos)\. ?(?=\d)", "numbers "),
    replacement(r"(?<!\w)#(?=\d)", "number "),
    replacement(r"\bpp?\. ?(?=\d+\s?[-–])", "pages "),
    replacement(r"\bp\. ?(?=\d)", "page "),
    replacement(r"\b(?:Ch|ch|Chap|chap)\. ?(?=\d)", "chapter "),
    replacement(r"\b(?:Fig|fig)\. ?(?=\d)", "figure "),
    replacement(r"\b(?:Vol|vol)\. ?(?=\d)", "volume "),
    replacement(r"\b(?:c|ca)\. ?(?=[12]\d{3}\b)", "circa "),
    replacement(r"\bAD (?=\d)|(?<=\d )AD\b", "A D "),
    rule(
        rf"\b(?P<short>{_escaped(_TITLES)})\.? (?=[A-Z])(?<=\. )",
        lambda m, _: _TITLES[m["short"]] + " ",
    ),
    rule(
        r"\b(?P<short>Dr|Mr|Mrs|Ms|Prof)\. (?=(?:and|or) )",
        lambda m, _: _TITLES[m["short"]] + " ",
    ),
    rule(r"(?<!\d )\b(?P<short>dr|mr|mrs|prof|DR|MR|MRS|MS|PROF|MT|FT)\. (?=[A-Za-z])", _title),
    replacement(
        r"\b((?:[Tt]he|[Mm]y|[Yy]our|[Hh]is|[Hh]er|[Oo]ur|[Aa]) )Dr\b(?:\.(?= [a-z]))?(?! [A-Z])",
        r"\1Doctor",
    ),
    replacement(r"(?<=\d )((?:[A-Z][a-z]+ ){1,3})Dr\b(?!\.| [A-Z])", r"\1Drive"),
    rule(r"\b(?P<short>Dr|Mr|Mrs|Ms|Prof) (?=[A-Z][a-z])", lambda m, _: _TITLES[m["short"]] + " "),
    replacement(r"\bJr\.?(?=,| [a-z])", "Junior"),
    replacement(rf"\bSat\.(?=,? (?:\d|{_MONTH_STARTS}))", "Saturday"),
    replacement(rf"\bSun\.(?=,? (?:\d|{_MONTH_STARTS}))", "Sunday"),
    replacement(r"\b([Ee])st\. (?=\d)", r"\1stablished "),
    replacement(r"\b([Ee])xt\. ?(?=\d)", r"\1xtension "),
    replacement(r"\b([Tt])el(?:\.:?|:) ?(?=[\d+(a-z])", r"\1elephone "),
    replacement(r"\b([Mm])ax\. (?=\d)", r"\1aximum "),
    rule(rf"(?<![\w.'-])(?P<short>{_escaped(_WORDS)})\.(?!\w)", _word),
    rule(
        rf"(?<![\w.'/-])(?P<short>{_escaped(_BARE)})(?![\w./'-]|(?<=w/) )",
        lambda m, _: _BARE[m["short"]],
    ),
    replacement(r"(?<![\w/])w/(?=\s?\w)\s?", "with "),
    rule(
        r"\b(?P<half>[ap])\.m\.(?=(?P<end>\s*$|\s+[A-Z])?)",
        lambda m, _: f"{m['half'].upper()}M" + ("." if m["end"] is not None else ""),
    ),
)
