/* file_test.c: files of a folder, opened with openat2 and, in a child that is denied it,
 * without. */
#include "http/file.h"
#include "http/walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

/* A folder `web` with `outside` beside it. */
struct site {
    uv_loop_t loop;
    char root[PATH_MAX];
    int top; /* descriptor of what both are in */
    int web; /* of web, for making things */
    int folder;
    int descriptors; /* before anything was opened */
};

/* What the callbacks have seen. */
struct seen {
    int calls;
    int status;
};

static int count_descriptors(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder && readdir(folder)) {
        count++;
    }
    if (folder) {
        closedir(folder);
    }
    return count;
}

static int remove_one(const char *path, const struct stat *status, int type,
                      struct FTW *ftw) {
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void make_file(int folder, const char *name, const void *bytes, size_t length) {
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    CHECK(fd >= 0);
    CHECK_INT(write(fd, bytes, length), length);
    close(fd);
}

static void make_text(int folder, const char *name, const char *text) {
    make_file(folder, name, text, strlen(text));
}

static void make_folder(int folder, const char *name) {
    CHECK_INT(mkdirat(folder, name, 0755), 0);
}

static void make_link(int folder, const char *name, const char *target) {
    CHECK_INT(symlinkat(target, folder, name), 0);
}

static void site_open(struct site *site) {
    const char *place = getenv("TMPDIR");
    snprintf(site->root, sizeof(site->root), "%s/sync-file-XXXXXX",
             place ? place : "/tmp");
    CHECK(mkdtemp(site->root));
    CHECK_INT(chmod(site->root, 0755), 0);
    CHECK_INT(uv_loop_init(&site->loop), 0);
    site->descriptors = count_descriptors();
    site->top = open(site->root, O_DIRECTORY | O_CLOEXEC);
    make_folder(site->top, "web");
    make_folder(site->top, "outside");
    site->web = openat(site->top, "web", O_DIRECTORY | O_CLOEXEC);
    char path[PATH_MAX + 8];
    snprintf(path, sizeof(path), "%s/web", site->root);
    site->folder = file_root_open(path);
    CHECK(site->folder >= 0);
}

static void site_close(struct site *site) {
    CHECK_INT(uv_run(&site->loop, UV_RUN_DEFAULT), 0);
    file_root_close(site->folder);
    close(site->web);
    close(site->top);
    CHECK_INT(count_descriptors(), site->descriptors);
    CHECK_INT(uv_loop_close(&site->loop), 0);
    CHECK_INT(nftw(site->root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void on_seen(struct file *file, int status) {
    struct seen *seen = file->context;
    seen->calls++;
    seen->status = status;
}

/* Opens and waits. Returns the file; *status is what the callback was told. */
static struct file *open_in(uv_loop_t *loop, int folder, const char *path,
                            const char *index, int *status) {
    struct seen seen = {0, 1};
    struct file *file = file_open(loop, folder, path, index, on_seen, &seen);
    CHECK(file);
    CHECK_INT(seen.calls, 0);
    uv_run(loop, UV_RUN_DEFAULT);
    CHECK_INT(seen.calls, 1);
    *status = seen.status;
    file->context = NULL;
    return file;
}

static int read_in(struct site *site, struct file *file, uint64_t offset,
                   uint32_t length) {
    struct seen seen = {0, 1};
    file->context = &seen;
    int error = file_read(file, offset, length, on_seen);
    if (error < 0) {
        return error;
    }
    CHECK_INT(seen.calls, 0);
    uv_run(&site->loop, UV_RUN_DEFAULT);
    CHECK_INT(seen.calls, 1);
    return seen.status;
}

static void close_in(struct site *site, struct file *file) {
    file_close(file);
    uv_run(&site->loop, UV_RUN_DEFAULT);
}

/* Paths and what comes of them: an error, or a file that holds its own name. */

enum { SLASH_MISSING = 1 };

struct wanted {
    const char *path;
    int status;       /* or SLASH_MISSING */
    const char *name; /* of what was opened */
    const char *text; /* in it */
};

static const struct wanted wanted_paths[] = {
    {"page.html", 0, "page.html", "page"},
    {"./page.html", 0, "./page.html", "page"},
    {"empty", 0, "empty", ""},
    {"a b%20\xc3\xa9", 0, "a b%20\xc3\xa9", "odd"},
    {"sub/style.css", 0, "sub/style.css", "style"},
    {"sub//style.css", 0, "sub//style.css", "style"},
    {"sub/./deep/../style.css", 0, "sub/./deep/../style.css", "style"},
    {"sub/../page.html", 0, "sub/../page.html", "page"},
    {"page.html/", UV_ENOTDIR, NULL, NULL},
    {"page.html/.", UV_ENOTDIR, NULL, NULL},
    {"page.html/..", UV_ENOTDIR, NULL, NULL},
    {"page.html/x", UV_ENOTDIR, NULL, NULL},
    {"nowhere", UV_ENOENT, NULL, NULL},
    {"nowhere/..", UV_ENOENT, NULL, NULL},
    {"nowhere/page.html", UV_ENOENT, NULL, NULL},

    {"", 0, "index.html", "home"},
    {".", SLASH_MISSING, "./index.html", "home"},
    {"./", 0, "./index.html", "home"},
    {"sub", SLASH_MISSING, "sub/index.html", "sub"},
    {"sub/", 0, "sub/index.html", "sub"},
    {"sub//", 0, "sub//index.html", "sub"},
    {"sub/deep/..", SLASH_MISSING, "sub/deep/../index.html", "sub"},
    {"sub/deep", UV_ENOENT, NULL, NULL},
    {"sub/deep/", UV_ENOENT, NULL, NULL},
    {"odd/", UV_EISDIR, NULL, NULL}, /* its index.html is a folder */

    {"..", UV_EXDEV, NULL, NULL},
    {"../", UV_EXDEV, NULL, NULL},
    {"../web/page.html", UV_EXDEV, NULL, NULL},
    {"../outside/secret", UV_EXDEV, NULL, NULL},
    {"sub/../../outside/secret", UV_EXDEV, NULL, NULL},
    {"sub/deep/../../../outside/secret", UV_EXDEV, NULL, NULL},
    {"/", UV_EXDEV, NULL, NULL},
    {"/etc/passwd", UV_EXDEV, NULL, NULL},
    {"//etc/passwd", UV_EXDEV, NULL, NULL},

    {"to-style", 0, "to-style", "style"},
    {"to-style/", UV_ENOTDIR, NULL, NULL},
    {"to-sub", SLASH_MISSING, "to-sub/index.html", "sub"},
    {"to-sub/", 0, "to-sub/index.html", "sub"},
    {"to-sub/style.css", 0, "to-sub/style.css", "style"},
    {"to-sub/deep/../style.css", 0, "to-sub/deep/../style.css", "style"},
    {"to-top/page.html", 0, "to-top/page.html", "page"},
    {"to-top/", 0, "to-top/index.html", "home"},
    {"to-page-slash", UV_ENOTDIR, NULL, NULL},
    {"sub/deep/up", 0, "sub/deep/up", "page"},
    {"linked/", 0, "linked/index.html", "page"},
    {"chain40", 0, "chain40", "page"},
    {"chain41", UV_ELOOP, NULL, NULL},
    {"self", UV_ELOOP, NULL, NULL},
    {"ping", UV_ELOOP, NULL, NULL},
    {"ping/x", UV_ELOOP, NULL, NULL},
    {"dangling", UV_ENOENT, NULL, NULL},
    {"out", UV_EXDEV, NULL, NULL},
    {"out-folder", UV_EXDEV, NULL, NULL},
    {"out-folder/secret", UV_EXDEV, NULL, NULL},
    {"out-and-in", UV_EXDEV, NULL, NULL},
    {"out-dangling", UV_EXDEV, NULL, NULL},
    {"out-absolute", UV_EXDEV, NULL, NULL},
    {"in-absolute", UV_EXDEV, NULL, NULL},
    {"sub/deep/out", UV_EXDEV, NULL, NULL},
    {"out-index/", UV_EXDEV, NULL, NULL},

    {"fifo", UV_EFTYPE, NULL, NULL},
    {"to-fifo", UV_EFTYPE, NULL, NULL},
    {"fifo/", UV_ENOTDIR, NULL, NULL},
    {"socket", UV_EFTYPE, NULL, NULL},
};

static void make_links(struct site *site) {
    char path[PATH_MAX + 16];
    int web = site->web;
    make_link(web, "to-style", "sub/style.css");
    make_link(web, "to-sub", "./sub/deep/..");
    make_link(web, "to-top", "sub/..");
    make_link(web, "to-page-slash", "page.html/");
    make_link(web, "to-fifo", "fifo");
    make_link(web, "sub/deep/up", "../../page.html");
    make_link(web, "linked/index.html", "../page.html");
    make_link(web, "chain1", "page.html");
    for (int i = 2; i <= 41; i++) {
        char name[20];
        char target[20];
        snprintf(name, sizeof(name), "chain%d", i);
        snprintf(target, sizeof(target), "chain%d", i - 1);
        make_link(web, name, target);
    }
    make_link(web, "self", "self");
    make_link(web, "ping", "pong");
    make_link(web, "pong", "ping");
    make_link(web, "dangling", "nowhere");
    make_link(web, "out", "../outside/secret");
    make_link(web, "out-folder", "sub/../../outside");
    make_link(web, "out-and-in", "../web/page.html");
    make_link(web, "out-dangling", "../nowhere");
    make_link(web, "sub/deep/out", "../../../outside/secret");
    make_link(web, "out-index/index.html", "../../outside/secret");
    snprintf(path, sizeof(path), "%s/outside/secret", site->root);
    make_link(web, "out-absolute", path);
    snprintf(path, sizeof(path), "%s/web/page.html", site->root);
    make_link(web, "in-absolute", path);
}

static void make_socket(struct site *site) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/socket",
             site->web);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_INT(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
}

static void site_fill(struct site *site) {
    static const char *const folders[] = {"sub",    "sub/deep", "odd", "odd/index.html",
                                          "linked", "out-index"};
    for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
        make_folder(site->web, folders[i]);
    }
    make_text(site->top, "outside/secret", "secret");
    make_text(site->web, "index.html", "home");
    make_text(site->web, "page.html", "page");
    make_text(site->web, "empty", "");
    make_text(site->web, "a b%20\xc3\xa9", "odd");
    make_text(site->web, "sub/index.html", "sub");
    make_text(site->web, "sub/style.css", "style");
    CHECK_INT(mkfifoat(site->web, "fifo", 0644), 0);
    make_socket(site);
    make_links(site);
}

static void check_opened(struct site *site, struct file *file,
                         const struct wanted *wanted) {
    size_t length = strlen(wanted->text);
    CHECK_TEXT(file->name, wanted->name);
    CHECK_INT(file->size, length);
    CHECK_INT(file->slash_missing, wanted->status == SLASH_MISSING);
    if (length > 0 && CHECK_INT(read_in(site, file, 0, (uint32_t)length), 0)) {
        CHECK_BYTES(file->bytes, file->length, wanted->text, length);
    }
}

static void check_paths(struct site *site) {
    for (size_t i = 0; i < sizeof(wanted_paths) / sizeof(*wanted_paths); i++) {
        const struct wanted *wanted = &wanted_paths[i];
        int status;
        struct file *file =
            open_in(&site->loop, site->folder, wanted->path, "index.html", &status);
        if (!CHECK_INT(status, wanted->status < 0 ? wanted->status : 0)) {
            printf("    of %s\n", wanted->path);
        } else if (status == 0) {
            check_opened(site, file, wanted);
        }
        close_in(site, file);
    }
}

static int status_of(struct site *site, const char *path, const char *index) {
    int status;
    close_in(site, open_in(&site->loop, site->folder, path, index, &status));
    return status;
}

static void check_long_names(struct site *site) {
    static char path[3 * PATH_MAX];
    memset(path, 'n', 256);
    path[255] = '\0';
    make_text(site->web, path, "long");
    CHECK_INT(status_of(site, path, NULL), 0);
    path[255] = 'n';
    CHECK_INT(status_of(site, path, NULL), UV_ENAMETOOLONG);
    for (size_t i = 0; i < sizeof(path) - 1; i++) {
        path[i] = i % 2 ? '/' : '.';
    }
    path[4094] = '\0'; /* the longest has 4095 bytes */
    CHECK_INT(status_of(site, path, NULL), UV_EISDIR);
    CHECK_INT(status_of(site, path, "index.html"), UV_ENAMETOOLONG);
    path[4094] = '.';
    path[4095] = '\0';
    CHECK_INT(status_of(site, path, NULL), UV_EISDIR);
    path[4095] = '/';
    path[4096] = '\0';
    CHECK_INT(status_of(site, path, NULL), UV_ENAMETOOLONG);
    path[4096] = '.';
    CHECK_INT(status_of(site, path, "index.html"), UV_ENAMETOOLONG);
}

/* While a folder or a file is exchanged for a link that leads out, nothing outside is
 * opened. */

struct swapper {
    int folder;
    const char *name;
    const char *other;
    atomic_bool stop;
};

static void *swap(void *context) {
    struct swapper *swapper = context;
    while (!swapper->stop) {
        renameat2(swapper->folder, swapper->name, swapper->folder, swapper->other,
                  RENAME_EXCHANGE);
    }
    return NULL;
}

static void check_swapped(struct site *site, const char *name, const char *other,
                          const char *path) {
    struct swapper swapper = {.folder = site->web, .name = name, .other = other};
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, swap, &swapper), 0);
    int opened = 0;
    for (int i = 0; i < 1000 || opened == 0; i++) {
        int status;
        struct file *file = open_in(&site->loop, site->folder, path, NULL, &status);
        if (status == 0) {
            CHECK_INT(file->size, 6);
            opened++;
        } else {
            CHECK(status == UV_EXDEV || status == UV_EAGAIN || status == UV_ELOOP);
        }
        close_in(site, file);
    }
    swapper.stop = true;
    pthread_join(thread, NULL);
}

static void check_races(struct site *site) {
    make_text(site->top, "outside/secret", "of others");
    make_folder(site->web, "swap");
    make_text(site->web, "swap/secret", "inside");
    make_link(site->web, "swapped", "../outside");
    check_swapped(site, "swap", "swapped", "swap/secret");
    make_text(site->web, "flip", "inside");
    make_link(site->web, "flipped", "../outside/secret");
    check_swapped(site, "flip", "flipped", "flip");
}

/* With `spare` descriptors left it works, or fails with UV_EMFILE and leaks none. */
static bool open_with_spare(struct site *site, int spare, const char *path) {
    enum { MOST = 256 };
    int fds[MOST];
    int count = 0;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &(struct rlimit){MOST, limit.rlim_max}), 0);
    while (count < MOST && (fds[count] = dup(site->top)) >= 0) {
        count++;
    }
    CHECK(count > spare);
    for (int i = 0; i < spare; i++) {
        close(fds[--count]);
    }
    int status = status_of(site, path, NULL);
    while (count > 0) {
        close(fds[--count]);
    }
    setrlimit(RLIMIT_NOFILE, &limit);
    CHECK(status == 0 || status == UV_EMFILE);
    return status == 0;
}

static void check_few_descriptors(struct site *site) {
    CHECK(!open_with_spare(site, 0, "sub/deep/up"));
    CHECK(!open_with_spare(site, 0, "page.html"));
    CHECK(open_with_spare(site, 1, "page.html"));
    bool works = false;
    for (int spare = 1; spare <= 5; spare++) {
        bool worked = works;
        works = open_with_spare(site, spare, "sub/deep/up");
        CHECK(works || !worked);
    }
    CHECK(works);
}

/* All that must hold however files are looked up. */
static void check_all(struct site *site) {
    check_paths(site);
    check_long_names(site);
    check_few_descriptors(site);
    check_races(site);
}

TEST(file_finds_what_is_in_its_folder_and_nothing_else) {
    struct site site;
    site_open(&site);
    site_fill(&site);
    if (syscall(SYS_openat2, site.folder, "page.html", NULL, (size_t)0) < 0 &&
        (errno == ENOSYS || errno == EPERM)) {
        test_skip("there's no openat2 here");
    }
    check_all(&site);
    site_close(&site);
}

/* Children, for what can't be undone: each runs `check` with a loop of its own. A check
 * that fails says so, thus one that says nothing has passed. */

enum { CANNOT = 77 };

static void child_main(struct site *site, int output, int (*prepare)(void),
                       void (*check)(struct site *)) {
    dup2(output, STDOUT_FILENO);
    if (prepare() < 0) {
        _exit(CANNOT);
    }
    CHECK_INT(uv_loop_init(&site->loop), 0);
    int before = count_descriptors();
    check(site);
    CHECK_INT(uv_run(&site->loop, UV_RUN_DEFAULT), 0);
    CHECK_INT(count_descriptors(), before);
    CHECK_INT(uv_loop_close(&site->loop), 0);
    fflush(stdout);
    _exit(0);
}

static void run_child(struct site *site, int (*prepare)(void),
                      void (*check)(struct site *), const char *why_not) {
    char said[4096];
    int ends[2];
    int status = -1;
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        child_main(site, ends[1], prepare, check);
    }
    close(ends[1]);
    for (ssize_t length; (length = read(ends[0], said, sizeof(said))) > 0;) {
        CHECK(!"the child said nothing");
        printf("%.*s", (int)length, said);
    }
    close(ends[0]);
    CHECK_INT(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT) {
        test_skip(why_not);
    } else {
        CHECK_INT(status, 0);
    }
}

/* Makes the kernel answer openat2 with this error. */
static int deny_openat2(uint32_t error) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(*filter), filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
        return -1;
    }
    syscall(SYS_openat2, AT_FDCWD, ".", NULL, (size_t)0);
    return errno == (int)error ? 0 : -1;
}

static int lack_openat2(void) {
    return deny_openat2(ENOSYS);
}

static int forbid_openat2(void) {
    return deny_openat2(EPERM);
}

static void check_walk(struct site *site) {
    char path[3 * (WALK_DEPTH + 1) + 5] = "";
    check_all(site);
    for (int depth = 1; depth <= WALK_DEPTH + 1; depth++) {
        strcat(path, depth == 1 ? "d" : "/d");
        make_folder(site->web, path);
    }
    CHECK_INT(status_of(site, path, NULL), UV_ENAMETOOLONG);
    path[strlen(path) - 2] = '\0';
    make_text(site->web, "d/page.html", "deep");
    CHECK_INT(status_of(site, path, NULL), UV_EISDIR);
    strcat(path, "/../x");
    CHECK_INT(status_of(site, path, NULL), UV_ENOENT);
}

TEST(file_finds_the_same_where_the_kernel_lacks_openat2) {
    struct site site;
    site_open(&site);
    site_fill(&site);
    run_child(&site, lack_openat2, check_walk, "seccomp doesn't work here");
    site_close(&site);
}

TEST(file_finds_the_same_where_openat2_is_forbidden) {
    struct site site;
    site_open(&site);
    site_fill(&site);
    run_child(&site, forbid_openat2, check_walk, "seccomp doesn't work here");
    site_close(&site);
}

/* Root may read everything, so it becomes somebody else. */
static int be_nobody(void) {
    return geteuid() != 0 || setresuid(65534, 65534, 65534) == 0 ? 0 : -1;
}

static int be_nobody_without_openat2(void) {
    return be_nobody() < 0 ? -1 : lack_openat2();
}

static void check_forbidden(struct site *site) {
    CHECK_INT(status_of(site, "unreadable", NULL), UV_EACCES);
    CHECK_INT(status_of(site, "closed/page.html", NULL), UV_EACCES);
    CHECK_INT(status_of(site, "closed/", "page.html"), UV_EACCES);
    CHECK_INT(status_of(site, "passable/page.html", NULL), 0);
    CHECK_INT(status_of(site, "passable/", "page.html"), 0);
    CHECK_INT(status_of(site, "passable/nowhere", NULL), UV_ENOENT);
    CHECK_INT(status_of(site, "unreadable", NULL), UV_EACCES);
}

TEST(file_that_may_not_be_read_is_refused) {
    struct site site;
    site_open(&site);
    make_text(site.web, "unreadable", "x");
    make_folder(site.web, "closed");
    make_folder(site.web, "passable");
    make_text(site.web, "closed/page.html", "page");
    make_text(site.web, "passable/page.html", "page");
    CHECK_INT(fchmodat(site.web, "unreadable", 0, 0), 0);
    CHECK_INT(fchmodat(site.web, "closed", 0, 0), 0);
    CHECK_INT(fchmodat(site.web, "passable", 0111, 0), 0);
    run_child(&site, be_nobody, check_forbidden, "root can't be given up here");
    run_child(&site, be_nobody_without_openat2, check_forbidden,
              "root can't be given up, or seccomp doesn't work here");
    CHECK_INT(fchmodat(site.web, "closed", 0755, 0), 0);
    CHECK_INT(fchmodat(site.web, "passable", 0755, 0), 0);
    site_close(&site);
}

/* A descriptor that can be read when something in the folder was. */
static int watch_web(const struct site *site, uint32_t events) {
    char path[PATH_MAX + 8];
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    snprintf(path, sizeof(path), "%s/web", site->root);
    CHECK(inotify_add_watch(watch, path, events) >= 0);
    return watch;
}

TEST(file_of_another_kind_is_not_even_opened) {
    struct site site;
    char events[4096];
    site_open(&site);
    site_fill(&site);
    int watch = watch_web(&site, IN_OPEN);
    CHECK_INT(status_of(&site, "fifo", NULL), UV_EFTYPE);
    CHECK_INT(status_of(&site, "socket", NULL), UV_EFTYPE);
    CHECK_INT(status_of(&site, "sub", NULL), UV_EISDIR);
    CHECK_INT(read(watch, events, sizeof(events)), -1);
    CHECK_INT(status_of(&site, "page.html", NULL), 0);
    CHECK(read(watch, events, sizeof(events)) > 0);
    close(watch);

    int devices = file_root_open("/dev");
    int status;
    close_in(&site, open_in(&site.loop, devices, "null", NULL, &status));
    CHECK_INT(status, UV_EFTYPE);
    file_root_close(devices);
    site_close(&site);
}

static void check_magic_links(struct site *site) {
    static const char *const paths[] = {"exe", "cwd/page.html", "root/etc/passwd", "fd/0",
                                        "task/../exe"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        int status;
        int folder = file_root_open("/proc/self");
        close_in(site, open_in(&site->loop, folder, paths[i], NULL, &status));
        CHECK(status == UV_ELOOP || status == UV_EXDEV || status == UV_ENOENT);
        file_root_close(folder);
    }
}

TEST(file_follows_no_magic_links) {
    struct site site;
    site_open(&site);
    make_text(site.web, "page.html", "page");
    CHECK_INT(fchdir(site.web), 0);
    check_magic_links(&site);
    run_child(&site, lack_openat2, check_magic_links, "seccomp doesn't work here");
    CHECK_INT(chdir("/"), 0);
    site_close(&site);
}

TEST(file_folder_must_be_a_folder) {
    struct site site;
    char path[PATH_MAX + 16];
    site_open(&site);
    make_text(site.web, "page.html", "page");
    make_link(site.top, "link", "web");
    CHECK_INT(file_root_open("/nowhere/at/all"), UV_ENOENT);
    snprintf(path, sizeof(path), "%s/web/page.html", site.root);
    CHECK_INT(file_root_open(path), UV_ENOTDIR);
    snprintf(path, sizeof(path), "%s/link", site.root);
    int folder = file_root_open(path);
    CHECK_INT(fcntl(folder, F_GETFD), FD_CLOEXEC);
    int status;
    struct file *file = open_in(&site.loop, folder, "page.html", NULL, &status);
    CHECK_INT(status, 0);
    CHECK_INT(fcntl(file->fd, F_GETFD), FD_CLOEXEC);
    CHECK_INT(fcntl(file->fd, F_GETFL) & (O_ACCMODE | O_PATH), O_RDONLY);
    close_in(&site, file);
    file_root_close(folder);
    site_close(&site);
}

TEST(file_says_when_it_was_changed) {
    static const struct timespec times[] = {
        {1700000000, 123456789}, {0, 1}, {5000000000, 999999999}, {-5, 7}};
    struct site site;
    site_open(&site);
    make_text(site.web, "page.html", "page");
    for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
        struct stat wanted; /* some file systems can't hold all of them */
        struct timespec both[2] = {times[i], times[i]};
        int status;
        CHECK_INT(utimensat(site.web, "page.html", both, 0), 0);
        CHECK_INT(fstatat(site.web, "page.html", &wanted, 0), 0);
        struct file *file = open_in(&site.loop, site.folder, "page.html", NULL, &status);
        CHECK_INT(status, 0);
        CHECK_INT(file->mtime, wanted.st_mtim.tv_sec);
        CHECK_INT(file->mtime_ns, wanted.st_mtim.tv_nsec);
        CHECK(i > 0 || file->mtime == times[i].tv_sec);
        close_in(&site, file);
    }
    site_close(&site);
}

/* Reading */

TEST(file_reads_a_big_file_piece_by_piece) {
    enum { SIZE = 3 * 1024 * 1024 + 77 };
    struct site site;
    site_open(&site);
    char *bytes = malloc(SIZE);
    REQUIRE(bytes);
    for (size_t i = 0; i < SIZE; i++) {
        bytes[i] = (char)test_random(256);
    }
    make_file(site.web, "big", bytes, SIZE);
    int status;
    struct file *file = open_in(&site.loop, site.folder, "big", NULL, &status);
    CHECK_INT(status, 0);
    CHECK_INT(file->size, SIZE);
    for (uint32_t offset = 0, length; offset < SIZE; offset += length) {
        length = offset == 0 ? FILE_READ : 1 + test_random(FILE_READ);
        length = length < SIZE - offset ? length : SIZE - offset;
        CHECK_INT(read_in(&site, file, offset, length), 0);
        CHECK_BYTES(file->bytes, file->length, bytes + offset, length);
    }
    close_in(&site, file);
    free(bytes);
    site_close(&site);
}

TEST(file_reads_beyond_4_gib) {
    const int64_t far = INT64_C(5) * 1024 * 1024 * 1024;
    struct site site;
    site_open(&site);
    int fd = openat(site.web, "sparse", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (pwrite(fd, "far", 3, far) == 3) {
        int status;
        struct file *file = open_in(&site.loop, site.folder, "sparse", NULL, &status);
        CHECK_INT(file->size, far + 3);
        CHECK_INT(read_in(&site, file, (uint64_t)far - 1, 4), 0);
        CHECK_BYTES(file->bytes, file->length, "\0far", 4);
        CHECK_INT(read_in(&site, file, (uint64_t)far, 4), UV_EOF);
        close_in(&site, file);
    } else {
        test_skip("the file system takes no file of 5 GiB");
    }
    close(fd);
    site_close(&site);
}

TEST(file_that_is_cut_while_it_is_read_ends_in_an_error) {
    enum { SIZE = 100000, CUT = 70000 };
    static char bytes[SIZE];
    struct site site;
    site_open(&site);
    memset(bytes, 'x', SIZE);
    make_file(site.web, "page", bytes, SIZE);
    int status;
    struct file *file = open_in(&site.loop, site.folder, "page", NULL, &status);
    CHECK_INT(read_in(&site, file, 0, FILE_READ), 0);
    int fd = openat(site.web, "page", O_WRONLY | O_CLOEXEC);
    CHECK_INT(ftruncate(fd, CUT), 0);
    close(fd);
    CHECK_INT(read_in(&site, file, FILE_READ, SIZE - FILE_READ), UV_EOF);
    CHECK_BYTES(file->bytes, file->length, bytes, CUT - FILE_READ);
    CHECK_INT(read_in(&site, file, CUT, 1), UV_EOF);
    CHECK_INT(file->length, 0);
    CHECK_INT(read_in(&site, file, 0, 10), 0); /* what is still there can be read */
    CHECK_BYTES(file->bytes, file->length, bytes, 10);
    close_in(&site, file);
    site_close(&site);
}

TEST(file_that_is_deleted_or_replaced_is_read_to_its_end) {
    struct site site;
    site_open(&site);
    make_text(site.web, "page", "before");
    make_text(site.web, "next", "afterwards");
    int status;
    struct file *file = open_in(&site.loop, site.folder, "page", NULL, &status);
    CHECK_INT(renameat(site.web, "next", site.web, "page"), 0);
    CHECK_INT(read_in(&site, file, 0, 6), 0);
    CHECK_BYTES(file->bytes, file->length, "before", 6);
    close_in(&site, file);
    site_close(&site);
}

TEST(file_refuses_reads_that_make_no_sense) {
    struct site site;
    struct seen seen = {0, 0};
    site_open(&site);
    make_text(site.web, "page", "page");
    struct file *file = file_open(&site.loop, site.folder, "page", NULL, on_seen, &seen);
    CHECK_INT(file_read(file, 0, 4, on_seen), UV_EBUSY);
    uv_run(&site.loop, UV_RUN_DEFAULT);
    CHECK_INT(seen.calls, 1);
    CHECK_INT(file_read(file, 0, 0, on_seen), UV_EINVAL);
    CHECK_INT(file_read(file, 0, FILE_READ + 1, on_seen), UV_EINVAL);
    CHECK_INT(file_read(file, UINT64_MAX, 1, on_seen), UV_EINVAL);
    CHECK_INT(file_read(file, INT64_MAX, 1, on_seen), UV_EINVAL);
    CHECK_INT(file_read(file, 0, 4, on_seen), 0);
    CHECK_INT(file_read(file, 0, 4, on_seen), UV_EBUSY);
    uv_run(&site.loop, UV_RUN_DEFAULT);
    CHECK_INT(seen.calls, 2);
    CHECK_BYTES(file->bytes, file->length, "page", 4);
    file_close(file);

    int status;
    file = open_in(&site.loop, site.folder, "nowhere", NULL, &status);
    CHECK_INT(status, UV_ENOENT);
    CHECK_INT(file_read(file, 0, 1, on_seen), UV_EINVAL);
    file_close(file);
    site_close(&site);
}

TEST(file_finds_names_of_any_case) {
    struct site site;
    site_open(&site);
    make_folder(site.web, "Games");
    int games = openat(site.web, "Games", O_DIRECTORY | O_CLOEXEC);
    make_text(games, "Setup.TXT", "setup");
    make_text(games, "Index.html", "index");
    make_text(games, "a.txt", "small");
    make_text(games, "A.TXT", "large");
    make_text(games, "\303\211t\303\251.txt", "summer");
    close(games);
    make_text(site.top, "outside.txt", "no");
    static const struct {
        const char *path;
        const char *name; /* NULL: nothing is found */
        int status;
    } wanted[] = {
        {"games/setup.txt", "Games/Setup.TXT", 0},
        {"GAMES/SETUP.TXT", "Games/Setup.TXT", 0},
        {"games", "Games/Index.html", 0},
        {"games/", "Games/Index.html", 0},
        {"games/a.txt", "Games/a.txt", 0},
        {"games/A.txt", "Games/A.TXT", 0},
        {"games/\303\211t\303\251.TXT", "Games/\303\211t\303\251.txt", 0},
        {"games/\303\251t\303\251.txt", NULL, UV_ENOENT},
        {"games/none.txt", NULL, UV_ENOENT},
        {"none/setup.txt", NULL, UV_ENOENT},
        {"games/setup.txt/x", NULL, UV_ENOENT},
        {"", NULL, UV_ENOENT},
        {"../OUTSIDE.txt", NULL, UV_ENOENT},
    };
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        struct seen seen = {0, 1};
        struct file *file = file_open_any_case(&site.loop, site.folder, wanted[i].path,
                                               "index.html", on_seen, &seen);
        uv_run(&site.loop, UV_RUN_DEFAULT);
        CHECK_INT(seen.status, wanted[i].status);
        if (wanted[i].name) {
            CHECK_TEXT(file->name, wanted[i].name);
        }
        close_in(&site, file);
    }
    site_close(&site);
}

TEST(file_opens_a_hundred_at_once) {
    enum { COUNT = 100 };
    struct site site;
    struct file *files[COUNT];
    struct seen seen[COUNT];
    char name[16];
    site_open(&site);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof(name), "page%d", i);
        make_text(site.web, name, name);
        seen[i] = (struct seen){0, 1};
        files[i] = file_open(&site.loop, site.folder, name, NULL, on_seen, &seen[i]);
        REQUIRE(files[i]);
    }
    uv_run(&site.loop, UV_RUN_DEFAULT);
    for (int i = 0; i < COUNT; i++) {
        CHECK_INT(seen[i].calls, 1);
        CHECK_INT(seen[i].status, 0);
        CHECK_INT(file_read(files[i], 0, (uint32_t)files[i]->size, on_seen), 0);
    }
    uv_run(&site.loop, UV_RUN_DEFAULT);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof(name), "page%d", i);
        CHECK_INT(seen[i].calls, 2);
        CHECK_INT(seen[i].status, 0);
        CHECK_BYTES(files[i]->bytes, files[i]->length, name, strlen(name));
        file_close(files[i]);
    }
    site_close(&site);
}

/* Closing */

static void on_close_it(struct file *file, int status) {
    on_seen(file, status);
    file_close(file);
}

static void on_read_it(struct file *file, int status) {
    on_seen(file, status);
    CHECK_INT(file_read(file, 0, 4, on_close_it), 0);
}

TEST(file_is_read_and_closed_in_its_callbacks) {
    struct site site;
    struct seen seen = {0, 1};
    site_open(&site);
    make_text(site.web, "page", "page");
    file_open(&site.loop, site.folder, "page", NULL, on_read_it, &seen);
    uv_run(&site.loop, UV_RUN_DEFAULT);
    CHECK_INT(seen.calls, 2);
    CHECK_INT(seen.status, 0);
    file_open(&site.loop, site.folder, "nowhere", NULL, on_close_it, &seen);
    uv_run(&site.loop, UV_RUN_DEFAULT);
    CHECK_INT(seen.calls, 3);
    CHECK_INT(seen.status, UV_ENOENT);
    site_close(&site);
}

/* Jobs that keep every thread of the pool busy until the gate opens. */

enum { JOBS = 1024 /* as many threads as a pool can have */ };

struct gate {
    uv_sem_t open;
    uv_work_t jobs[JOBS];
};

static void wait_at_gate(uv_work_t *job) {
    struct gate *gate = job->data;
    uv_sem_wait(&gate->open);
}

static void on_passed(uv_work_t *job, int status) {
    (void)job;
    CHECK_INT(status, 0);
}

static void gate_shut(struct gate *gate, uv_loop_t *loop) {
    CHECK_INT(uv_sem_init(&gate->open, 0), 0);
    for (int i = 0; i < JOBS; i++) {
        gate->jobs[i].data = gate;
        CHECK_INT(uv_queue_work(loop, &gate->jobs[i], wait_at_gate, on_passed), 0);
    }
}

static void gate_open(struct gate *gate, uv_loop_t *loop) {
    for (int i = 0; i < JOBS; i++) {
        uv_sem_post(&gate->open);
    }
    uv_run(loop, UV_RUN_DEFAULT);
    uv_sem_destroy(&gate->open);
}

TEST(file_closed_before_a_job_began_is_never_opened_or_read) {
    static struct gate gate;
    struct site site;
    struct seen seen = {0, 1};
    char events[4096];
    int status;
    site_open(&site);
    make_text(site.web, "page", "page");
    struct file *read_late = open_in(&site.loop, site.folder, "page", NULL, &status);
    CHECK_INT(status, 0);
    read_late->context = &seen;
    int watch = watch_web(&site, IN_OPEN | IN_ACCESS);
    gate_shut(&gate, &site.loop);
    struct file *open_late =
        file_open(&site.loop, site.folder, "page", NULL, on_seen, &seen);
    CHECK_INT(file_read(read_late, 0, 4, on_seen), 0);
    file_close(open_late);
    file_close(read_late);
    gate_open(&gate, &site.loop);
    CHECK_INT(seen.calls, 0);
    CHECK_INT(read(watch, events, sizeof(events)), -1);
    CHECK_INT(status_of(&site, "page", NULL), 0);
    CHECK(read(watch, events, sizeof(events)) > 0);
    close(watch);
    site_close(&site);
}

TEST(file_closed_when_a_job_is_done_but_not_told_is_not_told) {
    struct site site;
    struct seen seen = {0, 1};
    site_open(&site);
    make_text(site.web, "page", "page");
    int before = count_descriptors();
    struct file *file = file_open(&site.loop, site.folder, "page", NULL, on_seen, &seen);
    while (count_descriptors() == before) {
    }
    file_close(file);
    uv_run(&site.loop, UV_RUN_DEFAULT);
    CHECK_INT(seen.calls, 0);
    CHECK_INT(count_descriptors(), before);
    site_close(&site);
}

TEST(file_closed_at_any_moment_leaves_nothing) {
    enum { ROUNDS = 3000 };
    struct site site;
    struct seen seen = {0, 1};
    site_open(&site);
    site_fill(&site);
    int before = count_descriptors();
    for (int i = 0; i < ROUNDS; i++) {
        int calls = seen.calls;
        struct file *file = file_open(&site.loop, site.folder, i % 3 ? "sub" : "fifo",
                                      "index.html", on_seen, &seen);
        for (uint32_t turns = test_random(3); turns > 0; turns--) {
            uv_run(&site.loop, UV_RUN_NOWAIT);
        }
        if (i % 2 && seen.calls > calls && seen.status == 0) {
            CHECK_INT(file_read(file, 0, 3, on_seen), 0);
            uv_run(&site.loop, test_random(2) ? UV_RUN_NOWAIT : UV_RUN_ONCE);
        }
        calls = seen.calls;
        file_close(file);
        if (i % 10 == 0) {
            uv_run(&site.loop, UV_RUN_DEFAULT);
            CHECK_INT(seen.calls, calls);
        }
    }
    uv_run(&site.loop, UV_RUN_DEFAULT);
    CHECK_INT(count_descriptors(), before);
    site_close(&site);
}

TEST(file_errors_have_an_http_status) {
    CHECK_INT(file_http_status(UV_EACCES), 403);
    CHECK_INT(file_http_status(UV_EPERM), 403);
    CHECK_INT(file_http_status(UV_EXDEV), 403);
    CHECK_INT(file_http_status(UV_EFTYPE), 403);
    CHECK_INT(file_http_status(UV_ENOENT), 404);
    CHECK_INT(file_http_status(UV_ENOTDIR), 404);
    CHECK_INT(file_http_status(UV_EISDIR), 404);
    CHECK_INT(file_http_status(UV_ELOOP), 404);
    CHECK_INT(file_http_status(UV_ENAMETOOLONG), 404);
    CHECK_INT(file_http_status(UV_EMFILE), 503);
    CHECK_INT(file_http_status(UV_ENFILE), 503);
    CHECK_INT(file_http_status(UV_ENOMEM), 503);
    CHECK_INT(file_http_status(UV_EAGAIN), 503);
    CHECK_INT(file_http_status(UV_EINTR), 503);
    CHECK_INT(file_http_status(UV_EIO), 500);
    CHECK_INT(file_http_status(UV_EOF), 500);
}
