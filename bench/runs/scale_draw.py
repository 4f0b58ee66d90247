"""Draws what scale.py has measured of the bus, in the manner of plot.py."""
import statistics

from plot import COLOURS, INK, MUTED, RULE, WIDTH, Picture, apart, short

LEFT, RIGHT, TOP, HEIGHT, GAP = 84, WIDTH - 200, 104, 150, 74
STEPS = [1, 2, 4]
LINES = [("SYNC, workers", COLOURS["sync"], {1: "alone", 2: "workers2", 4: "workers4"}),
         ("SYNC over Redis", COLOURS["luv"], {1: "redis1", 2: "redis2", 4: "redis4"}),
         ("Socket.IO over Redis", COLOURS["node"], {2: "socketio2"})]


def figures(results, work, name):
    return [run["per_cpu"] for run in results[work.name].get(name, []) if run]


def round_up(value):
    """The next of 1, 2, 4, 5 or 10 with zeros behind."""
    power = 10 ** (len(str(int(value))) - 1)
    return next(step * power for step in (1, 2, 4, 5, 10) if step * power >= value)


def panel(picture, top, work, results):
    """One work: deliveries a CPU second by the number of processes."""
    bottom = top + HEIGHT
    found = [(title, colour, {step: figures(results, work, name) for step, name in names.items()})
             for title, colour, names in LINES]
    values = [value for _, _, line in found for runs in line.values() for value in runs]
    greatest = round_up(max(values or [1]))

    def across(step):
        return LEFT + 40 + (RIGHT - LEFT - 80) * STEPS.index(step) / (len(STEPS) - 1)

    def up(value):
        return bottom - HEIGHT * value / greatest

    picture.text(24, top - 16, work.title, size=13, weight=600)
    for quarter in range(5):
        value = greatest * quarter / 4
        picture.line([(LEFT, up(value)), (RIGHT, up(value))], RULE if quarter else INK, 0.7)
        picture.text(LEFT - 8, up(value) + 4, short(value), size=11, anchor="end", fill=MUTED)
    for step in STEPS:
        picture.text(across(step), bottom + 17, str(step), anchor="middle", fill=MUTED)
    for step in STEPS:  # labels stand by the last spot of their lines
        ends = [(title, colour, line[step]) for title, colour, line in found
                if line.get(step) and max(at for at in line if line[at]) == step]
        heights = apart([up(statistics.median(runs)) for _, _, runs in ends], 15, top, bottom - 3)
        for (title, colour, runs), height in zip(ends, heights):
            picture.text(across(step) + 10, height + 4, f"{title}  {short(statistics.median(runs))}",
                         fill=colour, weight=600)
    for _, colour, line in found:
        draw_line(picture, colour, [(across(step), [up(run) for run in runs])
                                    for step, runs in line.items() if runs])


def draw_line(picture, colour, spots):
    """Of spots: where across, and how high the runs are."""
    points = [(x, statistics.median(heights)) for x, heights in spots]
    if len(points) > 1:
        picture.line(points, colour, 2)
    for (x, heights), point in zip(spots, points):
        if max(heights) - min(heights) > 2:
            picture.line([(x, min(heights)), (x, max(heights))], colour, 1)
        picture.dot(*point, colour)


def write(path, works, results, quick):
    picture = Picture(TOP + len(works) * (HEIGHT + GAP), "What a bus costs: deliveries a CPU second")
    picture.text(24, 56, "By the number of server processes, on the same work; CPU of all of them, "
                 "the workers' parent and Redis included.", fill=MUTED)
    picture.text(24, 73, "Medians; a line upright spans the least and the greatest. Higher is better."
                 + (" Of a quick run: rough." if quick else ""), fill=MUTED)
    for i, work in enumerate(works):
        panel(picture, TOP + 20 + i * (HEIGHT + GAP), work, results)
    bottom = TOP + 20 + len(works) * (HEIGHT + GAP) - GAP + 36
    picture.text((LEFT + RIGHT) / 2, bottom, "processes", size=11, anchor="middle", fill=MUTED)
    picture.write(path)
