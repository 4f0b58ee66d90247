"""Draws what reconnect.mjs has measured, in the manner of plot.py.

    python3 bench/runs/reconnect_draw.py RESULTS.json PICTURE.svg
"""
import json
import sys

from plot import COLOURS, INK, MUTED, RULE, WIDTH, Picture

LEFT, RIGHT, TOP, HEIGHT, GAP = 72, WIDTH - 24, 116, 130, 62
REFUSED, BACK, AWAY = "#c4cbd3", COLOURS["sync"], "#e9edf1"


def histogram(times, window, count):
    """How many of the times, in ms, lie in each window."""
    found = [0] * count
    for time in times:
        if 0 <= time < count * window:
            found[int(time // window)] += 1
    return found


def steps(most):
    """Ticks of an axis on which the distance grows with the root."""
    return [step for step in (1, 5, 20, 50, 100, 200, 500, 1000, 2000) if step < most]


def panel(picture, top, result, window, count, greatest):
    """One time down: attempts behind returns, and the line of what the rule lets expect."""
    bottom = top + HEIGHT

    def across(ms):
        return LEFT + (RIGHT - LEFT) * ms / (count * window)

    def up(number):
        return bottom - HEIGHT * (number / greatest) ** 0.5

    picture.text(LEFT, top - 10, "Killed for %.2f s: all back %.2f s after the kill "
                 "(bound %.2f s), at most %d connects within %d ms"
                 % (result["ready"] / 1000, result["last"] / 1000, result["bound"] / 1000,
                    result["peak"], window), size=13, weight=600)
    picture.bar(LEFT, top, across(result["ready"]) - LEFT, HEIGHT, AWAY)
    for step in steps(greatest):
        picture.line([(LEFT, up(step)), (RIGHT, up(step))], RULE, 0.7)
        picture.text(LEFT - 8, up(step) + 4, str(step), size=11, anchor="end", fill=MUTED)
    width = across(window) - LEFT - 0.5
    for values, colour in ((result["attempts"], REFUSED), (result["returns"], BACK)):
        for i, number in enumerate(histogram(values, window, count)):
            if number:
                picture.bar(across(i * window), up(number), width, bottom - up(number), colour)
    share = result["model"]["share"]
    wanted = [number * share for number in
              histogram(result["model"]["times"], window, count)]
    points = [(across((i + 0.5) * window), up(number)) for i, number in enumerate(wanted)
              if (i + 1) * window > result["ready"]]
    picture.line(points, INK, 1.2)
    end = across(result["bound"])
    picture.line([(end, top), (end, bottom)], INK, 1.5)
    picture.text(end - 5, top + 12, "bound", size=11, anchor="end")
    picture.line([(LEFT, bottom), (RIGHT, bottom)], INK)
    for second in range(0, count * window // 1000 + 1, 2):
        picture.text(across(second * 1000), bottom + 16, str(second), size=11, anchor="middle",
                     fill=MUTED)


def legend(picture, y):
    x = LEFT
    for colour, words in ((AWAY, "no server"), (REFUSED, "attempts"), (BACK, "returns"),
                          (INK, "returns that the documented rule lets expect")):
        thick = 2 if colour == INK else 11
        picture.bar(x, y - 5 - thick / 2, 18, thick, colour)
        picture.text(x + 24, y, words)
        x += 24 + 7 * len(words) + 28


def main(source, target):
    with open(source, encoding="utf-8") as file:
        data = json.load(file)
    results, window = data["results"], data["window"]
    last = max(result["bound"] for result in results)
    count = int(last // window) + 5
    greatest = 1.1 * max(max(histogram(result["attempts"], window, count)) for result in results)
    picture = Picture(TOP + len(results) * (HEIGHT + GAP) + 4,
                      "%d clients return to a server that was killed" % data["clients"])
    picture.text(24, 56, "Attempts and returns in each %d ms, on an axis of square roots, by the "
                 "time since the kill." % window, fill=MUTED)
    legend(picture, 80)
    for i, result in enumerate(results):
        panel(picture, TOP + i * (HEIGHT + GAP), result, window, count, greatest)
    picture.text((LEFT + RIGHT) / 2, TOP + len(results) * (HEIGHT + GAP) - 26,
                 "seconds since the kill", size=11, anchor="middle", fill=MUTED)
    picture.write(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
