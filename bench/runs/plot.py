"""Draws the plots of docs/benchmarks.md as SVG, by hand: no library is needed."""
import math
import os
from statistics import median
from xml.sax.saxutils import escape

INK, MUTED, RULE = "#1f2328", "#59636e", "#d1d9e0"
COLOURS = {"sync": "#d1242f", "sync-off": "#f0a3a6", "uv": "#1f2328", "raw": "#8c959f",
           "uring": "#57606a", "sync-bytes": "#a40e26", "sync-epoll": "#e5534b",
           "uws": "#1b7c83", "go": "#0e8a8a", "luv": "#3b5bdb", "node": "#2f8f46", "uvloop": "#b8860b",
           "pypy": "#8250df", "cpython": "#bf5b04", "ws": "#2f8f46"}
FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
WIDTH = 860


def good(runs):
    return [run for run in runs if isinstance(run, dict)]


def short(value):
    """1234567 as 1.23 M."""
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return "%.3g%s" % (value / size, unit)
    return "%.3g" % value


class Picture:
    """SVG on white, so that it reads on light and on dark pages."""

    def __init__(self, height, title):
        self.parts = [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" '
            'height="%d" role="img" font-family="%s">' % (WIDTH, height, WIDTH, height, FONT),
            "<title>%s</title>" % escape(title),
            '<rect width="%d" height="%d" rx="8" fill="#ffffff"/>' % (WIDTH, height)]
        self.text(24, 36, title, size=18, weight=600)

    def text(self, x, y, words, size=12, anchor="start", fill=INK, weight=400):
        self.parts.append(
            '<text x="%.1f" y="%.1f" font-size="%d" text-anchor="%s" fill="%s" '
            'font-weight="%d">%s</text>' % (x, y, size, anchor, fill, weight, escape(words)))

    def bar(self, x, y, width, height, fill):
        self.parts.append('<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="2" '
                          'fill="%s"/>' % (x, y, width, height, fill))

    def line(self, points, stroke, width=1.0):
        path = " ".join("%.1f,%.1f" % point for point in points)
        self.parts.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="%.1f" '
                          'stroke-linejoin="round"/>' % (path, stroke, width))

    def dot(self, x, y, fill):
        self.parts.append('<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (x, y, fill))

    def write(self, path):
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(self.parts) + "\n</svg>\n")


# Bars, one panel for each work

LABELS, ROW, PANEL_GAP = 170, 20, 46


def panel(picture, top, title, entries):
    """Bars of (peer, values); a whisker from least to greatest. Returns the panel's end."""
    picture.text(24, top, title, size=13, weight=600)
    room = WIDTH - LABELS - 24 - 90
    most = max([max(values) for _, values in entries if values] or [1]) or 1
    y = top + 12
    for peer, values in entries:
        bold = 600 if peer.name == "sync" else 400
        picture.text(LABELS - 8, y + 13, peer.title, anchor="end", weight=bold)
        if values:
            middle = y + ROW / 2 - 0.5
            width = max(1, room * median(values) / most)
            picture.bar(LABELS, y + 2, width, ROW - 5, COLOURS.get(peer.name, MUTED))
            low, high = room * min(values) / most, room * max(values) / most
            if high - low > 2:
                picture.line([(LABELS + low, middle), (LABELS + high, middle)], MUTED, 1.2)
                for end in (low, high):
                    picture.line([(LABELS + end, middle - 3), (LABELS + end, middle + 3)],
                                 MUTED, 1.2)
            picture.text(LABELS + max(width, high) + 8, y + 13, short(median(values)),
                         weight=bold)
        else:
            picture.text(LABELS, y + 13, "missing" if peer.missing else "failed", fill=MUTED)
        y += ROW
    return y


def panels(path, title, note, groups):
    height = 76 + sum(PANEL_GAP - 8 + ROW * len(entries) for _, entries in groups)
    picture = Picture(height, title)
    picture.text(24, 56, note, fill=MUTED)
    top = 90
    for name, entries in groups:
        top = panel(picture, top, name, entries) + PANEL_GAP - 20
    picture.write(path)


def entries_of(work, peers, raw, results, figure):
    found = results[work.name]
    return [(peer, [figure(run) for run in good(found.get(peer.name, []))])
            for peer in work.select(peers) + ([raw] if work.raw and raw else [])]


def throughput(path, works, peers, raw, results):
    units = {"echo": "messages/s", "hold": "deliveries/s", "storm": "connections/s"}
    groups = [("%s: %s" % (work.title, units[work.mode]),
               entries_of(work, peers, raw, results, lambda run: run["per_second"]))
              for work in works if work.mode in units and not work.websocket]
    panels(path, "Throughput by peer",
           "Median of the rounds; the line spans the least and the greatest. Longer is better.",
           groups)


def memory(path, works, peers, raw, results):
    groups = [(work.title + ": bytes for each, in the server",
               entries_of(work, peers, raw, results,
                          lambda run: max(0, run["memory"]["bytes_per_connection"])))
              for work in works if work.mode == "idle"]
    largest = [work for work in works if work.mode == "idle" and not work.websocket][-1]
    groups.append((largest.title + ": MiB resident in all",
                   entries_of(largest, peers, raw, results,
                              lambda run: run["server"]["rss_kib"] / 1024)))
    panels(path, "Memory by connections",
           "What the server's process grew by for each connection after one message; kernel "
           "memory not counted. Shorter is better.", groups)


def cost(path, works, peers, raw, results):
    """What a message costs the server, where all are offered the same."""
    groups = [(work.title + ": ns for each", entries_of(
        work, peers, raw, results,
        lambda run: run["server"]["user_ns"] + run["server"]["system_ns"]))
              for work in works if work.mode in ("echo", "room") and not work.websocket]
    panels(path, "CPU time of the server for each message",
           "User and kernel, median of the rounds; the line spans the least and the greatest. "
           "Shorter is better.", groups)


def websocket(path, works, peers, raw, results):
    """A panel a size, so that each has its own scale."""
    groups = [(work.title + ": messages/s",
               entries_of(work, peers, raw, results, lambda run: run["per_second"]))
              for work in works if work.websocket and work.mode == "echo"]
    panels(path, "WebSocket throughput by size",
           "Median of the rounds; the line spans the least and the greatest. Longer is better.",
           groups)


# Lines of percentiles

STEPS = [("p50", "50 %"), ("p90", "90 %"), ("p99", "99 %"), ("p999", "99.9 %")]


def apart(places, least, top, bottom):
    """Moves labels apart that would lie on each other."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved, y = list(places), top - least
    for i in order:
        y = moved[i] = max(places[i], y + least)
    y = bottom + least
    for i in reversed(order):
        y = moved[i] = min(moved[i], y - least)
    return moved


def latency(path, works, peers, _, results):
    work = next(work for work in works if work.mode == "rate")
    lines = []
    peers = work.select(peers)
    for peer in peers:
        runs = good(results[work.name].get(peer.name, []))
        if runs:
            lines.append((peer, [max(0.1, median([run["latency_us"][step] for run in runs]))
                                 for step, _ in STEPS]))
    absent = [peer.title for peer in peers if peer.name not in [p.name for p, _ in lines]]
    picture = Picture(500, "Latency at a fixed rate")
    picture.text(24, 56, work.title + ". Microseconds, logarithmic; lower is better."
                 + (" Not shown: %s." % ", ".join(absent) if absent else ""), fill=MUTED)
    left, right, top, bottom = 80, WIDTH - 190, 84, 450
    values = [value for _, line in lines for value in line] or [1, 10]
    low = math.floor(math.log10(min(values)))
    high = max(low + 1, math.ceil(math.log10(max(values))))

    def height(value):
        return bottom - (bottom - top) * (math.log10(value) - low) / (high - low)

    for power in range(low, high + 1):
        for factor in (1, 2, 5) if power < high else (1,):
            y = height(factor * 10 ** power)
            picture.line([(left, y), (right, y)], RULE, 1 if factor == 1 else 0.5)
            picture.text(left - 10, y + 4, short(factor * 10 ** power), anchor="end", size=11,
                         fill=MUTED)
    spots = [left + 24 + i * (right - left - 48) / (len(STEPS) - 1) for i in range(len(STEPS))]
    for x, (_, label) in zip(spots, STEPS):
        picture.text(x, bottom + 22, label, anchor="middle", fill=MUTED)
    picture.text((left + right) / 2, bottom + 40, "percentile", anchor="middle", size=11,
                 fill=MUTED)
    labels = apart([height(line[-1]) for _, line in lines], 17, top, bottom)
    for (peer, line), label in reversed(list(zip(lines, labels))):
        colour, mine = COLOURS.get(peer.name, MUTED), peer.name == "sync"
        points = [(x, height(value)) for x, value in zip(spots, line)]
        picture.line(points, colour, 3 if mine else 1.8)
        for point in points:
            picture.dot(point[0], point[1], colour)
        picture.line([points[-1], (right + 8, label)], colour, 0.7)
        picture.text(right + 12, label + 4, "%s  %s" % (peer.title, short(line[-1])),
                     fill=colour, weight=600 if mine else 400)
    picture.write(path)


def write(folder, works, peers, raw, results):
    for name, draw in (("throughput", throughput), ("cost", cost), ("latency", latency), ("memory", memory),
                       ("websocket", websocket)):
        draw(os.path.join(folder, "benchmarks-%s.svg" % name), works, peers, raw, results)
