#define _GNU_SOURCE
#include "kernel.h"
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
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

void kernel_stand_back(int niceness) {
    // Of a thread, not of the process as POSIX has it: that is what Linux does. It cannot fail upwards.
    setpriority(PRIO_PROCESS, (id_t)kernel_thread_id(), niceness);
}

void kernel_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }

struct build_id {
    uint8_t *bytes;
    int size;
    int count;
};

/// Looks for the note in the first object that it is called with, which is the program itself (dl_iterate_phdr(3)).
static int find_build_id(struct dl_phdr_info *object, size_t size, void *context) {
    (void)size;
    struct build_id *found = context;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type != PT_NOTE) continue;
        const char *place = (const char *)(object->dlpi_addr + segment->p_vaddr);
        const char *end = place + segment->p_memsz;
        while (place + sizeof(ElfW(Nhdr)) <= end) {
            const ElfW(Nhdr) *note = (const ElfW(Nhdr) *)place;
            const char *name = place + sizeof *note;
            const char *content = name + ((note->n_namesz + 3) & ~3u);
            if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && memcmp(name, ELF_NOTE_GNU, 4) == 0) {
                found->count = (int)note->n_descsz < found->size ? (int)note->n_descsz : found->size;
                memcpy(found->bytes, content, found->count);
                return 1;
            }
            place = content + ((note->n_descsz + 3) & ~3u);
        }
    }
    return 1;
}

int kernel_build_id(uint8_t *bytes, int size) {
    struct build_id found = {bytes, size, 0};
    dl_iterate_phdr(find_build_id, &found);
    return found.count;
}
