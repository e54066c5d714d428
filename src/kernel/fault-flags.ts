// What a page fault asks for and what it comes to: bits, by Linux's names and numbers (include/linux/mm.h of 3.10;
// FAULT_FLAG_UNSHARE of 6.0).

// What a fault came to.
export const VM_FAULT_OOM = 0x1;
export const VM_FAULT_SIGBUS = 0x2;
/** Had to wait for I/O. */
export const VM_FAULT_MAJOR = 0x4;
/** A write fault was resolved by making the page private or writable. */
export const VM_FAULT_WRITE = 0x8;
export const VM_FAULT_HWPOISON = 0x10;
export const VM_FAULT_HWPOISON_LARGE = 0x20;
export const VM_FAULT_SIGSEGV = 0x40;
/** The area's operation entered the page itself. */
export const VM_FAULT_NOPAGE = 0x100;
/** The area's operation returns the page locked. */
export const VM_FAULT_LOCKED = 0x200;
/** Nothing was done: try again. mmap_sem was released, unless the caller said RETRY_NOWAIT. */
export const VM_FAULT_RETRY = 0x400;
export const VM_FAULT_ERROR =
  VM_FAULT_OOM | VM_FAULT_SIGBUS | VM_FAULT_HWPOISON | VM_FAULT_HWPOISON_LARGE | VM_FAULT_SIGSEGV;

// What a fault asks for.
export const FAULT_FLAG_WRITE = 0x1;
/** Set for `pageMkwrite`. */
export const FAULT_FLAG_MKWRITE = 0x4;
/** VM_FAULT_RETRY is welcome: rather release mmap_sem than wait with it held. */
export const FAULT_FLAG_ALLOW_RETRY = 0x8;
/** With ALLOW_RETRY: return at once, mmap_sem stays held. */
export const FAULT_FLAG_RETRY_NOWAIT = 0x10;
/** A fatal signal ends waiting. */
export const FAULT_FLAG_KILLABLE = 0x20;
/** This is the second try. */
export const FAULT_FLAG_TRIED = 0x40;
/** Make the page private without making it writable (Solaris's page lock breaks copy-on-write even to read). */
export const FAULT_FLAG_UNSHARE = 0x400;
