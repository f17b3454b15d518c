#define _GNU_SOURCE
#include "kernel.h"
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t kernel_pread_nowait(int fd, void *buffer, size_t count, off_t offset) {
    struct iovec vector = {buffer, count};
    return preadv2(fd, &vector, 1, offset, RWF_NOWAIT);
}

ssize_t kernel_pwritev(int fd, const struct iovec *vectors, int count, off_t offset) {
    return pwritev(fd, vectors, count, offset);
}

int kernel_start_writeback(int fd, off_t offset, off_t count) {
    return sync_file_range(fd, offset, count, SYNC_FILE_RANGE_WRITE);
}

int kernel_allocate(int fd, off_t offset, off_t count) { return fallocate(fd, 0, offset, count); }

int kernel_open_direct(const char *path, int flags) {
    return open(path, O_DIRECT | O_CLOEXEC | flags, 0600);
}

void kernel_keep_memory(int largest_pooled, int kept_free, int arenas) {
    mallopt(M_MMAP_THRESHOLD, largest_pooled);
    mallopt(M_TRIM_THRESHOLD, kept_free);
    mallopt(M_TOP_PAD, 1 << 20);
    mallopt(M_ARENA_MAX, arenas);
}

void kernel_give_back_memory(void) { malloc_trim(0); }

int kernel_thread_id(void) { return (int)syscall(SYS_gettid); }

void kernel_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }
