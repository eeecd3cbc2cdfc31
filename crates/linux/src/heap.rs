//! How the C library hands out memory.

/// Lets the threads of this process share the heap of the first one. Otherwise glibc
/// reserves 128 MiB of address space for each thread as it begins: for one that
/// hardly allocates, that takes longer than all it does.
pub fn share_one_heap() {
    // SAFETY: takes plain numbers, and glibc guards what it changes.
    #[cfg(target_env = "gnu")]
    unsafe {
        // Refused for no number of heaps.
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
