/* report.c: what a run found, as text or as one JSON object. Each mode has the same
 * members, so that those who read the JSON need not know modes. */
#include <stdio.h>

#include "load.h"

static double micros(double percent) {
    return histogram_percentile(percent) / 1000;
}

static void report_json(const struct result *r) {
    printf("{\"mode\":\"%s\",\"connections\":%d,\"depth\":%d,\"size\":%d,"
           "\"framing\":\"%s\",\"seconds\":%.3f,\"messages\":%.0f,\"per_second\":%.1f,",
           plan.mode->name, plan.connections, plan.depth, plan.size,
           wire_framings[plan.framing].name, r->seconds, r->messages,
           r->messages / r->seconds);
    printf("\"latency_us\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,"
           "\"max\":%.1f},",
           micros(50), micros(90), micros(99), micros(99.9), micros(100));
    printf("\"server\":{\"user_ns\":%.1f,\"system_ns\":%.1f,\"busy\":%.4f,"
           "\"rss_kib\":%.0f},\"load\":{\"busy\":%.4f},",
           r->user_ns, r->system_ns, r->server_busy, r->rss_kib, r->load_busy);
    printf("\"memory\":{\"bytes_per_connection\":%.1f,"
           "\"slab_bytes_per_connection\":%.1f}}\n",
           r->bytes_per_connection, r->slab_bytes_per_connection);
}

static void report_text(const struct result *r) {
    printf("%.0f %s/s (%.0f in %.2f s)\n", r->messages / r->seconds, plan.mode->unit,
           r->messages, r->seconds);
    if (histogram_count() > 0) {
        printf("latency, us: p50 %.0f  p90 %.0f  p99 %.0f  p99.9 %.0f  max %.0f\n",
               micros(50), micros(90), micros(99), micros(99.9), micros(100));
    }
    if (plan.pid) {
        printf("server: %.0f ns user and %.0f ns system CPU for each, %.1f MiB\n",
               r->user_ns, r->system_ns, r->rss_kib / 1024);
    }
}

void report(const struct result *result) {
    if (plan.json) {
        report_json(result);
    } else if (plan.mode->report) {
        plan.mode->report(result);
    } else {
        report_text(result);
    }
}
