//! Memory of one thread that other threads have freed.
#![allow(unsafe_code)]

/// Takes back what this thread has allocated and others have freed, and gives free pages to the system.
///
/// The allocator does so by itself when the thread allocates more of the same size; a thread that has become idle never
/// would, and the peak of a busy hour would stay resident. Costs a look at each page that the thread owns. Does
/// nothing of note where another allocator is in use.
pub fn collect() {
    // SAFETY: takes no pointer and touches the calling thread's own heap only; the library asks for nothing else.
    unsafe { libmimalloc_sys::mi_collect(false) }
}
