"""Features of dates in an ONNX graph: from seconds since 1970 to the position in the year, the week and the day."""

import numpy as np

from lagvis.data.tables.dates import SECONDS_OF_DAY
from lagvis.data.tables.encoding import HOUR, WEEKDAY, DateEncoding
from lagvis.formats.onnx_graph import GraphBuilder

DAYS_OF_WEEK, FIRST_WEEKDAY = 7, 3  # 1970 began on a Thursday
# Of the Gregorian calendar, which repeats itself after 400 years. Years begin in March here: leap days are their last.
DAYS_OF_ERA, DAYS_BEFORE_1970 = 146_097, 719_468  # from 1 March of the year 0
DAYS_OF_FIVE_MONTHS = 153  # from March on, and from August on


def encode_date(graph: GraphBuilder, name: str, column: DateEncoding) -> list[str]:
    """Add the features of dates, given in seconds since 1970, and return the names of their parts, each (N, width)."""
    missing = graph.add("IsNaN", name, name=f"{name}/is missing")
    since = graph.add("Sub", name, graph.constant(f"{name}/origin", column.origin), name=f"{name}/since origin")
    fill = graph.constant(f"{name}/fill", column.fill)
    features = [graph.add("Where", missing, fill, since, name=f"{name}/filled")]
    if column.parts:
        zero = graph.constant(f"{name}/zero", 0.0)
        seconds = graph.add("Where", missing, zero, name, name=f"{name}/seconds")
    for part in column.parts:
        position = add_cycle_position(graph, seconds, part, f"{name}/{part}")
        angle = graph.add(
            "Mul", graph.constant(f"{name}/{part}/circle", 2 * np.pi), position, name=f"{name}/{part}/angle"
        )
        # The cosine is the sine a quarter of a circle later: older onnxruntimes have no Cos of double.
        quarter = graph.constant(f"{name}/{part}/quarter", [[0.0, np.pi / 2]])
        angles = graph.add("Add", angle, quarter, name=f"{name}/{part}/angles")
        waves = graph.add("Sin", angles, name=f"{name}/{part}/sine and cosine")
        features.append(graph.add("Where", missing, zero, waves, name=f"{name}/{part}/filled"))
    return [*features, graph.cast(missing, np.float64, f"{name}/missing")] if column.missing else features


def add_cycle_position(graph: GraphBuilder, seconds: str, part: str, name: str) -> str:
    """Add what `cycle_position` computes for a part of dates: where they are in the year, week or day, from 0 to 1.

    `name` is that of the column and the part. Days are counted in int64, so that months are exact.
    """
    days = graph.add("Div", seconds, graph.constant(f"{name}/day", SECONDS_OF_DAY, np.float64), name=f"{name}/days")
    whole_days = graph.add("Floor", days, name=f"{name}/whole days")
    if part == HOUR:
        return graph.add("Sub", days, whole_days, name=f"{name}/position")
    day = graph.cast(whole_days, np.int64, f"{name}/date")
    if part == WEEKDAY:
        index = graph.integer("Mod", graph.integer("Add", day, FIRST_WEEKDAY), DAYS_OF_WEEK)
        count = DAYS_OF_WEEK
    else:
        index, count = add_month(graph, day), 12
    value = graph.cast(index, np.float64, f"{name}/index")
    return graph.add("Div", value, graph.constant(f"{name}/count", float(count)), name=f"{name}/position")


def add_month(graph: GraphBuilder, day: str) -> str:
    """Add the month, 0 to 11, of days since 1970 in int64, and return its name.

    From civil_from_days in Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    """
    day_of_era = graph.integer("Mod", graph.integer("Add", day, DAYS_BEFORE_1970), DAYS_OF_ERA)
    # Without leap days every year has 365 days. They are every fourth year's, not the hundredth's, but the 400th's.
    common_days = graph.add("Sub", day_of_era, graph.integer("Div", day_of_era, 1_460), name=f"{day}/common days")
    common_days = graph.add("Add", common_days, graph.integer("Div", day_of_era, 36_524), name=f"{day}/common days")
    common_days = graph.add("Sub", common_days, graph.integer("Div", day_of_era, 146_096), name=f"{day}/common days")
    year = graph.integer("Div", common_days, 365)
    first_day = graph.add(
        "Add", graph.integer("Mul", year, 365), graph.integer("Div", year, 4), name=f"{day}/first day"
    )
    first_day = graph.add("Sub", first_day, graph.integer("Div", year, 100), name=f"{day}/first day")
    day_of_year = graph.add("Sub", day_of_era, first_day, name=f"{day}/day of year")
    scaled = graph.integer("Add", graph.integer("Mul", day_of_year, 5), 2)
    from_march = graph.integer("Div", scaled, DAYS_OF_FIVE_MONTHS)
    return graph.integer("Mod", graph.integer("Add", from_march, 2), 12)
