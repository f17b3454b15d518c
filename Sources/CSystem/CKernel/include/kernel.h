// System calls and flags that Swift's Glibc module hides behind _GNU_SOURCE.
#pragma once
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/// preadv2 with RWF_NOWAIT: -1 with errno EAGAIN when the pages are not in the page cache.
ssize_t kernel_pread_nowait(int fd, void *buffer, size_t count, off_t offset);

/// pwritev at `offset`, as the system call.
ssize_t kernel_pwritev(int fd, const struct iovec *vectors, int count, off_t offset);

/// Starts write-back of a range without waiting for it (SYNC_FILE_RANGE_WRITE).
int kernel_start_writeback(int fd, off_t offset, off_t count);

/// fallocate(mode 0): allocates blocks and extends the file.
int kernel_allocate(int fd, off_t offset, off_t count);

/// Opens a file past the page cache (O_DIRECT), with the access and further flags of open(2); -1 where the file system has no such thing.
int kernel_open_direct(const char *path, int flags);

/// Tells the allocator to take blocks up to `largest_pooled` from its pools instead of the system, to keep up to `kept_free` free bytes
/// of a pool, and to have at most `arenas` pools (mallopt).
void kernel_keep_memory(int largest_pooled, int kept_free, int arenas);

/// Returns free memory of all pools to the system (malloc_trim).
void kernel_give_back_memory(void);

/// The thread id of the caller, for metrics and logs.
int kernel_thread_id(void);

/// The mark that the linker put into the running program (the note NT_GNU_BUILD_ID), which no other build has: up to `size` bytes of it.
///
/// Returns how many there are; 0 when the program was linked without one.
int kernel_build_id(uint8_t *bytes, int size);

/// Lets other threads have the processor before the calling one, which is nicer by so much (setpriority).
void kernel_stand_back(int niceness);

/// Names the calling thread (15 bytes at most), so that `perf` and `top -H` show who works.
void kernel_name_thread(const char *name);
