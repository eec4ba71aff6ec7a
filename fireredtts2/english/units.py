"""Signs of measures and their names."""

from __future__ import annotations

_NAMES = {
    "km/h": "kilometer per hour", "kph": "kilometer per hour", "kmh": "kilometer per hour",
    "mph": "mile per hour", "m/s": "meter per second", "mpg": "mile per gallon",
    "km²": "square kilometer", "km2": "square kilometer", "m²": "square meter",
    "m2": "square meter", "cm²": "square centimeter", "m³": "cubic meter", "m3": "cubic meter",
    "cm³": "cubic centimeter", "ft²": "square foot", "sq ft": "square foot",
    "sq. ft.": "square foot", "sqft": "square foot", "sq mi": "square mile",
    "km": "kilometer", "cm": "centimeter", "mm": "millimeter", "nm": "nanometer", "m": "meter",
    "mi": "mile", "ft.": "foot", "ft": "foot", "in.": "inch", "inches": "inch", "yd": "yard",
    "kgs": "kilogram", "kms": "kilometer", "tsp": "teaspoon", "tbsp": "tablespoon",
    "kg": "kilogram", "mg": "milligram", "g": "gram", "lbs.": "pound", "lbs": "pound",
    "lb": "pound", "oz": "ounce", "ml": "milliliter", "mL": "milliliter", "l": "liter",
    "L": "liter", "gal": "gallon", "kHz": "kilohertz", "MHz": "megahertz", "GHz": "gigahertz",
    "Hz": "hertz", "kbps": "kilobit per second", "Mbps": "megabit per second",
    "Gbps": "gigabit per second", "KB": "kilobyte", "kB": "kilobyte", "MB": "megabyte",
    "GB": "gigabyte", "TB": "terabyte", "kWh": "kilowatt hour", "kW": "kilowatt",
    "MW": "megawatt", "GW": "gigawatt", "W": "watt", "V": "volt", "mAh": "milliamp hour",
    "dB": "decibel", "kcal": "kilocalorie", "cal": "calorie", "ms": "millisecond",
    "mins": "minute", "min": "minute", "secs": "second", "sec": "second", "hrs": "hour",
    "hr": "hour", "h": "hour", "s": "second", "px": "pixel", "fps": "frame per second",
    "rpm": "revolution per minute", "ppm": "part per million", "psi": "P S I", "hp": "horsepower",
    "pt": "point", "yrs": "year", "yr": "year",
}  # fmt: skip
_UNCHANGED = frozenset({"hertz", "kilohertz", "megahertz", "gigahertz", "horsepower", "P S I"})


def _many(name: str) -> str:
    if name in _UNCHANGED:
        return name
    head, *rest = name.split(" per ")
    plural = head.replace("foot", "feet") if head.endswith("foot") else head + "s"
    plural = plural.replace("inchs", "inches")
    return " per ".join([plural, *rest])


#: (one, many) by sign, longest sign first, so that an alternation of them finds "km/h" before "km".
UNITS: dict[str, tuple[str, str]] = {
    sign: (name, _many(name))
    for sign, name in sorted(_NAMES.items(), key=lambda item: -len(item[0]))
}

#: What may follow a slash that means "per".
PER_UNITS = {
    "hour": "hour", "hr": "hour", "h": "hour", "day": "day", "week": "week", "wk": "week",
    "month": "month", "mo": "month", "year": "year", "yr": "year", "minute": "minute",
    "min": "minute", "second": "second", "sec": "second", "person": "person", "night": "night",
    "kg": "kilogram", "lb": "pound", "km": "kilometer", "mile": "mile", "gallon": "gallon",
    "unit": "unit", "user": "user", "piece": "piece", "item": "item",
}  # fmt: skip

#: What may follow the slash after a measure: "20 mg/dL".
RATE_UNITS = PER_UNITS | {
    "s²": "second squared", "s2": "second squared", "s": "second", "dL": "deciliter",
    "mL": "milliliter", "ml": "milliliter", "L": "liter", "l": "liter", "m²": "square meter",
    "m2": "square meter", "m³": "cubic meter", "m3": "cubic meter", "cm²": "square centimeter",
    "m": "meter", "ft": "foot", "in": "inch", "oz": "ounce", "g": "gram", "mi": "mile",
}  # fmt: skip
