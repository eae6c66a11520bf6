// Placed before libc by LD_PRELOAD: the FAULT_AT-th call of FAULT_CALL on a file below FAULT_BELOW fails, and all after it
// if FAULT_ON is set, with the error FAULT_ERRNO; the process is killed there if that is 0. Calls of each kind are counted.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE, RENAME, LINK, FLOCK, FSYNC, KINDS };
static const char *names[KINDS] = {"write", "rename", "link", "flock", "fsync"};
static int calls[KINDS];

int fault_calls(int kind) { return calls[kind]; }

static int fails(int kind, const char *path) {
  const char *below = getenv("FAULT_BELOW"), *call = getenv("FAULT_CALL"), *at = getenv("FAULT_AT");
  if (!below || !path || strncmp(path, below, strlen(below))) return 0;
  int number = calls[kind]++;
  if (!call || !at || strcmp(call, names[kind])) return 0;
  if (number < atoi(at) || (number > atoi(at) && !getenv("FAULT_ON"))) return 0;
  int error = atoi(getenv("FAULT_ERRNO"));
  if (!error) kill(getpid(), SIGKILL);
  errno = error;
  return 1;
}

static int fails_of(int kind, int file) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return fails(kind, path);
}

#define CALL(kind, target, of, result, name, parameters, arguments)                \
  result name parameters {                                                         \
    static result(*real) parameters;                                               \
    if (!real) real = (result(*) parameters)dlsym(RTLD_NEXT, #name);               \
    return of(kind, target) ? -1 : real arguments;                                 \
  }

CALL(WRITE, f, fails_of, ssize_t, write, (int f, const void *b, size_t n), (f, b, n))
CALL(WRITE, f, fails_of, ssize_t, writev, (int f, const struct iovec *v, int n), (f, v, n))
CALL(RENAME, b, fails, int, rename, (const char *a, const char *b), (a, b))
CALL(RENAME, b, fails, int, renameat, (int x, const char *a, int y, const char *b), (x, a, y, b))
CALL(LINK, b, fails, int, link, (const char *a, const char *b), (a, b))
CALL(LINK, b, fails, int, linkat, (int x, const char *a, int y, const char *b, int z), (x, a, y, b, z))
CALL(FLOCK, f, fails_of, int, flock, (int f, int how), (f, how))
CALL(FSYNC, f, fails_of, int, fsync, (int f), (f))
