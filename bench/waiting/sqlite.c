/* sqlite.c: point reads by SQLite's C API in a loop, to compare bench/waiting/sqlite.lua
 * with. */
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

enum { READS = 500000, ROWS = 10000 };

static double now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    sqlite3 *database;
    sqlite3_stmt *statement;
    if (argc < 2 || sqlite3_open(argv[1], &database) != SQLITE_OK ||
        sqlite3_prepare_v2(database, "select v from t where k = ?", -1, &statement,
                           NULL) != SQLITE_OK) {
        return 1;
    }
    double begun = now(CLOCK_MONOTONIC);
    double cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    int64_t bytes = 0;
    for (int64_t i = 0; i < READS; i++) {
        sqlite3_bind_int64(statement, 1, i * 7919 % ROWS + 1);
        sqlite3_step(statement);
        bytes += sqlite3_column_bytes(statement, 0);
        sqlite3_reset(statement);
    }
    printf("%.0f reads/s, %.1f us of CPU each (%lld bytes)\n",
           READS / (now(CLOCK_MONOTONIC) - begun),
           (now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / READS * 1e6, (long long)bytes);
    return 0;
}
