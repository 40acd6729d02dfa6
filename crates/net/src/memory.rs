//! The server's memory: the allocator, and what one thread has allocated and others have freed.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys as mi;

/// mimalloc, called the short way.
///
/// The crate `mimalloc` asks for the alignment with each call, and the library then first finds out that nothing special is
/// wanted; for nearly all that a server allocates its plain call is aligned well enough.
pub struct Allocator;

/// mimalloc aligns a block of at least this size to it, and a smaller one to its own size where that is a power of two.
const NATURAL: usize = 16;

/// Whether a block of the plain call is aligned as `layout` wants.
fn is_plain(layout: Layout) -> bool {
    layout.align() <= NATURAL && layout.align() <= layout.size()
}

// SAFETY: mimalloc's calls have the contracts that this trait asks for: a block is as large as asked, stays where it is
// until it is freed, and null means that there is none. `is_plain` holds its rule of alignment; what it does
// not cover goes through the calls that take an alignment. Blocks of both kinds are freed by the one `mi_free`.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: takes no pointer; the size is not zero, as the caller promises.
        unsafe {
            if is_plain(layout) {
                mi::mi_malloc(layout.size()).cast()
            } else {
                mi::mi_malloc_aligned(layout.size(), layout.align()).cast()
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe {
            if is_plain(layout) {
                mi::mi_zalloc(layout.size()).cast()
            } else {
                mi::mi_zalloc_aligned(layout.size(), layout.align()).cast()
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the block came from here, as the caller promises.
        unsafe { mi::mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the block came from here, as the caller promises, and the new size is not zero.
        unsafe {
            if is_plain(layout) && layout.align() <= size {
                mi::mi_realloc(block.cast(), size).cast()
            } else {
                mi::mi_realloc_aligned(block.cast(), size, layout.align()).cast()
            }
        }
    }
}

/// Takes back what this thread has allocated and others have freed, and gives free pages to the system.
///
/// The allocator does so by itself when the thread allocates more of the same size; a thread that has become idle never
/// would, and the peak of a busy hour would stay resident. Costs a look at each page that the thread owns. Does
/// nothing of note where another allocator is in use.
pub fn collect() {
    // SAFETY: takes no pointer and touches the calling thread's own heap only; the library asks for nothing else.
    unsafe { mi::mi_collect(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of every small size at every alignment that Rust asks for, also after growing.
    #[test]
    fn every_block_is_aligned_as_asked() {
        for align in [1, 2, 4, 8, 16, 32, 64, 4096] {
            for size in (1..200).chain([1000, 4096, 100_000]) {
                let layout = Layout::from_size_align(size, align).unwrap();
                let grown = Layout::from_size_align(size * 2 + 1, align).unwrap();
                // SAFETY: sizes are not zero, and each block is freed once with the layout that it has then.
                unsafe {
                    let block = Allocator.alloc(layout);
                    assert!(!block.is_null() && block.addr().is_multiple_of(align), "{layout:?}");
                    block.write_bytes(7, size);
                    let block = Allocator.realloc(block, layout, grown.size());
                    assert!(block.addr().is_multiple_of(align), "{layout:?} grown");
                    assert_eq!(block.add(size - 1).read(), 7);
                    Allocator.dealloc(block, grown);
                    let zeroed = Allocator.alloc_zeroed(layout);
                    assert!(zeroed.addr().is_multiple_of(align), "{layout:?} zeroed");
                    assert_eq!(zeroed.add(size - 1).read(), 0);
                    Allocator.dealloc(zeroed, layout);
                }
            }
        }
    }
}
